"""The files of a batch that comes from a raw file: transactions, labels, quarantine, report."""
# ruff: noqa: S608 (SQL is composed here of names and paths of ours)

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import duckdb

from warehouse.canonical import (
    LABEL_SCHEMA,
    LABELS_FILE,
    LAST_OF_AN_INSTANT,
    QUARANTINE_FILE,
    REPORT_FILE,
    SOURCE_FILE,
    TRANSACTION_SCHEMA,
    TRANSACTIONS_FILE,
)
from warehouse.ingest.reading.sources import Source
from warehouse.landing.batches import Batch
from warehouse.sql_text import literal

_MAX_CONTENT: Final = 10_000
_IS_ACCEPTED: Final = "reason is null and line not in (select line from judged_rows)"


def write_transactions(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Write the accepted rows in the file's order; the line is the order within the batch."""
    values = {"source": literal(SOURCE_FILE), "source_order": "line"}
    columns = ", ".join(
        f"{values[name]} as {name}" if name in values else name for name in TRANSACTION_SCHEMA.names
    )
    query = f"select {columns} from mapped_rows where {_IS_ACCEPTED} order by line"
    _copy(connection, query, folder / TRANSACTIONS_FILE)


def write_labels(connection: duckdb.DuckDBPyConnection, folder: Path, *, batches: Sequence[Batch]) -> int:
    """Write the labels of accepted rows, and those that duplicates bring anew; return their number."""
    landed = [str(batch.labels_path) for batch in batches if batch.labels_path.is_file()]
    columns = ", ".join(name for name in LABEL_SCHEMA.names if name != "source")
    places = ", ".join(literal(path) for path in landed)
    said = (
        f"select {columns}, source, filename from read_parquet([{places}], filename = true)"
        if landed
        else f"select {columns}, '' as source, '' as filename from mapped_rows limit 0"
    )
    # Of an instant the last label of the file counts, beside what has counted so far.
    connection.execute(f"""
        create or replace temp table labels as
        with given as (
            select transaction_id, arg_max(is_fraud, line) as is_fraud, known_us, max(line) as line
            from mapped_rows
            where is_fraud is not null and reason is null
                and line not in (select line from judged_rows where reason is not null)
            group by transaction_id, known_us
        ),
        known as (
            select said.*
            from ({said}) as said
            semi join given using (transaction_id, known_us)
            qualify {LAST_OF_AN_INSTANT}
        )
        select given.*
        from given
        anti join known using (transaction_id, known_us, is_fraud)
    """)
    query = f"select {columns}, {literal(SOURCE_FILE)} as source from labels order by line"
    _copy(connection, query, folder / LABELS_FILE)
    return int(connection.execute("select count(*) from labels").fetchall()[0][0])


def write_quarantine(
    connection: duckdb.DuckDBPyConnection, folder: Path, *, file: str, source: Source
) -> Mapping[str, int]:
    """Write the refused rows in order; return their number by reason, the most frequent first."""
    has_conflicts = connection.execute("select count(reason) > 0 from judged_rows").fetchall()[0][0]
    connection.execute("create or replace temp table refused (line bigint, reason varchar, content varchar)")
    connection.execute(
        "insert into refused select line, reason, content from mapped_rows where reason is not null"
    )
    if has_conflicts:
        # Their content was not kept: it is read once more, for them alone.
        source.attach(connection)
        connection.execute(f"""
            insert into refused
            select judged_rows.line, judged_rows.reason, {source.content}
            from raw_rows
            inner join judged_rows on raw_rows.line = judged_rows.line and judged_rows.reason is not null
        """)
    query = (
        f"select {literal(file)} as file, line, reason, left(content, {_MAX_CONTENT}) as content"
        " from refused order by line"
    )
    _copy(connection, query, folder / QUARANTINE_FILE)
    counts = connection.execute(
        "select reason, count(*) from refused group by 1 order by 2 desc, 1"
    ).fetchall()
    return {str(reason): int(count) for reason, count in counts}


def write_ingest_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Write the batch's report."""
    (folder / REPORT_FILE).write_text(
        json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    connection.execute(f"copy ({query}) to {literal(str(path))} (format parquet, compression zstd)")
