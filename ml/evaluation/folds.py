"""Validation by folds: stratified, and prequential with labels that become known late.

Stratified folds mix times: they tell how a model fares on rows like those that it learned from. Prequential
folds walk through time as production does: each trains on the labels that were known when its test began.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from ml.errors import TrainingDataError
from ml.evaluation.metrics import Evaluation, evaluate_scores
from ml.evaluation.scored_model import fraud_probability, take_rows
from ml.rows.facts import RowFacts

Fold = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
"""Positions that train, positions that test."""
FoldProgress = Callable[[int, int], None]
"""Called with how many folds are done and how many there are."""

_FEWEST_FRAUDS: Final = 2


@dataclass(frozen=True)
class FoldFigures:
    """What one fold reached.

    Parameters
    ----------
    train_rows, train_frauds : int
        What it was trained on.
    figures : Evaluation
        On its test rows.
    """

    train_rows: int
    train_frauds: int
    figures: Evaluation


@dataclass(frozen=True)
class Validation:
    """What all folds reached.

    Parameters
    ----------
    kind : str
        'stratified' or 'prequential'.
    folds : tuple of FoldFigures
        In order.
    """

    kind: str
    folds: tuple[FoldFigures, ...]

    def spread(self) -> dict[str, dict[str, float]]:
        """Return mean and standard deviation (n - 1) of each figure over the folds that have it."""
        names = ("auc_roc", "average_precision", "card_precision")
        columns = {name: [getattr(fold.figures, name) for fold in self.folds] for name in names}
        known = {name: [value for value in values if value is not None] for name, values in columns.items()}
        return {
            name: {
                "mean": float(np.mean(values)),
                "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
            }
            for name, values in known.items()
            if values
        }

    def as_dict(self) -> dict[str, Any]:
        """Return folds and spread as JSON values."""
        folds = [{**asdict(fold), "figures": fold.figures.as_dict()} for fold in self.folds]
        return {"kind": self.kind, "folds": folds, "spread": self.spread()}


def stratified_folds(labels: npt.NDArray[np.bool_], *, folds: int = 5, seed: int = 0) -> list[Fold]:
    """Cut rows into folds with the same share of frauds each; the order of rows is kept inside a fold.

    Raises
    ------
    TrainingDataError
        When a class has fewer rows than there are folds.
    """
    fewest = int(min(labels.sum(), len(labels) - labels.sum()))
    if fewest < folds:
        raise TrainingDataError(
            f"expected {folds} rows of each class or more for {folds} folds, got {fewest}"
        )
    splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return list(splitter.split(np.zeros(len(labels)), labels))


def prequential_folds(
    event_us: npt.NDArray[np.int64],
    label_known_us: npt.NDArray[np.int64],
    *,
    folds: int = 4,
    test_us: int | None = None,
) -> list[Fold]:
    """Cut rows into test spans one after the other; each trains on the labels known when it begins.

    Parameters
    ----------
    event_us : ndarray of int64, shape (n,)
        When each row happened, UTC microseconds.
    label_known_us : ndarray of int64, shape (n,)
        When its label became known.
    folds : int, default=4
        Spans, the last of which ends with the last row.
    test_us : int, optional
        Length of a span; by default the second half of the time, in equal parts.

    Raises
    ------
    TrainingDataError
        When no label was known before the first span begins.
    """
    first, last = int(event_us.min()), int(event_us.max()) + 1
    length = max((last - first) // 2 // folds, 1) if test_us is None else test_us
    edges = [last - length * count for count in range(folds, -1, -1)]
    found = []
    for start, end in pairwise(edges):
        earlier = np.flatnonzero((event_us < start) & (label_known_us <= start))
        if not len(earlier):
            raise TrainingDataError(
                "expected labels known before the first of the prequential folds, got none: take fewer or "
                "shorter folds, or a longer history"
            )
        found.append((earlier, np.flatnonzero((event_us >= start) & (event_us < end))))
    return found


def validate_folds(
    model: Any,
    X: Any,
    labels: npt.NDArray[np.bool_],
    folds: Sequence[Fold],
    *,
    kind: str,
    facts: RowFacts | None = None,
    k: int = 100,
    progress: FoldProgress = lambda done, total: None,
) -> Validation:
    """Fit a clone of a model on each fold and measure it on the fold's test rows.

    Parameters
    ----------
    model : estimator
        Of scikit-learn's kind, with ``predict_proba`` or ``risk_score``.
    X : array-like or DataFrame of shape (n, n_features)
        Rows in order of time.
    labels : ndarray of bool, shape (n,)
    folds : sequence of Fold
        From `stratified_folds` or `prequential_folds`.
    kind : str
        How the folds were made.
    facts : RowFacts, optional
        For card precision.
    k : int, default=100
        Customers a day for card precision.
    progress : callable, optional
        See `FoldProgress`.

    Raises
    ------
    TrainingDataError
        When a part of a fold has too few frauds.
    """
    known = facts or RowFacts()
    done = []
    for number, (train, test) in enumerate(folds):
        progress(number, len(folds))
        fewest = min(int(labels[part].sum()) for part in (train, test))
        if fewest < _FEWEST_FRAUDS:
            raise TrainingDataError(
                f"expected {_FEWEST_FRAUDS} frauds or more in both parts of {kind} fold {number + 1}, got "
                f"{fewest}: take fewer folds, or a longer history"
            )
        fitted = clone(model).fit(take_rows(X, train), labels[train])
        part = known.take(test)
        figures = evaluate_scores(
            fraud_probability(fitted, take_rows(X, test)),
            labels[test],
            customers=part.customers,
            days=part.days(),
            k=k,
        )
        done.append(FoldFigures(len(train), int(labels[train].sum()), figures))
    progress(len(folds), len(folds))
    return Validation(kind, tuple(done))
