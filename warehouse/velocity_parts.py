"""Velocity parts over history by compiled loops: the declarations' values, many times faster.

dbt's macro ``compute_due_parts`` hands over what it would otherwise render as window functions (see
``dbt_project/macros/features/window_parts.sql``): the parts, and the key columns of each entity. History is
worked in slices of time, each with the rows that its windows look back on: memory follows the size of a
slice, not of the history. What is unknown here raises `UnknownPartError`: dbt then renders windows.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse import window_kernels as kernels
from warehouse.errors import CbpError
from warehouse.window_kernels import Bools, Int64s

ROWS_PER_SLICE: Final = 600_000
_CARRIED: Final = ("transaction_id", "event_us", "place")
_LIMB: Final = 20
_LOW_MASK: Final = (1 << _LIMB) - 1


class UnknownPartError(CbpError):
    """A part has no compiled loop."""


@dataclass(frozen=True)
class Part:
    """One aggregate over one window: the arguments that the macro ``velocity_parts`` gives it."""

    name: str
    part: str
    column: str
    entity: str
    window_us: int


@dataclass(frozen=True)
class PartSpec:
    """What to compute.

    Parameters
    ----------
    entities : Mapping of str to tuple of str
        Key columns by entity.
    parts : tuple of Part
        In the order of the columns.
    """

    entities: Mapping[str, tuple[str, ...]]
    parts: tuple[Part, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PartSpec:
        """Build from the macro's JSON.

        Raises
        ------
        UnknownPartError
            Names a part that has no compiled loop.
        """
        parts = tuple(Part(**part) for part in values["parts"])
        unknown = sorted({part.part for part in parts} - set(_LOOPS))
        if unknown:
            raise UnknownPartError(f"expected parts among {sorted(_LOOPS)}, got {unknown}")
        return cls({name: tuple(keys) for name, keys in values["entities"].items()}, parts)

    @property
    def horizon_us(self) -> int:
        """Length of the longest window."""
        return max(part.window_us for part in self.parts)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that must be read, each once."""
        keys = [key for part in self.parts for key in self.entities[part.entity]]
        return tuple(dict.fromkeys([*_CARRIED, *keys, *(part.column for part in self.parts)]))


