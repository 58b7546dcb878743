"""The one number that leaves this package: ``risk_score(X)`` in [0, 1], higher is riskier."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted, validate_data

from ml.matrix import Float32Matrix, Float64Vector


class RiskScorer(BaseEstimator):  # type: ignore[misc]
    """Base of everything that scores risk: validates, then calls the subclass's one underscored method.

    A subclass writes ``_risk``; NaN means missing and every subclass has its own way with it.
    """

    def __sklearn_tags__(self) -> Any:
        """Declare that NaN is welcome: missing values are handled inside each scorer."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def risk_score(self, X: Any) -> Float64Vector:
        """Score rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            The features of ``fit``; the columns of a DataFrame may come in any order.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In [0, 1], higher is riskier.

        Raises
        ------
        ValueError
            When a feature is missing or unknown.
        """
        check_is_fitted(self)
        matrix = validate_matrix(self, ordered_as_fitted(self, X))
        return np.clip(self._risk(matrix), 0.0, 1.0)

    @abstractmethod
    def _risk(self, X: Float32Matrix) -> Float64Vector:
        """Score a validated matrix."""


def ordered_as_fitted(estimator: RiskScorer, X: Any) -> Any:
    """Return `X` with its named columns in the order of ``fit``; unnamed input is left as it is."""
    fitted = getattr(estimator, "feature_names_in_", None)
    columns = getattr(X, "columns", None)
    if fitted is None or columns is None:
        return X
    same_names = len(columns) == len(fitted) and set(columns) == set(fitted)
    return X[list(fitted)] if same_names else X


def validate_matrix(estimator: RiskScorer, X: Any, **options: Any) -> Any:
    """Validate `X` (and ``y`` when given) as scikit-learn does, into a C-ordered float32 matrix."""
    options.setdefault("reset", False)
    return validate_data(estimator, X, dtype=np.float32, order="C", ensure_all_finite="allow-nan", **options)
