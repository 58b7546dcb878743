"""The page of the handbook's protocol: our figures beside the published marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ml.reports.html import HtmlPage

_COLUMNS: Final = ("AUC ROC", "average precision", "CP@100")
_FIGURES: Final = ("auc_roc", "average_precision", "card_precision_at_100")
# Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection - Practical Handbook",
# chapter 3 (single split), chapters 5 to 7 (four prequential test folds).
PUBLISHED_SINGLE: Final = {
    "logistic regression": (0.871, 0.606, 0.291),
    "random forest": (0.867, 0.658, 0.287),
    "XGBoost": (0.862, 0.639, 0.273),
}
PUBLISHED_PREQUENTIAL: Final = {
    "random forest": (0.870, 0.678, 0.299),
    "XGBoost": (0.869, 0.687, 0.303),
    "balanced bagging": (0.879, 0.680, 0.305),
    "feed-forward network": (0.876, 0.675, 0.303),
    "LSTM with attention": (0.874, 0.667, 0.295),
}
"""Figures that the handbook publishes: AUC ROC, average precision, card precision at 100."""


def write_handbook_page(path: Path, figures: Mapping[str, Any]) -> None:
    """Write the page.

    Parameters
    ----------
    path : Path
    figures : mapping
        Content of ``handbook.json``.
    """
    page = HtmlPage("The Fraud Detection Handbook's protocol")
    page.text(
        "Data: simulated card payments of the Fraud Detection Handbook. Figures on simulated payments say "
        "nothing of the real world. Settings were chosen on the validation folds alone."
    )
    single, prequential = figures["single"], figures["prequential"]
    page.table(
        f"Single split: {single['train_rows']:,} rows train ({single['train_frauds']:,} frauds), "
        f"{single['test_rows']:,} test ({single['test_frauds']:,} frauds)",
        ("model", *_COLUMNS),
        [(_name(single["model"]), *_three(single)), *_marks(PUBLISHED_SINGLE)],
    )
    page.table(
        f"Prequential: mean of {len(prequential['folds'])} folds",
        ("model", *_COLUMNS),
        [
            (_name(prequential["model"]), *_three(prequential)),
            ("deviation of the folds", *_three(prequential["deviation"])),
            *_marks(PUBLISHED_PREQUENTIAL),
        ],
    )
    _folds(page, "Folds", prequential["folds"])
    page.table(
        "Tried on the validation folds",
        ("model", "parameters", *_COLUMNS, "deviation of average precision"),
        [
            (
                _name(tried),
                _settings(tried),
                *_three(tried),
                tried["deviation"]["average_precision"],
            )
            for tried in figures["validation"]
        ],
    )
    _scenarios(page, prequential["folds"], figures.get("ceiling", {}).get("folds", []))
    if "ceiling" in figures:
        _ceiling(page, figures["ceiling"])
    for seen, detectors in figures["label_free"].items():
        rows = [(name, *_three(found)) for name, found in detectors.items() if name != "features"]
        page.table(f"Detectors {seen.replace('_', ' ')}", ("detector", *_COLUMNS), rows)
        page.text(f"They see {', '.join(detectors['features'])}.")
    page.text(f"Features of the classifiers: {', '.join(figures['features'])}.")
    page.write(path)


def _name(model: Mapping[str, Any]) -> str:
    return f"{model['classifier'].replace('_', ' ')}, trained on {model['trained_on']}"


def _settings(model: Mapping[str, Any]) -> str:
    if "members" in model:
        return "of " + "; ".join(f"{_name(member)} ({_settings(member)})" for member in model["members"])
    return ", ".join(f"{name} {value}" for name, value in model["parameters"].items()) or "defaults"


def _three(figures: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(figures[name] for name in _FIGURES)


def _marks(published: Mapping[str, tuple[float, float, float]]) -> list[tuple[Any, ...]]:
    return [(f"{name} (published)", *figures) for name, figures in published.items()]


def _folds(page: HtmlPage, heading: str, folds: Sequence[Mapping[str, Any]]) -> None:
    header = ("training from", "rows that train", "frauds", "rows that test", "frauds", *_COLUMNS)
    sizes = ("train_start", "train_rows", "train_frauds", "test_rows", "test_frauds")
    page.table(heading, header, [(*(fold[name] for name in sizes), *_three(fold)) for fold in folds])


def _scenarios(
    page: HtmlPage, folds: Sequence[Mapping[str, Any]], observed: Sequence[Mapping[str, Any]]
) -> None:
    """Show what is reached by the way frauds were simulated, where that is known, and what could be."""
    found = [fold["by_scenario"] for fold in folds if "by_scenario" in fold]
    ideal = [fold["by_scenario"] for fold in observed]
    scenarios = sorted({scenario for one in found for scenario in one})
    if not scenarios:
        return

    def mean(of: Sequence[Mapping[str, Any]], scenario: str) -> float | None:
        there = [one[scenario]["average_precision"] for one in of if scenario in one]
        return sum(there) / len(there) if there else None

    page.table(
        "By fraud scenario, among genuine payments",
        ("scenario", "frauds", "mean average precision", "of an ideal observer"),
        [
            (
                scenario,
                sum(one[scenario]["frauds"] for one in found if scenario in one),
                mean(found, scenario),
                mean(ideal, scenario),
            )
            for scenario in scenarios
        ],
    )
    page.text(
        "Scenario 1: amount over 220. Scenario 2: terminals compromised for 28 days; about a third of these "
        "frauds come before any label of the terminal is known, so nobody can rank them, and they bound what "
        "can be reached. Scenario 3: customers compromised for 14 days, amounts times 5."
    )


def _ceiling(page: HtmlPage, ceiling: Mapping[str, Any]) -> None:
    page.table(
        "An ideal observer",
        ("of", *_COLUMNS),
        [
            (f"the {len(ceiling['folds'])} folds, mean", *_three(ceiling)),
            *(
                (f"the detectors' week, {seen.replace('_', ' ')}", *_three(found))
                for seen, found in ceiling["label_free"].items()
            ),
        ],
    )
    page.text(
        "It knows how the payments were simulated, each customer's true mean amount, and the labels that "
        "everybody knows. The ceiling is approximate: each terminal and customer is thought to be "
        "compromised at most once within reach of a payment."
    )