def write_parts(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    spec: PartSpec,
    folder: Path,
    *,
    from_us: int | None = None,
    rows_per_slice: int = ROWS_PER_SLICE,
) -> int:
    """Compute the parts of all rows of a relation, or of those from an instant on, into Parquet files.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Where `relation` can be read.
    relation : str
        A name of dbt's, quoted as SQL wants it.
    spec : PartSpec
        What to compute.
    folder : Path
        Emptied, then filled with one file a slice: the columns transaction_id, event_us and place, then a
        bigint column for each part.
    from_us : int, optional
        Event time, UTC microseconds: rows before it are only looked back on.
    rows_per_slice : int
        A slice ends with the time at which it has so many rows.

    Returns
    -------
    int
        Rows written.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = 0
    for number, (start_us, end_us) in enumerate(_slices(connection, relation, from_us, rows_per_slice)):
        columns = ", ".join(f'"{name}"' for name in spec.columns)
        table = connection.execute(
            f"select {columns} from {relation} where event_us >= ? and event_us < ?",  # noqa: S608 - dbt's names
            [start_us - spec.horizon_us, end_us],
        ).to_arrow_table()
        parts = compute_parts(table, spec, from_us=start_us)
        pq.write_table(
            parts, folder / f"{number:06d}.parquet", compression="none", use_dictionary=["transaction_id"]
        )
        rows += parts.num_rows
    if not rows:
        pq.write_table(_empty(spec), folder / "000000.parquet")
    return rows


def compute_parts(table: pa.Table, spec: PartSpec, *, from_us: int) -> pa.Table:
    """Compute the parts of the rows from `from_us` on, of a table that holds what their windows look back on.

    Returns
    -------
    pyarrow.Table
        Rows in order of event time; see `write_parts` for the columns.
    """
    times = _int64(table.column("event_us"))
    by_time = np.argsort(times, kind="stable")
    rows = _Rows(table.take(pa.array(by_time)) if np.any(np.diff(times) < 0) else table)
    kept = int(np.searchsorted(rows.times, from_us))
    columns: dict[str, pa.Array] = {}
    for entity, keys in spec.entities.items():
        wanted = [part for part in spec.parts if part.entity == entity]
        if wanted:
            columns |= _entity_parts(rows, keys, wanted, kept)
    carried = {name: rows.table.column(name).slice(kept) for name in _CARRIED}
    return pa.table(carried | {part.name: columns[part.name] for part in spec.parts})


class _Rows:
    """A table in order of time; each column is turned into numbers once."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.times = _int64(table.column("event_us"))
        self._codes: dict[str, tuple[Int64s, int]] = {}

    def codes(self, column: str) -> tuple[Int64s, int]:
        """Return each value's number, -1 where it is missing, and how many numbers there are."""
        if column not in self._codes:
            encoded = self.table.column(column).combine_chunks().dictionary_encode()
            if isinstance(encoded, pa.ChunkedArray):
                encoded = encoded.combine_chunks()
            numbers = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
            self._codes[column] = (numbers, max(len(encoded.dictionary), 1))
        return self._codes[column]

    def key_codes(self, keys: Sequence[str]) -> tuple[Int64s, int]:
        """Return the number of each row's key, -1 where a part of it is missing."""
        codes, size = self.codes(keys[0])
        for key in keys[1:]:
            more, more_size = self.codes(key)
            joined = np.where((codes < 0) | (more < 0), -1, codes * more_size + more)
            different, numbers = np.unique(joined, return_inverse=True)
            has_none = bool(different.size) and different[0] == -1
            codes, size = numbers.astype(np.int64) - has_none, max(different.size - has_none, 1)
        return codes, size

    def numbers(self, column: str) -> tuple[Int64s, Bools]:
        """Return a bigint column's values, 0 where missing, and where it is not."""
        values = self.table.column(column)
        return _int64(values), _is_valid(values)


@dataclass(frozen=True)
class _Grouped:
    """Rows of one entity, grouped by key, and the bounds of one window."""

    rows: _Rows
    order: Int64s
    codes: Int64s
    times: Int64s
    lo: Int64s
    hi: Int64s

    def values(self, column: str) -> tuple[Int64s, Bools]:
        values, valid = self.rows.numbers(column)
        return values[self.order], valid[self.order]

    def is_valid(self, column: str) -> Bools:
        return _is_valid(self.rows.table.column(column))[self.order]

    def total(self, values: Int64s) -> Int64s:
        """Sum over each window."""
        total: Int64s = kernels.window_total(values, self.lo, self.hi)
        return total


def _entity_parts(rows: _Rows, keys: Sequence[str], parts: Sequence[Part], kept: int) -> dict[str, pa.Array]:
    codes, size = rows.key_codes(keys)
    order = kernels.group_rows(codes, size)
    grouped_codes, times = codes[order], rows.times[order]
    for column in {part.column for part in parts if part.part == "distinct"}:
        rows.codes(column)  # before the threads ask for it

    def bounded(window_us: int) -> _Grouped:
        lo, hi = kernels.window_bounds(grouped_codes, times, window_us)
        return _Grouped(rows, order, grouped_codes, times, lo, hi)

    def computed(part: Part) -> pa.Array:
        values, present = _LOOPS[part.part](windows[part.window_us], part.column)
        return _in_row_order(order, values, present, kept)

    # The loops hold no lock of Python's: each core has one to run.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        lengths = list(dict.fromkeys(part.window_us for part in parts))
        windows = dict(zip(lengths, pool.map(bounded, lengths), strict=True))
        return dict(zip([part.name for part in parts], pool.map(computed, parts), strict=True))


