"""The generator: the same seed gives the same bytes, fraud stays near 0.8 %, dirt is what the plan says."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from warehouse.errors import InputError
from warehouse.ingest.reading.names import RawFormat, RawName
from warehouse.simulation.dirt import ADDED, KINDS, REASONS, Dirt
from warehouse.simulation.payments import Payments, draw_payments
from warehouse.simulation.simulate import SimulationResult, simulate
from warehouse.simulation.world import draw_customers, draw_merchants, find_reach

SMALL = {"customers": 60, "merchants": 120, "days": 12}
DAY_US = 86_400_000_000


def draw_world(*, customers: int, merchants: int, days: int, seed: int, spread: float = 0.0) -> Payments:
    rng = np.random.default_rng(seed)
    people, shops = draw_customers(customers, rng), draw_merchants(merchants, rng)
    return draw_payments(
        people,
        shops,
        find_reach(people, shops),
        days=days,
        start_us=0,
        label_delay_days=7,
        label_delay_spread=spread,
        rng=rng,
    )


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.csv.gz", "a.ndjson", "a.jsonl.zst"])
@pytest.mark.parametrize("dirt", [0.0, 0.05])
def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, name: str, dirt: float) -> None:
    first = simulate(tmp_path / "1" / name, **SMALL, seed=3, dirt=dirt)
    second = simulate(tmp_path / "2" / name, **SMALL, seed=3, dirt=dirt)
    other = simulate(tmp_path / "3" / name, **SMALL, seed=4, dirt=dirt)
    assert first.path.read_bytes() == second.path.read_bytes() != other.path.read_bytes()
    assert [path.name for path in (tmp_path / "1").iterdir()] == [name]


@pytest.mark.parametrize(
    ("customers", "merchants", "days"),
    [(1_000, 2_000, 120), (1_000, 2_000, 14), (5_000, 10_000, 10), (300, 5_000, 90), (4_000, 300, 30)],
)
def test_fraud_stays_near_eight_in_a_thousand(customers: int, merchants: int, days: int) -> None:
    payments = [
        draw_world(customers=customers, merchants=merchants, days=days, seed=seed) for seed in range(3)
    ]
    frauds = sum(int(world.is_fraud.sum()) for world in payments)
    rows = sum(world.event_us.size for world in payments)
    assert 0.0065 < frauds / rows < 0.0095
    assert rows / (3 * customers * days) == pytest.approx(2 * 0.97, rel=0.1)


def test_the_scenarios_are_the_published_ones() -> None:
    payments = draw_world(customers=1_000, merchants=2_000, days=120, seed=1)
    day = payments.event_us // DAY_US
    assert np.all(np.diff(payments.event_us) >= 0)
    # 1: every large amount is fraud, and nothing else of that kind
    honest = payments.scenario == 0
    assert payments.amount_minor[honest].max() <= 22_000
    assert payments.amount_minor[payments.scenario == 1].min() >= 22_000
    # 2: everything paid at a compromised merchant on a day is fraud
    marked = payments.scenario == 2
    keys = payments.merchant * 1_000 + day
    assert not honest[np.isin(keys, keys[marked])].any()
    # 3: about a third of a compromised customer's payments, about five times as large as honest ones
    multiplied = payments.scenario == 3
    struck = np.isin(payments.customer, payments.customer[multiplied])
    ratio = payments.amount_minor[multiplied].mean() / payments.amount_minor[struck & honest].mean()
    assert 4 < ratio < 6


def test_every_payment_has_a_label_known_after_a_week() -> None:
    payments = draw_world(customers=100, merchants=100, days=10, seed=1)
    assert np.all(payments.label_known_us - payments.event_us == 7 * DAY_US)
    spread = draw_world(customers=100, merchants=100, days=10, seed=1, spread=0.5)
    delay = (spread.label_known_us - spread.event_us) / DAY_US
    assert delay.min() > 0
    assert np.median(delay) == pytest.approx(7, rel=0.1)
    assert delay.std() > 2


@settings(max_examples=examples(60), deadline=None)
@given(customers=st.integers(1, 60), merchants=st.integers(1, 400), seed=st.integers(0, 10_000))
def test_reach_equals_the_plain_search(customers: int, merchants: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    people, shops = draw_customers(customers, rng), draw_merchants(merchants, rng)
    reach = find_reach(people, shops)
    radius = min(5 * np.sqrt(10_000 / merchants), 100)
    for number in range(customers):
        distance = (people.x[number] - shops.x) ** 2 + (people.y[number] - shops.y) ** 2
        near = np.flatnonzero(distance <= radius**2)
        expected = near if near.size else [np.argmin(distance)]
        first = reach.first[number]
        assert reach.merchants[first : first + reach.count[number]].tolist() == list(expected)


def test_a_clean_file_is_typed_and_in_order(tmp_path: Path) -> None:
    result = simulate(tmp_path / "a.parquet", **SMALL, start=date(2024, 2, 28))
    table = pq.read_table(result.path)
    assert table.num_rows == result.rows == result.payments
    assert table.schema.field("event_us").type == table.schema.field("amount_minor").type == pa.int64()
    assert pc.sum(table["is_fraud"]).as_py() == result.frauds
    assert pc.count_distinct(table["transaction_id"]).as_py() == result.rows
    event = table["event_us"].to_numpy()
    assert event.min() >= datetime(2024, 2, 28, tzinfo=UTC).timestamp() * 1e6
    assert np.all(np.diff(event) >= 0)
    assert table["ingested_us"].equals(table["event_us"])
    assert pc.min(table["latitude"]).as_py() >= 43
    assert pc.max(table["latitude"]).as_py() <= 51
    assert (result.dirt, result.quarantined, result.duplicates) == ({}, 0, 0)


def count_kinds(result: SimulationResult) -> dict[str, int]:
    return {row["values"]: row["counts"] for row in pc.value_counts(result.dirty_rows["kind"]).to_pylist()}


def test_dirt_is_counted_exactly_and_adds_to_the_clean_file(tmp_path: Path) -> None:
    clean = simulate(tmp_path / "clean.parquet", **SMALL, seed=5)
    dirty = simulate(tmp_path / "dirty.parquet", **SMALL, seed=5, dirt=0.1)
    added = {kind.value for kind in ADDED}
    assert dirty.payments == clean.payments
    assert dirty.frauds == clean.frauds
    assert dirty.rows == clean.rows + sum(count for kind, count in dirty.dirt.items() if kind in added)
    assert set(dirty.dirt) == {kind.value for kind in KINDS}
    assert sum(dirty.dirt.values()) == round(0.1 * clean.payments)
    assert max(dirty.dirt.values()) - min(dirty.dirt.values()) <= 1
    assert count_kinds(dirty) == dirty.dirt
    assert dirty.quarantined == sum(dirty.dirt[kind.value] for kind in REASONS)
    assert dirty.duplicates == dirty.dirt["duplicate"]


def test_each_kind_of_dirt_is_where_the_list_says(tmp_path: Path) -> None:
    result = simulate(tmp_path / "dirty.parquet", **SMALL, seed=5, dirt=0.2)
    rows = pq.read_table(result.path).to_pylist()
    for dirty in result.dirty_rows.to_pylist():
        row, kind = rows[dirty["row"] - 1], Dirt(dirty["kind"])
        assert row["transaction_id"] == dirty["transaction_id"]
        assert dirty["reason"] == REASONS.get(kind)
        assert (row["transaction_id"] is None) == (kind is Dirt.NULL_TRANSACTION_ID)
        assert (row["event_time"] is None) == (kind is Dirt.NULL_EVENT_TIME)
        assert (row["amount_minor"] is None) == (kind is Dirt.NULL_AMOUNT)
        assert (row["kind"] == "refund") == (kind is Dirt.REFUND)
        assert (row["note"] is not None) == (kind is Dirt.UNKNOWN_COLUMN)
        assert (row["amount_minor"] or "0").startswith("-") == (
            kind is Dirt.NEGATIVE_AMOUNT or row["amount_minor"] == "--"
        )
        if kind is Dirt.TIME_ZONE:
            assert not row["event_time"].endswith("Z")
        if kind is Dirt.LATE:
            event_us = datetime.fromisoformat(row["event_time"]).timestamp() * 1e6
            assert 3_600e6 <= row["ingested_us"] - event_us <= 3 * DAY_US


def test_a_time_in_another_zone_is_the_same_instant(tmp_path: Path) -> None:
    clean = pq.read_table(simulate(tmp_path / "clean.parquet", **SMALL, seed=5).path)
    instants = dict(zip(clean["transaction_id"].to_pylist(), clean["event_us"].to_pylist(), strict=True))
    result = simulate(tmp_path / "dirty.parquet", **SMALL, seed=5, dirt=0.2)
    rows = pq.read_table(result.path).to_pylist()
    abroad = [rows[row["row"] - 1] for row in result.dirty_rows.to_pylist() if row["kind"] == "time_zone"]
    offsets = set()
    for row in abroad:
        told = datetime.fromisoformat(row["event_time"])
        assert told.timestamp() * 1e6 == instants[row["transaction_id"]]
        offsets.add(told.utcoffset())
    minutes = {offset.total_seconds() / 60 % 60 for offset in offsets if offset is not None}
    assert minutes == {0, 30, 45}, "zones of whole, half and quarter hours"


def test_a_duplicate_follows_its_first_row_and_is_equal(tmp_path: Path) -> None:
    result = simulate(tmp_path / "dirty.parquet", **SMALL, seed=5, dirt=0.2)
    rows = pq.read_table(result.path).to_pylist()
    copies = [row for row in result.dirty_rows.to_pylist() if row["kind"] == "duplicate"]
    assert copies
    for copy in copies:
        places = [
            place
            for place, row in enumerate(rows, start=1)
            if row["transaction_id"] == copy["transaction_id"]
        ]
        assert places[-1] == copy["row"] > places[0]
        assert rows[places[0] - 1] == rows[places[-1] - 1]


def test_a_world_without_payments_is_a_file_without_rows(tmp_path: Path) -> None:
    for seed in range(50):
        result = simulate(tmp_path / "a.parquet", customers=1, merchants=1, days=1, seed=seed)
        if not result.rows:
            break
    assert pq.read_table(result.path).num_rows == 0
    text = simulate(tmp_path / "a.csv.gz", customers=1, merchants=1, days=1, seed=seed, dirt=0.5)
    assert gzip.decompress(text.path.read_bytes()).startswith(b"transaction_id,customer_id,")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"customers": 0}, "customers must be at least 1"),
        ({"merchants": -1}, "merchants must be at least 1"),
        ({"days": 0}, "days must be at least 1"),
        ({"seed": -1}, "seed must not be negative"),
        ({"dirt": 1.5}, "dirt must be a share"),
        ({"dirt": float("nan")}, "dirt must be a share"),
        ({"label_delay_days": -1.0}, "label_delay_days must be a number"),
        ({"label_delay_spread": float("inf")}, "label_delay_spread must be a number"),
        ({"start": date(1969, 12, 31)}, "1970 to 2099"),
        ({"start": date(2099, 12, 31)}, "1970 to 2099"),
    ],
)
def test_arguments_out_of_range_are_named(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(tmp_path / "a.parquet", **{**SMALL, **changed})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.txt", "a", "a.parquet.gz", "a.csv.bz2", "a.json"])
def test_an_ending_that_is_not_written_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=name):
        simulate(tmp_path / name, **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_endings_do_not_depend_on_case() -> None:
    assert RawName.parse(Path("A.CSV.GZ")).format is RawFormat.CSV
