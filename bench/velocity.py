"""Velocity features over history: both renderings beside pandas, Polars and Spark SQL."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from bench.histories import dbt_run, land_published_data, open_home
from bench.measuring import describe_versions, run_program
from bench.pairs import Pairs, run_rounds
from bench.reporting import Row, write_report
from bench.velocity_peers import OPERATIONS
from warehouse.settings import Settings
from warehouse.velocity.declarations import LiveFeature, read_declarations

ROUNDS = 5
COMMAND = "make bench NAME=velocity"
MODEL = "feat_transaction_velocity"
SOURCE = "intermediate.int_transactions__deduped"


@dataclass(frozen=True)
class Mark:
    """What a rendering is to reach beside a peer: the peer's time over ours, at least."""

    rendering: str
    peer: str
    goal: str
    least: float


MARKS = (
    Mark("loops", "pandas", "at least 3 times pandas", 3),
    Mark("loops", "Polars", "at most 5 times Polars' time", 1 / 5),
    Mark("windows", "Polars", "at most 12 times Polars' time", 1 / 12),
    Mark("loops", "Spark SQL", "at least 5 times Spark", 5),
)


def run() -> None:
    """Compute the features by each rendering and each peer, in turns; compare values before times."""
    with tempfile.TemporaryDirectory() as folder:
        settings = open_home(Path(folder) / "home")
        data = land_published_data(settings)
        dbt_run(settings, "--select", f"+{MODEL}", "--exclude", MODEL, rendering="loops")
        payments = Path(folder) / "payments.parquet"
        features = _declared(settings)
        _write_payments(settings, payments, features)
        marks = [mark for mark in MARKS if mark.peer != "Spark SQL" or _has_spark()]
        peers = dict.fromkeys(mark.peer for mark in marks)
        written = {peer: payments.with_name(f"{peer}.parquet") for peer in peers}
        renderings = dict.fromkeys(mark.rendering for mark in marks)
        taken = run_rounds(
            {rendering: partial(_built_in, settings, rendering) for rendering in renderings}
            | {peer: partial(_peer_seconds, peer, payments, written[peer], features) for peer in peers},
            count=ROUNDS,
        )
        for peer in peers:
            different = _different(settings, payments, written[peer], features)
            if different:
                raise RuntimeError(f"{peer} gives other values, times would mean nothing: {different}")
    packages = [name for name in ("pyspark",) if "Spark SQL" in peers]
    write_report(
        "velocity",
        [_row(mark, taken[mark.rendering], taken[mark.peer]) for mark in marks],
        versions=describe_versions("duckdb", "dbt-duckdb", "numba", "pandas", "polars", *packages),
        data=data | {"features compared": len(features)},
    )


def _has_spark() -> bool:
    return bool(importlib.util.find_spec("pyspark") and shutil.which("java"))


def _built_in(settings: Settings, rendering: str) -> float:
    """Build the model by a rendering; returns its seconds."""
    built = dbt_run(settings, "--select", MODEL, "--full-refresh", rendering=rendering)
    return built.seconds[MODEL]


def _peer_seconds(peer: str, payments: Path, written: Path, features: Sequence[LiveFeature]) -> float:
    """Let a peer compute the same features in a process of its own; returns its seconds."""
    declared = json.dumps([asdict(feature) for feature in features])
    program = [sys.executable, "-W", "ignore", "-m", "bench.velocity_peers"]
    run = run_program([*program, peer, str(payments), str(written), declared], {})
    return float(run.output.splitlines()[-1])


def _row(mark: Mark, ours: Sequence[float], peer: Sequence[float]) -> Row:
    columns: dict[str, Any] = Pairs.of(ours, peer, float).columns(mark.peer)
    metric = f"all velocity features by {mark.rendering}, model time"
    met = columns["ratio_median"] >= mark.least
    return Row(metric=metric, unit="s", goal=mark.goal, met=met, command=COMMAND, **columns)


def _write_payments(settings: Settings, payments: Path, features: Sequence[LiveFeature]) -> None:
    """Write what peers read, and no other column."""
    wanted = {"transaction_id", "event_us", "amount_minor"}
    for feature in features:
        wanted |= {feature.column, *feature.keys}
    columns = ", ".join(sorted(wanted))
    with duckdb.connect(str(settings.build_file), read_only=True) as connection:
        connection.execute(f"copy (select {columns} from {SOURCE} order by event_us) to '{payments}'")  # noqa: S608


def _declared(settings: Settings) -> list[LiveFeature]:
    """Read the declarations; peers are spared distances, and columns that the data doesn't hold."""
    with duckdb.connect(str(settings.build_file), read_only=True) as connection:
        counts = connection.execute(f"select count(columns(*)) from {SOURCE}").fetchdf().iloc[0]  # noqa: S608
    held = {str(name) for name, count in counts.items() if count}
    return [
        feature
        for feature in read_declarations().live
        if feature.operation in OPERATIONS and feature.column in held
    ]


def _different(
    settings: Settings, payments: Path, written: Path, features: Sequence[LiveFeature]
) -> dict[str, int]:
    """Count differing values by feature: counts and sums exactly, means, deviations and times to 1e-6.

    Left out are payments of one customer or merchant at the same instant: pandas takes the earlier
    of them for the past.
    """
    files = f"{written}/*.parquet" if written.is_dir() else str(written)
    exact = {"count", "sum", "max", "distinct"}
    conditions = {
        feature.name: f"ours.{feature.name} is distinct from peer.{feature.name}"
        if feature.operation in exact
        else f"(ours.{feature.name} is null) <> (peer.{feature.name} is null)"
        f" or abs(ours.{feature.name} - peer.{feature.name}) > 1e-6 * greatest(1e3, abs(ours.{feature.name}))"
        for feature in features
    }
    counts = ", ".join(f"count(*) filter ({text}) as {name}" for name, text in conditions.items())
    # Names, all of them ours: nothing to escape.
    query = f"""
        with alone as (
            select transaction_id from '{payments}'
            qualify count(*) over (partition by customer_id, event_us) = 1
                and count(*) over (partition by merchant_id, event_us) = 1
        )
        select count(*) as rows, {counts}
        from features.{MODEL} as ours
        inner join alone using (transaction_id)
        inner join read_parquet('{files}') as peer using (transaction_id)
    """  # noqa: S608
    with duckdb.connect(str(settings.build_file), read_only=True) as connection:
        found = connection.execute(query).fetchdf().iloc[0]
    if not found["rows"]:
        raise RuntimeError("the peer's rows are none of ours")
    return {str(name): int(count) for name, count in found.items() if count and name != "rows"}
