"""The SQLite file behind the online store: connections, transactions, and up to when a table is complete.

Each thread of each process has its own connection, opened again after a fork or when the file was replaced.
A write-ahead log lets readers go on while a writer is at work, and shows them its transaction whole or not
at all.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from warehouse.errors import InputError, StoreError
from warehouse.feature_store.online_rows import RowTable
from warehouse.sql_text import identifier

_VIEWS_SQL = (
    "create table if not exists __views (name text primary key, schema text, complete_until_us integer)"
)
HOW_TO_FILL = "run `cbp materialize`, or `feast -c feature_repo apply` and `materialize`"


class OnlineFile:
    """One SQLite file.

    Parameters
    ----------
    path : Path
        The file; made by the first writer.
    busy_timeout_seconds : float
        How long a writer waits for another.
    """

    def __init__(self, path: Path, busy_timeout_seconds: float) -> None:
        self.path = path
        self._busy_timeout_seconds = busy_timeout_seconds
        self._local = threading.local()

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection.

        Raises
        ------
        StoreError
            The file isn't there, or is no database that can be opened.
        """
        try:
            status = self.path.stat()
        except FileNotFoundError:
            raise StoreError(f"there is no online store at {self.path}: {HOW_TO_FILL}") from None
        opened_for = (os.getpid(), status.st_dev, status.st_ino)
        if getattr(self._local, "opened_for", None) != opened_for:
            self.close()
            try:
                self._local.connection = _connect(self.path, self._busy_timeout_seconds)
            except sqlite3.Error as error:
                raise StoreError(
                    f"can't open the online store {self.path} ({error}): remove it, then {HOW_TO_FILL}"
                ) from error
            self._local.opened_for = opened_for
        connection: sqlite3.Connection = self._local.connection
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction of the only writer; makes the file when it isn't there."""
        if not self.path.exists():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        connection = self.connection()
        connection.execute("begin immediate")
        try:
            connection.execute(_VIEWS_SQL)
            yield connection
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        # One that a parent process opened must stay open here: closing it would release the parent's locks.
        if connection is not None and self._local.opened_for[0] == os.getpid():
            connection.close()
        self._local.connection = self._local.opened_for = None

    def remove(self) -> None:
        """Remove the file and its log."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    def shrink_log(self) -> None:
        """Move the write-ahead log into the file, as far as readers let it."""
        self.connection().execute("pragma wal_checkpoint(truncate)")

    def complete_until_us(self, table: RowTable) -> int | None:
        """Time up to which a table was filled with these columns; None: never, or there is no file."""
        if not self.path.exists():
            return None
        connection = self.connection()
        if not existing_columns(connection, "__views"):
            return None
        found = connection.execute(
            "select complete_until_us from __views where name = ? and schema = ?", (table.name, table.schema)
        ).fetchone()
        return None if found is None else found[0]


def note_complete(connection: sqlite3.Connection, table: RowTable, until_us: int) -> None:
    """Note, in the transaction of `connection`, that a table is complete up to a time."""
    connection.execute(
        "update __views set complete_until_us = max(coalesce(complete_until_us, ?1), ?1) where name = ?2",
        (until_us, table.name),
    )


def ensure_table(connection: sqlite3.Connection, table: RowTable) -> None:
    """Make a table, or add the columns that it lacks; then it counts as never filled.

    A column that is no longer wanted stays, so that a scorer with the older columns reads on.

    Raises
    ------
    InputError
        Two columns differ in case alone.
    """
    known = connection.execute("select schema from __views where name = ?", (table.name,)).fetchone()
    if known == (table.schema,):
        return
    if len({column.lower() for column in table.columns}) < len(table.columns):
        raise InputError(f"{table.name}: column names must differ in more than case, got {table.columns}")
    columns = existing_columns(connection, table.name)
    if columns and not set(table.keys) <= columns:
        connection.execute(f"drop table {identifier(table.name)}")
        columns = set()
    connection.execute(table.create_sql())
    for column in table.columns if columns else ():
        if column not in columns:
            connection.execute(f"alter table {identifier(table.name)} add column {identifier(column)}")
    connection.execute("insert or replace into __views values (?, ?, null)", (table.name, table.schema))


def drop_table(connection: sqlite3.Connection, name: str) -> None:
    """Drop a table and what is noted about it."""
    connection.execute(f"drop table if exists {identifier(name)}")
    connection.execute("delete from __views where name = ?", (name,))


def existing_columns(connection: sqlite3.Connection, table: str) -> set[str]:
    """Columns of a table; none when it isn't there."""
    return {row[1] for row in connection.execute(f"pragma table_info({identifier(table)})")}


def _connect(path: Path, busy_timeout_seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=busy_timeout_seconds, isolation_level=None)
    try:
        connection.execute("pragma journal_mode = wal")
        # Safe with a write-ahead log: a power cut may lose the last commit, which `materialize` makes again.
        connection.execute("pragma synchronous = normal")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
