"""A slow, obvious oracle of the live features: joins each decision with all that had arrived before it.

Written from the declarations' words, not from dbt's macros: one join per entity, one aggregate per feature,
over the order of arrival that the live store gave. Values are compared to the last bit; a distance, for which
the product has a polynomial of its own, is computed with DuckDB's trigonometry and compared to `TOLERANCE`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Table, select

from cbp.proof.comparison.compare import Comparison, groups_of, text_of
from cbp.proof.comparison.records import ARRIVAL, ID
from warehouse.errors import OperationError
from warehouse.live.schema import events, fraud_reports
from warehouse.live.store import LiveStore
from warehouse.published import open_published
from warehouse.settings import Settings
from warehouse.velocity.declarations import LiveFeature

TOLERANCE: Final = 1e-5
"""Relative difference allowed for a distance or a speed."""

_COLUMNS: Final = (
    "arrival_seq", "transaction_id", "customer_id", "merchant_id", "category", "channel", "country",
    "currency", "event_us", "amount_minor", "latitude_e6", "longitude_e6",
)  # fmt: skip
_REPORT_COLUMNS: Final = ("arrival_seq", "reported_merchant_id", "reported_id", "event_us", "paid_us")
_INTEGERS: Final = ("arrival_seq", "event_us", "amount_minor", "latitude_e6", "longitude_e6", "paid_us")
_ROWS_PER_FETCH: Final = 100_000
_ROWS_PER_GROUP: Final = 20_000
_APPROXIMATE: Final = ("last_km", "last_kmh")
_ASKED: Final = (
    "select arrival_seq, transaction_id from arrived semi join asked using (transaction_id) order by 1"
)
_HAD_ARRIVED: Final = "past.arrival_seq < now.arrival_seq"

# `within` is the condition of the window, `column` what is aggregated; all sums are exact integers (law 2).
_EXPRESSIONS: Final = {
    "count": "count({column}) filter (where {within})",
    "sum": "cast(sum({column}) filter (where {within}) as bigint)",
    "mean": (
        "cast(sum({column}) filter (where {within}) as double) "
        "/ nullif(cast(count({column}) filter (where {within}) as double), 0)"
    ),
    "max": "max({column}) filter (where {within})",
    "distinct": "count(distinct {column}) filter (where {within})",
    "since_last": (
        "cast(now_us - max({column}) filter (where {within}) as double) / cast(1000000 as double)"
    ),
    "stddev": (
        "if(count({column}) filter (where {within}) = 0, null, sqrt(greatest(("
        "cast(sum(({column} >> 20) * ({column} >> 20)) filter (where {within}) as double)"
        " * 1099511627776.0::double"
        " + cast(sum(({column} >> 20) * ({column} & 1048575)) filter (where {within}) as double)"
        " * 2097152.0::double"
        " + cast(sum(({column} & 1048575) * ({column} & 1048575)) filter (where {within}) as double)"
        " - cast(sum({column}) filter (where {within}) as double)"
        " * cast(sum({column}) filter (where {within}) as double)"
        " / nullif(cast(count({column}) filter (where {within}) as double), 0)"
        ") / nullif(cast(count({column}) filter (where {within}) as double), 0), 0)))"
    ),
    "last_km": "kilometres(now_place, {last})",
    "last_kmh": "kilometres(now_place, {last}) / ((now_us - {last}.at) / 3.6e9)",
}
_LAST: Final = "max(place) filter (where {within} and place is not null)"
_PLACE: Final = (
    "case when latitude_e6 is not null and longitude_e6 is not null "
    "then {'at': event_us, 'latitude': latitude_e6, 'longitude': longitude_e6} end"
)
_KILOMETRES: Final = """
create macro kilometres(a, b) as 111.194926644559 * sqrt(
    ((a.latitude - b.latitude) / 1e6) ** 2
    + (
        least(abs(a.longitude - b.longitude), 360000000 - abs(a.longitude - b.longitude)) / 1e6
        * cos(radians((a.latitude + b.latitude) / 2e6))
    ) ** 2
)
"""


def arrived_events(home: Settings) -> pa.Table:
    """Read everything that arrived in a home's live store, with its place in the order of arrival.

    Payments and fraud reports: a report has no column of a payment but its time, a payment looks at those of
    its merchant.
    """
    with closing(LiveStore.open(home)) as store, store.reading() as connection:
        payments = _read(connection, events, _COLUMNS)
        reports = _read(connection, fraud_reports, _REPORT_COLUMNS)
    payments = payments.append_column("reported_merchant_id", payments["merchant_id"])
    return pa.concat_tables([payments, reports], promote_options="default")


def _read(connection: Connection, table: Table, names: Sequence[str]) -> pa.Table:
    schema = pa.schema([(name, pa.int64() if name in _INTEGERS else pa.string()) for name in names])
    query = select(*(table.c[name] for name in names)).order_by(table.c.arrival_seq)
    batches = []
    for rows in connection.execution_options(yield_per=_ROWS_PER_FETCH).execute(query).partitions():
        columns = [list(column) for column in zip(*rows, strict=True)]
        batches.append(pa.table(columns, schema=schema))
    return pa.concat_tables([schema.empty_table(), *batches])


def warehouse_events(home: Settings) -> pa.Table:
    """Read all payments and fraud reports of a home's published warehouse, as `arrived_events` has them."""
    payments = ", ".join(name for name in _COLUMNS if name != ARRIVAL)
    with open_published(home) as connection:
        return connection.execute(
            f"select row_number() over () as {ARRIVAL}, * from ("  # noqa: S608 - columns of ours
            f"select {payments}, merchant_id as reported_merchant_id from marts.fct_transactions "
            "union all by name "
            "select transaction_id as reported_id, merchant_id as reported_merchant_id, "
            "known_us as event_us, event_us as paid_us from marts.fct_fraud_reports)"
        ).to_arrow_table()


