"""Bulk ways in and out of the live store: history in, scored events out, old rows away."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import Connection, and_, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from warehouse.canonical import PLAIN_FIELDS, SOURCE_API, TRANSACTION_SCHEMA
from warehouse.live.arrivals import take_arrivals
from warehouse.live.engine import LiveEngine
from warehouse.live.events import attributes_json, micro_degrees
from warehouse.live.fraud_reports import prune_reports
from warehouse.live.schema import Head, claims, decisions, events, heads
from warehouse.times import DAY_US

SOURCE_WAREHOUSE: Final = "warehouse"
ALLOWED_LATENESS_US: Final = 7 * DAY_US
DECISION_RETENTION_US: Final = 400 * DAY_US
ROWS_PER_COMMIT: Final = 50_000

_PLAIN_COLUMNS: Final = (*PLAIN_FIELDS, "ingested_us")


def backfill(
    engine: LiveEngine,
    table: pa.Table,
    *,
    rows_per_commit: int = ROWS_PER_COMMIT,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Insert history; see `LiveStore.backfill`."""
    ordered = table.sort_by(
        [("ingested_us", "ascending"), ("event_us", "ascending"), ("transaction_id", "ascending")]
    )
    inserted = 0
    for start in range(0, ordered.num_rows, rows_per_commit):
        part = ordered.slice(start, rows_per_commit)
        with engine.writing() as connection:
            inserted += _insert_history(connection, part)
        if progress is not None:
            progress(start + part.num_rows)
    return inserted


def _insert_history(connection: Connection, part: pa.Table) -> int:
    first_seq = take_arrivals(connection, part.num_rows)
    columns: dict[str, Sequence[Any]] = {
        "arrival_seq": range(first_seq, first_seq + part.num_rows),
        **{name: part.column(name).to_pylist() for name in _PLAIN_COLUMNS},
        "latitude_e6": [*map(micro_degrees, part.column("latitude").to_pylist())],
        "longitude_e6": [*map(micro_degrees, part.column("longitude").to_pylist())],
        "attributes_number": _attributes(part, "attributes_number"),
        "attributes_text": _attributes(part, "attributes_text"),
        "source": [SOURCE_WAREHOUSE] * part.num_rows,
    }
    columns = {column.name: columns[column.name] for column in events.c if column.name in columns}
    statement = str(_insert_or_ignore(connection, tuple(columns)).compile(dialect=connection.dialect))
    if connection.dialect.paramstyle == "qmark":
        # The driver takes plain tuples: a dictionary a row costs more than the insert itself.
        connection.connection.cursor().executemany(statement, list(zip(*columns.values(), strict=True)))
    else:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        connection.execute(_insert_or_ignore(connection, tuple(columns)), rows)
    # Drivers don't agree on how many rows a bulk insert inserted.
    inserted = select(func.count()).select_from(events).where(events.c.arrival_seq >= first_seq)
    return int(connection.execute(inserted).scalar_one())


def _insert_or_ignore(connection: Connection, columns: Sequence[str]) -> Any:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement: Any = dialect.insert(events).values(dict.fromkeys(columns))
    return statement.on_conflict_do_nothing(index_elements=["transaction_id"])


def _attributes(part: pa.Table, name: str) -> list[str | None]:
    if name not in part.column_names or not any(len(chunk.keys) for chunk in part.column(name).chunks):
        return [None] * part.num_rows
    return [attributes_json(dict(pairs)) if pairs else None for pairs in part.column(name).to_pylist()]


def events_after(engine: LiveEngine, seq: int) -> pa.Table:
    """Events to land; see `LiveStore.events_after`."""
    last_seq = engine.durable_head(Head.ARRIVAL)
    query = (
        select(events)
        .where(events.c.arrival_seq > seq, events.c.arrival_seq <= last_seq, events.c.source == SOURCE_API)
        .order_by(events.c.arrival_seq)
    )
    with engine.reading() as connection:
        rows = connection.execute(query).mappings().all()
    columns: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in _PLAIN_COLUMNS}
    for name in ("attributes_number", "attributes_text"):
        columns[name] = [_pairs(row[name]) for row in rows]
    columns["source"] = [SOURCE_API] * len(rows)
    columns["source_order"] = [row["arrival_seq"] for row in rows]
    return pa.table(columns, schema=TRANSACTION_SCHEMA)


def _pairs(stored: str | None) -> list[tuple[str, Any]]:
    return list(json.loads(stored).items()) if stored else []


def prune(engine: LiveEngine, horizon_us: int, *, decided_before_us: int | None) -> tuple[int, int]:
    """Delete old events and decisions; see `LiveStore.prune`."""
    deleted_events = deleted_decisions = 0
    with engine.writing() as connection:
        landed = connection.execute(
            select(heads.c.value).where(heads.c.name == Head.LANDED_EVENT)
        ).scalar_one()
        is_landed = (events.c.source != SOURCE_API) | (events.c.arrival_seq <= landed)
        deleted_events = connection.execute(
            delete(events).where(and_(events.c.event_us < horizon_us, is_landed))
        ).rowcount
        # Of a claim that nobody decided there is nothing left to take over.
        connection.execute(
            delete(claims).where(claims.c.transaction_id.not_in(select(events.c.transaction_id)))
        )
        prune_reports(connection, horizon_us)
        if decided_before_us is not None:
            deleted_decisions = connection.execute(
                delete(decisions).where(decisions.c.decided_us < decided_before_us)
            ).rowcount
    return int(deleted_events), int(deleted_decisions)
