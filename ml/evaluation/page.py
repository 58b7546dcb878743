"""The one page of an evaluation, from the values of its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ml.reports.html import HtmlPage

_NAMES: Final = {
    "rows": "rows",
    "frauds": "frauds",
    "auc_roc": "AUC ROC",
    "average_precision": "average precision (PR AUC)",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "accuracy": "accuracy",
    "value_detected": "share of the frauds' amount alerted",
    "alerts": "alerts",
    "threshold": "threshold",
}


def write_page(
    path: Path,
    metrics: Mapping[str, Any],
    pictures: Mapping[str, Path],
    *,
    external: Mapping[str, Any] | None,
) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
    metrics : mapping
        Content of ``metrics.json``.
    pictures : mapping of str to Path
        By kind.
    external : mapping, optional
        Content of ``external_metrics.json``.
    """
    page = HtmlPage(f"Evaluation of {metrics['model']}")
    if metrics["data"]:
        page.text(f"Data: {metrics['data']}")
    _figures(page, "On rows that the model has not seen", metrics)
    if external is not None:
        _figures(page, "On external rows", external)
    _customers(page, metrics)
    for validation in metrics["validations"]:
        rows = [(name, spread["mean"], spread["deviation"]) for name, spread in validation["spread"].items()]
        heading = f"{validation['kind'].capitalize()} folds ({len(validation['folds'])})"
        page.table(heading, ("figure", "mean", "deviation"), rows)
    calibration = metrics["calibration"]
    page.table(
        "Calibration",
        ("figure", "value"),
        [
            ("Brier score", calibration["brier_score"]),
            ("expected calibration error", calibration["expected_calibration_error"]),
        ],
    )
    if "cost" in metrics:
        page.table("Cost, in minor units", ("figure", "value"), list(metrics["cost"].items()))
    page.pictures("Pictures", {kind.replace("_", " "): picture for kind, picture in pictures.items()})
    page.write(path)


def _figures(page: HtmlPage, heading: str, metrics: Mapping[str, Any]) -> None:
    flat = _flat(metrics["figures"])
    intervals = metrics.get("intervals", {})
    rows = []
    for name, value in flat.items():
        interval = intervals.get(name)
        between = None if interval is None else f"{interval['low']:.4f} to {interval['high']:.4f}"
        rows.append((_NAMES.get(name, name.replace("_", " ")), value, between))
    page.table(heading, ("figure", "value", "95 % of resampled customers"), rows)


def _customers(page: HtmlPage, metrics: Mapping[str, Any]) -> None:
    if "new_customers" not in metrics:
        return
    parts = {name: _flat(metrics[name]) for name in ("new_customers", "known_customers")}
    names = [name for name in _NAMES if any(name in part for part in parts.values())]
    rows = [(_NAMES[name], *(part.get(name) for part in parts.values())) for name in names]
    page.table(
        "By what was known of the customer",
        ("figure", "fewer than 10 transactions before", "others"),
        rows,
    )


def _flat(figures: Mapping[str, Any]) -> dict[str, Any]:
    at_threshold = figures.get("at_threshold") or {}
    return {**{name: value for name, value in figures.items() if name != "at_threshold"}, **at_threshold}