def _in_row_order(order: Int64s, values: Int64s, present: Bools | None, kept: int) -> pa.Array:
    placed = np.empty_like(values)
    placed[order] = values
    if present is None:
        return pa.array(placed[kept:].copy())  # else the array would hold what it looked back on too
    missing = np.empty(len(order), dtype=np.bool_)
    missing[order] = ~present
    return pa.array(placed[kept:].copy(), mask=missing[kept:])


Loop = Callable[[_Grouped, str], tuple[Int64s, Bools | None]]
"""Values of a part, and where it has one; None: everywhere."""


def _count(grouped: _Grouped, column: str) -> tuple[Int64s, None]:
    return grouped.total(grouped.is_valid(column).astype(np.int64)), None


def _summed(limb: Callable[[Int64s], Int64s]) -> Loop:
    def loop(grouped: _Grouped, column: str) -> tuple[Int64s, Bools]:
        values, valid = grouped.values(column)
        count = grouped.total(valid.astype(np.int64))
        return grouped.total(np.where(valid, limb(values), 0)), count > 0

    return loop


def _max(grouped: _Grouped, column: str) -> tuple[Int64s, Bools]:
    values, valid = grouped.values(column)
    found: tuple[Int64s, Bools] = kernels.window_max(values, valid, grouped.lo, grouped.hi)
    return found


def _distinct(grouped: _Grouped, column: str) -> tuple[Int64s, None]:
    codes, size = grouped.rows.codes(column)
    return kernels.window_distinct(codes[grouped.order], size, grouped.lo, grouped.hi), None


def _last(grouped: _Grouped, column: str) -> tuple[Int64s, Bools]:
    values, _, present = _latest(grouped, column)
    return values, present


def _last_us(grouped: _Grouped, column: str) -> tuple[Int64s, Bools]:
    _, times, present = _latest(grouped, column)
    return times, present


def _latest(grouped: _Grouped, column: str) -> tuple[Int64s, Int64s, Bools]:
    values, valid = grouped.values(column)
    found: tuple[Int64s, Int64s, Bools] = kernels.window_last(
        values, valid, grouped.codes, grouped.times, grouped.lo, grouped.hi
    )
    return found


_LOOPS: Final[Mapping[str, Loop]] = {
    "count": _count,
    "sum": _summed(lambda values: values),
    "max": _max,
    "distinct": _distinct,
    "squares_high": _summed(lambda values: (values >> _LIMB) * (values >> _LIMB)),
    "squares_middle": _summed(lambda values: (values >> _LIMB) * (values & _LOW_MASK)),
    "squares_low": _summed(lambda values: (values & _LOW_MASK) * (values & _LOW_MASK)),
    "last": _last,
    "last_us": _last_us,
}


def _slices(
    connection: duckdb.DuckDBPyConnection, relation: str, from_us: int | None, rows_per_slice: int
) -> Iterator[tuple[int, int]]:
    """Cut time into slices of about so many rows, at whole hours: (first, after the last) instant."""
    hour = 3_600_000_000
    hours = connection.execute(
        f"select event_us // {hour}, count(*), max(event_us) from {relation} where event_us >= ?"  # noqa: S608
        " group by 1 order by 1",
        [-(2**62) if from_us is None else from_us],
    ).fetchall()
    start_us, rows = None, 0
    for index, (number, count, newest_us) in enumerate(hours):
        if start_us is None:
            start_us = number * hour if from_us is None else max(number * hour, from_us)
        rows += count
        is_last = index == len(hours) - 1
        if rows >= rows_per_slice or is_last:
            yield start_us, (newest_us + 1 if is_last else (number + 1) * hour)
            start_us, rows = None, 0


def _int64(column: pa.ChunkedArray) -> Int64s:
    values: Int64s = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    return values


def _is_valid(column: pa.ChunkedArray) -> Bools:
    valid: Bools = column.is_valid().to_numpy()
    return valid


def _empty(spec: PartSpec) -> pa.Table:
    types = {"transaction_id": pa.string(), "event_us": pa.int64(), "place": pa.int64()}
    return pa.schema([*types.items(), *((part.name, pa.int64()) for part in spec.parts)]).empty_table()
