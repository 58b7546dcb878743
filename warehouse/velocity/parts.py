"""Velocity parts over history by compiled loops: the declarations' values, many times faster.

dbt's macro ``compute_due_parts`` hands over what it would otherwise render as window functions (see
``dbt_project/macros/velocity/window_parts.sql``): the parts, and the key columns of each entity. History is
worked in slices of time; what later windows look back on is kept as numbers (`velocity_history`), so that
each row is read once and memory follows a slice and the longest window, not the history. What has no loop
here raises `UnknownPartError`: dbt then renders windows.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import CbpError
from warehouse.velocity import kernels
from warehouse.velocity.history import History, int64
from warehouse.velocity.kernels import Bools, Int64s
from warehouse.velocity.loops import LOOPS, Grouped

ROWS_PER_SLICE: Final = 400_000
_CARRIED: Final = ("transaction_id", "event_us", "place")


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
            Names a part that has no compiled loop, or whose column isn't of the integers that loops add up.
        """
        parts = tuple(Part(**part) for part in values["parts"])
        unknown = sorted({part.part for part in parts} - set(LOOPS))
        if unknown:
            raise UnknownPartError(f"expected parts among {sorted(LOOPS)}, got {unknown}")
        spec = cls({name: tuple(keys) for name, keys in values["entities"].items()}, parts)
        types = values["types"]  # of no column before the relation is built
        others = {name: types[name] for name in sorted(spec.numeric & set(types)) if types[name] != "bigint"}
        if others:
            raise UnknownPartError(f"expected bigint columns to calculate with, got {others}")
        return spec

    @property
    def horizon_us(self) -> int:
        """Length of the longest window."""
        return max(part.window_us for part in self.parts)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that windows look at, each once."""
        return tuple(dict.fromkeys(["event_us", *sorted(self.coded), *(part.column for part in self.parts)]))

    @property
    def coded(self) -> frozenset[str]:
        """Columns whose values only need to be told apart."""
        keys = {key for part in self.parts for key in self.entities[part.entity]}
        return frozenset(keys | {part.column for part in self.parts if part.part == "distinct"})

    @property
    def numeric(self) -> frozenset[str]:
        """Columns whose values are calculated with."""
        return frozenset(part.column for part in self.parts if part.part not in ("count", "distinct"))


def load() -> None:
    """Load what Numba loads at the first call of a loop."""
    kernels.group_rows(np.empty(0, np.int32), 1)


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
    history = History(spec.coded, spec.numeric, frozenset(spec.columns))
    for number, (start_us, end_us) in enumerate(_slices(connection, relation, from_us, rows_per_slice)):
        if number == 0:
            history.append(_read(connection, relation, spec.columns, start_us - spec.horizon_us, start_us))
        table = _read(connection, relation, (*_CARRIED, *spec.columns), start_us, end_us)
        history.append(table)
        parts = pa.table(
            {name: table.column(name) for name in _CARRIED} | compute_parts(history, spec, from_us=start_us)
        )
        del table
        pq.write_table(
            parts, folder / f"{number:06d}.parquet", compression="none", use_dictionary=["transaction_id"]
        )
        rows += parts.num_rows
        del parts
        history.forget(end_us - spec.horizon_us)
        pa.default_memory_pool().release_unused()
    if not rows:
        pq.write_table(_empty(spec), folder / "000000.parquet")
    return rows


def compute_parts(history: History, spec: PartSpec, *, from_us: int) -> dict[str, pa.Array]:
    """Compute the parts of the rows from an instant on, in order of time."""
    columns: dict[str, pa.Array] = {}
    for entity, keys in spec.entities.items():
        wanted = [part for part in spec.parts if part.entity == entity]
        if wanted:
            columns |= _entity_parts(history, keys, wanted, from_us)
    return {part.name: columns[part.name] for part in spec.parts}


def _entity_parts(
    history: History, keys: Sequence[str], parts: Sequence[Part], from_us: int
) -> dict[str, pa.Array]:
    horizon_us = max(part.window_us for part in parts)
    rows = Grouped(history, keys, int(np.searchsorted(history.times, from_us - horizon_us)), from_us)
    bounds = {
        window_us: kernels.window_bounds(rows.starts, rows.known, rows.times, rows.asked, window_us)
        for window_us in {part.window_us for part in parts}
    }

    def computed(kind: tuple[str, str]) -> dict[str, pa.Array]:
        name, column = kind
        answer = LOOPS[name](rows, column)
        return {
            part.name: _in_row_order(rows.places, *answer(*bounds[part.window_us]))
            for part in parts
            if (part.part, part.column) == kind
        }

    # The loops hold no lock of Python's: each core has one to run.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        kinds = dict.fromkeys((part.part, part.column) for part in parts)
        return {name: column for found in pool.map(computed, kinds) for name, column in found.items()}


def _in_row_order(places: Int64s, values: Int64s, present: Bools | None) -> pa.Array:
    placed = np.empty_like(values)
    placed[places] = values
    if present is None:
        return pa.array(placed)
    missing = np.empty(len(places), dtype=np.bool_)
    missing[places] = ~present
    return pa.array(placed, mask=missing)


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


def _read(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], start_us: int, end_us: int
) -> pa.Table:
    """Read the rows from an instant to before another, in order of time."""
    names = ", ".join(f'"{name}"' for name in dict.fromkeys(columns))
    table = connection.execute(
        f"select {names} from {relation} where event_us >= ? and event_us < ?",  # noqa: S608 - dbt's names
        [start_us, end_us],
    ).to_arrow_table()
    times = int64(table.column("event_us"))
    if np.any(np.diff(times) < 0):
        return table.take(pa.array(np.argsort(times, kind="stable")))
    return table


def _empty(spec: PartSpec) -> pa.Table:
    types = {"transaction_id": pa.string(), "event_us": pa.int64(), "place": pa.int64()}
    return pa.schema([*types.items(), *((part.name, pa.int64()) for part in spec.parts)]).empty_table()
