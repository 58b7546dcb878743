"""What is replayed, in which order, how fast, and when the day's snapshots are due."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cbp.proof.traffic.sending import Pace, daily_instants
from cbp.proof.traffic.stream import Stream, in_sample, read_stream
from warehouse.canonical import LABEL_SCHEMA, TRANSACTION_SCHEMA
from warehouse.errors import InputError
from warehouse.landing.batches import publish_batch
from warehouse.settings import Settings
from warehouse.times import DAY_US

MONDAY_US = 17_623 * DAY_US


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"CBP_HOME": str(tmp_path)})


def transactions_of(*rows: tuple[str, int, int], amount: int = 1) -> pa.Table:
    """Make transactions of id, event_us and ingested_us."""
    blank = dict.fromkeys(TRANSACTION_SCHEMA.names)
    return pa.Table.from_pylist(
        [
            blank
            | {
                "transaction_id": name,
                "customer_id": "c",
                "event_us": event_us,
                "ingested_us": ingested_us,
                "amount_minor": amount,
                "attributes_number": [],
                "attributes_text": [],
                "source": "file",
                "source_order": order,
            }
            for order, (name, event_us, ingested_us) in enumerate(rows, 1)
        ],
        schema=TRANSACTION_SCHEMA,
    )


def land(settings: Settings, name: str, transactions: pa.Table) -> None:
    def write(folder: Path) -> None:
        pq.write_table(transactions, folder / "transactions.parquet")
        pq.write_table(LABEL_SCHEMA.empty_table(), folder / "labels.parquet")
        (folder / "report.json").write_text(json.dumps({"source": "test"}), encoding="utf-8")

    publish_batch(settings, name, write=write)


def test_history_is_in_the_order_in_which_it_became_known(settings: Settings) -> None:
    late = ("late", MONDAY_US + 1, MONDAY_US + 9)
    first = transactions_of(("old", 1, 2), late, ("b", MONDAY_US + 5, MONDAY_US + 5))
    land(settings, "file-1", first)
    land(settings, "file-2", transactions_of(("a", MONDAY_US + 5, MONDAY_US + 5), late, amount=7))
    stream = read_stream(settings, from_us=MONDAY_US, to_us=None)
    assert stream.replayed()["transaction_id"].to_pylist() == ["a", "b", "late"]
    assert stream.replayed()["amount_minor"].to_pylist() == [7, 1, 1], "what landed first counts"
    assert stream.to_us == MONDAY_US + DAY_US


def test_a_row_dated_in_the_future_does_not_say_where_history_ends(settings: Settings) -> None:
    far_us = 4_000_000_000_000_000
    rows = (
        ("before", MONDAY_US - 1, MONDAY_US - 1),
        ("sent", MONDAY_US, MONDAY_US),
        ("ahead", far_us, far_us),
    )
    land(settings, "first", transactions_of(*rows))
    stream = read_stream(settings, from_us=MONDAY_US, to_us=None)
    assert stream.to_us == MONDAY_US + DAY_US
    assert stream.replayed()["transaction_id"].to_pylist() == ["sent"]


@pytest.mark.parametrize(("from_us", "to_us"), [(0, None), (MONDAY_US + 1, None), (MONDAY_US, MONDAY_US)])
def test_nothing_before_or_nothing_between_is_refused(
    settings: Settings, from_us: int, to_us: int | None
) -> None:
    land(settings, "file", transactions_of(("old", 1, 1), ("new", MONDAY_US, MONDAY_US)))
    with pytest.raises(InputError, match="before --from and others between"):
        read_stream(settings, from_us=from_us, to_us=to_us)


def test_a_home_without_data_is_refused(settings: Settings) -> None:
    with pytest.raises(InputError, match="cbp ingest"):
        read_stream(settings, from_us=0, to_us=None)


def test_a_sample_has_all_of_a_customer_or_none_and_grows_with_its_share() -> None:
    customers = [f"c{number % 300}" for number in range(900)]
    table = pa.table({"customer_id": customers, "transaction_id": [str(number) for number in range(900)]})
    few, more = in_sample(table, 0.2), in_sample(table, 0.5)
    assert (few <= more).all()
    assert (few.reshape(3, 300) == few[:300]).all()
    assert few.mean() == pytest.approx(0.2, abs=0.08)
    assert in_sample(table, 1.0).all()


def test_snapshots_are_due_once_a_day_between_start_and_end() -> None:
    empty = TRANSACTION_SCHEMA.empty_table()
    six_us = DAY_US // 4
    stream = Stream(MONDAY_US, MONDAY_US + 2 * DAY_US, empty, LABEL_SCHEMA.empty_table())
    assert daily_instants(stream, offset_us=six_us) == [MONDAY_US + six_us, MONDAY_US + DAY_US + six_us]
    assert daily_instants(stream, offset_us=0) == [MONDAY_US + DAY_US], "what was due at the start is there"


def test_speed_is_replayed_seconds_in_a_second() -> None:
    started = time.monotonic()
    pace = Pace(MONDAY_US, 100.0)
    pace.wait_for(MONDAY_US + 10 * 1_000_000)
    assert 0.1 <= time.monotonic() - started < 5
    come_to_us = pace.come_to_us()
    assert come_to_us is not None
    assert come_to_us >= MONDAY_US + 10 * 1_000_000
    unhurried = Pace(MONDAY_US, None)
    unhurried.wait_for(MONDAY_US + DAY_US)
    assert unhurried.come_to_us() is None
