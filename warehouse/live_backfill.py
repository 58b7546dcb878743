"""Gives the live store the recent history that its windows look back on."""

from __future__ import annotations

from collections.abc import Callable

import duckdb

from warehouse.canonical import MAX_AHEAD_US, TRANSACTION_SCHEMA
from warehouse.errors import BuildError
from warehouse.live_horizon import live_horizon_us
from warehouse.live_store import LiveStore
from warehouse.live_transfer import ALLOWED_LATENESS_US, DECISION_RETENTION_US
from warehouse.settings import Settings


def backfill_live_windows(
    settings: Settings,
    *,
    now_us: int,
    known_before_us: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Copy the last `live_horizon` plus allowed lateness of published transactions and fraud reports; prune.

    Both count back from the newest event that is not ahead of the clock by more than the API allows: a row
    dated in the future is copied, and moves nothing.

    Parameters
    ----------
    settings : Settings
        The home; its warehouse must be published.
    now_us : int
        The clock, UTC microseconds.
    known_before_us : int, optional
        Only what became known before this instant (UTC microseconds); by default everything.
    progress : callable, optional
        Called with the number of rows done.

    Returns
    -------
    int
        Rows that the live store did not have.

    Raises
    ------
    BuildError
        When nothing has been published yet, or the live SQL is not compiled.
    """
    if not settings.published_file.is_file():
        raise BuildError(
            f"there is no published warehouse at {settings.published_file}: run `cbp build` first"
        )
    memory_us = live_horizon_us(settings) + ALLOWED_LATENESS_US
    latest_us = now_us + MAX_AHEAD_US
    columns = ", ".join(name for name in TRANSACTION_SCHEMA.names if name != "source_order")
    with duckdb.connect(str(settings.published_file), read_only=True) as connection:
        known = "$before is null or ingested_us < $before"
        (since_us,) = connection.execute(
            f"select coalesce(max(event_us), $latest) - $memory from marts.fct_transactions "  # noqa: S608 - ours
            f"where ({known}) and event_us <= $latest",
            {"before": known_before_us, "memory": memory_us, "latest": latest_us},
        ).fetchall()[0]
        recent = connection.execute(
            f"select {columns} from marts.fct_transactions "  # noqa: S608 - our own schema
            f"where ({known}) and event_us >= $since",
            {"before": known_before_us, "since": since_us},
        ).to_arrow_table()
        reports = connection.execute(
            "select * from marts.fct_fraud_reports where merchant_id is not null "
            "and ($before is null or known_us < $before) and known_us >= $since",
            {"before": known_before_us, "since": since_us},
        ).to_arrow_table()
    store = LiveStore.open(settings)
    try:
        store.create_tables()
        added = store.backfill(recent, progress=progress)
        store.backfill_reports(reports)
        newest_us = store.newest_event_us(until_us=latest_us)
        if newest_us is not None:
            store.prune(
                newest_us - memory_us,
                decided_before_us=now_us - DECISION_RETENTION_US,
            )
        return added
    finally:
        store.close()
