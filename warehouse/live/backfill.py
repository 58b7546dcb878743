"""Gives the live store the recent history that its windows look back on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import duckdb

from warehouse.canonical import MAX_AHEAD_US, TRANSACTION_SCHEMA
from warehouse.live.horizon import live_horizon_us
from warehouse.live.store import LiveStore
from warehouse.live.transfer import ALLOWED_LATENESS_US, DECISION_RETENTION_US, ROWS_PER_COMMIT
from warehouse.published import open_published
from warehouse.settings import Settings

_KNOWN: Final = "($before is null or ingested_us < $before)"


def live_windows_since(settings: Settings, *, now_us: int, known_before_us: int | None = None) -> int:
    """Return from when on `backfill_live_windows` copies what happened, UTC microseconds."""
    with open_published(settings) as connection:
        return _since(connection, _memory_us(settings), now_us=now_us, known_before_us=known_before_us)


def backfill_live_windows(
    settings: Settings,
    *,
    now_us: int,
    known_before_us: int | None = None,
    rows_per_commit: int = ROWS_PER_COMMIT,
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
    rows_per_commit : int, optional
        See `LiveStore.backfill`.
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
    columns = ", ".join(name for name in TRANSACTION_SCHEMA.names if name != "source_order")
    with open_published(settings) as connection:
        memory_us = _memory_us(settings)
        since_us = _since(connection, memory_us, now_us=now_us, known_before_us=known_before_us)
        recent = connection.execute(
            f"select {columns} from marts.fct_transactions "  # noqa: S608 - our own schema
            f"where {_KNOWN} and event_us >= $since",
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
        added = store.backfill(recent, rows_per_commit=rows_per_commit, progress=progress)
        store.backfill_reports(reports)
        newest_us = store.newest_event_us(until_us=now_us + MAX_AHEAD_US)
        if newest_us is not None:
            store.prune(
                newest_us - memory_us,
                decided_before_us=now_us - DECISION_RETENTION_US,
            )
        return added
    finally:
        store.close()


def _since(
    connection: duckdb.DuckDBPyConnection, memory_us: int, *, now_us: int, known_before_us: int | None
) -> int:
    ((since_us,),) = connection.execute(
        f"select coalesce(max(event_us), $latest) - $memory from marts.fct_transactions "  # noqa: S608 - ours
        f"where {_KNOWN} and event_us <= $latest",
        {"before": known_before_us, "memory": memory_us, "latest": now_us + MAX_AHEAD_US},
    ).fetchall()
    return int(since_us)


def _memory_us(settings: Settings) -> int:
    return live_horizon_us(settings) + ALLOWED_LATENESS_US
