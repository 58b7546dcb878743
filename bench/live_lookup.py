"""What a payment costs before its score, in process: live windows, online rows, derived features."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.histories import simulated_home
from bench.measuring import describe_versions
from bench.reporting import Row, write_report
from feature_repo import feast_store
from ml.features.catalog import CompiledSql, read_compiled_sql
from ml.features.online import OnlineReader
from warehouse.canonical import TRANSACTION_SCHEMA
from warehouse.live.backfill import backfill_live_windows
from warehouse.live.claims import this_worker
from warehouse.live.events import Transaction
from warehouse.live.store import LiveStore
from warehouse.published import open_published
from warehouse.settings import Settings

CUSTOMERS, DAYS = 100, 45
GROWN = ((1, 1), (100, 1), (1, 10), (10, 10))
ROUNDS = 15
LOOKUPS = 100
EVENTS = (10, 100, 1_000, 10_000, 100_000)
COMMAND = "make bench NAME=live_lookup"
_HOUR_US = 3_600_000_000
_WINDOW_US = 24 * _HOUR_US


def run() -> None:
    """Look up payments in homes of growing size, in turns; then one customer with more and more events."""
    with tempfile.TemporaryDirectory() as folder:
        homes = [
            _Home.made(Path(folder) / f"{customers}x{days}", customers, days) for customers, days in GROWN
        ]
        taken = [[home.look_up(LOOKUPS) for home in homes] for _ in range(ROUNDS)]
        rows = [_median_row(homes[0], [turn[0] for turn in taken])]
        for index, home in enumerate(homes[1:], 1):
            rows.append(_growth_row(home, [(turn[index].total, turn[0].total) for turn in taken]))
        rows += [_events_row(homes[0], Path(folder), count) for count in EVENTS]
    write_report(
        "live_lookup",
        rows,
        versions=describe_versions("duckdb", "feast", "sqlalchemy"),
        data={"simulated": True, "customers": CUSTOMERS, "days": DAYS, "lookups": ROUNDS * LOOKUPS},
    )


@dataclass(frozen=True)
class _Taken:
    """Median milliseconds of a payment: in all, and by what is looked up."""

    total: float
    windows: float
    online: float
    derived: float


class _Home:
    """A home that is built and materialized, with its live store filled."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.settings, self.name = settings, name
        self.sql: CompiledSql = read_compiled_sql(settings)
        self.store = LiveStore.open(settings)
        self.reader = OnlineReader(feast_store.open_store(settings))
        with open_published(settings) as connection:
            found = connection.execute(
                "select customer_id, merchant_id, amount_minor, currency from marts.fct_transactions"
                " order by event_us desc limit 5000"
            )
            self.recent = found.fetchall()
        self.now_us = _newest_us(settings)
        self.number = 0

    @classmethod
    def made(cls, folder: Path, customers: int, days: int) -> _Home:
        settings = simulated_home(folder, customers=CUSTOMERS * customers, days=DAYS * days)
        now_us = _newest_us(settings)
        backfill_live_windows(settings, now_us=now_us)
        feast_store.apply(settings)
        feast_store.materialize(settings, until_us=now_us)
        home = cls(settings, f"{customers} times the customers, {days} times the days")
        home.look_up(LOOKUPS)  # pages and statements are warm
        return home

    def look_up(self, count: int) -> _Taken:
        """Look up payments one at a time, each of a customer and a merchant of the last days."""
        samples = np.array([self._look_up_one() for _ in range(count)])
        windows, online, derived = np.median(samples, axis=0) * 1000
        return _Taken(float(np.median(samples.sum(axis=1)) * 1000), windows, online, derived)

    def _look_up_one(self) -> tuple[float, float, float]:
        customer, merchant, amount, currency = self.recent[self.number * 37 % len(self.recent)]
        self.number += 1
        payment = Transaction(
            transaction_id=f"lookup-{self.number}",
            event_us=self.now_us,
            amount_minor=amount,
            customer_id=customer,
            merchant_id=merchant,
            currency=currency,
        )
        started = time.perf_counter()
        (claim,) = self.store.claim(
            [payment], worker=this_worker(), now_us=self.now_us, live_sql=self.sql.live
        )
        claimed = time.perf_counter()
        row = {name: getattr(payment, name) for name in _RAW} | {"latitude_e6": None, "longitude_e6": None}
        (online,) = self.reader.read([row])
        read = time.perf_counter()
        self.store.derive(self.sql.derived, [row | dict(claim.velocity) | online])
        return claimed - started, read - claimed, time.perf_counter() - read


