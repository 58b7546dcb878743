"""Thresholds: the budget is never exceeded, the precision is kept, and nothing better was left."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.scoring.thresholds import Thresholds, threshold_for_budget, threshold_for_precision

SCORES = st.lists(st.integers(0, 12).map(lambda value: value / 12), min_size=1, max_size=60)


@settings(deadline=None)
@given(scores=SCORES, days=st.integers(1, 7), budget=st.floats(0.2, 20))
def test_alerts_stay_within_the_budget_and_no_lower_threshold_would(
    scores: list[float], days: int, budget: float
) -> None:
    threshold = threshold_for_budget(scores, days=days, alerts_per_day=budget)
    values = np.asarray(scores)
    assert (values >= threshold).sum() <= days * budget
    lower = values[values < threshold]
    if len(lower):
        assert (values >= lower.max()).sum() > days * budget - 1


def test_the_threshold_is_a_score_that_is_an_alert() -> None:
    assert threshold_for_budget([0.1, 0.5, 0.9, 0.7], days=1, alerts_per_day=2) == 0.7


def test_ties_that_do_not_fit_are_no_alerts() -> None:
    threshold = threshold_for_budget([0.9, 0.9, 0.9, 0.1], days=1, alerts_per_day=2)
    assert threshold > 0.9


@pytest.mark.parametrize(("days", "budget"), [(0, 1), (1, 0), (-1, 1)])
def test_a_budget_needs_days_and_alerts(days: float, budget: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        threshold_for_budget([0.5], days=days, alerts_per_day=budget)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 8), st.booleans()), max_size=60), fewest=st.integers(1, 5))
def test_the_precision_is_kept_by_the_lowest_threshold_that_can(
    rows: list[tuple[int, bool]], fewest: int
) -> None:
    scores, labels = [score for score, _ in rows], [label for _, label in rows]
    found = threshold_for_precision(scores, labels, precision=0.75, fewest_rows=fewest)
    fitting = []
    for candidate in set(scores):
        hits = [label for score, label in rows if score >= candidate]
        if len(hits) >= fewest and sum(hits) >= 0.75 * len(hits):
            fitting.append(candidate)
    assert found == (min(fitting) if fitting else None)


@pytest.mark.parametrize(
    ("probability", "decision"),
    [(0.1, "approve"), (0.3, "review"), (0.8, "review"), (0.9, "decline")],
)
def test_a_threshold_belongs_to_the_stricter_decision(probability: float, decision: str) -> None:
    thresholds = Thresholds(review=0.3, decline=0.9, alert_budget=1, calibration_rows=1, calibration_days=1)
    assert thresholds.decide(probability) == decision
