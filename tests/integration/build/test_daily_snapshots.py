"""Profiles and risks equal a loop over everything, whatever threads, order of rows and days made."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.snapshot_oracle import DAY_US, HOUR_US, Oracle, Table
from tests.support.snapshot_sql import FEATURES, MODELS, SnapshotWarehouse, compile_snapshots

START_US = 1_700_006_400_000_000  # a midnight
DAYS = st.sampled_from([0, 1, 2, 5, 13, 14, 15, 28, 29, 30, 31, 59, 60, 89, 90, 91, 92, 104, 105])
TIMES_US = st.sampled_from([0, 1, 6 * HOUR_US - 1, 6 * HOUR_US, 12 * HOUR_US, 18 * HOUR_US, DAY_US - 1])
AMOUNTS = st.one_of(st.sampled_from([0, 1, 4, 11, 12, 10**12]), st.integers(1, 50_000))
DELAYS_US = st.sampled_from([1, DAY_US, 7 * DAY_US, 7 * DAY_US + 1, 14 * DAY_US, 31 * DAY_US, 100 * DAY_US])


@st.composite
def worlds(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    transactions, labels = [], []
    for number in range(draw(st.integers(1, 25))):
        event_us = START_US + draw(DAYS) * DAY_US + draw(TIMES_US)
        transactions.append(
            {
                "transaction_id": f"t{number}",
                "customer_id": draw(st.sampled_from(["c1", "c1", "c2", "c3", None])),
                "merchant_id": draw(st.sampled_from(["m1", "m1", "m2", None])),
                "category": draw(st.sampled_from(["food", "fuel", None])),
                "event_us": event_us,
                "amount_minor": draw(AMOUNTS),
            }
        )
        known_us = event_us
        for _ in range(draw(st.integers(0, 3))):
            known_us += draw(DELAYS_US)
            labels.append(label(f"t{number}", known_us, is_fraud=draw(st.booleans())))
    return transactions, labels


def label(transaction_id: str, known_us: int, *, is_fraud: bool) -> dict[str, Any]:
    return {
        "transaction_id": transaction_id,
        "is_fraud": is_fraud,
        "known_us": known_us,
        "source": "file",
        "batch": "000001-x",
    }


def busy_world(seed: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Draw some thousand payments, so that engines work with several threads and vectors."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    transactions, labels = [], []
    for number in range(4_000):
        event_us = START_US + draw.randrange(130 * DAY_US)
        transactions.append(
            {
                "transaction_id": f"t{number}",
                "customer_id": f"c{draw.randrange(40)}",
                "merchant_id": f"m{draw.randrange(30)}",
                "category": draw.choice(["food", "fuel", "fun", "travel", None]),
                "event_us": event_us,
                "amount_minor": int(draw.lognormvariate(8, 1)),
            }
        )
        known_us = event_us + 7 * DAY_US
        is_fraud = draw.random() < 0.1
        labels.append(label(f"t{number}", known_us, is_fraud=is_fraud))
        if is_fraud and draw.random() < 0.2:
            labels.append(label(f"t{number}", known_us + 5 * DAY_US, is_fraud=False))
    return transactions, labels


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return compile_snapshots(tmp_path_factory.mktemp("compiled"))


def assert_same(computed: Table, expected: Table) -> None:
    assert set(computed) == set(expected)
    for key, row in expected.items():
        assert set(computed[key]) == set(row)
        for name, value in row.items():
            if "entropy" in name and value is not None:
                # the logarithm differs between libraries in its last bit
                assert computed[key][name] == pytest.approx(value, abs=1e-12), (key, name)
            else:
                assert computed[key][name] == value, (key, name)


@hypothesis_settings(
    max_examples=examples(40),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(world=worlds())
def test_snapshots_are_what_a_loop_over_everything_says(
    texts: dict[str, str], world: tuple[list[dict[str, Any]], list[dict[str, Any]]]
) -> None:
    oracle = Oracle(*world)
    warehouse = SnapshotWarehouse(texts, *world)
    try:
        profiles = oracle.profiles()
        assert_same(warehouse.by_key("features/feat_customer_profile"), profiles)
        assert_same(warehouse.by_key("features/feat_merchant_risk"), oracle.merchant_risk(profiles))
        assert_same(warehouse.by_key("features/feat_category_risk"), oracle.risk("category", "category_risk"))
    finally:
        warehouse.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_neither_threads_nor_the_order_of_rows_change_a_bit(texts: dict[str, str], seed: int) -> None:
    transactions, labels = busy_world(seed)
    first = SnapshotWarehouse(texts, transactions, labels)
    order = random.Random(seed)  # noqa: S311 - no secret
    order.shuffle(transactions)
    order.shuffle(labels)
    second = SnapshotWarehouse(texts, transactions, labels, threads=4)
    try:
        for name in FEATURES:
            assert len(first.rows(name)) > 200
            assert first.rows(name) == second.rows(name)
    finally:
        first.close()
        second.close()


def test_a_range_of_days_gives_the_rows_of_all_days(texts: dict[str, str]) -> None:
    warehouse = SnapshotWarehouse(texts, *busy_world(3))
    try:
        start = START_US // DAY_US
        whole = {name: warehouse.rows(name) for name in FEATURES}
        # whether a fraud was explained is known from the profiles of its own time
        due = set(MODELS) - {"intermediate/int_snapshot_days", "intermediate/int_frauds__explained"}
        for days in (range(start, start + 40), range(start + 100, start + 103), [start + 129]):
            warehouse.run(due, only_days=days)
            stamps = {(day + 1) * DAY_US + 6 * HOUR_US for day in days}
            for name in FEATURES:
                assert warehouse.rows(name) == [row for row in whole[name] if row[1] in stamps], name
    finally:
        warehouse.close()


def test_later_rows_change_no_earlier_snapshot(texts: dict[str, str]) -> None:
    transactions, labels = busy_world(4)
    cut_us = START_US + 80 * DAY_US
    early = [row for row in transactions if row["event_us"] < cut_us]
    known = [row for row in labels if row["known_us"] < cut_us]
    short = SnapshotWarehouse(texts, early, known)
    long = SnapshotWarehouse(texts, transactions, labels)
    try:
        for name in FEATURES:
            assert short.rows(name) == [row for row in long.rows(name) if row[1] <= cut_us + 6 * HOUR_US]
    finally:
        short.close()
        long.close()