def _newest_us(settings: Settings) -> int:
    """When the payments come that are looked up: an hour after the last one."""
    with open_published(settings) as connection:
        found = connection.execute("select max(event_us) from marts.fct_transactions").fetchone()
    return (found[0] if found else 0) + _HOUR_US


_RAW = (
    "transaction_id",
    "customer_id",
    "merchant_id",
    "event_us",
    "amount_minor",
    "currency",
    "category",
    "channel",
    "country",
)


def _median_row(home: _Home, turns: Sequence[_Taken]) -> Row:
    windows, online, derived = (
        statistics.median(getattr(turn, part) for turn in turns) for part in ("windows", "online", "derived")
    )
    parts = f"live windows {windows:.2f}, online rows {online:.2f}, derived {derived:.2f}"
    total = statistics.median(turn.total for turn in turns)
    goal = "one transaction, all features, in process: median at most 1 ms"
    return Row(f"one payment, all features ({parts})", "ms", total, goal, total <= 1, COMMAND)


def _growth_row(home: _Home, pairs: Sequence[tuple[float, float]]) -> Row:
    ratios = [grown / first for grown, first in pairs]
    goal = "with 1 to 100 times the customers and days at the same events per key: at most 1.2 times"
    return Row(
        home.name,
        "ms",
        statistics.median(grown for grown, _ in pairs),
        goal,
        statistics.median(ratios) <= 1.2,
        COMMAND,
        "once",
        statistics.median(first for _, first in pairs),
        1 / statistics.median(ratios),
        1 / max(ratios),
        1 / min(ratios),
    )


def _events_row(home: _Home, folder: Path, count: int) -> Row:
    """Look up a customer whose last day holds `count` events, each at a merchant of its own."""
    settings = replace(home.settings, live_store_url=f"sqlite:///{folder / f'events-{count}.db'}")
    store = LiveStore.open(settings)
    times = np.linspace(home.now_us - _WINDOW_US, home.now_us - 1, count).astype(np.int64)
    rows = {
        "transaction_id": [f"e{number}" for number in range(count)],
        "customer_id": ["busy"] * count,
        "merchant_id": [f"m{number}" for number in range(count)],
        "event_us": times,
        "ingested_us": times,
        "amount_minor": np.full(count, 100),
        "source": ["file"] * count,
    }
    columns = [
        pa.array(rows[field.name], field.type) if field.name in rows else pa.nulls(count, field.type)
        for field in TRANSACTION_SCHEMA
    ]
    try:
        store.create_tables()
        store.backfill(pa.Table.from_arrays(columns, names=TRANSACTION_SCHEMA.names))
        taken = []
        for number in range(LOOKUPS // 10):
            payment = Transaction(
                transaction_id=f"lookup-{number}",
                event_us=home.now_us,
                amount_minor=100,
                customer_id="busy",
                merchant_id="m0",
            )
            started = time.perf_counter()
            store.claim([payment], worker=this_worker(), now_us=home.now_us, live_sql=home.sql.live)
            taken.append(time.perf_counter() - started)
    finally:
        store.close()
    metric = f"live windows of a customer with {count:,} events in a day"
    return Row(metric, "ms", statistics.median(taken) * 1000, "", met=True, command=COMMAND)
