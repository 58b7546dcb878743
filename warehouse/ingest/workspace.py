"""A private DuckDB for one file, with its spill inside the landing's work in progress."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.landing.batches import work_folder
from warehouse.memory import Share
from warehouse.settings import Settings
from warehouse.sql_text import literal


@dataclass(frozen=True)
class Workspace:
    """Where one file is worked on.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        In memory, in UTC, spilling below `folder`.
    folder : Path
        Private; gone when the work ends, and cleared by the next run when it died.
    """

    connection: duckdb.DuckDBPyConnection
    folder: Path


@contextmanager
def open_workspace(settings: Settings) -> Iterator[Workspace]:
    """Open a workspace; the caller holds the landing lock."""
    folder = work_folder(settings) / "workspace"
    folder.mkdir()
    try:
        with duckdb.connect() as connection:
            connection.execute(f"set memory_limit = {literal(settings.memory_of(Share.INGEST))}")
            connection.execute(f"set temp_directory = {literal(str(folder / 'spill'))}")
            connection.execute("set TimeZone = 'UTC'")
            yield Workspace(connection, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
