"""Publishes a finished build: a copy that people and dashboards open read-only, replaced by one rename."""

from __future__ import annotations

from typing import Final

import duckdb

from warehouse.durable import sync
from warehouse.errors import BuildError
from warehouse.published import open_published
from warehouse.settings import Settings
from warehouse.sql_text import identifier, literal

PUBLISHED_SCHEMAS: Final = ("marts", "features")


def publish_warehouse(settings: Settings) -> dict[str, int]:
    """Copy the tables of `PUBLISHED_SCHEMAS`; returns the rows of each, as ``schema.table``.

    Readers of the former copy keep it until they close it.

    Raises
    ------
    BuildError
        When the build file can't be read or the copy can't be written.
    """
    incoming = settings.published_file.with_name(f".{settings.published_file.name}.incoming")
    incoming.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(incoming)) as connection:
            connection.execute("set preserve_insertion_order = false")
            connection.execute(f"attach {literal(str(settings.build_file))} as build (read_only)")
            rows = {
                f"{schema}.{table}": _copy_table(connection, schema, table)
                for schema, table in _tables(connection, "build")
            }
            connection.execute("detach build")
    except duckdb.Error as error:
        raise BuildError(f"the build can't be published, the former copy stays: {error}") from error
    sync(incoming)
    incoming.replace(settings.published_file)
    return rows


def count_published(settings: Settings) -> dict[str, int]:
    """Count the rows of each published table, as `publish_warehouse` returned them."""
    with open_published(settings) as connection:
        return {
            f"{schema}.{table}": _count(connection, f"{identifier(schema)}.{identifier(table)}")
            for schema, table in _tables(connection, settings.published_file.stem)
        }


def _tables(connection: duckdb.DuckDBPyConnection, database: str) -> list[tuple[str, str]]:
    return connection.execute(
        "select schema_name, table_name from duckdb_tables() "
        "where database_name = $database and schema_name in (select unnest($schemas)) order by all",
        {"database": database, "schemas": list(PUBLISHED_SCHEMAS)},
    ).fetchall()


def _copy_table(connection: duckdb.DuckDBPyConnection, schema: str, table: str) -> int:
    name = f"{identifier(schema)}.{identifier(table)}"
    connection.execute(f"create schema if not exists {identifier(schema)}")
    connection.execute(f"create table {name} as from build.{name}")
    return _count(connection, name)


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    row = connection.execute(f"select count(*) from {name}").fetchone()  # noqa: S608 - a quoted identifier
    return int(row[0]) if row else 0
