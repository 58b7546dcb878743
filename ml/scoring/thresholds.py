"""Decision thresholds: review from an alert budget, decline from a precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

DecisionKind = Literal["approve", "review", "decline"]


@dataclass(frozen=True)
class Thresholds:
    """Where a fraud probability becomes a decision: at `review` and above, and at `decline` and above.

    Parameters
    ----------
    review : float
        Lowest probability that is an alert.
    decline : float or None
        Lowest probability that is declined without a person; None: nothing is.
    alert_budget : float
        Alerts a day that `review` was chosen for.
    calibration_rows : int
        Rows that `review` was chosen on, without their labels.
    calibration_days : float
        Days that those rows cover.
    """

    review: float
    decline: float | None
    alert_budget: float
    calibration_rows: int
    calibration_days: float

    def decide(self, probability: float) -> DecisionKind:
        """Return 'decline', 'review' or 'approve'."""
        if self.decline is not None and probability >= self.decline:
            return "decline"
        return "review" if probability >= self.review else "approve"


def threshold_for_budget(scores: npt.ArrayLike, *, days: float, alerts_per_day: float) -> float:
    """Return the lowest threshold that keeps alerts within the budget on days like these, label-free.

    An alert is a row with a score at or above the threshold. The budget is the mean over the days: a day may
    have more. Of rows that share a score, all or none are alerts, so ties can leave a part of the budget
    unused.

    Parameters
    ----------
    scores : array-like of float, shape (n,)
        Scores of all rows of the days right before the test, rows that the model was not trained on.
    days : float
        How many days the rows cover, above 0.
    alerts_per_day : float
        Alerts a day that people can look at, above 0.

    Returns
    -------
    float
        A score's exact value, or the next value above all scores when not even the riskiest score's ties fit.
    """
    if days <= 0 or alerts_per_day <= 0:
        raise ValueError(f"expected days and alerts_per_day above 0, got {days} and {alerts_per_day}")
    ordered = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    budget = int(days * alerts_per_day)
    if not len(ordered):
        raise ValueError("expected scores to choose a threshold from, got none")
    if budget >= len(ordered):
        return float(ordered[-1])
    first_left_out = ordered[budget]
    kept = ordered[ordered > first_left_out]
    return float(kept[-1]) if len(kept) else float(np.nextafter(ordered[0], np.inf))


def threshold_for_precision(
    scores: npt.ArrayLike, labels: npt.ArrayLike, *, precision: float, fewest_rows: int = 20
) -> float | None:
    """Return the lowest threshold whose rows at or above it reach the precision, or None.

    Parameters
    ----------
    scores : array-like of float, shape (n,)
        Scores of labelled rows that the scoring model was not trained on.
    labels : array-like of bool, shape (n,)
        True is fraud.
    precision : float
        Share of rows at or above the threshold that must be fraud.
    fewest_rows : int, default=20
        Rows that must lie at or above it: fewer prove nothing.

    Returns
    -------
    float or None
        None when no threshold reaches the precision.
    """
    risk = np.asarray(scores, dtype=np.float64)
    fraud = np.asarray(labels, dtype=bool)
    order = np.argsort(-risk, kind="stable")
    ordered = risk[order]
    hits = np.cumsum(fraud[order])
    counts = np.arange(1, len(order) + 1)
    # a threshold takes all rows of a score: only the last row of each run of equal scores is a candidate
    is_last = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.zeros(0, dtype=bool)
    fits = is_last & (counts >= fewest_rows) & (hits >= precision * counts)
    return float(ordered[np.flatnonzero(fits)[-1]]) if fits.any() else None
