"""What velocity's windows look back on: payments in order of time, each column as numbers."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.velocity.kernels import Bools, Codes, Int64s


class History:
    """Rows in order of time, as numbers: what has been read and may still be looked back on.

    Parameters
    ----------
    coded : set of str
        Columns whose values only need to be told apart: each value gets a small number.
    numeric : set of str
        Columns of integers that are calculated with.
    others : set of str
        Columns of which it only matters where they have a value.
    """

    def __init__(self, coded: Set[str], numeric: Set[str], others: Set[str]) -> None:
        self._coded, self._numeric = coded, numeric
        self._names = coded | numeric | others
        self.times: Int64s = np.empty(0, np.int64)
        self._known: dict[str, pa.Array] = {}
        self._columns: dict[tuple[str, str], npt.NDArray[Any]] = {}

    def append(self, table: pa.Table) -> None:
        """Add rows that are later than all others, in order of time."""
        self.times = np.concatenate([self.times, int64(table.column("event_us"))])
        for name in self._names:
            column = table.column(name)
            added: dict[str, npt.NDArray[Any]] = {"valid": column.is_valid().to_numpy()}
            if name in self._coded:
                added["codes"] = self._encode(name, column)
            if name in self._numeric:
                added["values"] = int64(column)
            for kind, values in added.items():
                before = self._columns.get((name, kind))
                self._columns[name, kind] = values if before is None else np.concatenate([before, values])

    def forget(self, before_us: int) -> None:
        """Let go of the rows before an instant."""
        first = int(np.searchsorted(self.times, before_us))
        self.times = self.times[first:].copy()
        for key, values in self._columns.items():
            self._columns[key] = values[first:].copy()

    def size(self, name: str) -> int:
        """Return how many different values a column has had, at least 1."""
        return max(len(self._known[name]), 1)

    def codes(self, name: str, first: int) -> Codes:
        """Return the number of each value from a row on, -1 where it is missing."""
        return self._columns[name, "codes"][first:]

    def values(self, name: str, first: int) -> Int64s:
        """Return a column's integers from a row on, 0 where missing."""
        return self._columns[name, "values"][first:]

    def valid(self, name: str, first: int) -> Bools:
        """Return where a column has a value, from a row on."""
        return self._columns[name, "valid"][first:]

    def _encode(self, name: str, column: pa.ChunkedArray) -> Codes:
        encoded = column.combine_chunks().dictionary_encode()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.combine_chunks()
        known = self._known.get(name, encoded.dictionary.slice(0, 0))
        unknown = encoded.dictionary.filter(pc.invert(pc.is_in(encoded.dictionary, value_set=known)))
        self._known[name] = known = pa.concat_arrays([known, unknown])
        numbers = pc.index_in(encoded.dictionary, value_set=known)
        codes: Codes = pc.fill_null(numbers.take(encoded.indices), -1).to_numpy(zero_copy_only=False)
        return codes


def int64(column: pa.ChunkedArray) -> Int64s:
    """Return a bigint column's values, 0 where missing."""
    values: Int64s = pc.fill_null(column.cast(pa.int64()), 0).to_numpy()
    return values
