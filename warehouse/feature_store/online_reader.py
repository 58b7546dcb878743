"""Reads rows of one online table as Python values: what scoring does for every payment."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from warehouse.errors import InputError, StoreError
from warehouse.feature_store.online_file import HOW_TO_FILL, OnlineFile
from warehouse.feature_store.online_rows import OnlineValue, RowTable, SqlValue, python_decoder

KEYS_PER_STATEMENT = 5_000

OnlineRecord = tuple[int, tuple[OnlineValue, ...]]
"""Event time (UTC microseconds) and values of one row."""


class RowReader:
    """Reader of some features of one table.

    Parameters
    ----------
    file : OnlineFile
        Where the table is.
    table : RowTable
        The table.
    features : tuple of str
        Wanted features, in this order.

    Raises
    ------
    InputError
        The table has no such feature.
    """

    def __init__(self, file: OnlineFile, table: RowTable, features: tuple[str, ...]) -> None:
        types = dict(table.features)
        unknown = [name for name in features if name not in types]
        if unknown:
            raise InputError(f"{table.name} has no feature {unknown}, only {list(types)}")
        self._file = file
        self._table = table
        self._features = features
        self._width = len(table.keys)
        self._one = table.select_sql(features, 1)
        self._decoders = [
            (i, decode) for i, name in enumerate(features) if (decode := python_decoder(types[name]))
        ]

    def read(self, keys: Sequence[tuple[SqlValue, ...]]) -> list[OnlineRecord | None]:
        """Read the rows of some keys.

        Parameters
        ----------
        keys : sequence of tuple
            Values of the join keys, in the order of their sorted names; none is null.

        Returns
        -------
        list of (int, tuple) or None
            Event time and values, aligned with `keys`; None where there is no row.

        Raises
        ------
        StoreError
            The file or the table isn't there, or can't be read.
        """
        found = self.read_kept(keys)
        if not self._decoders:
            return found
        return [None if record is None else (record[0], self._decoded(record[1])) for record in found]

    def read_kept(self, keys: Sequence[tuple[SqlValue, ...]]) -> list[OnlineRecord | None]:
        """Do as `read`, with values as SQLite keeps them."""
        connection = self._file.connection()
        width = self._width
        try:
            if len(keys) == 1:
                row = connection.execute(self._one, keys[0]).fetchone()
                return [None if row is None else (row[width], row[width + 1 :])]
            found: dict[tuple[SqlValue, ...], OnlineRecord] = {}
            for first in range(0, len(keys), KEYS_PER_STATEMENT):
                some = keys[first : first + KEYS_PER_STATEMENT]
                values = [value for key in some for value in key]
                for row in connection.execute(self._table.select_sql(self._features, len(some)), values):
                    found[row[:width]] = (row[width], row[width + 1 :])
        except sqlite3.Error as error:
            raise StoreError(
                f"can't read {self._table.name} from {self._file.path} ({error}): {HOW_TO_FILL}"
            ) from error
        return [found.get(key) for key in keys]

    def _decoded(self, values: tuple[OnlineValue, ...]) -> tuple[OnlineValue, ...]:
        decoded = list(values)
        for i, decode in self._decoders:
            if decoded[i] is not None:
                decoded[i] = decode(decoded[i])
        return tuple(decoded)
