"""Connections to the live store: three kinds of transaction, the same on SQLite and PostgreSQL.

``reading``
    A snapshot; never waits for a writer.
``writing``
    Takes the one writer's place at once (SQLite: BEGIN IMMEDIATE), so that nobody fails half-way for having
    read first. Survives the death of the process, not yet a power failure.
``durable``
    The same, and its commit returns only when it (and with it every commit before it) is on the disk.

SQLite's hooks are those that SQLAlchemy documents for taking over transaction control from the driver.
"""

from __future__ import annotations

import math
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Connection,
    Select,
    TextClause,
    UpdateBase,
    create_engine,
    event,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from warehouse.errors import StoreError
from warehouse.live.schema import heads

BUSY_TIMEOUT_SECONDS: Final = 10.0
_IDS_PER_QUERY: Final = 5_000
_CACHE_KIBIBYTES: Final = 32 * 1024
_SCHEMA_LOCK: Final = 0x6362705F6C697665  # "cbp_live"
_BEGIN = "live_store_begin"
_SYNCHRONOUS = "live_store_synchronous"


class LiveEngine:
    """Opens transactions on one live store; safe to share between threads, not across a fork.

    Parameters
    ----------
    url : str
        SQLAlchemy URL.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.path = Path(parsed.database) if self.is_sqlite and parsed.database else None
        connect_args = {"timeout": BUSY_TIMEOUT_SECONDS} if self.is_sqlite else {}
        self._engine = create_engine(parsed, connect_args=connect_args, pool_size=8, max_overflow=24)
        if self.is_sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        self._writer = self._engine.execution_options(**{_BEGIN: "IMMEDIATE"})
        self._durable = self._engine.execution_options(**{_BEGIN: "IMMEDIATE", _SYNCHRONOUS: "FULL"})
        self._calculators: list[sqlite3.Connection] = []

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a snapshot to read from."""
        with _as_store_errors("read"), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a write transaction; commits at the end of the block."""
        with _as_store_errors("written"), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def durable(self) -> Iterator[Connection]:
        """Open a write transaction whose commit is on the disk before the block is left."""
        with _as_store_errors("written"), self._durable.begin() as connection:
            yield connection

    @contextmanager
    def calculating(self) -> Iterator[sqlite3.Connection]:
        """Open SQLite in memory, for expressions over bound values: they read no table of the store.

        A connection that is free is used again, with the statements that it has prepared.
        """
        with _as_store_errors("used to calculate"):
            try:  # another thread may take the last one between a look and a pop
                raw = self._calculators.pop()
            except IndexError:
                raw = _new_calculator()
            try:
                yield raw
            finally:
                self._calculators.append(raw)

    def durable_head(self, name: str) -> int:
        """Read a counter and make everything up to it durable: what is landed must not be forgotten here.

        SQLite writes a page, and with it all that was committed before, only if a byte of it changes.
        """
        with self.durable() as connection:
            row = heads.c.name == name
            connection.execute(update(heads).where(row).values(hash=secrets.token_bytes(8)))
            return int(connection.execute(select(heads.c.value).where(row)).scalar_one())

    def wait_for_turn(self, connection: Connection) -> None:
        """Let one transaction at a time change the schema; SQLite has one writer anyway."""
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))

    def use_write_ahead_log(self) -> None:
        """Let readers and the writer work side by side (SQLite); the mode stays with the file."""
        if self.path is None:
            return
        deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
        with _as_store_errors("opened"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_SECONDS)) as connection:
                while not _try_write_ahead_log(connection, is_last=time.monotonic() > deadline):
                    time.sleep(0.02)

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()
        while self._calculators:
            self._calculators.pop().close()


def _try_write_ahead_log(connection: sqlite3.Connection, *, is_last: bool) -> bool:
    """Set the mode; False when another process is in the way, which the busy timeout does not cover here."""
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError:
        if is_last:
            raise
        return False
    return True


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the "begin" hook begins
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIBIBYTES}")
    connection.execute("PRAGMA synchronous=NORMAL")
    # The live SQL opens thirty small tables of its own, each of which would be a file.
    connection.execute("PRAGMA temp_store=MEMORY")
    has_square_root = connection.execute(
        "select 1 from pragma_function_list where name = 'sqrt' limit 1"
    ).fetchone()
    if has_square_root is None:  # SQLite may be built without its math functions
        connection.create_function("sqrt", 1, _square_root, deterministic=True)


def _new_calculator() -> sqlite3.Connection:
    raw = sqlite3.connect(":memory:", check_same_thread=False)  # by one thread at a time
    _prepare_sqlite(raw, None)
    return raw


def _square_root(value: float | None) -> float | None:
    return None if value is None or value < 0 else math.sqrt(value)


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    synchronous = options.get(_SYNCHRONOUS, "NORMAL")
    raw: Any = connection.connection.driver_connection
    if connection.info.get(_SYNCHRONOUS, "NORMAL") != synchronous:
        raw.execute(f"PRAGMA synchronous={synchronous}")
        connection.info[_SYNCHRONOUS] = synchronous
    raw.execute(f"BEGIN {options.get(_BEGIN, 'DEFERRED')}")


@contextmanager
def _as_store_errors(done: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise StoreError(f"the live store can't be {done}: {cause}") from error


def run_text(
    connection: Connection, sql: str, parameters: Mapping[str, Any]
) -> tuple[list[str], Sequence[Sequence[Any]]]:
    """Run a compiled text with named binds and return its column names and rows.

    On SQLite the driver's own cursor is used: it caches the prepared statement by text, and a text of a
    hundred features is not taken apart on every call.
    """
    raw = driver_connection(connection)
    if raw is not None:
        cursor = raw.execute(sql, parameters)
        return [column[0] for column in cursor.description], cursor.fetchall()
    result = connection.execute(_text(sql), parameters)
    return list(result.keys()), result.fetchall()


def fetch(connection: Connection, statement: Select[Any], parameters: Mapping[str, Any]) -> Sequence[Any]:
    """Run a query that was built once; rows in the order of its columns.

    Parameters
    ----------
    connection : Connection
    statement : Select
        A constant of its module; a list is given for a bind that expands.
    parameters : mapping
        Values by bind.

    Notes
    -----
    On SQLite the text that SQLAlchemy compiles is kept and handed to the driver: executing through SQLAlchemy
    costs several times what SQLite needs, and a claim runs half a dozen statements while others wait.
    """
    raw = driver_connection(connection)
    if raw is None:
        return connection.execute(statement, parameters).fetchall()
    sizes = tuple((name, len(value)) for name, value in parameters.items() if isinstance(value, list))
    prepared, constants = _prepared(statement, sizes)
    values = {**constants, **parameters}
    for name, _ in sizes:
        values |= {f"{name}_{place}": value for place, value in enumerate(values.pop(name), 1)}
    return raw.execute(prepared, values).fetchall()


def fetch_by_ids(connection: Connection, statement: Select[Any], ids: Sequence[str]) -> Iterator[Any]:
    """Run a query that was built once, with the expanding bind ``ids``, for any number of them."""
    for start in range(0, len(ids), _IDS_PER_QUERY):
        yield from fetch(connection, statement, {"ids": list(ids[start : start + _IDS_PER_QUERY])})


def change(connection: Connection, statement: UpdateBase, rows: Sequence[Mapping[str, Any]]) -> int:
    """Run an insert, update or delete that was built once, for each of `rows`; returns how many changed."""
    raw = driver_connection(connection)
    if raw is None:
        return int(connection.execute(statement, rows).rowcount)
    prepared, constants = _prepared(statement, ())
    return raw.executemany(prepared, [{**constants, **row} for row in rows]).rowcount


def driver_connection(connection: Connection) -> sqlite3.Connection | None:
    """SQLite's own connection below `connection`; None on another database."""
    return _sqlite_below(connection) if connection.dialect.name == "sqlite" else None


def _sqlite_below(connection: Connection) -> sqlite3.Connection:
    if not connection.in_transaction():
        connection.begin()
    raw = connection.connection.driver_connection
    if not isinstance(raw, sqlite3.Connection):
        raise StoreError(f"expected a connection of the module sqlite3, got {type(raw).__name__}")
    return raw


@lru_cache(maxsize=32)
def _text(sql: str) -> TextClause:
    return text(sql)


@lru_cache(maxsize=256)
def _prepared(
    statement: Select[Any] | UpdateBase, sizes: tuple[tuple[str, int], ...]
) -> tuple[str, dict[str, Any]]:
    """Compile a statement for SQLite: its text with named binds, and the values that it holds itself.

    `sizes` says how far each list expands.
    """
    dialect = sqlite.dialect(paramstyle="named")
    if isinstance(statement, Select):
        lists = {name: [""] * size for name, size in sizes}
        options = {"render_postcompile": True}
        compiled = statement.params(**lists).compile(dialect=dialect, compile_kwargs=options)
    else:
        compiled = statement.compile(dialect=dialect)
    return str(compiled), dict(compiled.params)
