"""Labels: what people and other systems say about transactions, kept in the order in which they were told.

A label is never changed: another verdict is another label, known later (`int_labels__changes` takes it from
there). Telling the same again changes nothing, so a request may be repeated.

Errors::

    InputError
    └── LabelConflictError      the other verdict is known for that instant, or it precedes its transaction
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
from sqlalchemy import BindParameter, Connection, bindparam, insert, select, update

from warehouse.canonical import LABEL_SCHEMA
from warehouse.errors import InputError
from warehouse.live.engine import LiveEngine, change, fetch, fetch_by_ids
from warehouse.live.fraud_reports import Report, add_reports
from warehouse.live.schema import Head, decisions, events, heads, labels

_IDS: Final[BindParameter[str]] = bindparam("ids", expanding=True)
_FIND_LABELS: Final = (
    select(labels.c.transaction_id, labels.c.is_fraud, labels.c.known_us)
    .where(labels.c.transaction_id.in_(_IDS))
    .order_by(labels.c.known_us)
)
_FIND_EVENTS: Final = select(events.c.transaction_id, events.c.event_us, events.c.merchant_id).where(
    events.c.transaction_id.in_(_IDS)
)
_FIND_DECISIONS: Final = select(decisions.c.transaction_id).where(decisions.c.transaction_id.in_(_IDS))
_LOCK_HEAD: Final = select(heads.c.value).where(heads.c.name == Head.LABEL).with_for_update()
_MOVE_HEAD: Final = update(heads).where(heads.c.name == Head.LABEL).values(value=bindparam("last"))
_INSERT_LABELS: Final = insert(labels)


class LabelConflictError(InputError):
    """A label contradicts what is known already."""


@dataclass(frozen=True, slots=True)
class Label:
    """What is said about one transaction.

    Parameters
    ----------
    transaction_id : str
    is_fraud : bool
    known_us : int or None
        When it became known, UTC microseconds; None: now, unless the same verdict stands already.
    """

    transaction_id: str
    is_fraud: bool
    known_us: int | None = None


@dataclass(frozen=True, slots=True)
class RecordedLabel:
    """What became of a label.

    Parameters
    ----------
    transaction_id : str
    is_fraud : bool
    known_us : int
        From when it counts, UTC microseconds.
    is_new : bool
        False when the same had been told before: nothing was added.
    is_transaction_known : bool
        Whether the live store knows the transaction; an older one may be in the warehouse all the same.
    """

    transaction_id: str
    is_fraud: bool
    known_us: int
    is_new: bool
    is_transaction_known: bool


def record(connection: Connection, told: Sequence[Label], *, source: str, now_us: int) -> list[RecordedLabel]:
    """Record labels inside a durable transaction; see `LiveStore.record_labels`."""
    last: int = fetch(connection, _LOCK_HEAD, {})[0][0]  # first: labels are told one after another
    names = list(dict.fromkeys(label.transaction_id for label in told))
    standing: dict[str, dict[int, bool]] = {}
    for name, is_fraud, known_us in fetch_by_ids(connection, _FIND_LABELS, names):
        standing.setdefault(name, {})[known_us] = bool(is_fraud)
    paid = {
        name: (event_us, merchant)
        for name, event_us, merchant in fetch_by_ids(connection, _FIND_EVENTS, names)
    }
    known = set(paid) | {name for (name,) in fetch_by_ids(connection, _FIND_DECISIONS, names)}
    recorded = []
    for label in told:
        verdicts = standing.setdefault(label.transaction_id, {})
        known_us, is_new = _place(label, verdicts, now_us=now_us)
        if label.transaction_id in paid and known_us < paid[label.transaction_id][0]:
            raise LabelConflictError(
                f"the label of {label.transaction_id!r} would be known before the transaction happened: "
                "check the clock, or send the known_us at which it really became known"
            )
        verdicts[known_us] = label.is_fraud
        recorded.append(
            RecordedLabel(
                label.transaction_id, label.is_fraud, known_us, is_new, label.transaction_id in known
            )
        )
    fresh = [label for label in recorded if label.is_new]
    _insert(connection, fresh, first_seq=last + 1, source=source)
    add_reports(connection, _reports(fresh, paid))
    return recorded


def _reports(fresh: Sequence[RecordedLabel], paid: Mapping[str, tuple[int, str | None]]) -> list[Report]:
    """Return what of the new labels reports a fraud at a merchant."""
    found = [(label, *paid[label.transaction_id]) for label in fresh if label.transaction_id in paid]
    return [
        Report(label.transaction_id, merchant_id, label.known_us, paid_us)
        for label, paid_us, merchant_id in found
        if label.is_fraud and merchant_id is not None
    ]


def _place(label: Label, verdicts: dict[int, bool], *, now_us: int) -> tuple[int, bool]:
    """Say from when a label counts, and whether that is news."""
    if label.known_us is None:
        latest_us = max(verdicts, default=None)
        if latest_us is not None and verdicts[latest_us] == label.is_fraud:
            return latest_us, False
        # A correction counts after what it corrects, whatever the clocks of those who told.
        return (now_us if latest_us is None else max(now_us, latest_us + 1)), True
    stands = verdicts.get(label.known_us)
    if stands is None:
        return label.known_us, True
    if stands != label.is_fraud:
        raise LabelConflictError(
            f"transaction {label.transaction_id!r} has the other verdict at that very instant; "
            "send a later known_us to correct it"
        )
    return label.known_us, False


def _insert(connection: Connection, fresh: Sequence[RecordedLabel], *, first_seq: int, source: str) -> None:
    if not fresh:
        return
    change(connection, _MOVE_HEAD, [{"last": first_seq + len(fresh) - 1}])
    change(
        connection,
        _INSERT_LABELS,
        [
            {
                "label_seq": first_seq + offset,
                "transaction_id": label.transaction_id,
                "is_fraud": label.is_fraud,
                "known_us": label.known_us,
                "source": source,
            }
            for offset, label in enumerate(fresh)
        ],
    )


def labels_after(engine: LiveEngine, seq: int) -> tuple[pa.Table, int]:
    """Labels to land and the number of the last; see `LiveStore.labels_after`."""
    last_seq = engine.durable_head(Head.LABEL)
    query = select(labels).where(labels.c.label_seq > seq, labels.c.label_seq <= last_seq)
    with engine.reading() as connection:
        rows = connection.execute(query.order_by(labels.c.label_seq)).mappings().all()
    columns = {name: [row[name] for row in rows] for name in LABEL_SCHEMA.names}
    return pa.table(columns, schema=LABEL_SCHEMA), last_seq