def compare_with_oracle(used: Path, arrived: pa.Table, features: Sequence[LiveFeature]) -> Comparison:
    """Compare the live features that decisions used with the oracle's.

    Parameters
    ----------
    used : Path
        File of `cbp.proof.comparison.records.write_used`.
    arrived : pyarrow.Table
        From `arrived_events`.
    features : sequence of LiveFeature
        The declared ones; those that decisions did not use are left out.

    Raises
    ------
    OperationError
        When a declared operation is unknown here.
    """
    unknown = sorted({feature.operation for feature in features} - set(_EXPRESSIONS))
    if unknown:
        raise OperationError(
            f"the replay's oracle has no {unknown}: write it in cbp/proof/comparison/oracle.py"
        )
    comparison = Comparison()
    with duckdb.connect() as connection:
        _load(connection, arrived, longest_us=max(feature.window_us for feature in features))
        for group in groups_of(used):
            _compare_group(connection, comparison, group, features)
    return comparison


def agreeing(
    differences: pa.Table, everything: pa.Table, features: Sequence[LiveFeature], *, longest_us: int
) -> pa.Table:
    """Choose the differences of which the computed value is the oracle's over everything, however it arrived.

    Parameters
    ----------
    differences : pyarrow.Table
        `cbp.proof.comparison.compare.DIFFERENCE_SCHEMA`.
    everything : pyarrow.Table
        From `warehouse_events`.
    features : sequence of LiveFeature
        Whose differences are looked at.
    longest_us : int
        The longest declared window, microseconds.

    Returns
    -------
    pyarrow.Table
        Columns transaction_id and feature.
    """
    found = [differences.slice(0, 0).select([ID, "feature"])]
    with duckdb.connect() as connection:
        _load(connection, everything, longest_us=longest_us)
        for keys, of_entity in groupby(sorted(features, key=_keys), key=_keys):
            some = list(of_entity)
            names = pa.array([feature.name for feature in some])
            of_group = differences.filter(pc.is_in(differences["feature"], names))
            ids = of_group[ID].unique()
            for first in range(0, len(ids), _ROWS_PER_GROUP):
                asked = ids.slice(first, _ROWS_PER_GROUP)
                connection.register("asked", pa.table({ID: asked}))
                known = connection.execute(_ASKED).to_arrow_table()
                connection.register("decided", known)
                values = connection.execute(_oracle_sql(keys, some, past="true")).to_arrow_table()
                found += [_agreeing(of_group, one, known[ID], values[one.name]) for one in some]
    return pa.concat_tables(found)


