"""A transaction as the live store keeps it: its content, the hash of that content, and its row."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from warehouse.canonical import CONTENT_FIELDS, PLAIN_FIELDS

_CONTENT_DOMAIN: Final = b"cbp transaction content v1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """One payment attempt in canonical form.

    Parameters
    ----------
    transaction_id : str
        Unique name.
    event_us : int
        When it happened, UTC microseconds.
    amount_minor : int
        Amount in minor units of `currency`.
    ingested_us : int, optional
        When it became known, UTC microseconds; the store's arrival time when None. Not part of the content.
    """

    transaction_id: str
    event_us: int
    amount_minor: int
    customer_id: str | None = None
    merchant_id: str | None = None
    currency: str | None = None
    category: str | None = None
    channel: str | None = None
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    attributes_number: Mapping[str, float] = field(default_factory=dict)
    attributes_text: Mapping[str, str] = field(default_factory=dict)
    ingested_us: int | None = None

    def content_hash(self) -> bytes:
        """SHA-256 of the content: 32 bytes, equal for equal content on every machine."""
        content = [getattr(self, name) for name in PLAIN_FIELDS]
        content += [dict(self.attributes_number), dict(self.attributes_text)]
        return hashlib.sha256(_CONTENT_DOMAIN + compact_json(content).encode()).digest()


def compact_json(value: object) -> str:
    """JSON with sorted keys and no spaces; a double is written so that it reads back as the same double."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def micro_degrees(degrees: float | None) -> int | None:
    """Round degrees to integer micro-degrees, halves up, as the warehouse does."""
    return None if degrees is None else math.floor(degrees * 1e6 + 0.5)


def event_row(
    transaction: Transaction, *, arrival_seq: int, now_us: int, source: str, content_hash: bytes | None
) -> dict[str, Any]:
    """Row of the table `events` for a transaction that arrives now."""
    return {
        "arrival_seq": arrival_seq,
        "transaction_id": transaction.transaction_id,
        "customer_id": transaction.customer_id,
        "merchant_id": transaction.merchant_id,
        "event_us": transaction.event_us,
        "amount_minor": transaction.amount_minor,
        "currency": transaction.currency,
        "category": transaction.category,
        "channel": transaction.channel,
        "country": transaction.country,
        "latitude": transaction.latitude,
        "longitude": transaction.longitude,
        "latitude_e6": micro_degrees(transaction.latitude),
        "longitude_e6": micro_degrees(transaction.longitude),
        "attributes_number": attributes_json(transaction.attributes_number),
        "attributes_text": attributes_json(transaction.attributes_text),
        "ingested_us": now_us if transaction.ingested_us is None else transaction.ingested_us,
        "source": source,
        "content_hash": content_hash,
    }


def attributes_json(attributes: Mapping[str, Any]) -> str | None:
    """Return the stored form of an attribute map; None when it is empty."""
    return compact_json(dict(attributes)) if attributes else None


def stored_content_hash(row: Mapping[str, Any]) -> bytes:
    """Content hash of a row of `events`: the stored one, or computed for a row from the warehouse."""
    stored: bytes | None = row["content_hash"]
    if stored is not None:
        return bytes(stored)
    content = {name: row[name] for name in CONTENT_FIELDS}
    for name in ("attributes_number", "attributes_text"):
        content[name] = json.loads(content[name]) if content[name] else {}
    return Transaction(**content).content_hash()
