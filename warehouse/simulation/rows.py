"""The columns of a simulated file: a plan and its payments, slice by slice, as Arrow tables.

A clean file has typed columns. A dirty one has text for the event time and the amount (how else could they be
broken?), and the columns ``kind`` and ``note``: the first marks refunds, the second is in no mapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from warehouse.canonical import MAX_AMOUNT_MINOR
from warehouse.simulation.dirt import CLEAN, KINDS, REASONS, Dirt, FilePlan
from warehouse.simulation.payments import MICROSECONDS, Payments
from warehouse.simulation.world import CATEGORIES, CHANNELS, COUNTRIES, Integers, Merchants

CURRENCY: Final = "EUR"
SLICE_ROWS: Final = 250_000
NOTE: Final = 'said "hello",\nleft'
"""What stands in the unknown column: it needs quotes and holds one line break."""

_UNREADABLE_TIMES: Final = (
    "not-a-time",
    "2018-13-45T10:00:00Z",
    "2018-02-30T10:00:00Z",
    "31/12/2018",
    "yesterday",
)
_FAR_TIMES: Final = ("1899-12-31T23:59:59Z", "2218-04-01T12:00:00Z")
_NOT_NUMBERS: Final = ("abc", "NaN", "12,34", "--", "1e", "EUR 5")
_OFFSET_MINUTES: Final = (-480, -300, -210, 60, 120, 330, 345, 540)
"""Whole, half and quarter hours from UTC, as they are somewhere in the world."""

_MANIFEST_SCHEMA: Final = pa.schema(
    [("row", pa.int64()), ("kind", pa.string()), ("transaction_id", pa.string()), ("reason", pa.string())]
)


def iterate_tables(
    plan: FilePlan, payments: Payments, merchants: Merchants, *, is_dirty: bool
) -> Iterator[pa.Table]:
    """Yield the file's rows in order, `SLICE_ROWS` at a time; one empty table when there are none."""
    for first in range(0, max(plan.payment.size, 1), SLICE_ROWS):
        rows = slice(first, first + SLICE_ROWS)
        part = FilePlan(plan.payment[rows], plan.kind[rows], plan.ingested_us[rows])
        yield _build_table(part, payments, merchants, first_row=first, is_dirty=is_dirty)


def list_dirt(plan: FilePlan) -> pa.Table:
    """List the dirty rows: ``row`` (from 1), ``kind``, ``transaction_id``, ``reason`` (null: not refused)."""
    dirty = np.flatnonzero(plan.kind != CLEAN)
    kinds = [KINDS[index] for index in plan.kind[dirty]]
    part = FilePlan(plan.payment[dirty], plan.kind[dirty], plan.ingested_us[dirty])
    reasons = [REASONS[kind].value if kind in REASONS else None for kind in kinds]
    columns = [dirty + 1, [kind.value for kind in kinds], _name_transactions(part, dirty), reasons]
    return pa.table(columns, schema=_MANIFEST_SCHEMA)


def _build_table(
    part: FilePlan, payments: Payments, merchants: Merchants, *, first_row: int, is_dirty: bool
) -> pa.Table:
    payment = part.payment
    merchant = payments.merchant[payment]
    rows = first_row + np.arange(payment.size)
    columns: dict[str, pa.Array] = {
        "transaction_id": _name_transactions(part, rows),
        "customer_id": _number("c", payments.customer[payment]),
        "merchant_id": _number("m", merchant),
    }
    if is_dirty:
        columns["event_time"] = _write_times(part, payments.event_us[payment])
        columns["amount_minor"] = _write_amounts(part, payments.amount_minor[payment])
    else:
        columns["event_us"] = pa.array(payments.event_us[payment])
        columns["amount_minor"] = pa.array(payments.amount_minor[payment])
    columns |= {
        "currency": _encode(np.zeros(payment.size, dtype=np.int8), (CURRENCY,)),
        "category": _encode(merchants.category[merchant], CATEGORIES),
        "channel": _encode(payments.channel[payment], CHANNELS),
        "country": _encode(merchants.country[merchant], COUNTRIES),
        "latitude": pa.array(merchants.latitude[merchant]),
        "longitude": pa.array(merchants.longitude[merchant]),
        "is_fraud": pa.array(payments.is_fraud[payment]),
        "label_known_us": pa.array(payments.label_known_us[payment]),
        "ingested_us": pa.array(part.ingested_us),
    }
    if is_dirty:
        columns["kind"] = _encode(_has_kind(part, Dirt.REFUND).astype(np.int8), ("payment", "refund"))
        columns["note"] = pc.if_else(pa.array(_has_kind(part, Dirt.UNKNOWN_COLUMN)), NOTE, None)
    return pa.table(columns)


