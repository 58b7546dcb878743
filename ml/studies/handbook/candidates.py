"""What is tried on the handbook's validation folds: classifiers with settings, averages of their ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from ml.estimators.linear_and_neural import CLASSIFIERS
from ml.runtimes.matrix import Float64Vector
from ml.studies.handbook.rows import HandbookData, HandbookFold

SHORT: Final = "7 days"
LONG: Final = "all history"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A classifier with settings, to be chosen on the validation folds.

    Parameters
    ----------
    classifier : str
        In `ml.estimators.linear_and_neural.CLASSIFIERS`.
    window : {'7 days', 'all history'}
        What trains it.
    parameters : mapping
        What differs from its defaults.
    genuine_share : float, default=1.0
        Share of the genuine rows that train, drawn at random; every fraud does. It moves every probability
        alike, which the order of rows does not see, and fits in that share of the time.
    """

    classifier: str
    window: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    genuine_share: float = 1.0

    def scores(self, data: HandbookData, columns: Sequence[int], start: str, *, seed: int) -> Float64Vector:
        """Fit on a fold's training rows, and score its test rows."""
        fold = self.fold(data, start)
        drawn = np.random.default_rng(seed).random(len(fold.train)) < self.genuine_share
        train = fold.train[drawn | data.labels[fold.train]]
        model = CLASSIFIERS[self.classifier](**self.parameters, random_state=seed)
        model.fit(data.rows(train, columns), data.labels[train])
        scores: Float64Vector = model.risk_score(data.rows(fold.test, columns))
        return scores

    def fold(self, data: HandbookData, start: str) -> HandbookFold:
        """Return a fold's rows as this candidate sees them."""
        return data.short[start] if self.window == SHORT else data.long[start]


@dataclass(frozen=True)
class RankAverage:
    """The mean of some candidates' ranks on the test rows, each member trained on its own window.

    Parameters
    ----------
    members : tuple of Candidate
        At least two, one of them trained on all history.
    """

    members: tuple[Candidate, ...]

    @property
    def window(self) -> str:
        """What trains it: the longest of its members' windows."""
        return LONG

    def fold(self, data: HandbookData, start: str) -> HandbookFold:
        """Return a fold's rows; every window tests the same ones."""
        return data.long[start]


_BOOSTED: Final = {
    "n_estimators": 300,
    "learning_rate": 0.05,
    "min_child_weight": 5.0,
    "subsample": 0.5,
    "colsample_bytree": 0.4,
    "reg_lambda": 5.0,
}
_FOREST: Final = Candidate("random_forest", SHORT)
_XGBOOST: Final = Candidate("xgboost", LONG, {**_BOOSTED, "max_depth": 5}, genuine_share=0.2)
_LIGHTGBM: Final = Candidate(
    "lightgbm", LONG, {"n_estimators": 600, "learning_rate": 0.015, "num_leaves": 16}, genuine_share=0.2
)
CANDIDATES: Final = (
    _FOREST,
    Candidate("lightgbm", SHORT),
    Candidate("xgboost", SHORT),
    Candidate("xgboost", LONG, {**_BOOSTED, "max_depth": 4}, genuine_share=0.2),
    _XGBOOST,
    Candidate("lightgbm", LONG, {"n_estimators": 300, "num_leaves": 24}, genuine_share=0.2),
    _LIGHTGBM,
    RankAverage((_XGBOOST, _LIGHTGBM)),
    RankAverage((_FOREST, _LIGHTGBM)),
    RankAverage((_FOREST, _XGBOOST, _LIGHTGBM)),
)
"""What is tried on the validation folds."""
