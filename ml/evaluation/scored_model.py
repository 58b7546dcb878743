"""One way to ask any model for the probability of fraud: an estimator, one of our scorers, or a bundle."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ml.bundles.store import VerifiedBundle
from ml.errors import TrainingDataError
from ml.runtimes.matrix import Float32Matrix, Float64Vector
from ml.scoring.scorer import Scorer


class BundleModel:
    """A published bundle behind the interface that evaluation asks: the very runtimes that serve it.

    Parameters
    ----------
    bundle : VerifiedBundle
        From `ml.bundles.store.verify`.
    """

    def __init__(self, bundle: VerifiedBundle) -> None:
        self._scorer = Scorer(bundle)
        self._probability = bundle.manifest.probability

    def risk_score(self, X: Float32Matrix) -> Float64Vector:
        """Return fraud probabilities of a matrix of the bundle's features, in their order."""
        return self._scorer.outputs(np.ascontiguousarray(X))[self._probability]


def fraud_probability(model: Any, X: Any) -> Float64Vector:
    """Return what a fitted model gives as the probability of fraud, shape (n,).

    Parameters
    ----------
    model : object
        With ``risk_score(X)``, or with ``predict_proba(X)`` whose second column is fraud's.
    X : array-like or DataFrame

    Raises
    ------
    TrainingDataError
        When it has neither, or its scores are no finite numbers.
    """
    if hasattr(model, "risk_score"):
        scores = np.asarray(model.risk_score(X), dtype=np.float64)
    elif hasattr(model, "predict_proba"):
        scores = np.asarray(model.predict_proba(X), dtype=np.float64)[:, 1]
    else:
        raise TrainingDataError(
            f"expected a model with risk_score or predict_proba, got {type(model).__name__}"
        )
    if not np.isfinite(scores).all():
        raise TrainingDataError("expected finite scores, got NaN or infinity: the model can't be evaluated")
    return scores


def take_rows(X: Any, rows: npt.NDArray[Any]) -> Any:
    """Return rows of an array or a DataFrame by position or mask."""
    return X.iloc[rows] if hasattr(X, "iloc") else np.asarray(X)[rows]
