"""Publishes a finished build: a copy that people and dashboards open read-only, replaced by one rename."""

from __future__ import annotations

import shutil
from typing import Final

import duckdb

from warehouse.durable import sync
from warehouse.errors import BuildError
from warehouse.published import open_published
from warehouse.settings import Settings
from warehouse.sql_text import identifier

PUBLISHED_SCHEMAS: Final = ("marts", "features")


def publish_warehouse(settings: Settings) -> dict[str, int]:
    """Copy the tables of `PUBLISHED_SCHEMAS`; returns the rows of each, as ``schema.table``.

    The file is copied whole, and what is not published is dropped from the copy: copying tables row by row
    took longer than a day's models. Readers of the former copy keep it until they close it.

    Raises
    ------
    BuildError
        When the build file can't be read or the copy can't be written.
    """
    incoming = settings.published_file.with_name(f".{settings.published_file.name}.incoming")
    incoming.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(settings.build_file)) as connection:
            connection.execute("checkpoint")  # what a killed process left beside the file gets into it
        shutil.copyfile(settings.build_file, incoming)
        with duckdb.connect(str(incoming)) as connection:
            _drop_all_but_published(connection)
            rows = _count_tables(connection)
    except (duckdb.Error, OSError) as error:
        raise BuildError(f"the build can't be published, the former copy stays: {error}") from error
    sync(incoming)
    incoming.replace(settings.published_file)
    return rows


def count_published(settings: Settings) -> dict[str, int]:
    """Count the rows of each published table, as `publish_warehouse` returned them."""
    with open_published(settings) as connection:
        return _count_tables(connection)


def _drop_all_but_published(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop other schemas, and views: they would read tables that are gone."""
    others = connection.execute(
        "select schema_name from duckdb_schemas() where database_name = current_database() and not internal "
        "and schema_name not in (select unnest($schemas))",
        {"schemas": list(PUBLISHED_SCHEMAS)},
    ).fetchall()
    for (schema,) in others:
        connection.execute(f"drop schema {identifier(schema)} cascade")
    for kind in ("view", "table"):
        left = connection.execute(
            f"select schema_name, {kind}_name from duckdb_{kind}s() "  # noqa: S608 - one of two words
            "where database_name = current_database() and not internal "
            "and ($kind = 'view' or schema_name not in (select unnest($schemas)))",
            {"kind": kind, "schemas": list(PUBLISHED_SCHEMAS)},
        ).fetchall()
        for schema, name in left:
            connection.execute(f"drop {kind} {identifier(schema)}.{identifier(name)}")


def _count_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    tables = connection.execute(
        "select schema_name, table_name from duckdb_tables() "
        "where database_name = current_database() and schema_name in (select unnest($schemas)) order by all",
        {"schemas": list(PUBLISHED_SCHEMAS)},
    ).fetchall()
    return {
        f"{schema}.{table}": _count(connection, f"{identifier(schema)}.{identifier(table)}")
        for schema, table in tables
    }


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    row = connection.execute(f"select count(*) from {name}").fetchone()  # noqa: S608 - a quoted identifier
    return int(row[0]) if row else 0
