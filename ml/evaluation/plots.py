"""Pictures of a report, drawn without pyplot: nothing is shared between calls, no window is ever opened.

Colours are those of Okabe and Ito, which people with any colour vision tell apart; lines differ in style too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from ml.evaluation.metric_curves import Calibration, CostCurve, measure_calibration
from ml.reports.drawing import BLUE, GREY, ORANGE, draw
from ml.runtimes.matrix import Float64Vector

_SCORE_BINS: Final = 50


def plot_confusion_matrix(
    labels: npt.ArrayLike, alerts: npt.ArrayLike, path: Path, *, title: str = "Confusion matrix"
) -> Path:
    """Draw how alerts and labels agree, with counts and shares of each label's rows.

    Parameters
    ----------
    labels, alerts : array-like of bool, shape (n,)
        What was fraud, and what was an alert.
    path : Path
        Picture to write (.png).
    title : str

    Returns
    -------
    Path
        `path`.
    """
    return draw(path, title, lambda axes: paint_confusion_matrix(axes, labels, alerts), size=(5.0, 4.4))


def paint_confusion_matrix(axes: Axes, labels: npt.ArrayLike, alerts: npt.ArrayLike) -> None:
    """Fill axes as `plot_confusion_matrix` does."""
    fraud, alert = np.asarray(labels, dtype=bool), np.asarray(alerts, dtype=bool)
    counts = np.asarray([[((fraud == row) & (alert == column)).sum() for column in (0, 1)] for row in (0, 1)])
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        ink = "white" if share > 0.5 else "black"
        axes.text(column, row, f"{count:,}\n{share:.1%}", ha="center", va="center", color=ink, fontsize=13)
    axes.set_xticks([0, 1], ["no alert", "alert"])
    axes.set_yticks([0, 1], ["genuine", "fraud"])
    axes.spines[:].set_visible(False)


def plot_curves(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    folder: Path,
    *,
    threshold: float | None = None,
    title: str = "",
) -> dict[str, Path]:
    """Draw ROC, precision against recall, the scores of both classes, and calibration.

    Parameters
    ----------
    scores : array-like of float, shape (n,)
        In [0, 1].
    labels : array-like of bool, shape (n,)
        True is fraud; both classes must be there.
    folder : Path
        Where the pictures go.
    threshold : float, optional
        Marked where a row becomes an alert.
    title : str
        Ends each picture's title, say the model's name.

    Returns
    -------
    dict of str to Path
        Pictures by kind: roc_curve, precision_recall_curve, score_distribution, calibration.
    """
    risk, fraud = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=bool)
    pictures: Mapping[str, tuple[str, Callable[[Axes], None]]] = {
        "roc_curve": ("ROC", lambda axes: _roc(axes, risk, fraud, threshold)),
        "precision_recall_curve": (
            "Precision and recall",
            lambda axes: _precision_recall(axes, risk, fraud, threshold),
        ),
        "score_distribution": ("Scores", lambda axes: _distribution(axes, risk, fraud, threshold)),
        "calibration": ("Calibration", lambda axes: _calibration(axes, measure_calibration(risk, fraud))),
    }
    ending = f": {title}" if title else ""
    return {
        name: draw(folder / f"{name}.png", f"{kind}{ending}", paint)
        for name, (kind, paint) in pictures.items()
    }


def plot_cost(curve: CostCurve, path: Path, *, title: str = "Cost by alerts") -> Path:
    """Draw what frauds that pass and alerts cost, by the number of alerts."""

    def paint(axes: Axes) -> None:
        axes.plot(curve.alerts, curve.costs_minor / 100, color=BLUE)
        axes.plot(
            curve.alerts[curve.best], curve.costs_minor[curve.best] / 100, "o", color=ORANGE, label="least"
        )
        axes.set_xscale("symlog")
        axes.set_xlabel("alerts")
        axes.set_ylabel(f"cost (units of currency; an alert costs {curve.review_cost_minor / 100:g})")
        # Beyond twice the cost of doing nothing nobody looks.
        axes.set_ylim(0, 2 * max(float(curve.costs_minor[0]), 1.0) / 100)
        axes.legend(frameon=False)

    return draw(path, title, paint)


def _roc(axes: Axes, risk: Float64Vector, fraud: npt.NDArray[np.bool_], threshold: float | None) -> None:
    false, found, _ = roc_curve(fraud, risk)
    axes.plot(false, found, color=BLUE, label=f"area {roc_auc_score(fraud, risk):.3f}")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="chance")
    if threshold is not None:
        alert = risk >= threshold
        axes.plot(alert[~fraud].mean(), alert[fraud].mean(), "o", color=ORANGE, label="at the threshold")
    axes.set_xlabel("share of genuine payments alerted")
    axes.set_ylabel("share of frauds alerted")
    axes.legend(frameon=False, loc="lower right")


def _precision_recall(
    axes: Axes, risk: Float64Vector, fraud: npt.NDArray[np.bool_], threshold: float | None
) -> None:
    precision, recall, _ = precision_recall_curve(fraud, risk)
    label = f"average precision {average_precision_score(fraud, risk):.3f}"
    axes.plot(recall, precision, color=BLUE, drawstyle="steps-post", label=label)
    axes.axhline(fraud.mean(), color=GREY, linestyle="--", label=f"chance {fraud.mean():.4f}")
    if threshold is not None and (risk >= threshold).any():
        alert = risk >= threshold
        axes.plot(alert[fraud].mean(), fraud[alert].mean(), "o", color=ORANGE, label="at the threshold")
    axes.set_xlabel("recall (share of frauds alerted)")
    axes.set_ylabel("precision (share of alerts that are fraud)")
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False)


def _distribution(
    axes: Axes, risk: Float64Vector, fraud: npt.NDArray[np.bool_], threshold: float | None
) -> None:
    edges = np.linspace(min(float(risk.min()), 0.0), max(float(risk.max()), 1.0), _SCORE_BINS + 1)
    for rows, label, colour, style in ((~fraud, "genuine", BLUE, "-"), (fraud, "fraud", ORANGE, "--")):
        heights = np.histogram(risk[rows], edges)[0] / rows.sum()
        axes.stairs(heights, edges, color=colour, linestyle=style, linewidth=1.6, label=label)
    if threshold is not None:
        axes.axvline(threshold, color=GREY, linestyle=":", label="threshold")
    axes.set_yscale("log")
    axes.set_xlabel("fraud probability")
    axes.set_ylabel("share of the class")
    axes.legend(frameon=False)


def _calibration(axes: Axes, calibration: Calibration) -> None:
    limit = float(max(calibration.mean_score.max(), calibration.fraud_share.max(), 1e-6)) * 1.05
    axes.plot([0, limit], [0, limit], color=GREY, linestyle="--", label="calibrated")
    label = f"bins (error {calibration.expected_error:.4f})"
    axes.plot(calibration.mean_score, calibration.fraud_share, "o-", color=BLUE, label=label)
    # Most rows score low: the square root shows them beside the few that score high.
    root: Any = (np.sqrt, np.square)
    axes.set_xscale("function", functions=root)
    axes.set_yscale("function", functions=root)
    axes.set_xlim(0, limit)
    axes.set_ylim(0, limit)
    axes.set_xlabel("mean fraud probability (square-root scale)")
    axes.set_ylabel("share of frauds (square-root scale)")
    axes.legend(frameon=False)
