"""Canonical rows landed by hand, and homes whose tables are compared to the last bit."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.canonical import LABEL_SCHEMA, LABELS_FILE, TRANSACTION_SCHEMA, TRANSACTIONS_FILE
from warehouse.landing.batches import publish_batch
from warehouse.settings import Settings

COMPARED_SCHEMAS = ("intermediate", "marts", "features")


def land(
    settings: Settings, name: str, rows: list[dict[str, Any]], labels: Sequence[dict[str, Any]] = ()
) -> None:
    """Land rows as a batch."""

    def write(folder: Path) -> None:
        pq.write_table(pa.Table.from_pylist(rows, TRANSACTION_SCHEMA), folder / TRANSACTIONS_FILE)
        # Nullable, so that a test can land what ingest never would.
        schema = pa.schema([field.with_nullable(True) for field in LABEL_SCHEMA])
        pq.write_table(pa.Table.from_pylist(list(labels), schema), folder / LABELS_FILE)

    publish_batch(settings, name, write=write)


def home_with_the_same_landing(settings: Settings, home: Path) -> Settings:
    """Copy what has landed, and nothing else, into a new home."""
    copied = Settings.from_environment({"CBP_HOME": str(home)})
    copied.create_folders()
    shutil.copytree(settings.landing_dir, copied.landing_dir, dirs_exist_ok=True)
    return copied


def differences(left: Settings, right: Settings) -> list[tuple[str, int, int]]:
    """Compare all built tables and feature files: (table, rows of the left alone, of the right alone)."""
    found = []
    with duckdb.connect() as connection:
        for side, settings in (("l", left), ("r", right)):
            connection.execute(f"attach '{settings.build_file}' as {side} (read_only)")
        tables = _tables(connection, "l")
        assert tables == _tables(connection, "r")
        pairs = [(table, f"l.{table}", f"r.{table}") for table in tables]
        for link in sorted(path.name for path in left.features_dir.iterdir() if path.is_symlink()):
            for side, settings in (("l", left), ("r", right)):
                files = f"read_parquet('{settings.features_dir / link}/*.parquet')"
                pairs.append((f"files of {link}", f"{side}.features.{link}", files))
        for name, one, other in pairs:
            alone = [
                _count(connection, f"from {first} except all from {second}")
                for first, second in ((one, other), (other, one))
            ]
            if any(alone):
                found.append((name, *alone))
    return found


def _tables(connection: duckdb.DuckDBPyConnection, database: str) -> list[str]:
    rows = connection.execute(
        "select schema_name || '.' || table_name from duckdb_tables() "
        "where database_name = ? and schema_name in (select unnest(?)) order by all",
        [database, list(COMPARED_SCHEMAS)],
    ).fetchall()
    return [name for (name,) in rows]


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    ((count,),) = connection.execute(f"select count(*) from ({query})").fetchall()  # noqa: S608
    return int(count)
