"""Amounts and times read by SQL, against Python's decimals and datetimes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from warehouse.canonical import MAX_AMOUNT_MINOR
from warehouse.errors import InputError, MappingError
from warehouse.ingest.mapping.rules import TimeRule
from warehouse.ingest.mapping.values import (
    RawColumn,
    is_negative,
    read_amount,
    read_text,
    read_time,
    read_time_text,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("set TimeZone = 'UTC'")
        yield opened


def evaluate(
    connection: duckdb.DuckDBPyConnection, sql: str, value: object, *, text: str, type_name: str = "VARCHAR"
) -> Any:
    query = f"select {sql} from (select *, {text} as text from (select cast(? as {type_name}) as value))"  # noqa: S608
    return connection.execute(query, [value]).fetchall()[0][0]


def read_one_amount(
    connection: duckdb.DuckDBPyConnection, value: object, *, places: int, type_name: str = "VARCHAR"
) -> int | None:
    column = RawColumn("amount", "value", type_name)
    sql = read_amount(column, places=places, text="text")
    amount: int | None = evaluate(connection, sql, value, text=read_text(column), type_name=type_name)
    return amount


def read_one_time(
    connection: duckdb.DuckDBPyConnection, value: object, rule: TimeRule, *, type_name: str = "VARCHAR"
) -> int | None:
    column = RawColumn("time", "value", type_name)
    sql = read_time(column, rule, text="text")
    time: int | None = evaluate(connection, sql, value, text=read_time_text(column), type_name=type_name)
    return time


def expect_amount(text: str, *, places: int) -> int | None:
    if not NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    return None if number < 0 else int(number.scaleb(places).quantize(Decimal(1), rounding=ROUND_HALF_UP))


amounts = st.decimals(min_value=0, max_value=10**10, places=2).map(str) | st.from_regex(
    r"\A[+-]?[0-9]{0,11}[.]?[0-9]{0,12}\Z"
)


@settings(max_examples=examples(500), deadline=None)
@given(text=amounts, places=st.sampled_from([0, 1, 2, 3, 4]))
@example(text="0.005", places=2)
@example(text="0.0049999999999999", places=2)
@example(text="-0.00", places=2)
@example(text="-0.001", places=2)
@example(text="+.5", places=0)
@example(text="007.10", places=2)
@example(text="1e2", places=2)
@example(text="12,34", places=2)
@example(text="1_000", places=2)
@example(text="0x10", places=2)
@example(text="Infinity", places=2)
@example(text="nan", places=2)
def test_an_amount_is_rounded_on_its_digits(
    connection: duckdb.DuckDBPyConnection, text: str, places: int
) -> None:
    found, expected = read_one_amount(connection, text, places=places), expect_amount(text, places=places)
    if expected is not None and expected > MAX_AMOUNT_MINOR:
        assert found is None or found > MAX_AMOUNT_MINOR
    else:
        assert found == expected


@settings(max_examples=examples(500), deadline=None)
@given(amount=st.floats(min_value=0, max_value=1e9) | st.decimals(0, 10**9, places=2).map(float))
@example(amount=0.285)
@example(amount=1.005)
@example(amount=-0.0)
@example(amount=1e-9)
def test_a_float_is_read_as_its_shortest_decimal(
    connection: duckdb.DuckDBPyConnection, amount: float
) -> None:
    expected = expect_amount(repr(abs(amount)), places=2)
    if abs(Decimal(repr(amount)) * 100 % 1 - Decimal("0.5")) > Decimal("1e-9"):
        assert read_one_amount(connection, amount, places=2, type_name="DOUBLE") == expected


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), -1.0, -0.01, 1e30])
def test_a_float_that_is_no_amount_is_null(connection: duckdb.DuckDBPyConnection, amount: float) -> None:
    found = read_one_amount(connection, amount, places=2, type_name="DOUBLE")
    assert found is None or found > 10**12


@pytest.mark.parametrize(
    ("amount", "expected"), [(0, 0), (5, 500), (-1, None), (10**12, 10**14), (10**13, None)]
)
def test_whole_numbers_are_amounts_too(
    connection: duckdb.DuckDBPyConnection, amount: int, expected: int | None
) -> None:
    assert read_one_amount(connection, amount, places=2, type_name="BIGINT") == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("-1", True), ("-0", False), ("-0.00", False), ("-.01", True), ("1", False)]
)
def test_minus_zero_is_not_negative(connection: duckdb.DuckDBPyConnection, text: str, expected: bool) -> None:
    assert evaluate(connection, is_negative("text"), text, text="value") is expected


moments = st.integers(86_400 * 10**6, 4_102_358_400 * 10**6).map(
    lambda us: EPOCH + timedelta(microseconds=us)
)


def to_us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


@settings(max_examples=examples(300), deadline=None)
@given(
    moment=moments,
    minutes=st.integers(-14 * 60, 14 * 60),
    separator=st.sampled_from(["T", " ", "t"]),
    spec=st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_iso_times_are_instants(
    connection: duckdb.DuckDBPyConnection, moment: datetime, minutes: int, separator: str, spec: str
) -> None:
    unit = {"seconds": 10**6, "milliseconds": 10**3, "microseconds": 1}[spec]
    expected = to_us(moment) // unit * unit
    text = moment.astimezone(timezone(timedelta(minutes=minutes))).isoformat(separator, spec)
    rule = TimeRule(column="time", format="iso")
    assert read_one_time(connection, text, rule) == expected
    assert (
        read_one_time(connection, moment.isoformat(separator, spec).replace("+00:00", "z"), rule) == expected
    )


@pytest.mark.parametrize(
    "text",
    [
        "2018-04-01", "2018-04-01T10:00:00", "2018-04-01T24:00:00Z", "2018-04-01T10:60:00Z",
        "2018-02-29T10:00:00Z", "2018-04-01T10:00:00+15:00", "2018-04-01T10:00:00 Europe/Berlin",
        "infinity", "epoch", "now", "1522540831", "2018-04-01T10:00:60Z", "18-04-01T10:00:00Z",
        "2018-4-1T10:00:00Z",
    ],
)  # fmt: skip
def test_what_is_no_instant_is_null(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    assert read_one_time(connection, text, TimeRule(column="time", format="iso")) is None


@settings(max_examples=examples(200), deadline=None)
@given(moment=moments, zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"]))
def test_wall_clock_times_are_read_in_their_zone(
    connection: duckdb.DuckDBPyConnection, moment: datetime, zone: str
) -> None:
    local = moment.astimezone(ZoneInfo(zone))
    if local.fold or local.replace(fold=1).utcoffset() != local.utcoffset():
        return  # an hour that comes twice or never
    text = local.replace(tzinfo=None).isoformat(" ")
    rule = TimeRule(column="time", format="iso", zone=zone)
    assert read_one_time(connection, text, rule) == to_us(moment)
    assert read_one_time(connection, text, rule, type_name="TIMESTAMP") == to_us(moment)
    assert read_one_time(connection, moment.isoformat(), rule) == to_us(moment)


@settings(max_examples=examples(300), deadline=None)
@given(number=st.decimals(-(10**9), 4 * 10**9, places=9), unit=st.sampled_from(["s", "ms", "us", "ns"]))
def test_counts_are_cut_to_microseconds(
    connection: duckdb.DuckDBPyConnection, number: Decimal, unit: str
) -> None:
    places = {"s": 6, "ms": 3, "us": 0, "ns": -3}[unit]
    rule = TimeRule.model_validate({"column": "time", "unit": unit})
    found = read_one_time(connection, str(number), rule)
    if number >= 0:
        assert found == int(number.scaleb(places).quantize(Decimal(1), rounding=ROUND_FLOOR))
    else:
        assert found is not None
        assert found <= 0


def test_counts_may_start_elsewhere(connection: duckdb.DuckDBPyConnection) -> None:
    rule = TimeRule.model_validate({"column": "time", "unit": "s", "origin": "2013-09-01T00:00:00Z"})
    expected = to_us(datetime(2013, 9, 2, tzinfo=UTC))
    assert read_one_time(connection, "86400", rule) == expected
    assert read_one_time(connection, "8.64e4", rule) == expected
    assert read_one_time(connection, 86400.0, rule, type_name="DOUBLE") == expected


def test_patterns_are_read(connection: duckdb.DuckDBPyConnection) -> None:
    local = TimeRule(column="time", format="%d/%m/%Y %H:%M", zone="Europe/Berlin")
    assert read_one_time(connection, "01/07/2018 12:30", local) == to_us(
        datetime(2018, 7, 1, 10, 30, tzinfo=UTC)
    )
    assert read_one_time(connection, "2018-07-01", local) is None
    offset = TimeRule(column="time", format="%Y%m%d%H%M%S%z")
    assert read_one_time(connection, "20180701123000+0200", offset) == to_us(
        datetime(2018, 7, 1, 10, 30, tzinfo=UTC)
    )


def test_a_type_that_does_not_fit_is_named() -> None:
    with pytest.raises(InputError, match=r"column a has type DOUBLE\[\]: expected text"):
        read_text(RawColumn("a", "value", "DOUBLE[]"))
    with pytest.raises(InputError, match="column t has type BOOLEAN: expected a number of us"):
        read_time(RawColumn("t", "value", "BOOLEAN"), TimeRule(column="t", unit="us"), text="text")
    with pytest.raises(InputError, match="column t has type BIGINT: the mapping expects a time as text"):
        read_time(RawColumn("t", "value", "BIGINT"), TimeRule(column="t", format="iso"), text="text")
    with pytest.raises(MappingError, match="add the zone"):
        read_time(RawColumn("t", "value", "TIMESTAMP"), TimeRule(column="t", format="iso"), text="text")


@pytest.mark.parametrize(
    ("value", "type_name", "expected"),
    [
        (596.0, "DOUBLE", "596"), (0.5, "DOUBLE", "0.5"), ("  a ", "VARCHAR", "a"), ("  ", "VARCHAR", None),
        (7, "TINYINT", "7"), (True, "BOOLEAN", "true"), (None, "DOUBLE", None),
        (float("nan"), "DOUBLE", "nan"),
    ],
)  # fmt: skip
def test_ids_become_text(
    connection: duckdb.DuckDBPyConnection, value: object, type_name: str, expected: str | None
) -> None:
    sql = read_text(RawColumn("id", "value", type_name))
    assert evaluate(connection, sql, value, text="value", type_name=type_name) == expected
