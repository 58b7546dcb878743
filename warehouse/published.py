"""The one door to the published warehouse, for whoever reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from warehouse.errors import BuildError, CbpError
from warehouse.memory import Share
from warehouse.settings import Settings


@contextmanager
def open_published(
    settings: Settings, *, refused: type[CbpError] = BuildError
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the published warehouse for reading, within its share of memory.

    Parameters
    ----------
    settings : Settings
        The home.
    refused : type of CbpError, optional
        What is raised when there is nothing to read.

    Raises
    ------
    BuildError
        Or `refused`: there is no published warehouse, or one that an earlier version built.
    """
    if not settings.published_file.is_file():
        raise refused("expected a published warehouse, found none: run `cbp build` first")
    limits: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": settings.memory_of(Share.PUBLISHED)
    }
    with duckdb.connect(str(settings.published_file), read_only=True, config=limits) as connection:
        # The commands show their own.
        connection.execute("set enable_progress_bar = false")
        try:
            yield connection
        except duckdb.CatalogException as error:
            lacking = str(error).splitlines()[0]
            raise refused(
                f"expected a published warehouse of this version, got one without what is read ({lacking}):"
                " run `cbp build` first"
            ) from error
