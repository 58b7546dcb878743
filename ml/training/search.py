"""Hyper-parameter search on folds that respect time (`ml.evaluation.folds.prequential_folds`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.metrics import average_precision_score

from ml.errors import TrainingDataError
from ml.evaluation.folds import Fold
from ml.runtimes.matrix import Float32Matrix

SearchProgress = Callable[[int, int], None]
"""Called with how many fits are done and how many there are."""

FEWEST_FRAUDS: Final = 5
"""Frauds that either part of a fold needs: with fewer, what is measured is chance."""

SPACES: Final[Mapping[str, Mapping[str, Sequence[Any]]]] = {
    "logistic_regression": {"C": (0.01, 0.03, 0.1, 0.3, 1.0), "fraud_weight": (1.0, 3.0, 10.0)},
    "random_forest": {
        "min_samples_leaf": (3, 5, 10, 20, 40),
        "max_features": (0.1, 0.2, 0.3, 0.5),
        "max_leaf_nodes": (128, 512, 1024),
    },
    "mlp": {
        "hidden": ((32,), (64, 32), (128, 64)),
        "dropout": (0.0, 0.2, 0.4),
        "fraud_weight": (1.0, 3.0, 10.0),
    },
    "xgboost": {
        "n_estimators": (150, 250, 400),
        "learning_rate": (0.02, 0.05, 0.1),
        "max_depth": (3, 4, 5, 7),
        "min_child_weight": (1.0, 5.0, 20.0),
        "colsample_bytree": (0.3, 0.5, 0.8),
    },
    "lightgbm": {
        "n_estimators": (150, 250, 400),
        "learning_rate": (0.02, 0.03, 0.06),
        "num_leaves": (8, 12, 24, 48),
        "min_child_samples": (10, 30, 60),
        "colsample_bytree": (0.3, 0.5, 0.8),
    },
}
"""What is searched, by the classifier's name."""


@dataclass(frozen=True)
class Trial:
    """One setting and what it reached.

    Parameters
    ----------
    parameters : mapping
        What differs from the estimator as it came.
    scores : tuple of float
        Average precision of each fold.
    """

    parameters: Mapping[str, Any]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.scores))


@dataclass(frozen=True)
class SearchResult:
    """Trials in the order they were made; the first is the estimator as it came."""

    trials: tuple[Trial, ...]

    @property
    def best(self) -> Trial:
        """The trial of the highest mean, the earliest of equal ones."""
        return max(self.trials, key=lambda trial: trial.mean)


def draw_settings(space: Mapping[str, Sequence[Any]], *, trials: int, seed: int) -> list[dict[str, Any]]:
    """Draw different settings of a space at random, after the one that changes nothing."""
    generator = np.random.default_rng(seed)
    size = int(np.prod([len(values) for values in space.values()]))
    chosen = generator.permutation(size)[: max(trials - 1, 0)]
    settings: list[dict[str, Any]] = [{}]
    for number in chosen.tolist():
        setting = {}
        for name, values in space.items():
            number, index = divmod(number, len(values))
            setting[name] = values[index]
        settings.append(setting)
    return settings


def search(
    estimator: Any,
    settings: Sequence[Mapping[str, Any]],
    X: Float32Matrix,
    y: npt.NDArray[np.bool_],
    *,
    folds: Sequence[Fold],
    fewest_frauds: int = FEWEST_FRAUDS,
    progress: SearchProgress = lambda done, total: None,
) -> SearchResult:
    """Fit an estimator with each setting on each fold.

    Parameters
    ----------
    estimator : RiskScorer
        Cloned for each fit.
    settings : sequence of mapping
        Parameters to set, as scikit-learn names them.
    X : ndarray of float32, shape (n, n_features)
        Rows in order of time.
    y : ndarray of bool, shape (n,)
    folds : sequence of (ndarray, ndarray)
        From `ml.evaluation.folds.prequential_folds`.
    fewest_frauds : int, optional
        That either part of a fold must have.
    progress : callable, optional
        See `SearchProgress`.

    Raises
    ------
    TrainingDataError
        When a fold has too few frauds to train or to test.
    """
    for number, fold in enumerate(folds):
        fewest = min(int(y[rows].sum()) for rows in fold)
        if fewest < fewest_frauds:
            raise TrainingDataError(
                f"expected {fewest_frauds} frauds or more in both parts of fold {number + 1}, got {fewest}: "
                "train on a longer history"
            )
    trials: list[Trial] = []
    total = len(settings) * len(folds)
    for setting in settings:
        scores: list[float] = []
        for earlier, later in folds:
            progress(len(trials) * len(folds) + len(scores), total)
            fitted = clone(estimator).set_params(**setting).fit(X[earlier], y[earlier])
            scores.append(float(average_precision_score(y[later], fitted.risk_score(X[later]))))
        trials.append(Trial(parameters=setting, scores=tuple(scores)))
    progress(total, total)
    return SearchResult(trials=tuple(trials))
