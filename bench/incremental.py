"""A day's incremental build beside a full refresh of the same history."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.histories import Built, cbp_build, land_part, land_published_data, open_home, query
from bench.measuring import describe_versions
from bench.pairs import Pairs, run_rounds
from bench.reporting import Row, write_report
from warehouse.landing.batches import list_batches
from warehouse.settings import Settings
from warehouse.times import DAY_US

ROUNDS = 3
COMMAND = "make bench NAME=incremental"


def run() -> None:
    """Build the last day on top of all others, and everything anew in full, in turns, by `cbp build`."""
    with tempfile.TemporaryDirectory() as folder:
        whole = open_home(Path(folder) / "whole")
        data = land_published_data(whole)
        last_day_us = _last_day_us(whole)
        before = open_home(Path(folder) / "before")
        land_part(whole, before, "before", f"event_us < {last_day_us}")
        cbp_build(before)
        home = open_home(Path(folder) / "home")
        contents = set()

        def day() -> Built:
            shutil.rmtree(home.home)
            shutil.copytree(before.home, home.home, symlinks=True)
            land_part(whole, home, "last-day", f"event_us >= {last_day_us}")
            return built()

        def built(*arguments: str) -> Built:
            result = cbp_build(home, *arguments)
            contents.add(query(home, _CONTENT)[0])
            return result

        taken = run_rounds({"ours": day, "peer": lambda: built("--full-refresh")}, count=ROUNDS)
    if len(contents) != 1:
        raise RuntimeError("the day's build and the full refresh differ: times would mean nothing")
    models = _columns(taken, lambda built: built.model_seconds)
    runs = _columns(taken, lambda built: built.run.seconds)
    slowest = sorted(taken["ours"][-1].seconds.items(), key=lambda item: -item[1])[:5]
    rows = [
        Row(
            metric="a day's build, model time",
            unit="s",
            goal="at most a tenth",
            met=models["ratio_median"] >= 10,
            command=COMMAND,
            **models,
        ),
        *(Row(f"of it {model}", "s", seconds, "", met=True, command=COMMAND) for model, seconds in slowest),
        Row(
            metric="a day's `cbp build`: dbt's start, models, tests, publishing",
            unit="s",
            goal="",
            met=True,
            command=COMMAND,
            **runs,
        ),
    ]
    write_report("incremental", rows, versions=describe_versions("duckdb", "dbt-duckdb", "numba"), data=data)


def _columns(taken: Mapping[str, Sequence[Built]], figure: Callable[[Built], float]) -> dict[str, Any]:
    return Pairs.of(**taken, figure=figure).columns("full refresh")


def _last_day_us(whole: Settings) -> int:
    """Return when the last day that has landed begins."""
    newest = max(
        pc.max(pq.read_table(batch.transactions_path, columns=["event_us"]).column("event_us")).as_py()
        for batch in list_batches(whole)
    )
    return int(newest) // DAY_US * DAY_US


_CONTENT = """
    select
        (select (count(*), bit_xor(hash(velocity))) from features.feat_transaction_velocity as velocity),
        (select (count(*), bit_xor(hash(profile))) from features.feat_customer_profile as profile),
        (select (count(*), bit_xor(hash(risk))) from features.feat_merchant_risk as risk),
        (select (count(*), bit_xor(hash(payment))) from marts.fct_transactions as payment)
"""
