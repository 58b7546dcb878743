"""Any outlier detector with scikit-learn's interface, behind the one ``risk_score``."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from sklearn.base import clone

from ml.estimators.anomaly import AnomalyDetector, column_medians, filled
from ml.estimators.base import drawn_seed
from ml.runtimes.dense import sigmoid
from ml.runtimes.matrix import Float32Matrix, Float64Vector

_INNER: Final = (0.1, 0.9)
_WANTED: Final = ("fit", "score_samples", "get_params")


class EstimatorDetector(AnomalyDetector):
    """Any outlier detector of scikit-learn: `IsolationForest`, ``LocalOutlierFactor(novelty=True)``, others.

    Missing values become medians. The score of a row becomes a risk by a map that is fixed at ``fit`` and
    keeps the order: ``sigmoid(asinh((center - score) / spread))``, with the median of the training rows'
    scores as the centre and half the distance of their inner eight tenths as the spread. A usual row's risk
    is near 0.5, and rows far out still differ. Nothing serves it: for bundles take a name of `detectors`.

    Parameters
    ----------
    estimator : object
        With ``fit`` and ``score_samples`` (higher is more usual); it is cloned.
    random_state : int, RandomState instance or None, default=None
        Seeds the estimator where it, or a part of it, has a ``random_state`` of None.

    Attributes
    ----------
    estimator_ : object
        Fitted.
    fill_ : ndarray of float32, shape (n_features,)
        Median of each feature; 0 where a feature has no value at all.
    center_, spread_ : float
        Of the training rows' scores.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, when ``fit`` was given any.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import LocalOutlierFactor
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> detector = EstimatorDetector(LocalOutlierFactor(novelty=True)).fit(X)
    >>> detector.risk_score([[0, 0, 0]])[0] < detector.risk_score([[9, 9, 9]])[0]
    np.True_
    """

    def __init__(self, estimator: Any, *, random_state: Any = None) -> None:
        self.estimator = estimator
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix) -> None:
        check_outlier_detector(self.estimator)
        self.fill_ = column_medians(X)
        estimator = clone(self.estimator)
        unseeded = [
            name
            for name, value in estimator.get_params().items()
            if value is None and name.rpartition("__")[2] == "random_state"
        ]
        estimator.set_params(**dict.fromkeys(unseeded, drawn_seed(self.random_state)))
        self.estimator_ = estimator.fit(filled(X, self.fill_))
        scores = self._scores(X)
        low, high = np.quantile(scores, _INNER)
        self.center_ = float(np.median(scores))
        self.spread_ = float(high - low) / 2 or float(np.std(scores)) or 1.0

    def _risk(self, X: Float32Matrix) -> Float64Vector:
        return sigmoid(np.arcsinh((self.center_ - self._scores(X)) / self.spread_))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return self._risk(X)

    def _scores(self, X: Float32Matrix) -> Float64Vector:
        scores = np.asarray(self.estimator_.score_samples(filled(X, self.fill_)), dtype=np.float64)
        if scores.shape != (len(X),) or not np.isfinite(scores).all():
            raise ValueError(
                f"expected {len(X)} finite scores of {type(self.estimator_).__name__}.score_samples, "
                f"got {_told(scores)}"
            )
        return scores


def check_outlier_detector(estimator: Any) -> None:
    """Raise unless something is an estimator that a detector can be made of.

    Raises
    ------
    TypeError
        When it is a class, or lacks ``fit``, ``score_samples`` or ``get_params``.
    """
    name = estimator.__name__ if isinstance(estimator, type) else type(estimator).__name__
    if isinstance(estimator, type):
        raise TypeError(f"expected an unfitted detector, got the class {name}: write {name}()")
    absent = [method for method in _WANTED if not hasattr(estimator, method)]
    if absent:
        raise TypeError(
            "expected the name of a detector, a detector with fit and score_samples (IsolationForest(), "
            "LocalOutlierFactor(novelty=True) and the like) or a function of the matrix, got "
            f"{name} without {', '.join(absent)}"
        )


def called_scores(detector: Any, X: Float32Matrix) -> Float64Vector:
    """Return what a callable says of rows.

    Raises
    ------
    ValueError
        When that is not one finite number in [0, 1] a row.
    """
    scores = np.asarray(detector(X), dtype=np.float64)
    is_risk = scores.shape == (len(X),) and np.isfinite(scores).all()
    if not is_risk or (scores < 0).any() or (scores > 1).any():
        raise ValueError(
            f"expected {len(X)} finite scores in [0, 1] of the anomaly_detector, got {_told(scores)}"
        )
    return scores


def _told(scores: Float64Vector) -> str:
    finite = scores[np.isfinite(scores)]
    span = f" from {finite.min():.6g} to {finite.max():.6g}" if finite.size else ""
    return f"shape {scores.shape}, {scores.size - finite.size} not finite, numbers{span}"
