"""Bootstrap intervals: how far a figure would move if other customers had come.

Rows of one customer are alike, so customers are drawn, not rows: each replicate weighs a customer's rows by
how often the customer was drawn (a multinomial draw). Rows without a customer are drawn alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.evaluation.metrics import card_precision_at_k, card_precision_name
from ml.runtimes.matrix import Float64Vector

AUC_ROC: Final = "auc_roc"
AVERAGE_PRECISION: Final = "average_precision"
PRECISION: Final = "precision"
RECALL: Final = "recall"


@dataclass(frozen=True)
class Interval:
    """Where a figure lies in the middle `confidence` of the replicates.

    Parameters
    ----------
    low, high : float
        Ends.
    confidence : float
        Share of the replicates between them.
    replicates : int
        Replicates in which the figure exists.
    """

    low: float
    high: float
    confidence: float
    replicates: int


def bootstrap_intervals(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    customers: npt.NDArray[Any] | None = None,
    days: npt.NDArray[np.int64] | None = None,
    k: int = 100,
    threshold: float | None = None,
    replicates: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Return percentile intervals of AUC ROC, average precision and what else can be measured.

    That is card precision where customers and days are known, precision and recall at a threshold.

    Parameters
    ----------
    scores : array-like of float, shape (n,)
    labels : array-like of bool, shape (n,)
    customers : ndarray of object, shape (n,), optional
        Drawn whole; None: each row is drawn alone.
    days : ndarray of int64, shape (n,), optional
        Day of each row, for card precision.
    k : int, default=100
        Customers a day for card precision, whose name here says it: ``card_precision_at_100``.
    threshold : float, optional
        Where precision and recall are measured.
    replicates : int, default=200
    confidence : float, default=0.95
    seed : int, default=0

    Returns
    -------
    dict of str to Interval
        A figure that exists in no replicate is left out.

    References
    ----------
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13 (percentile interval).
    """
    ranking = _Ranking(np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool), threshold)
    groups = _groups(customers, ranking.rows)
    ordered_groups = groups[ranking.order]
    cards = None
    if customers is not None and days is not None:
        has_customer = np.fromiter((customer is not None for customer in customers), np.bool_, ranking.rows)
        cards = _Cards(scores, labels, groups, has_customer, days, k)
    n_groups = int(groups.max()) + 1
    generator = np.random.default_rng(seed)
    chances = np.full(n_groups, 1.0 / n_groups)
    drawn = []
    for _ in range(replicates):
        times = generator.multinomial(n_groups, chances)
        figures = ranking.figures(times[ordered_groups].astype(np.float64))
        drawn.append(figures | ({} if cards is None else cards.figures(times)))
    return _intervals(drawn, confidence)


def weighted_auc_and_precision(
    scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike
) -> tuple[float, float]:
    """Return AUC ROC and average precision of weighted rows; NaN where a class has no weight."""
    ranking = _Ranking(np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool), None)
    figures = ranking.figures(np.asarray(weights, dtype=np.float64)[ranking.order])
    return figures[AUC_ROC], figures[AVERAGE_PRECISION]


class _Ranking:
    """Rows sorted once by falling score, so that each replicate is a few running sums."""

    def __init__(self, scores: Float64Vector, labels: npt.NDArray[np.bool_], threshold: float | None) -> None:
        self.rows = len(scores)
        self.order = np.argsort(-scores, kind="stable")
        ordered = scores[self.order]
        self._fraud = labels[self.order].astype(np.float64)
        self._ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
        self._alerts = None if threshold is None else int((scores >= threshold).sum())

    def figures(self, weights: Float64Vector) -> dict[str, float]:
        """Return the figures of the rows, in their order here, with these weights."""
        frauds = np.cumsum(weights * self._fraud)
        others = np.cumsum(weights * (1.0 - self._fraud))
        found, false = frauds[self._ends], others[self._ends]
        all_frauds, all_others = float(frauds[-1]), float(others[-1])
        nothing = float("nan")
        figures = {AUC_ROC: nothing, AVERAGE_PRECISION: nothing}
        if all_frauds and all_others:
            area = np.trapezoid(np.append(0.0, found), np.append(0.0, false))
            figures[AUC_ROC] = float(area) / (all_frauds * all_others)
        if all_frauds:
            weighed = found + false
            precision = np.divide(found, weighed, out=np.ones_like(found), where=weighed > 0)
            figures[AVERAGE_PRECISION] = float(np.sum(np.diff(found, prepend=0.0) * precision)) / all_frauds
        if self._alerts is not None:
            hits = float(frauds[self._alerts - 1]) if self._alerts else 0.0
            alerts = hits + (float(others[self._alerts - 1]) if self._alerts else 0.0)
            figures[PRECISION] = hits / alerts if alerts else nothing
            figures[RECALL] = hits / all_frauds if all_frauds else nothing
        return figures


class _Cards:
    """Rows by customer, so that a replicate holds each customer as often as it was drawn."""

    def __init__(
        self,
        scores: npt.ArrayLike,
        labels: npt.ArrayLike,
        groups: npt.NDArray[np.int64],
        has_customer: npt.NDArray[np.bool_],
        days: npt.NDArray[np.int64],
        k: int,
    ) -> None:
        self._scores, self._labels, self._days, self._k = np.asarray(scores), np.asarray(labels), days, k
        self._has_customer = has_customer
        self._by_group = np.argsort(groups, kind="stable")
        self._sizes = np.bincount(groups)
        self._starts = np.cumsum(self._sizes) - self._sizes

    def figures(self, times: npt.NDArray[np.int64]) -> dict[str, float]:
        """Return card precision where each customer is there so many times, each time as another one."""
        drawn = np.repeat(np.arange(len(times)), times)
        sizes = self._sizes[drawn]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        rows = self._by_group[np.repeat(self._starts[drawn], sizes) + within]
        copies = np.repeat(np.arange(len(drawn)), sizes)
        kept = np.argsort(rows, kind="stable")
        kept = kept[self._has_customer[rows[kept]]]
        rows, copies = rows[kept], copies[kept]
        found = card_precision_at_k(
            self._scores[rows], self._labels[rows], customers=copies, days=self._days[rows], k=self._k
        )
        return {card_precision_name(self._k): float("nan") if found is None else found}


def _groups(customers: npt.NDArray[Any] | None, rows: int) -> npt.NDArray[np.int64]:
    """Give each customer a number; a row without one is a group of its own."""
    if customers is None:
        return np.arange(rows)
    numbers: dict[Any, int] = {}
    codes = (
        numbers.setdefault((index,) if customer is None else customer, len(numbers))
        for index, customer in enumerate(customers)
    )
    return np.fromiter(codes, dtype=np.int64, count=rows)


def _intervals(drawn: Sequence[Mapping[str, float]], confidence: float) -> dict[str, Interval]:
    tail = (1.0 - confidence) / 2.0
    intervals = {}
    for name in drawn[0]:
        values = np.asarray([figures[name] for figures in drawn])
        values = values[~np.isnan(values)]
        if len(values):
            low, high = np.quantile(values, [tail, 1.0 - tail])
            intervals[name] = Interval(float(low), float(high), confidence, len(values))
    return intervals
