"""Which rows train and test: the published counts, and labels that count only from when they are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from ml.errors import TrainingDataError
from ml.rows.protocols import Split, split_rows, with_whole_history
from warehouse.errors import MappingError
from warehouse.settings import PROJECT_ROOT
from warehouse.times import DAY_US

HANDBOOK = PROJECT_ROOT.parent / "shared" / "data" / "handbook_transactions.parquet"
LATEST = {"name": "latest"}


SCHEMA = pa.schema(
    [
        ("transaction_id", pa.string()),
        ("customer_id", pa.string()),
        ("event_us", pa.int64()),
        ("is_fraud", pa.bool_()),
        ("label_known_us", pa.int64()),
    ]
)


SUPERSEDED_SCHEMA = pa.schema(
    [
        ("transaction_id", pa.string()),
        ("is_fraud", pa.bool_()),
        ("known_us", pa.int64()),
        ("superseded_us", pa.int64()),
    ]
)


def world(
    rows: list[tuple[str, str | None, int, bool | None, int | None]],
    superseded: Sequence[tuple[str, bool, int, int]] = (),
) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("create schema marts")
    for name, schema, values in (
        ("fct_transactions", SCHEMA, rows),
        ("fct_superseded_labels", SUPERSEDED_SCHEMA, superseded),
    ):
        named = [dict(zip(schema.names, row, strict=True)) for row in values]
        connection.register("named", pa.Table.from_pylist(named, schema))
        connection.execute(f"create table marts.{name} as from named")
    return connection


def daily(
    days: int, *, per_day: int = 20, delay_days: int = 7, first_day: int = 17_000
) -> list[tuple[str, str | None, int, bool | None, int | None]]:
    """Make days of evenly spread payments; every tenth is a fraud; labels are known after the delay."""
    rows: list[tuple[str, str | None, int, bool | None, int | None]] = []
    for number in range(days * per_day):
        event_us = first_day * DAY_US + number * (DAY_US // per_day)
        known_us = event_us + delay_days * DAY_US
        rows.append((f"t{number:05d}", f"c{number % 7}", event_us, number % 10 == 3, known_us))
    return rows


def split(rows: list[Any], superseded: Sequence[Any] = (), **options: Any) -> Split:
    return split_rows(world(rows, superseded), **{"protocol": LATEST, **options})


def part(found: Split, name: str) -> list[dict[str, Any]]:
    return [row for row in found.rows.to_pylist() if row["part"] == name]


@pytest.mark.skipif(not HANDBOOK.exists(), reason="the handbook's data is not in ../shared/data")
def test_the_handbooks_split_has_the_published_counts() -> None:
    connection = world([])
    connection.execute("set timezone = 'UTC'")
    connection.read_parquet(str(HANDBOOK)).create_view("raw")
    connection.execute(
        "insert into marts.fct_transactions by name select transaction_id::varchar as transaction_id, "
        "customer_id::varchar as customer_id, epoch_us(tx_datetime) as event_us, tx_fraud = 1 as is_fraud, "
        "epoch_us(tx_datetime) + 7 * 86400000000 as label_known_us from raw"
    )
    found = split_rows(connection, protocol={"name": "handbook"})
    counts = {
        name: (len(rows), sum(row["is_fraud"] for row in rows))
        for name in ("train", "test")
        for rows in [part(found, name)]
    }
    assert counts == {"train": (67_240, 598), "test": (58_264, 385)}
    assert all(row["is_fraud"] is None for row in part(found, "calibration"))


@pytest.mark.parametrize("name", ["latest", "handbook", "ulb"])
def test_with_its_whole_history_a_protocol_tests_the_same_and_trains_on_all_before(name: str) -> None:
    # From 2018-06-18 on, each payment by a customer of its own: none is known to be compromised.
    rows = [(row[0], row[0], *row[2:]) for row in daily(40, first_day=17_700)]
    protocol = {
        "latest": {"name": name, "train_days": 5},
        "handbook": {"name": name, "train_start": "2018-07-10"},
    }
    plain = split(rows, protocol=protocol.get(name, {"name": name}))
    whole = split(rows, protocol=with_whole_history(protocol.get(name, {"name": name})))
    assert part(whole, "test") == part(plain, "test")
    known = [row[0] for row in rows if row[4] is not None and row[4] <= whole.windows.test_start_us]
    trained = {row["transaction_id"] for row in part(whole, "train")}
    assert trained >= {row["transaction_id"] for row in part(plain, "train")}
    if name != "ulb":  # which trains on all of its first share in any case
        assert trained == {name for name in known if name <= max(trained)}
        assert "t00000" in trained


def test_labels_of_training_rows_were_known_when_the_test_began() -> None:
    rows = daily(40)
    found = split(rows)
    known = {row[0]: row[4] for row in rows}
    test_start_us = found.windows.test_start_us
    assert all(row["label_known_us"] == known[row["transaction_id"]] for row in part(found, "train"))
    assert all(known[row["transaction_id"]] <= test_start_us for row in part(found, "train"))
    assert all(row["event_us"] >= test_start_us for row in part(found, "test"))


def test_a_correction_that_came_later_changes_nothing() -> None:
    rows = daily(40)
    before = split(rows)
    corrected_us = before.windows.as_of_us
    assert corrected_us is not None
    # Each label turns round after the present, and again after that.
    turned = [
        *((name, is_fraud, known_us, corrected_us + 1) for name, _, _, is_fraud, known_us in rows),
        *((name, not is_fraud, corrected_us + 1, corrected_us + 2) for name, _, _, is_fraud, _ in rows),
    ]
    latest = [(*row[:4], corrected_us + 2) for row in rows]
    after = split(latest, turned)
    assert after.windows == before.windows
    assert after.rows == before.rows


def test_a_row_trains_with_the_label_that_stood_when_the_test_began() -> None:
    rows = daily(40)
    test_start_us = split(rows).windows.test_start_us
    corrected = {"t00003": test_start_us, "t00013": test_start_us + 1, "t00023": test_start_us - 1}
    known = {row[0]: row[4] for row in rows}
    superseded = [(name, True, known[name], at_us) for name, at_us in corrected.items()]
    cleared = [(*row[:3], False, corrected[row[0]]) if row[0] in corrected else row for row in rows]
    trained = {row["transaction_id"]: row for row in part(split(cleared, superseded), "train")}
    assert {name: trained[name]["is_fraud"] for name in corrected} == {
        "t00003": False,
        "t00013": True,
        "t00023": False,
    }
    assert trained["t00013"]["label_known_us"] == known["t00013"]
    assert trained["t00003"]["label_known_us"] == test_start_us


def test_the_latest_split_ends_where_labels_stop_being_known() -> None:
    rows = daily(40)
    found = split(rows)
    last_day = rows[-1][2] // DAY_US
    # of the day a week before the last event all but the last hour is known: complete enough to count
    assert found.windows.test_end_us == (last_day - 7 + 1) * DAY_US
    assert found.windows.test_start_us == found.windows.test_end_us - 7 * DAY_US
    assert found.windows.train_end_us == found.windows.test_start_us - 7 * DAY_US
    assert {row["event_us"] // DAY_US for row in part(found, "calibration")} == set(
        range(found.windows.train_end_us // DAY_US, found.windows.test_start_us // DAY_US)
    )


def test_an_earlier_present_knows_fewer_labels() -> None:
    rows = daily(60)
    as_of_us = rows[0][2] + 40 * DAY_US
    found = split(rows, as_of_us=as_of_us)
    known = {row[0]: row[4] for row in rows}
    assert found.windows.as_of_us == as_of_us
    assert all(known[row["transaction_id"]] <= as_of_us for row in part(found, "test"))
    assert found.windows.test_end_us <= as_of_us


def test_days_of_which_only_frauds_are_reported_do_not_count() -> None:
    rows: list[Any] = [
        (name, customer, event_us, is_fraud, event_us + DAY_US if is_fraud else known_us)
        for name, customer, event_us, is_fraud, known_us in daily(40)
    ]
    assert split(rows).windows == split(daily(40)).windows


def test_training_takes_the_newest_days_only() -> None:
    found = split(daily(60), protocol={"name": "latest", "train_days": 10, "test_days": 3})
    days = {row["event_us"] // DAY_US for row in part(found, "train")}
    assert len(days) == 10
    assert max(days) == found.windows.train_end_us // DAY_US - 1
    assert len({row["event_us"] // DAY_US for row in part(found, "test")}) == 3


def test_without_delay_no_days_lie_between() -> None:
    found = split(daily(40, delay_days=0))
    assert found.windows.train_end_us == found.windows.test_start_us
    assert not part(found, "calibration")


def test_a_share_of_the_rows_by_time_trains() -> None:
    rows = daily(5, delay_days=0, per_day=100)
    found = split(rows, protocol={"name": "ulb", "train_share": 0.8})
    assert (len(part(found, "train")), len(part(found, "test"))) == (399, 101)
    newest, oldest = (
        max(row["event_us"] for row in part(found, "train")),
        min(row["event_us"] for row in part(found, "test")),
    )
    assert newest < oldest
    assert not part(found, "calibration")


def test_rows_of_the_same_time_are_not_parted() -> None:
    rows = [(*row[:2], row[2] // DAY_US * DAY_US, row[3], 0) for row in daily(10, per_day=100)]
    found = split(rows, protocol={"name": "ulb", "train_share": 0.85})
    assert (len(part(found, "train")), len(part(found, "test"))) == (800, 200)


def test_rows_come_in_order_of_time() -> None:
    rows = daily(40)
    shuffled = [rows[index] for index in np.random.default_rng(0).permutation(len(rows))]
    times = split(shuffled).rows.column("event_us").to_pylist()
    assert times == sorted(times)


def handbook_world(**frauds: int) -> list[Any]:
    """Make three weeks and a day; customer x has frauds on the named days (0 is the first of training)."""
    rows = daily(22, per_day=40)
    first_us = rows[0][2]
    for number, (_, day) in enumerate(sorted(frauds.items())):
        event_us = first_us + day * DAY_US + 12 * 3_600_000_000
        rows.append((f"x{number}", "x", event_us, True, event_us + 7 * DAY_US))
    for day in range(14, 21):
        event_us = first_us + day * DAY_US + 6 * 3_600_000_000
        rows.append((f"test-{day}", "x", event_us, False, event_us + 7 * DAY_US))
    return [(*row[:1], f"{row[1]}{row[0]}" if row[1] != "x" else "x", *row[2:]) for row in rows]


@pytest.mark.parametrize(
    ("fraud_day", "days_left"),
    [(-1, 7), (0, 0), (6, 0), (7, 1), (12, 6), (13, 7), (15, 7)],
)
def test_a_customer_is_dropped_from_the_day_after_the_fraud_became_known(
    fraud_day: int, days_left: int
) -> None:
    rows = handbook_world(on=fraud_day)
    protocol = {"name": "handbook", "train_start": "2016-07-18"}
    assert rows[0][2] == 17_000 * DAY_US
    found = split(rows, protocol=protocol)
    left = [row for row in part(found, "test") if row["transaction_id"].startswith("test-")]
    assert len(left) == days_left


@pytest.mark.parametrize(("cleared_day", "days_left"), [(13, 7), (14, 6), (16, 4), (18, 2)])
def test_a_customer_is_back_the_day_after_the_fraud_was_cleared(cleared_day: int, days_left: int) -> None:
    rows = handbook_world(on=0)
    cleared_us = rows[0][2] + cleared_day * DAY_US
    superseded = [(row[0], True, row[4], cleared_us) for row in rows if row[0] == "x0"]
    rows = [(*row[:3], False, cleared_us) if row[0] == "x0" else row for row in rows]
    found = split(rows, superseded, protocol={"name": "handbook", "train_start": "2016-07-18"})
    left = [row for row in part(found, "test") if row["transaction_id"].startswith("test-")]
    assert len(left) == days_left


@pytest.mark.parametrize(
    "protocol",
    [
        {"name": "unknown"},
        {},
        {"name": 3},
        {"name": "latest", "train_start": "2018-07-25"},
        {"name": "latest", "train_days": 0},
        {"name": "latest", "train_days": True},
        {"name": "latest", "test_days": 1.5},
        {"name": "handbook", "train_start": "in July"},
        {"name": "ulb", "train_share": 1},
        {"name": "ulb", "train_share": 1.0},
        {"name": "ulb", "train_share": "0.8"},
    ],
)
def test_a_malformed_protocol_is_refused(protocol: dict[str, Any]) -> None:
    with pytest.raises(MappingError):
        split(daily(20), protocol=protocol)


def test_no_rows_are_refused() -> None:
    with pytest.raises(TrainingDataError, match="got none"):
        split([])


def test_no_known_labels_are_refused() -> None:
    with pytest.raises(TrainingDataError, match="ingest more labelled history"):
        split([(*row[:3], None, None) for row in daily(20)])


def test_too_short_a_history_is_refused() -> None:
    with pytest.raises(TrainingDataError, match="ingest more labelled history"):
        split(daily(17))


@pytest.mark.parametrize("only", [True, False])
def test_one_class_only_is_refused(only: bool) -> None:
    with pytest.raises(TrainingDataError, match="frauds and"):
        split([(*row[:3], only, row[4]) for row in daily(40)])
