"""How figures change with the threshold, and how far scores are probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.runtimes.matrix import Float64Vector

_CALIBRATION_BINS: Final = 10
_COST_POINTS: Final = 200
DEFAULT_REVIEW_COST_MINOR: Final = 1_000
"""What it costs to look at an alert where nobody says otherwise: 10.00 of the currency."""


@dataclass(frozen=True)
class Calibration:
    """How scores compare with the share of frauds among rows that score alike.

    Parameters
    ----------
    rows : ndarray of int64, shape (n_bins,)
        Rows of each bin; bins hold about equally many, and equal scores are never parted.
    mean_score, fraud_share : ndarray of float64, shape (n_bins,)
        A calibrated score equals the share.
    brier_score : float
        Mean squared distance of score and label.
    expected_error : float
        Mean distance of score and share, weighted by rows.
    """

    rows: npt.NDArray[np.int64]
    mean_score: Float64Vector
    fraud_share: Float64Vector
    brier_score: float
    expected_error: float

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "brier_score": self.brier_score,
            "expected_calibration_error": self.expected_error,
            "bins": [
                {"rows": rows, "mean_score": score, "fraud_share": share}
                for rows, score, share in zip(
                    self.rows.tolist(), self.mean_score.tolist(), self.fraud_share.tolist(), strict=True
                )
            ],
        }


@dataclass(frozen=True)
class CostCurve:
    """What frauds that pass and alerts that are looked at cost, by threshold.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (n_points,)
        Falling; the first is above every score: nothing is an alert.
    alerts : ndarray of int64, shape (n_points,)
        Rows at or above each threshold.
    costs_minor : ndarray of float64, shape (n_points,)
        Amounts of frauds below the threshold, and `review_cost_minor` for each alert.
    review_cost_minor : int
        Price of an alert.
    best : int
        Point of the least cost.
    """

    thresholds: Float64Vector
    alerts: npt.NDArray[np.int64]
    costs_minor: Float64Vector
    review_cost_minor: int
    best: int

    def as_dict(self) -> dict[str, Any]:
        """Return the price, the best point, and what it costs to do nothing, as JSON values."""
        return {
            "review_cost_minor": self.review_cost_minor,
            "without_alerts_minor": float(self.costs_minor[0]),
            "least_minor": float(self.costs_minor[self.best]),
            "best_threshold": float(self.thresholds[self.best]) if self.alerts[self.best] else None,
            "best_alerts": int(self.alerts[self.best]),
        }


def measure_calibration(
    scores: npt.ArrayLike, labels: npt.ArrayLike, *, bins: int = _CALIBRATION_BINS
) -> Calibration:
    """Compare scores with shares of fraud in bins of about equally many rows."""
    risk, fraud = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    edges = np.unique(np.quantile(risk, np.linspace(0, 1, bins + 1)[1:-1], method="higher"))
    found = np.searchsorted(edges, risk, side="right")
    rows = np.bincount(found)
    kept = rows > 0
    counts = rows[kept]
    score = np.bincount(found, risk)[kept] / counts
    share = np.bincount(found, fraud)[kept] / counts
    return Calibration(
        rows=counts,
        mean_score=score,
        fraud_share=share,
        brier_score=float(np.mean((risk - fraud) ** 2)),
        expected_error=float(np.sum(counts * np.abs(score - share)) / len(risk)),
    )


def cost_curve(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    amounts: npt.ArrayLike,
    *,
    review_cost_minor: int = DEFAULT_REVIEW_COST_MINOR,
) -> CostCurve:
    """Return what each threshold costs; at most 201 points, the best of all thresholds among them.

    Parameters
    ----------
    scores : array-like of float, shape (n,)
    labels : array-like of bool, shape (n,)
    amounts : array-like of float, shape (n,)
        In one currency's minor units.
    review_cost_minor : int
        What looking at an alert costs.
    """
    risk, fraud = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    order = np.argsort(-risk, kind="stable")
    ordered = risk[order]
    saved = np.cumsum(np.where(fraud, np.asarray(amounts, dtype=np.float64), 0.0)[order])
    # a threshold takes all rows of a score: only the last row of each run of equal scores is a point
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    alerts = np.concatenate([[0], ends + 1])
    thresholds = np.concatenate([[np.nextafter(ordered[0], np.inf)], ordered[ends]])
    costs = saved[-1] - np.concatenate([[0.0], saved[ends]]) + float(review_cost_minor) * alerts
    best = int(np.argmin(costs))
    shown = np.unique(np.append(np.linspace(0, len(alerts) - 1, _COST_POINTS).astype(int), best))
    return CostCurve(
        thresholds=thresholds[shown],
        alerts=alerts[shown],
        costs_minor=costs[shown],
        review_cost_minor=review_cost_minor,
        best=int(np.searchsorted(shown, best)),
    )
