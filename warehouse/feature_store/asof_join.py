"""Point-in-time matching in DuckDB: for each entity row the number of the source row that was valid then.

Only keys and times go through the join; wide columns never do, the caller takes them by row number
afterwards. That keeps sorts narrow, so that they are fast and spill little.

Meaning, the same as in Feast's own stores: a source row is valid from its event time (inclusive) until its
event time plus TTL (inclusive); of several the latest event time wins, of equal event times the latest
created time (a null one loses). A null key or time matches nothing. Times are compared in whole
microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from warehouse.sql_text import identifier, literal

ENTITY_ROW = "__entity_row"


@dataclass(frozen=True)
class SourceFiles:
    """The Parquet files of one source and the columns that the join needs.

    Parameters
    ----------
    files : tuple of Path
        Parquet files, read in this order.
    row_counts : tuple of int
        Rows of each file.
    keys : tuple of str
        Join key columns in the files.
    event_time, created_time : str
        Timestamp columns in the files (naive times are UTC); `created_time` may be empty.
    """

    files: tuple[Path, ...]
    row_counts: tuple[int, ...]
    keys: tuple[str, ...]
    event_time: str
    created_time: str

    def rows_sql(self) -> str:
        """Return SQL of ``key_0 …, event_us, created_us, source_row`` over all files."""
        created = microseconds_sql(self.created_time) if self.created_time else "null::bigint"
        columns = [f"{identifier(key)} as key_{i}" for i, key in enumerate(self.keys)]
        columns += [f"{microseconds_sql(self.event_time)} as event_us", f"{created} as created_us"]
        selects, first_row = [], 0
        for file, row_count in zip(self.files, self.row_counts, strict=True):
            selects.append(
                f"select {', '.join(columns)}, file_row_number + {first_row} as source_row "  # noqa: S608
                f"from read_parquet({literal(str(file))}, file_row_number = true)"
            )
            first_row += row_count
        return "\nunion all\n".join(selects)


def match_rows(
    connection: duckdb.DuckDBPyConnection,
    entity_rows: pa.Table,
    source: SourceFiles,
    *,
    entity_keys: Sequence[str],
    entity_time: str,
    ttl_us: int = 0,
    known_by_created_time: bool = False,
) -> pa.ChunkedArray:
    """Find the source row that is valid for each entity row.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        From `open_engine`.
    entity_rows : pyarrow.Table
        Rows to match; keys may repeat and be null.
    source : SourceFiles
        Where to look.
    entity_keys : sequence of str
        Columns of `entity_rows` that meet ``source.keys``, in that order.
    entity_time : str
        Timestamp column of `entity_rows`.
    ttl_us : int
        Time to live in microseconds; 0: for ever.
    known_by_created_time : bool
        Take only rows that were also created by the entity's time.

    Returns
    -------
    pyarrow.ChunkedArray
        int64, one row number (over all files, from 0) per entity row in its order; null: no valid row.
    """
    keys = [f"key_{i}" for i in range(len(source.keys))]
    wanted = [f"{identifier(name)} as {key}" for name, key in zip(entity_keys, keys, strict=True)]
    same_keys = [f"wanted.{key} = found.{key}" for key in keys]
    expired = f"wanted.event_us - found.event_us > {ttl_us}" if ttl_us else "false"
    needed = entity_rows.select([*dict.fromkeys([*entity_keys, entity_time])])
    # The number is a column, since a parallel scan promises no order.
    connection.register("entity_rows", needed.append_column(ENTITY_ROW, pa.array(np.arange(needed.num_rows))))
    try:
        return connection.sql(
            f"""
            with
            wanted as (
                select {", ".join([ENTITY_ROW, *wanted, f"{microseconds_sql(entity_time)} as event_us"])}
                from entity_rows
            ),
            found as ({_candidates_sql(source, keys, known_by_created_time)})
            select case when {expired} then null else found.source_row end as source_row
            from wanted
            asof left join found
                on {" and ".join([*same_keys, "wanted.event_us >= found.valid_us"])}
            order by wanted.{ENTITY_ROW}
            """  # noqa: S608 - names are quoted, nothing else comes from outside
        ).to_arrow_table()["source_row"]
    finally:
        connection.unregister("entity_rows")


def _candidates_sql(source: SourceFiles, keys: Sequence[str], known_by_created_time: bool) -> str:
    """Return SQL of the rows that can ever win, each with ``valid_us``: from when on it does.

    Rows of one key are ranked by event and created time. A row that becomes valid no sooner than a row of
    higher rank never wins, so it goes; in what is left both valid time and rank rise, and the latest valid
    row wins.
    """
    # DuckDB's ASOF join lets null meet null in any key but the first: rows with a null key must not be there.
    present = " and ".join(f"{column} is not null" for column in (*keys, "event_us"))
    if not source.created_time:
        return f"select *, event_us as valid_us from ({source.rows_sql()}) where {present}"  # noqa: S608
    valid = "greatest(event_us, created_us)" if known_by_created_time else "event_us"
    partition = f"partition by {', '.join(keys)}" if keys else ""
    if known_by_created_time:
        # greatest() skips nulls: a row whose created time isn't known was never known in time.
        present += " and created_us is not null"
    return f"""
        select * from (
            select
                *,
                {valid} as valid_us,
                row_number() over ({partition} order by event_us, created_us nulls first, source_row) as rank
            from ({source.rows_sql()})
            where {present}
        )
        qualify rank = max(rank) over (
            {partition} order by valid_us range between unbounded preceding and current row
        )
    """  # noqa: S608 - names are quoted, nothing else comes from outside


def latest_rows_sql(
    relation: str, *, keys: Sequence[str], event_time: str, created_time: str, columns: Sequence[str]
) -> str:
    """Return SQL of the latest row of each key in `relation` (a table expression), with `columns`.

    The newest time of each key is found over narrow columns first, and only those rows are read whole.
    """
    if not keys:
        created = f", {identifier(created_time)} desc nulls last" if created_time else ""
        return (
            f"select {_list(columns)} from {relation} "  # noqa: S608 - names are quoted
            f"order by {identifier(event_time)} desc nulls last{created} limit 1"
        )
    partition = _list(keys)
    wide_keys = [f"wide.{identifier(key)}" for key in keys]
    same_key = [
        f"{key} is not distinct from narrow.{identifier(name)}"
        for key, name in zip(wide_keys, keys, strict=True)
    ]
    ties = f"order by {identifier(created_time)} desc nulls last" if created_time else ""
    return f"""
        select {", ".join(f"wide.{identifier(column)}" for column in columns)}
        from {relation} as wide
        join (
            select {partition}, max({identifier(event_time)}) as newest
            from {relation}
            group by {partition}
        ) as narrow
            on {" and ".join(same_key)}
            and wide.{identifier(event_time)} = narrow.newest
        qualify row_number() over (partition by {", ".join(wide_keys)} {ties}) = 1
    """  # noqa: S608 - names are quoted, nothing else comes from outside


def microseconds_sql(column: str) -> str:
    """Return SQL of a time column in UTC microseconds; a naive time is UTC."""
    return f"epoch_us({identifier(column)}::timestamptz)"


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(identifier, names))
