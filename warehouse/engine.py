"""An in-memory DuckDB that keeps to limits: of memory, of threads, and of where it spills."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb


@dataclass(frozen=True)
class EngineLimits:
    """What one query may use.

    Parameters
    ----------
    memory_limit : str
        DuckDB's ``memory_limit``, say ``1GB``; beyond it a query spills.
    temp_directory : Path
        Where it spills; created when needed.
    threads : int or None
        Threads of DuckDB; None: as many as there are cores.
    """

    memory_limit: str
    temp_directory: Path
    threads: int | None = None


@contextmanager
def open_engine(limits: EngineLimits) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open an in-memory DuckDB that keeps to `limits`, in UTC, and never installs an extension."""
    limits.temp_directory.mkdir(parents=True, exist_ok=True)
    # A folder of its own: DuckDB names its spill files alike everywhere.
    with TemporaryDirectory(dir=limits.temp_directory) as spill_folder:
        config: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": limits.memory_limit,
            "temp_directory": spill_folder,
            "autoinstall_known_extensions": False,
        }
        if limits.threads is not None:
            config["threads"] = limits.threads
        with duckdb.connect(config=config) as connection:
            # A naive time becomes a time with zone below: it is meant to be UTC, whatever the machine's zone.
            connection.execute("set timezone = 'UTC'")
            # DuckDB compares all with all when it expects few rows, as it does of any Arrow table: that takes
            # minutes instead of tenths of a second.
            connection.execute("set asof_loop_join_threshold = 0")
            yield connection
