"""How much memory DuckDB may use, and which share of it each of its users gets.

Each share is a limit of its own: a build and an ingest that run side by side may use both.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from warehouse.errors import SettingsError

DEFAULT_MEMORY_LIMIT: Final = "4GB"
_MEMORY: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]i?B)", re.IGNORECASE)


class Share(Enum):
    """Parts of the limit; a query that needs more spills to disk."""

    BUILD = 1.0
    """dbt's models (``profiles.yml``)."""

    PUBLISHED = 0.75
    """Whoever reads the published warehouse, training above all."""

    INGEST = 0.25
    """A raw file on its way to the landing."""

    FEATURES = 0.25
    """A query of Feast's offline store."""


def parse_memory(text: str) -> int:
    """Read a size as DuckDB writes it, say ``4GB`` or ``512MiB``; returns bytes.

    Raises
    ------
    SettingsError
        When it is none, or less than a megabyte.
    """
    match = _MEMORY.fullmatch(text.strip())
    base = 1024 if match and "i" in match[2].lower() else 1000
    size = int(float(match[1]) * base ** (1 + "KMGT".index(match[2][0].upper()))) if match else 0
    if size < 1_000_000:
        raise SettingsError(f"CBP_MEMORY_LIMIT: expected a size such as 4GB or 512MiB, got {text!r}")
    return size


def memory_of(share: Share, limit_bytes: int) -> str:
    """Return a share of the limit as DuckDB reads it."""
    return f"{int(limit_bytes * share.value) // 1000}KB"
