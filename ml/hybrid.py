"""The hybrid: anomaly scores, out of fold, beside the supervised features of one classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, clone
from sklearn.model_selection import KFold
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from ml.anomaly import AnomalyDetector, IsolationForestDetector
from ml.matrix import Float32Matrix, Float64Vector, to_float32
from ml.risk import RiskScorer, validate_matrix

_SEED_LIMIT = 2**31 - 1


class HybridFraudPipeline(ClassifierMixin, RiskScorer):  # type: ignore[misc]
    """Classifier over the given features and an anomaly score.

    The classifier must not learn from anomaly scores of rows that the detector has seen: rows are cut into
    `n_splits` consecutive blocks (give them in order of time), and each block is scored by a detector fitted
    on the others. A last detector, fitted on all rows, scores whatever comes later.

    Parameters
    ----------
    anomaly_detector : 'isolation_forest', AnomalyDetector, callable or None, default='isolation_forest'
        A detector is cloned and fitted; a callable takes the float32 matrix and returns scores in [0, 1] (it
        has been fitted elsewhere, on other rows); None: no anomaly score.
    classifier : 'lightgbm' or estimator, default='lightgbm'
        Has ``fit`` and ``predict_proba``; cloned. It gets NaN where a value is missing.
    anomaly_features : sequence of int or str, optional
        What the detector sees, by position or name; by default every feature.
    n_splits : int, default=5
        Blocks for the out-of-fold scores.
    random_state : int, RandomState instance or None, default=None
        Seeds the detector and the classifier where they have a ``random_state`` of None.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        The labels; the second is fraud.
    classifier_ : estimator
        Fitted on the features and, last, the anomaly score.
    detector_ : AnomalyDetector, callable or None
        Fitted on all rows.
    anomaly_indices_ : ndarray of int
        Columns that the detector sees.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, when ``fit`` was given any.

    Examples
    --------
    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> X = generator.normal(size=(2000, 4)).astype(np.float32)
    >>> y = X[:, 0] + generator.normal(scale=0.3, size=2000) > 1.5
    >>> pipeline = HybridFraudPipeline(random_state=0).fit(X, y)
    >>> pipeline.predict_proba(X[:2]).shape
    (2, 2)
    """

    def __init__(
        self,
        anomaly_detector: Any = "isolation_forest",
        classifier: Any = "lightgbm",
        *,
        anomaly_features: Sequence[int | str] | None = None,
        n_splits: int = 5,
        random_state: Any = None,
    ) -> None:
        self.anomaly_detector = anomaly_detector
        self.classifier = classifier
        self.anomaly_features = anomaly_features
        self.n_splits = n_splits
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Declare two classes only."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def fit(self, X: Any, y: Any) -> HybridFraudPipeline:
        """Fit detector and classifier.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Features in order of time; NaN is missing.
        y : array-like, shape (n_samples,)
            Two classes; the one that sorts last is fraud.

        Returns
        -------
        HybridFraudPipeline
            Itself.

        Raises
        ------
        ValueError
            When there are not exactly two classes.
        """
        matrix, target = validate_matrix(self, X, y=y, reset=True, ensure_min_samples=2)
        codes = self._encode(target)
        seed = int(check_random_state(self.random_state).randint(_SEED_LIMIT))
        self.anomaly_indices_ = self._anomaly_indices()
        detector = _detector(self.anomaly_detector, seed)
        scores = out_of_fold_scores(detector, matrix[:, self.anomaly_indices_], n_splits=self.n_splits)
        self.detector_ = _fitted(detector, matrix[:, self.anomaly_indices_])
        self.classifier_ = _classifier(self.classifier, seed)
        self.classifier_.fit(_appended(matrix, scores), codes)
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the probability of each class, shape (n_samples, 2); the second column is fraud's."""
        check_is_fitted(self)
        probabilities = self._probability(validate_matrix(self, X))
        return np.column_stack([1.0 - probabilities, probabilities])

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the likelier class of each row; decisions take a threshold from the bundle instead."""
        probabilities = self.predict_proba(X)[:, 1]
        labels: npt.NDArray[Any] = self.classes_[(probabilities >= 0.5).astype(int)]
        return labels

    def anomaly_score(self, X: Any) -> Float64Vector | None:
        """Return the fitted detector's score of each row, None when the pipeline has no detector."""
        check_is_fitted(self)
        return self._anomaly(validate_matrix(self, X))

    def _risk(self, X: Float32Matrix) -> Float64Vector:
        return self._probability(X)

    def _probability(self, X: Float32Matrix) -> Float64Vector:
        appended = _appended(X, self._anomaly(X))
        return np.asarray(self.classifier_.predict_proba(appended)[:, 1], dtype=np.float64)

    def _anomaly(self, X: Float32Matrix) -> Float64Vector | None:
        scores: Float64Vector | None = _scores(self.detector_, X[:, self.anomaly_indices_])
        return scores

    def _encode(self, y: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        check_classification_targets(y)
        if type_of_target(y) != "binary":
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {type_of_target(y)}."
            )
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(f"expected two classes, fraud and not, got 1 class: {self.classes_[0]!r}")
        return codes

    def _anomaly_indices(self) -> npt.NDArray[np.intp]:
        if self.anomaly_features is None:
            return np.arange(self.n_features_in_)
        names = [str(name) for name in getattr(self, "feature_names_in_", ())]
        positions = [
            names.index(entry) if isinstance(entry, str) else entry for entry in self.anomaly_features
        ]
        return np.asarray(positions, dtype=np.intp)


