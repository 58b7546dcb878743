"""Peak memory of a full build of 14 million payments, DuckDB held to a gigabyte."""

from __future__ import annotations

import tempfile
from pathlib import Path

from bench.histories import dbt_run, land_copies, open_home, query
from bench.measuring import describe_versions
from bench.reporting import Row, write_report

COPIES = 8
MEMORY_LIMIT = "1GB"
LARGEST_BYTES = 2e9
COMMAND = "make bench NAME=memory"


def run() -> None:
    """Land eight times the published size and build it, profiles by slices of customers."""
    with tempfile.TemporaryDirectory() as folder:
        settings = open_home(Path(folder))
        data = land_copies(settings, copies=COPIES)
        built = dbt_run(settings, environment={"CBP_MEMORY_LIMIT": MEMORY_LIMIT})
        ((payments,),) = query(settings, "select count(*) from intermediate.int_transactions__deduped")
    peak = built.run.peak_bytes
    rows = [
        Row(
            f"{payments:,} payments, peak memory of the process tree",
            "GB",
            peak / 1e9,
            "14 million rows with a 1 GB DuckDB limit and at most 2 GB for the process tree",
            peak <= LARGEST_BYTES,
            COMMAND,
        ),
        Row("all models, model time", "s", built.model_seconds, "", met=True, command=COMMAND),
    ]
    versions = describe_versions("duckdb", "dbt-duckdb", "numba")
    write_report("memory", rows, versions=versions, data=data | {"DuckDB's memory limit": MEMORY_LIMIT})
