"""What all supervised classifiers share: validation, weights of frauds, and scoring by what serves them."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.estimators.base import BinaryClassifier, Served
from ml.runtimes.matrix import Float32Matrix, Float64Vector

Labels = npt.NDArray[np.int64]


class FraudClassifier(Served, BinaryClassifier):
    """Base: validates, then calls ``_fit_matrix``, which ends with ``_serve``."""

    def fit(self, X: Any, y: Any) -> FraudClassifier:
        """Learn from labelled rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Features; NaN is missing.
        y : array-like, shape (n_samples,)
            Two classes; the one that sorts last is fraud.

        Returns
        -------
        FraudClassifier
            Itself.

        Raises
        ------
        ValueError
            When there are not exactly two classes.
        """
        matrix, codes = self._validate_fit(X, y)
        self._fit_matrix(matrix, codes)
        return self

    @abstractmethod
    def _fit_matrix(self, X: Float32Matrix, y: Labels) -> None:
        """Learn from a validated matrix and labels 0 and 1."""


def fraud_weight(choice: float | str, y: Labels) -> float:
    """Return how much a fraud counts: the number itself, or for 'balanced' others over frauds."""
    if choice == "balanced":
        frauds = int(y.sum())
        return (len(y) - frauds) / frauds
    if isinstance(choice, str) or not choice > 0:
        raise ValueError(f"expected fraud_weight as 'balanced' or a number above 0, got {choice!r}")
    return float(choice)


def fraud_column(model: Any, X: npt.NDArray[Any]) -> Float64Vector:
    """Return the second column of a trained model's probabilities."""
    return np.asarray(model.predict_proba(X)[:, 1], dtype=np.float64)