def out_of_fold_scores(detector: Any, X: Float32Matrix, *, n_splits: int = 5) -> Float64Vector | None:
    """Score each consecutive block of rows by a detector fitted on the other blocks.

    Parameters
    ----------
    detector : AnomalyDetector, callable or None
        An unfitted detector is cloned for each block; a callable scores all rows as it is.
    X : ndarray of float32, shape (n_samples, n_features)
        Rows in order of time.
    n_splits : int, default=5
        Number of blocks, at most half the rows.

    Returns
    -------
    ndarray of float64, shape (n_samples,), or None
        None when there is no detector.
    """
    if not isinstance(detector, AnomalyDetector):
        return _scores(detector, X)
    blocks = min(n_splits, len(X) // 2)
    if blocks < 2:
        return _scores(clone(detector).fit(X), X)
    scores = np.empty(len(X), dtype=np.float64)
    for others, block in KFold(blocks).split(X):
        scores[block] = clone(detector).fit(X[others]).risk_score(X[block])
    return scores


def _detector(choice: Any, seed: int) -> Any:
    if choice is None or (callable(choice) and not isinstance(choice, AnomalyDetector)):
        return choice
    return _seeded(IsolationForestDetector() if choice == "isolation_forest" else clone(choice), seed)


def _classifier(choice: Any, seed: int) -> Any:
    if choice == "lightgbm":
        from ml.supervised import default_lightgbm  # here, so that detectors alone never import LightGBM

        choice = default_lightgbm()
    return _seeded(clone(choice), seed)


def _seeded(estimator: Any, seed: int) -> Any:
    if "random_state" in estimator.get_params() and estimator.get_params()["random_state"] is None:
        estimator.set_params(random_state=seed)
    return estimator


def _fitted(detector: Any, X: Float32Matrix) -> Any:
    return clone(detector).fit(X) if isinstance(detector, AnomalyDetector) else detector


def _scores(detector: Any, X: Float32Matrix) -> Float64Vector | None:
    if detector is None:
        return None
    scores = detector.risk_score(X) if isinstance(detector, AnomalyDetector) else detector(X)
    return np.asarray(scores, dtype=np.float64)


def _appended(X: Float32Matrix, scores: Float64Vector | None) -> Float32Matrix:
    return X if scores is None else np.column_stack([X, to_float32(scores)])
