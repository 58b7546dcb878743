"""How the time of a full build grows: with the payments, and with one busy merchant."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.histories import Built, dbt_run, land_part, land_simulated, open_home, query
from bench.measuring import describe_versions
from bench.pairs import Pairs, run_rounds
from bench.reporting import Row, write_report
from warehouse.settings import Settings

BASE = 1 / 16
TIMES = (1, 2, 4, 8)
SKEW_ROUNDS = 2  # A B B A
COMMAND = "make bench NAME=growth"
VELOCITY = "feat_transaction_velocity"
BUSY = "one merchant with 20 % of all rows"


def run() -> None:
    """Build 1, 2, 4 and 8 sixteenths of the published size, four of them also with a busy merchant."""
    with tempfile.TemporaryDirectory() as folder:
        sizes, builds = [], []
        for times in TIMES:
            settings = open_home(Path(folder) / f"{times}")
            land_simulated(settings, times=times * BASE)
            builds.append(dbt_run(settings))
            sizes.append(_payments(settings))
            if times == 4:
                skew = _skew(settings, Path(folder))
            shutil.rmtree(settings.home)
    rows = [
        *(_time(size, built) for size, built in zip(sizes, builds, strict=True)),
        _slope("all models", sizes, [built.model_seconds for built in builds]),
        _last_doubling("all models", sizes, [built.model_seconds for built in builds]),
        _slope("velocity alone", sizes, [built.seconds[VELOCITY] for built in builds]),
        *skew,
    ]
    write_report(
        "growth",
        rows,
        versions=describe_versions("duckdb", "dbt-duckdb", "numba"),
        data={"simulated": True, "payments": sizes},
    )


def _payments(settings: Settings) -> int:
    ((count,),) = query(settings, "select count(*) from intermediate.int_transactions__deduped")
    return int(str(count))


def _time(size: int, built: Built) -> Row:
    slowest = max(built.seconds, key=lambda model: built.seconds[model])
    metric = f"{size:,} payments, all models (slowest: {slowest}, {built.seconds[slowest]:.1f} s)"
    return Row(metric, "s", built.model_seconds, "", met=True, command=COMMAND)


def _slope(what: str, sizes: list[int], seconds: list[float]) -> Row:
    return _exponent(f"growth of {what}: exponent of time over payments", sizes, seconds)


def _last_doubling(what: str, sizes: list[int], seconds: list[float]) -> Row:
    """Exponent between the two largest sizes: what is the same for all sizes flattens the fitted one."""
    return _exponent(f"growth of {what}: exponent of the last doubling", sizes[-2:], seconds[-2:])


def _exponent(metric: str, sizes: list[int], seconds: list[float]) -> Row:
    slope = float(np.polyfit([math.log(size) for size in sizes], [math.log(time) for time in seconds], 1)[0])
    goal = "Growth over 1, 2, 4, 8 times the data: exponent at most 1.10"
    return Row(metric, "", slope, goal, slope <= 1.1, COMMAND)


def _skew(even: Settings, folder: Path) -> list[Row]:
    """Give a fifth of the payments to one merchant: all models, and of them velocity; velocity by windows."""
    busy = open_home(folder / "busy")
    merchant = "case when hash(transaction_id) % 5 = 0 then 'busy' else merchant_id end"
    land_part(even, busy, "busy", renamed={"merchant_id": merchant})
    whole = _skew_rounds(even, busy)
    by_windows = _skew_rounds(even, busy, "--select", VELOCITY, rendering="windows")
    shutil.rmtree(busy.home)
    return [
        _skew_row("all models", whole, lambda built: built.model_seconds),
        _skew_row("velocity by loops", whole, lambda built: built.seconds[VELOCITY]),
        _skew_row("velocity by windows", by_windows, lambda built: built.seconds[VELOCITY]),
    ]


def _skew_rounds(
    even: Settings, busy: Settings, *choice: str, rendering: str = "auto"
) -> Mapping[str, Sequence[Built]]:
    def built(home: Settings) -> Built:
        return dbt_run(home, "--full-refresh", *choice, rendering=rendering)

    return run_rounds({"ours": partial(built, busy), "peer": partial(built, even)}, count=SKEW_ROUNDS)


def _skew_row(what: str, taken: Mapping[str, Sequence[Built]], seconds_of: Callable[[Built], float]) -> Row:
    columns: dict[str, Any] = Pairs.of(**taken, figure=seconds_of).columns("the even case")
    goal = f"{BUSY}: at most 1.5 times the even case"
    met = columns["ratio_median"] >= 1 / 1.5
    return Row(metric=f"{BUSY}: {what}", unit="s", goal=goal, met=met, command=COMMAND, **columns)
