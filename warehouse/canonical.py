"""The canonical shape of landed data: one place for the schemas, the limits and the file names.

Everything that lands rows (files, the API) writes these schemas, and everything that reads them (dbt's
staging models) may rely on them.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

MAX_AMOUNT_MINOR: Final = 10**12
"""Largest amount that is accepted, in minor units: sums of 2^20 of them still fit an int64."""

MIN_EVENT_US: Final = 0
"""Earliest event time that is accepted: 1970-01-01T00:00:00Z, in microseconds."""

MAX_EVENT_US: Final = 4_102_444_800_000_000
"""Event times must be before this: 2100-01-01T00:00:00Z, in microseconds."""

MAX_AHEAD_US: Final = 5 * 60 * 1_000_000
"""How far ahead of the clock an event may be, in microseconds: what lies further has not happened yet."""

MAX_ID_LENGTH: Final = 200
"""Longest transaction, customer or merchant id, in characters."""

TRANSACTIONS_FILE: Final = "transactions.parquet"
LABELS_FILE: Final = "labels.parquet"
QUARANTINE_FILE: Final = "quarantine.parquet"
REPORT_FILE: Final = "report.json"

EVENT_TIMESTAMP: Final = "event_timestamp"
"""Column of a feature table: from when on a row counts. Rows that features are joined to have it too."""

SOURCE_FILE: Final = "file"
SOURCE_API: Final = "api"

TRANSACTION_SCHEMA: Final = pa.schema(
    [
        pa.field("transaction_id", pa.string(), nullable=False),
        pa.field("customer_id", pa.string()),
        pa.field("merchant_id", pa.string()),
        pa.field("event_us", pa.int64(), nullable=False),
        pa.field("amount_minor", pa.int64(), nullable=False),
        pa.field("currency", pa.string()),
        pa.field("category", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("country", pa.string()),
        pa.field("latitude", pa.float64()),
        pa.field("longitude", pa.float64()),
        pa.field("attributes_number", pa.map_(pa.string(), pa.float64())),
        pa.field("attributes_text", pa.map_(pa.string(), pa.string())),
        pa.field("ingested_us", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("source_order", pa.int64(), nullable=False),
    ]
)
"""One row per accepted transaction; times in UTC microseconds, `source_order` is its order in the batch."""

ATTRIBUTE_FIELDS: Final = ("attributes_number", "attributes_text")
"""The two maps of what else a mapping names."""

CONTENT_FIELDS: Final = tuple(
    name for name in TRANSACTION_SCHEMA.names if name not in ("ingested_us", "source", "source_order")
)
"""What makes two transactions the same: everything but how and when they reached us."""

PLAIN_FIELDS: Final = tuple(name for name in CONTENT_FIELDS if name not in ATTRIBUTE_FIELDS)
"""The content but for the attributes: one plain value each."""

LABEL_SCHEMA: Final = pa.schema(
    [
        pa.field("transaction_id", pa.string(), nullable=False),
        pa.field("is_fraud", pa.bool_(), nullable=False),
        pa.field("known_us", pa.int64(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
    ]
)
"""One row per label; `known_us` is when it became known (UTC microseconds): before that it does not exist."""

LAST_OF_AN_INSTANT: Final = (
    "row_number() over ("
    "partition by transaction_id, known_us order by filename desc, source desc, is_fraud desc) = 1"
)
"""Condition on landed labels for DuckDB's QUALIFY: what counts of an instant, as in int_labels__changes."""

QUARANTINE_SCHEMA: Final = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("content", pa.string()),
    ]
)
"""One row per refused row; `line` is where it begins (row number in Parquet and JSON arrays)."""

LANDED_SCHEMAS: Final = {
    TRANSACTIONS_FILE: TRANSACTION_SCHEMA,
    LABELS_FILE: LABEL_SCHEMA,
    QUARANTINE_FILE: QUARANTINE_SCHEMA,
}
"""The Parquet files of a batch and their schemas."""