def _agreeing(
    differences: pa.Table, feature: LiveFeature, ids: pa.ChunkedArray, values: pa.ChunkedArray
) -> pa.Table:
    is_of_feature = pc.equal(differences["feature"], feature.name)
    differences = differences.filter(pc.and_(is_of_feature, pc.is_in(differences[ID], ids)))
    oracles = values.take(pc.index_in(differences[ID], ids)).to_pylist()
    computed = differences["computed"].to_pylist()
    is_same = [_is_said(text, value, feature) for text, value in zip(computed, oracles, strict=True)]
    return differences.filter(pa.array(is_same, pa.bool_())).select([ID, "feature"])


def _is_said(text: str | None, value: float | None, feature: LiveFeature) -> bool:
    """Say whether a value is what a difference says in words; distances to within `TOLERANCE`."""
    if text is None or value is None or feature.operation not in _APPROXIMATE:
        return text == text_of(value)
    return abs(float(text) - value) <= TOLERANCE * max(abs(value), 1.0)


def _load(connection: duckdb.DuckDBPyConnection, arrived: pa.Table, *, longest_us: int) -> None:
    connection.execute(_KILOMETRES)
    connection.execute("set preserve_insertion_order = false")
    connection.register("arrived_rows", arrived)
    # A report of a payment that was older than the longest window counts nowhere.
    connection.execute(
        "create table arrived as from arrived_rows "
        "where paid_us is null or event_us - paid_us between 0 and ?",
        [longest_us],
    )


def _compare_group(
    connection: duckdb.DuckDBPyConnection,
    comparison: Comparison,
    group: pa.Table,
    features: Sequence[LiveFeature],
) -> None:
    connection.register("decided", group.select([ARRIVAL]))
    present = connection.execute("select arrival_seq from arrived semi join decided using (arrival_seq)")
    arrived = present.to_arrow_table()[ARRIVAL]
    comparison.missing += group.num_rows - len(arrived)
    group = group.filter(pc.is_in(group[ARRIVAL], arrived)).sort_by(ARRIVAL)
    ids = group[ID].combine_chunks()
    comparison.transactions += group.num_rows
    declared = sorted((one for one in features if one.name in group.column_names), key=_keys)
    for keys, of_entity in groupby(declared, key=_keys):
        some = list(of_entity)
        found = connection.execute(_oracle_sql(keys, some, past=_HAD_ARRIVED)).to_arrow_table()
        for feature in some:
            ours = group[feature.name].combine_chunks()
            theirs = found[feature.name].combine_chunks().cast(ours.type)
            tolerance = TOLERANCE if feature.operation in _APPROXIMATE else None
            comparison.add(ids, feature.name, ours, theirs, tolerance=tolerance)


def _keys(feature: LiveFeature) -> tuple[str, ...]:
    return feature.keys


def _oracle_sql(keys: Sequence[str], features: Sequence[LiveFeature], *, past: str) -> str:
    """Return SQL of some features of what is `decided`; `past` is the condition on what they see."""
    longest_us = max(feature.window_us for feature in features)
    same = " and ".join(f"past.{key} = now.{key}" for key in keys)
    values = ",\n".join(f"{_expression(feature)} as {feature.name}" for feature in features)
    return f"""
        with now as (
            select *, event_us as now_us, {_PLACE} as now_place
            from arrived semi join decided using (arrival_seq)
        ),
        pairs as (
            select now.arrival_seq, now.now_us, now.now_place, past.* exclude (arrival_seq)
            from now
            left join (select *, {_PLACE} as place from arrived) as past
                on {same}
                    and past.event_us < now.now_us
                    and past.event_us >= now.now_us - {longest_us}
                    and {past}
        )
        select arrival_seq, {values}
        from pairs
        group by arrival_seq, now_us, now_place
        order by arrival_seq
    """  # noqa: S608 - columns and numbers of our own declarations


def _expression(feature: LiveFeature) -> str:
    within = f"event_us >= now_us - {feature.window_us}"
    last = _LAST.format(within=within)
    return _EXPRESSIONS[feature.operation].format(column=feature.column, within=within, last=f"({last})")
