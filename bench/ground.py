"""The main job at the published size: time and peak memory of each command, on simulated payments."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.measuring import Run, describe_versions, run_program
from bench.reporting import Row, write_report

_GIB = 2**30


def run() -> None:
    """Run each command once, in a home of its own."""
    program = str(Path(sys.executable).with_name("cbp"))
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            "CBP_HOME": f"{folder}/home",
            "CBP_MODELS": f"{folder}/models",
            "CBP_REPORTS": f"{folder}/reports",
        }
        raw = f"{folder}/payments.parquet"

        def measure(*arguments: str) -> Run:
            return run_program([program, *arguments], environment)

        rows = [
            *_rows("simulate", measure("simulate", raw), seconds=30, memory_gib=2),
            *_rows("ingest", measure("ingest", raw), seconds=15),
            *_rows("build", measure("build")),
            *_rows("materialize", measure("materialize")),
            *_rows("train", measure("train"), memory_gib=6),
        ]
    write_report(
        "ground",
        rows,
        versions=describe_versions("duckdb", "dbt-duckdb", "feast", "lightgbm", "numpy"),
        data={"simulated": True, "customers": 5_000, "merchants": 10_000, "days": 183, "seed": 0},
    )


def _rows(
    stage: str, run: Run, *, seconds: float | None = None, memory_gib: float | None = None
) -> list[Row]:
    command = "make bench NAME=ground"
    peak = run.peak_bytes / _GIB
    return [
        Row(
            f"{stage}: time",
            "s",
            run.seconds,
            "" if seconds is None else f"within {seconds:g} s",
            seconds is None or run.seconds <= seconds,
            command,
        ),
        Row(
            f"{stage}: peak memory",
            "GiB",
            peak,
            "" if memory_gib is None else f"under {memory_gib:g} GB",
            memory_gib is None or run.peak_bytes <= memory_gib * 1e9,
            command,
        ),
    ]
