"""Curves over thresholds and bootstrap intervals, against scikit-learn and slow, obvious oracles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from ml.errors import TrainingDataError
from ml.evaluation.intervals import (
    AUC_ROC,
    AVERAGE_PRECISION,
    PRECISION,
    RECALL,
    bootstrap_intervals,
    weighted_auc_and_precision,
)
from ml.evaluation.metric_curves import cost_curve, measure_calibration
from ml.evaluation.metrics import as_labels, card_precision_at_k

ROWS = st.lists(
    st.tuples(
        st.integers(0, 20).map(lambda value: value / 20),
        st.booleans(),
        st.integers(0, 5_000),
        st.integers(0, 3),
    ),
    min_size=2,
    max_size=60,
)


def slow_cost(rows: list[tuple[float, bool, int, int]], threshold: float, price: int) -> float:
    """Add up, row by row."""
    return sum(price if score >= threshold else amount if fraud else 0 for score, fraud, amount, _ in rows)


@settings(deadline=None)
@given(rows=ROWS, price=st.integers(0, 3_000))
def test_each_threshold_costs_what_its_rows_cost(
    rows: list[tuple[float, bool, int, int]], price: int
) -> None:
    scores, labels, amounts, _ = (list(column) for column in zip(*rows, strict=True))
    curve = cost_curve(scores, labels, amounts, review_cost_minor=price)
    expected = [slow_cost(rows, threshold, price) for threshold in curve.thresholds.tolist()]
    assert curve.costs_minor.tolist() == pytest.approx(expected)
    assert curve.alerts.tolist() == [
        sum(score >= threshold for score in scores) for threshold in curve.thresholds
    ]
    every = [slow_cost(rows, threshold, price) for threshold in [*scores, 2.0]]
    assert curve.as_dict()["least_minor"] == pytest.approx(min(every))
    assert curve.as_dict()["without_alerts_minor"] == pytest.approx(every[-1])


def test_the_best_of_many_thresholds_is_kept() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random(5_000)
    labels = generator.random(5_000) < scores**8
    amounts = generator.gamma(2, 5_000, 5_000)
    curve = cost_curve(scores, labels, amounts)
    assert len(curve.thresholds) <= 201
    every = [
        amounts[labels & (scores < threshold)].sum() + 1_000 * (scores >= threshold).sum()
        for threshold in scores
    ]
    assert curve.costs_minor[curve.best] == pytest.approx(min(every))


@settings(deadline=None)
@given(rows=ROWS)
def test_calibration_bins_hold_all_rows_and_never_part_equal_scores(
    rows: list[tuple[float, bool, int, int]],
) -> None:
    scores, labels, _, _ = (np.asarray(column) for column in zip(*rows, strict=True))
    found = measure_calibration(scores, labels, bins=4)
    assert found.rows.sum() == len(rows)
    assert np.sum(found.rows * found.mean_score) == pytest.approx(scores.sum())
    assert np.sum(found.rows * found.fraud_share) == pytest.approx(labels.sum())
    assert np.all(np.diff(found.mean_score) > 0)
    assert len(found.rows) <= len(set(scores.tolist()))
    assert found.brier_score == pytest.approx(brier_score_loss(labels, scores, pos_label=True))


def test_a_calibrated_score_has_a_small_error_and_a_skewed_one_a_large_one() -> None:
    generator = np.random.default_rng(0)
    truth = generator.random(50_000)
    labels = generator.random(50_000) < truth
    assert measure_calibration(truth, labels).expected_error < 0.01
    assert measure_calibration(truth**3, labels).expected_error > 0.2


@settings(deadline=None)
@given(rows=ROWS)
def test_weighted_figures_are_scikit_learns(rows: list[tuple[float, bool, int, int]]) -> None:
    scores, labels, _, weights = (np.asarray(column) for column in zip(*rows, strict=True))
    assume(weights[labels].sum() > 0)
    assume(weights[~labels].sum() > 0)
    area, precision = weighted_auc_and_precision(scores, labels, weights)
    assert area == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
    assert precision == pytest.approx(average_precision_score(labels, scores, sample_weight=weights))


def sample(seed: int, rows: int = 600) -> tuple[Any, Any, Any]:
    """Draw scores of two normal distributions, one deviation apart, their labels, and customers."""
    generator = np.random.default_rng(seed)
    labels = generator.random(rows) < 0.2
    customers = np.asarray([f"c{number}" for number in generator.integers(0, rows // 3, rows)], dtype=object)
    return generator.normal(loc=labels.astype(float)), labels, customers


def test_intervals_hold_the_figure_and_repeat_with_the_seed() -> None:
    scores, labels, customers = sample(0)
    found = bootstrap_intervals(scores, labels, customers=customers, threshold=1.0)
    assert set(found) == {AUC_ROC, AVERAGE_PRECISION, PRECISION, RECALL}
    alerts = scores >= 1.0
    for name, figure in (
        (AUC_ROC, roc_auc_score(labels, scores)),
        (AVERAGE_PRECISION, average_precision_score(labels, scores)),
        (PRECISION, labels[alerts].mean()),
        (RECALL, alerts[labels].mean()),
    ):
        assert found[name].low < figure < found[name].high
        assert found[name].replicates == 200
    assert found == bootstrap_intervals(scores, labels, customers=customers, threshold=1.0)
    assert found != bootstrap_intervals(scores, labels, customers=customers, threshold=1.0, seed=1)


def test_ninety_five_percent_intervals_hold_the_truth_about_so_often() -> None:
    truth = 0.7602  # area under the curve of two such distributions: Phi(1 / sqrt(2))
    held = 0
    for seed in range(60):
        scores, labels, _ = sample(seed, rows=300)
        interval = bootstrap_intervals(scores, labels, seed=seed)[AUC_ROC]
        held += interval.low <= truth <= interval.high
    assert 51 <= held <= 60


def test_rows_of_few_customers_tell_less_than_as_many_rows_of_many() -> None:
    scores, labels, _ = sample(0)
    alone = bootstrap_intervals(scores, labels)[AUC_ROC]
    places = np.lexsort((scores, labels)).argsort() // 30
    owners = np.asarray([f"c{place}" for place in places], dtype=object)
    together = bootstrap_intervals(scores, labels, customers=owners)[AUC_ROC]
    assert together.high - together.low > 1.5 * (alone.high - alone.low)


def test_card_precision_is_of_customers_who_are_drawn_again_and_again() -> None:
    scores, labels, customers = sample(2, rows=60)
    customers[::7] = None
    days = np.arange(60) // 20
    found = bootstrap_intervals(scores, labels, customers=customers, days=days, k=3, replicates=25, seed=5)
    # By hand: rows written out as often as their customer was drawn, each time with another name.
    names = [customer if customer is not None else f"alone {row}" for row, customer in enumerate(customers)]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    generator = np.random.default_rng(5)
    shares = []
    for _ in range(25):
        times = generator.multinomial(len(numbers), np.full(len(numbers), 1 / len(numbers)))
        rows = [
            (scores[row], labels[row], f"{name} {copy}", days[row])
            for row, name in enumerate(names)
            for copy in range(times[numbers[name]])
            if customers[row] is not None
        ]
        drawn, truth, who, when = (list(column) for column in zip(*rows, strict=True))
        shares.append(card_precision_at_k(drawn, truth, customers=who, days=when, k=3))
    interval = found["card_precision_at_3"]
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])))


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_labels_are_booleans_or_zeros_and_ones(truth: list[bool]) -> None:
    for kind in (bool, np.int8, np.int64, np.float32, np.uint8):
        assert as_labels(np.asarray(truth, dtype=kind)).tolist() == truth


@pytest.mark.parametrize(
    "values",
    [[0.0, float("nan"), 1.0], [-1, 1], ["0", "1"], [True, None], [[0, 1]], [0, 2], [0.5, 1.0]],
)
def test_other_labels_are_refused(values: list[Any]) -> None:
    with pytest.raises(TrainingDataError, match="expected labels that are booleans, or 0 and 1"):
        as_labels(values)


def test_a_figure_that_no_replicate_has_is_left_out() -> None:
    assert bootstrap_intervals([0.1, 0.2, 0.3], [False, False, False], threshold=0.5) == {}
