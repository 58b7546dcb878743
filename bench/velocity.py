"""Velocity features over history: both renderings beside pandas, Polars and Spark SQL."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from bench.histories import dbt_run, land_published_data, open_home
from bench.measuring import describe_versions, run_program
from bench.pairs import Pairs, run_pairs
from bench.reporting import Row, write_report
from bench.velocity_peers import OPERATIONS
from warehouse.declarations import LiveFeature, read_declarations
from warehouse.settings import Settings

PAIRS = 5
LONG_SECONDS = 60
COMMAND = "make bench NAME=velocity"
MODEL = "feat_transaction_velocity"
SOURCE = "intermediate.int_transactions__deduped"


def run() -> None:
    """Compare values first, then times; a peer of over a minute runs once."""
    with tempfile.TemporaryDirectory() as folder:
        settings = open_home(Path(folder) / "home")
        data = land_published_data(settings)
        dbt_run(settings, "--select", f"+{MODEL}")
        payments = Path(folder) / "payments.parquet"
        features = _declared(settings)
        _write_payments(settings, payments, features)
        marks = {
            "pandas": [Mark("loops", "at least 3 times pandas", 3)],
            "Polars": [
                Mark("loops", "at most 5 times Polars' time", 1 / 5),
                Mark("windows", "at most 12 times Polars' time", 1 / 12),
            ],
        }
        if importlib.util.find_spec("pyspark") and shutil.which("java"):
            marks["Spark SQL"] = [Mark("loops", "at least 5 times Spark", 5)]
        rows = [
            row
            for peer, wanted in marks.items()
            for row in _against(peer, settings, payments, features, wanted)
        ]
    packages = [name for name in ("pyspark",) if importlib.util.find_spec(name)]
    write_report(
        "velocity",
        rows,
        versions=describe_versions("duckdb", "dbt-duckdb", "numba", "pandas", "polars", *packages),
        data=data | {"features compared": len(features)},
    )


@dataclass(frozen=True)
class Mark:
    """What a rendering is to reach: the peer's time over ours, at least."""

    rendering: str
    goal: str
    least: float


def _against(
    peer: str,
    settings: Settings,
    payments: Path,
    features: Sequence[LiveFeature],
    marks: Sequence[Mark],
) -> list[Row]:
    """Compare a peer with each rendering that has a mark, all of them in each round."""

    def ours() -> list[float]:
        return [_built_in(settings, mark.rendering) for mark in marks]

    def theirs() -> float:
        declared = json.dumps([asdict(feature) for feature in features])
        program = [sys.executable, "-W", "ignore", "-m", "bench.velocity_peers"]
        command = [*program, peer, str(payments), str(written), declared]
        return float(run_program(command, {}).output.splitlines()[-1])

    written = payments.with_name(f"{peer}.parquet")
    first = (ours(), theirs())
    different = _different(settings, payments, written, features)
    if different:
        raise RuntimeError(f"{peer} gives other values, times would mean nothing: {different}")
    is_long = max(*first[0], first[1]) > LONG_SECONDS
    rounds = [first, *(() if is_long else run_pairs(ours, theirs, count=PAIRS - 1))]
    return [
        _row(mark, peer, [(times[number], of_peer) for times, of_peer in rounds])
        for number, mark in enumerate(marks)
    ]


def _built_in(settings: Settings, rendering: str) -> float:
    """Build the model by a rendering; returns its seconds."""
    variables = f"velocity_rendering: {rendering}"
    built = dbt_run(settings, "--select", MODEL, "--full-refresh", "--vars", variables)
    return built.seconds[MODEL]


def _row(mark: Mark, peer: str, pairs: Sequence[tuple[float, float]]) -> Row:
    columns: dict[str, Any] = Pairs.of(pairs, float).columns(peer)
    metric = f"all velocity features by {mark.rendering}, model time"
    if len(pairs) == 1:
        metric += " (one pair: over a minute)"
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
