"""A day's incremental build beside a full refresh of the same history."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.histories import Built, dbt_run, land_part, land_published_data, open_home, query
from bench.measuring import describe_versions
from bench.pairs import Pairs
from bench.reporting import Row, write_report
from warehouse.landing import list_batches
from warehouse.microseconds import DAY_US
from warehouse.settings import Settings

PAIRS = 5
COMMAND = "make bench NAME=incremental"


def run() -> None:
    """Build all days but the last once; add the last one to copies of it, and build each anew in full."""
    with tempfile.TemporaryDirectory() as folder:
        whole = open_home(Path(folder) / "whole")
        data = land_published_data(whole)
        last_day_us = _last_day_us(whole)
        before = open_home(Path(folder) / "before")
        land_part(whole, before, "before", f"event_us < {last_day_us}")
        dbt_run(before)
        pairs = [_pair(whole, before, Path(folder) / "daily", last_day_us) for _ in range(PAIRS)]
    models = Pairs.of(pairs, lambda built: built.model_seconds)
    runs = Pairs.of(pairs, lambda built: built.run.seconds)
    columns = models.columns("full refresh")
    slowest = sorted(pairs[-1][0].seconds.items(), key=lambda item: -item[1])[:5]
    rows = [
        Row(
            metric="a day's build, model time",
            unit="s",
            goal="at most a tenth",
            met=columns["ratio_median"] >= 10,  # type: ignore[operator]
            command=COMMAND,
            **columns,  # type: ignore[arg-type]
        ),
        *(Row(f"of it {model}", "s", seconds, "", met=True, command=COMMAND) for model, seconds in slowest),
        Row(
            metric="a day's dbt run, its own start and the closing of the file included",
            unit="s",
            goal="",
            met=True,
            command=COMMAND,
            **runs.columns("full refresh"),  # type: ignore[arg-type]
        ),
    ]
    write_report("incremental", rows, versions=describe_versions("duckdb", "dbt-duckdb", "numba"), data=data)


def _pair(whole: Settings, before: Settings, folder: Path, last_day_us: int) -> tuple[Built, Built]:
    """Build the last day on top of the others, then everything anew; returns (the day, everything)."""
    shutil.copytree(before.home, folder, symlinks=True)
    home = open_home(folder)
    try:
        land_part(whole, home, "last-day", f"event_us >= {last_day_us}")
        day = dbt_run(home)
        counts = query(home, _COUNTS)
        full = dbt_run(home, "--full-refresh")
        if counts != query(home, _COUNTS):
            raise RuntimeError("the day's build and the full refresh differ: times would mean nothing")
    finally:
        shutil.rmtree(home.home)
    return day, full


def _last_day_us(whole: Settings) -> int:
    """Return when the last day that has landed begins."""
    newest = max(
        pc.max(pq.read_table(batch.transactions_path, columns=["event_us"]).column("event_us")).as_py()
        for batch in list_batches(whole)
    )
    return int(newest) // DAY_US * DAY_US


_COUNTS = """
    select
        (select (count(*), bit_xor(hash(velocity))) from features.feat_transaction_velocity as velocity),
        (select (count(*), bit_xor(hash(profile))) from features.feat_customer_profile as profile),
        (select (count(*), bit_xor(hash(risk))) from features.feat_merchant_risk as risk),
        (select (count(*), bit_xor(hash(payment))) from marts.fct_transactions as payment)
"""
