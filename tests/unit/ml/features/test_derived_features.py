"""Derived features that put into numbers what another declaration says agree with it."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from warehouse.velocity.declarations import read_variables

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
VARIABLES = read_variables()
SQL = {feature["name"]: feature["sql"] for feature in VARIABLES["derived_features"]}
PARTS: dict[str, list[int]] = VARIABLES["parts_of_day"]


def derived(name: str, values: dict[str, float | int]) -> float:
    """Compute one derived feature of a row."""
    row = duckdb.from_arrow(pa.Table.from_pylist([values])).project(SQL[name]).fetchone()
    assert row is not None
    return float(row[0])


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_the_day_begins_and_ends_where_it_is_declared(part: str) -> None:
    shares = {f"profile_{name}_share_90d": float(number) for number, name in enumerate(PARTS)}
    start, end = PARTS[part]
    for time_us in (start * HOUR_US, end * HOUR_US - 1):
        for day in (0, 20_000):
            row = {"event_us": day * DAY_US + time_us, **shares}
            assert derived("part_of_day_share_profile_90d", row) == shares[f"profile_{part}_share_90d"]


@pytest.mark.parametrize("day", range(7))
def test_a_weekend_is_saturday_and_sunday(day: int) -> None:
    # 1970-01-01 was a Thursday
    share = 0.25 if day in (2, 3) else 0.75
    for time_us in (day * DAY_US, (day + 1) * DAY_US - 1, (day + 70_001) * DAY_US - 1):
        row = {"event_us": time_us, "profile_weekend_share_90d": 0.25}
        assert derived("part_of_week_share_profile_90d", row) == share
