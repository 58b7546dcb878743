"""Figures against scikit-learn and slow, obvious oracles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from ml.evaluation.metrics import card_precision_at_k, evaluate_scores, metrics_at_threshold
from ml.reports.files import write_json

ROWS = st.lists(
    st.tuples(
        st.integers(0, 20).map(lambda value: value / 20),
        st.booleans(),
        st.one_of(st.none(), st.integers(0, 6).map(str)),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=60,
)


def slow_card_precision(rows: list[tuple[float, bool, str | None, int]], k: int) -> float | None:
    """Follow the handbook's rule, one customer and one day at a time."""
    rows = [row for row in rows if row[2] is not None]
    if not rows:
        return None
    appeared = list(dict.fromkeys(customer for _, _, customer, _ in rows))
    detected: set[str | None] = set()
    shares = []
    for day in sorted({day for *_, day in rows}):
        today = [row for row in rows if row[3] == day and row[2] not in detected]
        highest: dict[str | None, float] = {}
        for score, _, customer, _ in today:
            highest[customer] = max(score, highest.get(customer, -1.0))
        ranked = sorted(highest, key=lambda customer: (-highest[customer], appeared.index(customer)))
        compromised = {customer for _, fraud, customer, _ in today if fraud}
        hits = [customer for customer in ranked[:k] if customer in compromised]
        detected |= set(hits)
        shares.append(len(hits) / k)
    return sum(shares) / len(shares)


@settings(deadline=None)
@given(rows=ROWS, k=st.integers(1, 5))
def test_card_precision_follows_the_handbooks_rule(
    rows: list[tuple[float, bool, str | None, int]], k: int
) -> None:
    scores, labels, customers, days = (list(column) for column in zip(*rows, strict=True))
    fast = card_precision_at_k(scores, labels, customers=customers, days=days, k=k)
    slow = slow_card_precision(rows, k)
    assert fast == (None if slow is None else pytest.approx(slow, abs=1e-12))


def test_a_detected_customer_is_dropped_from_the_days_after() -> None:
    scores, labels = [0.9, 0.9, 0.1], [True, True, True]
    both = card_precision_at_k(scores, labels, customers=["a", "a", "b"], days=[0, 1, 1], k=1)
    assert both == 1.0
    undetected = card_precision_at_k(scores[:2], labels[:2], customers=["a", "a"], days=[0, 1], k=1)
    assert undetected == 0.5


def test_figures_of_a_perfect_ranking() -> None:
    found = evaluate_scores(
        [0.9, 0.8, 0.1, 0.2],
        [True, True, False, False],
        customers=["a", "b", "c", "d"],
        days=[0, 0, 0, 0],
        k=2,
        threshold=0.85,
    )
    assert (found.rows, found.frauds, found.auc_roc, found.average_precision) == (4, 2, 1.0, 1.0)
    assert found.card_precision == 1.0
    assert found.at_threshold is not None
    assert (found.at_threshold.precision, found.at_threshold.recall) == (1.0, 0.5)


def test_card_precision_is_named_after_its_k(tmp_path: Path) -> None:
    found = evaluate_scores([0.9, 0.1], [True, False], customers=["a", "b"], days=[0, 0])
    assert found.as_dict()["card_precision_at_100"] == found.card_precision_at_100 == 0.01
    write_json(found.as_dict(), tmp_path / "new" / "metrics.json")
    assert json.loads((tmp_path / "new" / "metrics.json").read_text())["auc_roc"] == 1.0


def test_without_customers_there_is_no_card_precision() -> None:
    found = evaluate_scores([0.9, 0.1], [True, False], customers=[None, None], days=[0, 0])
    assert found.card_precision is None


def test_no_alert_has_no_precision() -> None:
    found = metrics_at_threshold([0.1, 0.2], [True, False], threshold=0.5)
    assert (found.alerts, found.precision, found.recall) == (0, None, 0.0)


def test_rows_without_a_customer_may_be_nan() -> None:
    customers = np.array(["a", float("nan"), None], dtype=object)
    assert card_precision_at_k([1, 1, 1], [True, True, True], customers=customers, days=[0, 0, 0], k=1) == 1.0


SCORED = st.lists(
    st.tuples(st.integers(0, 20).map(lambda value: value / 20), st.booleans(), st.integers(0, 5_000)),
    min_size=1,
    max_size=60,
)


@settings(deadline=None)
@given(rows=SCORED, threshold=st.integers(0, 21).map(lambda value: value / 20))
def test_figures_at_a_threshold_are_scikit_learns(
    rows: list[tuple[float, bool, int]], threshold: float
) -> None:
    scores, labels, amounts = (list(column) for column in zip(*rows, strict=True))
    alerts = [score >= threshold for score in scores]
    found = metrics_at_threshold(scores, labels, threshold=threshold, amounts=amounts)
    assert found.accuracy == pytest.approx(sklearn_metrics.accuracy_score(labels, alerts))
    assert found.recall == pytest.approx(sklearn_metrics.recall_score(labels, alerts, zero_division=0))
    assert found.f1 == pytest.approx(sklearn_metrics.f1_score(labels, alerts, zero_division=0))
    precision = sklearn_metrics.precision_score(labels, alerts, zero_division=0)
    assert (found.precision or 0.0) == pytest.approx(precision)
    lost = sum(amount for _, fraud, amount in rows if fraud)
    seen = sum(amount for score, fraud, amount in rows if fraud and score >= threshold)
    assert found.value_detected == (None if lost == 0 else pytest.approx(seen / lost))
