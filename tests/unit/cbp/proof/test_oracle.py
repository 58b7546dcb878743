"""The replay's oracle beside plain Python: every operation, ties, window edges, late arrivals, nulls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cbp.proof.comparison.oracle import arrived_events, compare_with_oracle
from tests.support.examples import examples
from tests.support.limbs import deviation
from warehouse.canonical import PLAIN_FIELDS
from warehouse.live.store import LiveStore
from warehouse.settings import Settings
from warehouse.velocity.declarations import LiveFeature, duration_us, read_declarations

LIVE = [one for one in read_declarations().live if one.operation not in ("last_km", "last_kmh")]
EDGES = sorted({one.window_us for one in LIVE})
LONGEST_US = EDGES[-1]
FIRST_US = 1_700_000_000_000_000
TEXTS = ("customer_id", "merchant_id", "category", "country", "reported_merchant_id", "reported_id")
NUMBERS = ("event_us", "amount_minor", "latitude_e6", "longitude_e6", "paid_us")
TYPES = {"mean": pa.float64(), "stddev": pa.float64(), "since_last": pa.float64()}

payments = st.fixed_dictionaries(
    {
        "customer_id": st.sampled_from(["c1", "c2", None]),
        "merchant_id": st.sampled_from(["m1", "m2", None]),
        "category": st.sampled_from(["food", "fuel", None]),
        "country": st.sampled_from(["AT", "DE", None]),
        "amount_minor": st.sampled_from([0, 1, 999, 10**12]) | st.integers(0, 10**12),
        "event_us": st.builds(
            lambda edge, offset: FIRST_US + edge + offset,
            st.sampled_from([0, *EDGES]),
            st.sampled_from([-1, 0, 1]),
        ),
    }
)

reports = st.builds(
    lambda merchant, reported, edge, offset, age_us: {
        "reported_merchant_id": merchant,
        "reported_id": reported,
        "event_us": FIRST_US + edge + offset,
        "paid_us": FIRST_US + edge + offset - age_us,
    },
    st.sampled_from(["m1", "m2"]),
    st.sampled_from(["0", "1", "2"]),
    st.sampled_from([0, *EDGES]),
    st.sampled_from([-1, 0, 1]),
    st.sampled_from([-1, 0, LONGEST_US, LONGEST_US + 1]),
)


def value_of(feature: LiveFeature, now: dict[str, Any], before: Sequence[dict[str, Any]]) -> Any:
    """Compute a feature from its words; squares are summed exactly, then rounded as law 2 says."""
    keys = [now.get(key) for key in feature.keys]
    if None in keys:
        window = []
    else:
        window = [
            row
            for row in before
            if [row.get(key) for key in feature.keys] == keys
            and ("paid_us" not in row or 0 <= row["event_us"] - row["paid_us"] <= LONGEST_US)
            and now["event_us"] - feature.window_us <= row["event_us"] < now["event_us"]
        ]
    values = [row[feature.column] for row in window if row.get(feature.column) is not None]
    if feature.operation == "count":
        return len(values)
    if feature.operation == "distinct":
        return len(set(values))
    if not values:
        return None
    if feature.operation == "stddev":
        return deviation(values)
    return {
        "sum": sum(values),
        "max": max(values),
        "mean": float(sum(values)) / float(len(values)),
        "since_last": float(now["event_us"] - max(values)) / 1e6,
    }[feature.operation]


def tables_of(folder: Path, rows: Sequence[dict[str, Any]]) -> tuple[Path, pa.Table]:
    """Write what decisions used, as plain Python computes it, and return what arrived."""
    arrived = pa.Table.from_pylist(
        [
            {"arrival_seq": place, "transaction_id": None if "paid_us" in row else str(place)} | row
            for place, row in enumerate(rows, 1)
        ],
        schema=pa.schema(
            [("arrival_seq", pa.int64()), ("transaction_id", pa.string())]
            + [(name, pa.string()) for name in TEXTS]
            + [(name, pa.int64()) for name in NUMBERS]
        ),
    )
    payments = arrived.filter(arrived["transaction_id"].is_valid())
    columns: dict[str, pa.Array] = {
        "transaction_id": payments["transaction_id"],
        "arrival_seq": payments["arrival_seq"],
        "ahead": pa.array([[]] * len(payments), pa.list_(pa.string())),
    }
    for feature in LIVE:
        values = [
            value_of(feature, row, rows[:place]) for place, row in enumerate(rows) if "paid_us" not in row
        ]
        columns[feature.name] = pa.array(values, TYPES.get(feature.operation, pa.int64()))
    used = folder / "used.parquet"
    pq.write_table(pa.table(columns), used)
    return used, arrived


@settings(max_examples=examples(40), deadline=None)
@given(rows=st.lists(payments | reports, min_size=1, max_size=12), last=payments)
def test_the_oracle_is_plain_python(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], last: dict[str, Any]
) -> None:
    rows = [{**row, "reported_merchant_id": row.get("merchant_id")} | row for row in [*rows, last]]
    used, arrived = tables_of(tmp_path_factory.mktemp("oracle"), rows)
    comparison = compare_with_oracle(used, arrived, LIVE)
    assert comparison.examples() == []
    assert comparison.values == sum("paid_us" not in row for row in rows) * len(LIVE)


def test_every_declared_operation_but_the_distances_is_compared() -> None:
    assert {one.operation for one in LIVE} == {
        "count", "sum", "mean", "max", "stddev", "distinct", "since_last",
    }  # fmt: skip


def test_all_that_may_be_windowed_is_read(tmp_path: Path) -> None:
    home = Settings.from_environment({"CBP_HOME": str(tmp_path)})
    home.create_folders()
    store = LiveStore.open(home)
    store.create_tables()
    store.close()
    places = {"latitude": "latitude_e6", "longitude": "longitude_e6"}
    assert {places.get(name, name) for name in PLAIN_FIELDS} <= set(arrived_events(home).column_names)


def test_a_value_that_is_off_by_one_bit_is_found(tmp_path: Path) -> None:
    row = dict.fromkeys(("category", "country")) | {"customer_id": "c1", "merchant_id": "m1"}
    rows = [row | {"event_us": FIRST_US + second, "amount_minor": 100 * second} for second in range(3)]
    used, arrived = tables_of(tmp_path, rows)
    table = pq.read_table(used)
    place = table.column_names.index("amount_mean_7d")
    values = table["amount_mean_7d"].to_pylist()
    values[-1] = math.nextafter(values[-1], math.inf)
    pq.write_table(table.set_column(place, "amount_mean_7d", pa.array(values)), used)
    assert compare_with_oracle(used, arrived, LIVE).by_feature == {"amount_mean_7d": 1}


def test_a_decision_that_did_not_arrive_is_missing(tmp_path: Path) -> None:
    row = dict.fromkeys(("category", "country")) | {"customer_id": "c1", "merchant_id": "m1"}
    rows = [row | {"event_us": FIRST_US + second, "amount_minor": 5} for second in range(3)]
    used, arrived = tables_of(tmp_path, rows)
    comparison = compare_with_oracle(used, arrived.slice(0, 2), LIVE)
    assert (comparison.transactions, comparison.missing, comparison.mismatched) == (2, 1, 0)


@pytest.mark.parametrize(
    ("text", "us"), [("10m", 600_000_000), ("24h", 86_400_000_000), ("7d", 604_800_000_000)]
)
def test_durations_are_read(text: str, us: int) -> None:
    assert duration_us(text) == us
