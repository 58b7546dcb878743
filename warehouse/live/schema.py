"""Tables of the live store: what the API knows at this moment.

Neutral between SQLite and PostgreSQL. Times are int64 UTC microseconds, amounts int64 minor units.

``arrival_seq`` is the primary key of `events` because every window and every export walks it: in SQLite it is
then the row's own address and part of each index, so that the windows are read from an index alone.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

metadata: Final = MetaData()

_SEQUENCE: Final = BigInteger().with_variant(Integer(), "sqlite")

events: Final = Table(
    "events",
    metadata,
    Column("arrival_seq", _SEQUENCE, primary_key=True, autoincrement=False),
    Column("transaction_id", Text, nullable=False, unique=True),
    Column("customer_id", Text),
    Column("merchant_id", Text),
    Column("event_us", BigInteger, nullable=False),
    Column("amount_minor", BigInteger, nullable=False),
    Column("currency", Text),
    Column("category", Text),
    Column("channel", Text),
    Column("country", Text),
    Column("latitude", Double),
    Column("longitude", Double),
    Column("latitude_e6", BigInteger),
    Column("longitude_e6", BigInteger),
    Column("attributes_number", Text),
    Column("attributes_text", Text),
    Column("ingested_us", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("content_hash", LargeBinary),
    # Each holds what windows look at: an entity's events lie side by side, however many others there are.
    Index(
        "events_of_customer",
        "customer_id",
        "event_us",
        "merchant_id",
        "amount_minor",
        "category",
        "country",
        "latitude_e6",
        "longitude_e6",
    ),
    Index("events_of_merchant", "merchant_id", "event_us", "customer_id", "amount_minor"),
    Index("events_by_time", "event_us"),
)
"""One row per transaction that is known live; `content_hash` is null for rows from the warehouse."""

fraud_reports: Final = Table(
    "fraud_reports",
    metadata,
    Column("arrival_seq", _SEQUENCE, primary_key=True, autoincrement=False),
    Column("reported_id", Text, nullable=False),
    Column("reported_merchant_id", Text, nullable=False),
    Column("event_us", BigInteger, nullable=False),
    Column("paid_us", BigInteger, nullable=False),
    UniqueConstraint("reported_id", "event_us"),
    Index("reports_of_merchant", "reported_merchant_id", "event_us", "reported_id", "paid_us"),
)
"""One row per label that says fraud: the payment, its merchant, when it became known, when it was paid."""

claims: Final = Table(
    "claims",
    metadata,
    Column("transaction_id", Text, primary_key=True),
    Column("token", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("claimed_us", BigInteger, nullable=False),
)
"""One row per transaction that a worker is scoring now; the token proves whose it is."""

decisions: Final = Table(
    "decisions",
    metadata,
    Column("transaction_id", Text, primary_key=True),
    Column("arrival_seq", BigInteger, nullable=False),
    Column("decided_us", BigInteger, nullable=False),
    Column("decision", Text, nullable=False),
    Column("fraud_probability", Double, nullable=False),
    Column("anomaly_score", Double),
    Column("model_name", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("content_hash", LargeBinary, nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("record_sequence", BigInteger, nullable=False),
    Index("decisions_by_time", "decided_us"),
)
"""One row per decided transaction; `answer` holds the bytes that every retry gets."""

labels: Final = Table(
    "labels",
    metadata,
    Column("label_seq", _SEQUENCE, primary_key=True, autoincrement=False),
    Column("transaction_id", Text, nullable=False),
    Column("is_fraud", Boolean, nullable=False),
    Column("known_us", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Index("labels_by_transaction", "transaction_id"),
)
"""One row per label that was sent to the API, in the order in which they came; the latest counts."""

api_clients: Final = Table(
    "api_clients",
    metadata,
    Column("client_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("key_hash", LargeBinary, nullable=False, unique=True),
    Column("created_us", BigInteger, nullable=False),
    Column("revoked_us", BigInteger),
)
"""One row per API client; only the keyed hash of its API key is kept."""

outbox: Final = Table(
    "outbox",
    metadata,
    Column("sequence", _SEQUENCE, primary_key=True, autoincrement=False),
    Column("record", LargeBinary, nullable=False),
)
"""Sealed audit records that are not yet safe in the log file."""

heads: Final = Table(
    "heads",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("hash", LargeBinary),
)
"""One row per counter; see `Head` for their names."""


class Head:
    """Names of the rows of `heads`."""

    ARRIVAL: Final = "arrival"
    """Last `arrival_seq` given out, to events and fraud reports alike."""
    LABEL: Final = "label"
    """Last `label_seq` given out."""
    LANDED_EVENT: Final = "landed_event"
    """Last `arrival_seq` that is landed in the warehouse."""
    LANDED_LABEL: Final = "landed_label"
    """Last `label_seq` that is landed in the warehouse."""
    AUDIT: Final = "audit"
    """Number and hash of the last audit record."""
    AUDIT_GENESIS: Final = "audit_genesis"
    """The hash that the first audit record follows."""
