"""Simulate card payments with frauds: a raw file that looks like what a bank would hand over.

The generator follows the Fraud Detection Handbook's simulator (`simulated_world`, `simulated_payments`), and
`simulated_dirt` spoils a share of the rows. Scores on this data say nothing of the real world.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from warehouse.canonical import MAX_EVENT_US, MIN_EVENT_US
from warehouse.errors import InputError
from warehouse.simulation.dirt import FilePlan, plan_clean_file, plan_dirty_file
from warehouse.simulation.payments import DAY_SECONDS, MICROSECONDS, Payments, draw_payments
from warehouse.simulation.raw_files import write_raw_file
from warehouse.simulation.rows import iterate_tables, list_dirt
from warehouse.simulation.world import draw_customers, draw_merchants, find_reach

DEFAULT_START: Final = date(2018, 4, 1)


@dataclass(frozen=True)
class SimulationResult:
    """What was written.

    Parameters
    ----------
    path : Path
        The raw file.
    rows : int
        Rows in the file.
    payments : int
        Rows that ingest must accept: those of the clean file.
    frauds : int
        Frauds among the payments.
    dirt : Mapping of str to int
        Exact number of rows of each kind of dirt (`simulated_dirt.Dirt`); empty for a clean file.
    dirty_rows : pyarrow.Table
        One row per dirty row: ``row`` (from 1), ``kind``, ``transaction_id``, ``reason`` (null: not refused).
    """

    path: Path
    rows: int
    payments: int
    frauds: int
    dirt: Mapping[str, int]
    dirty_rows: pa.Table

    @property
    def quarantined(self) -> int:
        """Rows that ingest must refuse."""
        return int(self.dirty_rows.num_rows - self.dirty_rows["reason"].null_count)

    @property
    def duplicates(self) -> int:
        """Rows that ingest must count as duplicates."""
        return self.dirt.get("duplicate", 0)


def simulate(
    path: Path,
    *,
    customers: int = 5_000,
    merchants: int = 10_000,
    days: int = 183,
    seed: int = 0,
    start: date = DEFAULT_START,
    dirt: float = 0.0,
    label_delay_days: float = 7.0,
    label_delay_spread: float = 0.0,
) -> SimulationResult:
    """Simulate payments and write them to one raw file that the mapping preset ``canonical`` reads.

    The same arguments give the same bytes (with the same versions of numpy and pyarrow). Customers, merchants
    and payments do not depend on `dirt`.

    Parameters
    ----------
    path : Path
        Its ending chooses the format: ``.parquet``, ``.csv``, ``.ndjson`` or ``.jsonl``; text also with
        ``.gz`` or ``.zst`` behind.
    customers, merchants, days : int
        Size of the world, each at least 1. About two payments per customer and day, 0.8 % fraud.
    seed : int
        Not negative.
    start : date
        First day, UTC.
    dirt : float
        Share of the payments that give rise to dirt, 0 to 1.
    label_delay_days : float
        Days from a payment to its label: the median when there is a spread.
    label_delay_spread : float
        Standard deviation of the logarithm of the delay; 0 means the same delay for all, 0.5 is realistic.

    Raises
    ------
    InputError
        When an argument is out of range or the file's ending is unknown.
    """
    start_us = int(datetime(start.year, start.month, start.day, tzinfo=UTC).timestamp()) * MICROSECONDS
    _check_arguments(customers=customers, merchants=merchants, days=days, seed=seed, start_us=start_us)
    _check_shares(dirt=dirt, label_delay_days=label_delay_days, label_delay_spread=label_delay_spread)
    # One stream each, so that dirt never changes the payments.
    world_rng, payment_rng, dirt_rng = (
        np.random.default_rng(part) for part in np.random.SeedSequence(seed).spawn(3)
    )
    people, shops = draw_customers(customers, world_rng), draw_merchants(merchants, world_rng)
    payments = draw_payments(
        people,
        shops,
        find_reach(people, shops),
        days=days,
        start_us=start_us,
        label_delay_days=label_delay_days,
        label_delay_spread=label_delay_spread,
        rng=payment_rng,
    )
    is_dirty = dirt > 0
    plan = (
        plan_dirty_file(payments.event_us, share=dirt, rng=dirt_rng)
        if is_dirty
        else plan_clean_file(payments.event_us)
    )
    write_raw_file(path, iterate_tables(plan, payments, shops, is_dirty=is_dirty))
    return _summarise(path, plan, payments, is_dirty=is_dirty)


def _summarise(path: Path, plan: FilePlan, payments: Payments, *, is_dirty: bool) -> SimulationResult:
    return SimulationResult(
        path=path,
        rows=plan.payment.size,
        payments=payments.event_us.size,
        frauds=int(payments.is_fraud.sum()),
        dirt=plan.counts() if is_dirty else {},
        dirty_rows=list_dirt(plan),
    )


def _check_arguments(*, customers: int, merchants: int, days: int, seed: int, start_us: int) -> None:
    for name, value in {"customers": customers, "merchants": merchants, "days": days}.items():
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if seed < 0:
        raise InputError(f"seed must not be negative, got {seed}")
    end_us = start_us + days * DAY_SECONDS * MICROSECONDS
    if start_us < MIN_EVENT_US or end_us > MAX_EVENT_US:
        raise InputError("start and days must lie within 1970 to 2099")


def _check_shares(*, dirt: float, label_delay_days: float, label_delay_spread: float) -> None:
    if not 0 <= dirt <= 1:
        raise InputError(f"dirt must be a share from 0 to 1, got {dirt:g}")
    for name, value in {
        "label_delay_days": label_delay_days,
        "label_delay_spread": label_delay_spread,
    }.items():
        if not (math.isfinite(value) and value >= 0):
            raise InputError(f"{name} must be a number that is not negative, got {value:g}")
