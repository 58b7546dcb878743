"""How the cost of a full build grows: with the payments, with one busy merchant, and with little memory."""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path

import numpy as np

from bench.histories import Built, dbt_run, land_part, land_simulated, open_home, query
from bench.measuring import describe_versions
from bench.reporting import Row, write_report
from warehouse.settings import Settings

TIMES = (1, 2, 4, 8)
SKEW_RUNS = 3
MEMORY_LIMIT = "1GB"
LARGEST_BYTES = 2e9
COMMAND = "make bench NAME=growth"
VELOCITY = "feat_transaction_velocity"
BUSY = "one merchant with 20 % of all rows"


def run() -> None:
    """Build 1, 2, 4 and 8 times the published size, all of it within DuckDB's limit of a gigabyte."""
    with tempfile.TemporaryDirectory() as folder:
        sizes, builds = [], []
        for times in TIMES:
            settings = open_home(Path(folder) / f"{times}")
            land_simulated(settings, times=times)
            builds.append(dbt_run(settings, environment={"CBP_MEMORY_LIMIT": MEMORY_LIMIT}))
            sizes.append(_payments(settings))
            if times == 1:
                skew = _skew(settings, Path(folder))
            shutil.rmtree(settings.home)
    rows = [
        *(_time(size, built) for size, built in zip(sizes, builds, strict=True)),
        _slope("all models", sizes, [built.model_seconds for built in builds]),
        _slope("velocity alone", sizes, [built.seconds[VELOCITY] for built in builds]),
        *(_memory(size, built) for size, built in zip(sizes, builds, strict=True)),
        *skew,
    ]
    write_report(
        "growth",
        rows,
        versions=describe_versions("duckdb", "dbt-duckdb", "numba"),
        data={"simulated": True, "payments": sizes, "DuckDB's memory limit": MEMORY_LIMIT},
    )


def _payments(settings: Settings) -> int:
    ((count,),) = query(settings, "select count(*) from intermediate.int_transactions__deduped")
    return int(str(count))


def _time(size: int, built: Built) -> Row:
    slowest = max(built.seconds, key=lambda model: built.seconds[model])
    metric = f"{size:,} payments, all models (slowest: {slowest}, {built.seconds[slowest]:.1f} s)"
    return Row(metric, "s", built.model_seconds, "", met=True, command=COMMAND)


def _slope(what: str, sizes: list[int], seconds: list[float]) -> Row:
    slope = float(np.polyfit([math.log(size) for size in sizes], [math.log(time) for time in seconds], 1)[0])
    goal = "Growth over 1, 2, 4, 8 times the data: exponent at most 1.10"
    return Row(f"growth of {what}: exponent of time over payments", "", slope, goal, slope <= 1.1, COMMAND)


def _memory(size: int, built: Built) -> Row:
    is_largest = size > 10_000_000
    goal = (
        "14 million rows with a 1 GB DuckDB limit and at most 2 GB for the process tree" if is_largest else ""
    )
    peak = built.run.peak_bytes
    met = not is_largest or peak <= LARGEST_BYTES
    return Row(f"{size:,} payments, peak memory of the process tree", "GB", peak / 1e9, goal, met, COMMAND)


def _skew(even: Settings, folder: Path) -> list[Row]:
    """Give a fifth of the payments to one merchant and compare, the renderings of velocity apart."""
    busy = open_home(folder / "busy")
    land_part(
        even,
        busy,
        "busy",
        "true",
        merchant="case when hash(transaction_id) % 5 = 0 then 'busy' else merchant_id end",
    )
    rows = []
    for rendering in ("loops", "windows"):
        choice = ("--full-refresh", "--vars", f"velocity_rendering: {rendering}")
        runs = SKEW_RUNS if rendering == "loops" else 1
        pairs = [(dbt_run(busy, *choice), dbt_run(even, *choice)) for _ in range(runs)]
        for what, models in (("all models", None), (VELOCITY, VELOCITY)):
            seconds = [
                tuple(built.seconds[models] if models else built.model_seconds for built in pair)
                for pair in pairs
            ]
            ratios = sorted(one / other for one, other in seconds)
            median = ratios[len(ratios) // 2]
            rows.append(
                Row(
                    f"{BUSY}: {what}, velocity by {rendering}",
                    "s",
                    sorted(one for one, _ in seconds)[len(seconds) // 2],
                    f"{BUSY}: at most 1.5 times the even case",
                    median <= 1.5,
                    COMMAND,
                    "the even case",
                    sorted(other for _, other in seconds)[len(seconds) // 2],
                    1 / median,
                    1 / ratios[-1],
                    1 / ratios[0],
                )
            )
    shutil.rmtree(busy.home)
    return rows
