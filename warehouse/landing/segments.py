"""Segments of customers on their way back into the warehouse: one file below the home, which dbt reads.

``CBP_HOME/segments/customers.parquet`` holds each customer's segment at each time of assignment, and in its
metadata the clustering that gave them (JSON). Both are one file, so they can't part: it is replaced whole.
"""

from __future__ import annotations

import json
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.durable import write_whole
from warehouse.errors import StoreError
from warehouse.settings import Settings

SEGMENT_SCHEMA: Final = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("assigned_us", pa.int64(), nullable=False),
        pa.field("code", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("distance", pa.float64(), nullable=False),
        pa.field("typicality", pa.float64(), nullable=False),
        pa.field("x", pa.float64(), nullable=False),
        pa.field("y", pa.float64(), nullable=False),
        pa.field("map_x", pa.float64()),
        pa.field("map_y", pa.float64()),
        pa.field("was_fitted", pa.bool_(), nullable=False),
    ]
)
"""A row per customer and time of assignment; ``map_x`` and ``map_y`` are known where ``was_fitted`` alone."""

_CLUSTERING: Final = b"clustering"


def ensure_segments(settings: Settings) -> None:
    """Write the empty file that a home without segments has; leave one that is there.

    Raises
    ------
    StoreError
        When the file is there and can't be read, or has other columns.
    """
    if settings.segments_file.exists():
        _read_schema(settings)
    else:
        write_segments(settings, SEGMENT_SCHEMA.empty_table(), clustering=None)


def write_segments(settings: Settings, segments: pa.Table, *, clustering: dict[str, Any] | None) -> None:
    """Replace the file by one rename.

    Parameters
    ----------
    settings : Settings
        The home.
    segments : pyarrow.Table
        Of `SEGMENT_SCHEMA`.
    clustering : dict or None
        JSON values of what gave them.
    """
    metadata = {_CLUSTERING: json.dumps(clustering, sort_keys=True, allow_nan=False).encode()}
    table = segments.cast(SEGMENT_SCHEMA).replace_schema_metadata(metadata)
    write_whole(settings.segments_file, lambda incoming: pq.write_table(table, incoming))


def read_segments(settings: Settings) -> tuple[pa.Table, dict[str, Any] | None]:
    """Read the file: the segments, and the clustering that gave them (None: there was none yet).

    Raises
    ------
    StoreError
        When the file can't be read or has other columns.
    """
    if not settings.segments_file.exists():
        return SEGMENT_SCHEMA.empty_table(), None
    schema = _read_schema(settings)
    clustering = json.loads((schema.metadata or {}).get(_CLUSTERING, b"null"))
    return pq.read_table(settings.segments_file).replace_schema_metadata(None), clustering


def _read_schema(settings: Settings) -> pa.Schema:
    try:
        schema = pq.read_schema(settings.segments_file)
    except (OSError, pa.ArrowInvalid) as error:
        raise StoreError(
            f"the segments can't be read ({error}): remove {settings.segments_file} and cluster again"
        ) from error
    if not schema.remove_metadata().equals(SEGMENT_SCHEMA):
        raise StoreError(
            f"expected segments with the columns {SEGMENT_SCHEMA.names}, got {schema.names}: "
            f"remove {settings.segments_file} and cluster again"
        )
    return schema
