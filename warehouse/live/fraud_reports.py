"""Fraud reports: labels that say fraud, as events that windows look back on.

A report arrives like a payment, with a number from the same counter: a payment sees the reports that had
arrived before it and were known strictly before it happened. Its merchant is the payment's, so a label of a
payment that the store doesn't know makes none here; the next build brings it, as it brings those from files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import pyarrow as pa
from sqlalchemy import BindParameter, Connection, bindparam, delete, insert, select

from warehouse.live.arrivals import lock_arrivals, move_arrivals
from warehouse.live.engine import LiveEngine, change, fetch_by_ids
from warehouse.live.schema import fraud_reports

_IDS: Final[BindParameter[str]] = bindparam("ids", expanding=True)
_FIND: Final = select(fraud_reports.c.reported_id, fraud_reports.c.event_us).where(
    fraud_reports.c.reported_id.in_(_IDS)
)
_INSERT: Final = insert(fraud_reports)


@dataclass(frozen=True, slots=True)
class Report:
    """One label that says fraud.

    Parameters
    ----------
    reported_id : str
        The payment.
    reported_merchant_id : str
        Where it was.
    event_us : int
        When it became known, UTC microseconds.
    paid_us : int
        When the payment happened, UTC microseconds.
    """

    reported_id: str
    reported_merchant_id: str
    event_us: int
    paid_us: int


def add_reports(connection: Connection, reports: Sequence[Report]) -> int:
    """Let reports arrive that haven't yet, in order; returns how many."""
    if not reports:
        return 0
    last = lock_arrivals(connection)
    names = [report.reported_id for report in reports]
    known = {(name, known_us) for name, known_us in fetch_by_ids(connection, _FIND, names)}
    fresh = [report for report in reports if (report.reported_id, report.event_us) not in known]
    if fresh:
        move_arrivals(connection, last + len(fresh))
        rows = [{"arrival_seq": last + 1 + place} | asdict(report) for place, report in enumerate(fresh)]
        change(connection, _INSERT, rows)
    return len(fresh)


def backfill_reports(engine: LiveEngine, table: pa.Table) -> int:
    """Insert history; see `LiveStore.backfill_reports`."""
    ordered = table.sort_by([("known_us", "ascending"), ("transaction_id", "ascending")])
    reports = [
        Report(row["transaction_id"], row["merchant_id"], row["known_us"], row["event_us"])
        for row in ordered.to_pylist()
    ]
    with engine.writing() as connection:
        return add_reports(connection, reports)


def prune_reports(connection: Connection, horizon_us: int) -> None:
    """Delete reports that no window reaches any more: they are labels too, which are kept elsewhere."""
    connection.execute(delete(fraud_reports).where(fraud_reports.c.event_us < horizon_us))
