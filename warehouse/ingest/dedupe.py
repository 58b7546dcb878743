"""Which mapped rows are accepted, which are duplicates, and which contradict what came first.

Works on the tables of one ingest run: ``mapped_rows`` (what `mapping.statement` returns) and, when
earlier batches hold the same ids, ``landed_rows``. Rows are the same transaction when their ids are
equal, and have the same content when every canonical field but the time of arrival is: a row that is
delivered again arrives later. Labels are no part of it: a duplicate whose label differs brings a new
label.
"""
# ruff: noqa: S608 (SQL is composed here of names and paths of ours)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import duckdb

from warehouse.canonical import TRANSACTION_SCHEMA
from warehouse.landing.batches import Batch
from warehouse.quarantine import Problem
from warehouse.sql_text import literal

_NOT_CONTENT: Final = ("transaction_id", "ingested_us", "source", "source_order")
_CONTENT: Final = tuple(name for name in TRANSACTION_SCHEMA.names if name not in _NOT_CONTENT)


@dataclass(frozen=True)
class Verdicts:
    """How many mapped rows are what.

    Parameters
    ----------
    accepted, duplicates, conflicts, malformed : int
        Every row is exactly one of them; malformed ones were refused by the mapping already.
    """

    accepted: int
    duplicates: int
    conflicts: int
    malformed: int


def judge_rows(connection: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> Verdicts:
    """Make the table ``judged_rows`` (line, reason): rows that are not new; reason is null for duplicates.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Holds ``mapped_rows``.
    batches : sequence of Batch
        Landed before, in order of landing.
    """
    _find_landed(connection, batches)
    is_same = _is_same("mapped_rows", "firsts")
    connection.execute(f"""
        create or replace temp table judged_rows as
        with repeated as (
            select transaction_id, min(line) as first_line
            from mapped_rows
            where reason is null
            group by transaction_id
            having count(*) > 1
        ),
        firsts as (
            -- what landed comes before any row of the file
            select transaction_id, cast(null as bigint) as first_line, {", ".join(_CONTENT)}
            from landed_rows
            union all
            select mapped_rows.transaction_id, repeated.first_line, {_qualify("mapped_rows")}
            from repeated
            inner join mapped_rows on mapped_rows.line = repeated.first_line
            where repeated.transaction_id not in (select transaction_id from landed_rows)
        )
        select
            mapped_rows.line,
            case when not ({is_same}) then {literal(Problem.CONFLICT)} end as reason
        from mapped_rows
        inner join firsts on mapped_rows.transaction_id = firsts.transaction_id
        where mapped_rows.reason is null and mapped_rows.line is distinct from firsts.first_line
    """)
    return _count(connection)


def count_repeated_contents(connection: duckdb.DuckDBPyConnection) -> int:
    """Count rows whose content and label another row of the file has too, but for the first of each."""
    content = ", ".join(_CONTENT)
    (count,) = connection.execute(f"""
        select coalesce(sum(copies - 1), 0)
        from (select count(*) as copies from mapped_rows where reason is null group by {content}, is_fraud)
    """).fetchall()[0]
    return int(count)


def _find_landed(connection: duckdb.DuckDBPyConnection, batches: Sequence[Batch]) -> None:
    """Make ``landed_rows``: of each id in ``mapped_rows`` the row that landed first, if any."""
    paths = [str(batch.transactions_path) for batch in batches if batch.transactions_path.is_file()]
    if not paths:
        connection.execute("""
            create or replace temp table landed_rows as
            select * exclude (line, content, reason, is_fraud, known_us) from mapped_rows limit 0
        """)
        return
    places = ", ".join(f"({literal(path)}, {place})" for place, path in enumerate(paths))
    connection.execute(f"""
        create or replace temp table landed_rows as
        with batches (filename, batch) as (values {places}),
        landed as (
            select *
            from read_parquet([{", ".join(literal(path) for path in paths)}], filename = true)
            where transaction_id in (select transaction_id from mapped_rows where reason is null)
        )
        select landed.* exclude (filename)
        from landed
        inner join batches on landed.filename = batches.filename
        qualify row_number() over (
            partition by landed.transaction_id order by batches.batch, landed.source_order
        ) = 1
    """)


def _count(connection: duckdb.DuckDBPyConnection) -> Verdicts:
    rows, malformed = connection.execute("select count(*), count(reason) from mapped_rows").fetchall()[0]
    judged, conflicts = connection.execute("select count(*), count(reason) from judged_rows").fetchall()[0]
    return Verdicts(
        accepted=rows - malformed - judged,
        duplicates=judged - conflicts,
        conflicts=conflicts,
        malformed=malformed,
    )


def _qualify(table: str) -> str:
    return ", ".join(f"{table}.{name}" for name in _CONTENT)


def _is_same(left: str, right: str) -> str:
    return " and ".join(
        f"{_normalise(f'{left}.{name}')} is not distinct from {_normalise(f'{right}.{name}')}"
        for name in _CONTENT
    )


def _normalise(column: str) -> str:
    """Take an empty map for none: the API writes the one, files the other."""
    if not column.endswith(("attributes_number", "attributes_text")):
        return column
    return f"case when cardinality({column}) > 0 then list_sort(map_entries({column})) end"