def _has_kind(part: FilePlan, kind: Dirt) -> NDArray[np.bool_]:
    has_kind: NDArray[np.bool_] = part.kind == KINDS.index(kind)
    return has_kind


def _name_transactions(part: FilePlan, rows: Integers) -> pa.Array:
    """Name the payments ``t…``, and the added rows that are refused for what else they hold ``x…``."""
    own_name = {KINDS.index(kind) for kind in REASONS} - {KINDS.index(Dirt.CONFLICTING_DUPLICATE)}
    is_extra = np.isin(part.kind, list(own_name))
    names = pc.if_else(pa.array(is_extra), _number("x", rows, width=9), _number("t", part.payment, width=9))
    return pc.if_else(pa.array(_has_kind(part, Dirt.NULL_TRANSACTION_ID)), None, names)


def _write_times(part: FilePlan, event_us: Integers) -> pa.Array:
    """Write event times as RFC 3339, in UTC or in another offset, and spoil those that the plan spoils."""
    offsets = np.zeros(event_us.size, dtype=np.int64)
    abroad = _has_kind(part, Dirt.TIME_ZONE)
    offsets[abroad] = np.resize(_OFFSET_MINUTES, int(abroad.sum()))
    seconds = event_us // MICROSECONDS + offsets * 60
    wall_clock = pc.strftime(pa.array(seconds).cast(pa.timestamp("s")), format="%Y-%m-%dT%H:%M:%S")
    known = sorted({0, *_OFFSET_MINUTES})
    suffix = _encode(np.searchsorted(known, offsets), [_zone(minutes) for minutes in known]).cast(pa.string())
    times = pc.binary_join_element_wise(wall_clock, suffix, "")
    times = _replace(times, _has_kind(part, Dirt.BAD_EVENT_TIME), _UNREADABLE_TIMES)
    times = _replace(times, _has_kind(part, Dirt.FAR_EVENT_TIME), _FAR_TIMES)
    return pc.if_else(pa.array(_has_kind(part, Dirt.NULL_EVENT_TIME)), None, times)


def _zone(minutes: int) -> str:
    """Write an offset as RFC 3339 wants it."""
    sign, (hours, rest) = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    return f"{sign}{hours:02d}:{rest:02d}" if minutes else "Z"


def _write_amounts(part: FilePlan, amount_minor: Integers) -> pa.Array:
    """Write amounts as text, and spoil those that the plan spoils."""
    amount = amount_minor.copy()
    amount[_has_kind(part, Dirt.CONFLICTING_DUPLICATE)] += 1
    negative = _has_kind(part, Dirt.NEGATIVE_AMOUNT)
    amount[negative] = -1 - amount[negative]
    amount[_has_kind(part, Dirt.TOO_LARGE_AMOUNT)] += MAX_AMOUNT_MINOR + 1
    texts = _replace(
        pa.array(amount).cast(pa.string()), _has_kind(part, Dirt.NOT_A_NUMBER_AMOUNT), _NOT_NUMBERS
    )
    return pc.if_else(pa.array(_has_kind(part, Dirt.NULL_AMOUNT)), None, texts)


def _replace(texts: pa.Array, chosen: NDArray[np.bool_], values: Sequence[str]) -> pa.Array:
    """Put `values`, round and round, where `chosen` is true."""
    return pc.replace_with_mask(
        texts, pa.array(chosen), pa.array(np.resize(values, int(chosen.sum())), pa.string())
    )


def _number(prefix: str, numbers: Integers, *, width: int = 5) -> pa.Array:
    padded = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width=width, padding="0")
    return pc.binary_join_element_wise(prefix, padded, "")


def _encode(indices: NDArray[np.integer], names: Sequence[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), pa.array(names, pa.string()))
