"""Anomaly detectors: label-free scorers behind one ``risk_score``.

Missing values are handled inside each detector (`IsolationForestDetector` fills the median of the training
rows), so a detector takes the same matrix as the classifier beside it. One more detector: a subclass of
`AnomalyDetector` here and its runtime in `ml.runtimes`.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest

from ml.matrix import Float32Matrix, Float64Vector
from ml.risk import RiskScorer, validate_matrix
from ml.runtimes import ISOLATION_FOREST, ExportedModel, IsolationForestRuntime


class AnomalyDetector(RiskScorer):
    """Base of the label-free detectors.

    A subclass writes ``_fit_matrix``, ``_risk``, ``_trained_risk`` and ``export``.
    """

    def fit(self, X: Any, y: Any = None) -> AnomalyDetector:
        """Learn what is normal.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Recent rows; NaN is missing.
        y : ignored
            Present for scikit-learn's interface: a detector never sees labels.

        Returns
        -------
        AnomalyDetector
            Itself.
        """
        matrix = validate_matrix(self, X, reset=True, ensure_min_samples=2)
        self._fit_matrix(matrix)
        return self

    def trained_risk_score(self, X: Any) -> Float64Vector:
        """Score with the object that was trained: what the runtime that serves is checked against."""
        return self._trained_risk(validate_matrix(self, X))

    @abstractmethod
    def _fit_matrix(self, X: Float32Matrix) -> None:
        """Learn from a validated matrix."""

    @abstractmethod
    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        """Score with the object that was trained, to check the runtime that serves against."""

    @abstractmethod
    def export(self) -> ExportedModel:
        """Return the model as a bundle stores it: no row of the training data is in it."""


class IsolationForestDetector(AnomalyDetector):
    """Isolation forest over median-filled features, scored by Treelite.

    Training and serving score through the same runtime, so a score is the same bits in both.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    max_samples : int or float, default=256
        Rows a tree sees; the number that the paper recommends.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Attributes
    ----------
    fill_ : ndarray of float32, shape (n_features,)
        Median of each feature; 0 where a feature has no value at all.
    forest_ : sklearn.ensemble.IsolationForest
        The trained trees.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, when ``fit`` was given any.

    References
    ----------
    Liu, Ting and Zhou, "Isolation Forest", ICDM 2008.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> detector = IsolationForestDetector(random_state=0).fit(X)
    >>> detector.risk_score([[0, 0, 0]])[0] < detector.risk_score([[9, 9, 9]])[0]
    np.True_
    """

    def __init__(
        self, n_estimators: int = 100, max_samples: int | float = 256, *, random_state: Any = None
    ) -> None:
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix) -> None:
        self.fill_ = column_medians(X)
        samples = self.max_samples
        if isinstance(samples, int):
            # scikit-learn warns where a tree can't get the rows it asks for
            samples = min(samples, len(X))
        self.forest_ = IsolationForest(
            n_estimators=self.n_estimators, max_samples=samples, random_state=self.random_state
        ).fit(self._filled(X))
        self.checkpoint_ = _treelite_checkpoint(self.forest_)

    def _risk(self, X: Float32Matrix) -> Float64Vector:
        return IsolationForestRuntime(self.checkpoint_, self.fill_).run(X)

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return np.asarray(-self.forest_.score_samples(self._filled(X)), dtype=np.float64)

    def export(self) -> ExportedModel:
        """Return the Treelite checkpoint and the fill values."""
        fill = json.dumps([float(value) for value in self.fill_])
        return ExportedModel(kind=ISOLATION_FOREST, files={"trees": self.checkpoint_, "fill": fill.encode()})

    def _filled(self, X: Float32Matrix) -> Float32Matrix:
        return np.where(np.isnan(X), self.fill_, X)


def column_medians(X: Float32Matrix) -> Float32Matrix:
    """Return the median of each column's values that are not NaN; 0 for a column without any."""
    medians = np.zeros(X.shape[1], dtype=np.float32)
    for index in range(X.shape[1]):
        present = X[:, index][~np.isnan(X[:, index])]
        if present.size:
            medians[index] = np.median(present)
    return medians


def _treelite_checkpoint(forest: IsolationForest) -> bytes:
    import treelite

    checkpoint: bytes = treelite.sklearn.import_model(forest).serialize_bytes()
    return checkpoint
