"""Closes the loop: what the API scored, and the labels it was told, land as a batch like any file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.canonical import LABELS_FILE, REPORT_FILE, TRANSACTIONS_FILE
from warehouse.landing.batches import Batch, publish_batch
from warehouse.live.store import LiveStore
from warehouse.settings import Settings

_SOURCE: Final = "live"


@dataclass(frozen=True)
class LandedFromLive:
    """Scored events and labels that came into the landing."""

    events: int
    labels: int


NOTHING_LANDED: Final = LandedFromLive(events=0, labels=0)


def land_scored(settings: Settings) -> LandedFromLive:
    """Land scored events and labels that are not landed yet.

    A batch is named after its content. After a kill between its rename and the store's mark the next run
    finds it there, or lands its rows once more with those that have come since: staging keeps the first of
    each. Other rows under the same numbers (a live store that was remade, or restored from a copy) are
    another batch.
    """
    if not settings.has_live_store:
        return NOTHING_LANDED
    store = LiveStore.open(settings)
    try:
        store.create_tables()
        first_event, first_label = store.landed_events(), store.landed_labels()
        events = store.events_after(first_event)
        labels, last_label = store.labels_after(first_label)
        if not events.num_rows and not labels.num_rows:
            return NOTHING_LANDED
        last_event = events["source_order"][-1].as_py() if events.num_rows else first_event
        landed = LandedFromLive(events=events.num_rows, labels=labels.num_rows)
        publish_batch(
            settings,
            f"live-{last_event}-{last_label}-{_digest(events, labels)}",
            write=lambda folder: _write(folder, events, labels, landed),
        )
        store.mark_landed(events_through=last_event, labels_through=last_label)
        return landed
    finally:
        store.close()


def landed_from_live(batches: Iterable[Batch]) -> LandedFromLive:
    """Add up what batches brought from the live store; others bring nothing from there."""
    reports = [batch.report for batch in batches if batch.report.get("source") == _SOURCE]
    return LandedFromLive(
        events=sum(report["events"] for report in reports), labels=sum(report["labels"] for report in reports)
    )


def _digest(*tables: pa.Table) -> str:
    digest = hashlib.sha256()
    for table in tables:
        stream = pa.BufferOutputStream()
        with pa.ipc.new_stream(stream, table.schema) as writer:
            writer.write_table(table)
        digest.update(stream.getvalue())
    return digest.hexdigest()[:16]


def _write(folder: Path, events: pa.Table, labels: pa.Table, landed: LandedFromLive) -> None:
    pq.write_table(events, folder / TRANSACTIONS_FILE, compression="zstd")
    pq.write_table(labels, folder / LABELS_FILE, compression="zstd")
    (folder / REPORT_FILE).write_text(json.dumps({"source": _SOURCE, **asdict(landed)}), encoding="utf-8")
