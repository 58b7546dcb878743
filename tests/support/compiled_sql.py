"""The SQL that dbt compiles, run without dbt: on an in-memory DuckDB, and on a live store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.build.dbt import dbt_environment, run_dbt
from warehouse.live.events import Transaction, micro_degrees
from warehouse.live.fraud_reports import Report
from warehouse.settings import PROJECT_ROOT, Settings
from warehouse.velocity.parts import PartSpec, write_parts

HISTORY_TABLE = "build.intermediate.int_events"
COMPILED = Path("compiled") / "customer_behavior_profiling" / "dbt_project"


@dataclass(frozen=True)
class CompiledSql:
    """Texts of the velocity features, over history and live, in dbt's folder of compiled SQL."""

    folder: Path

    @property
    def history(self) -> str:
        """Text of the model."""
        return self._read("models/features/feat_transaction_velocity.sql")

    @property
    def live(self) -> str:
        """Text that the live store runs."""
        return self._read("analyses/live_velocity.sql")

    @property
    def derived(self) -> str:
        """Text of the derived features."""
        return self._read("analyses/derived_features.sql")

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


def compile_sql(home: Path) -> CompiledSql:
    """Compile the project's feature SQL in a home of its own."""
    settings = Settings.from_environment({"CBP_HOME": str(home)})
    texts = ("feat_transaction_velocity", "live_velocity", "derived_features")
    run_dbt(settings, ["compile", "--vars", "velocity_rendering: windows", "--select", *texts])
    return CompiledSql(settings.dbt_target_dir / COMPILED)


@dataclass(frozen=True)
class LoopedParts:
    """The velocity model's text that reads what compiled loops wrote, and what they are to compute."""

    history: str
    spec: PartSpec
    folder: Path

    def writer(self, rows_per_slice: int) -> Callable[[duckdb.DuckDBPyConnection], object]:
        """Return the hook that runs before the text."""
        return lambda connection: write_parts(
            connection, HISTORY_TABLE, self.spec, self.folder, rows_per_slice=rows_per_slice
        )


def looped_parts(home: Path) -> LoopedParts:
    """Compile the velocity model for compiled loops in a home of its own."""
    settings = Settings.from_environment({"CBP_HOME": str(home)})
    compiling = ["compile", "--vars", "velocity_rendering: loops"]
    parts = "{{ parts_declared(ref('int_events')) }}"
    run_dbt(settings, [*compiling, "--select", "feat_transaction_velocity"])
    request = {
        "environment": os.environ | dbt_environment(settings),
        "commands": [[*compiling, "--inline", parts]],
    }
    done = subprocess.run(
        [sys.executable, "-m", "warehouse.build.dbt_commands"],
        cwd=PROJECT_ROOT,
        input=json.dumps(request) + "\n",
        capture_output=True,
        text=True,
        check=True,
    )
    events = map(json.loads, done.stdout.splitlines())
    declared = next(event["data"]["compiled"] for event in events if event["info"]["name"] == "CompiledNode")
    return LoopedParts(
        CompiledSql(settings.dbt_target_dir / COMPILED).history,
        PartSpec.from_dict(json.loads(declared)),
        settings.velocity_parts_dir,
    )


def place_of(transaction: Transaction) -> int | None:
    """Place of a transaction in one number, as the macro has it."""
    latitude, longitude = micro_degrees(transaction.latitude), micro_degrees(transaction.longitude)
    if latitude is None or longitude is None:
        return None
    return (latitude + 90_000_000) * 400_000_000 + longitude + 180_000_000


def features_of_history(
    sql: str,
    transactions: list[Transaction],
    reports: Sequence[Report] = (),
    *,
    before: Callable[[duckdb.DuckDBPyConnection], object] = lambda _: None,
) -> dict[str, dict[str, Any]]:
    """Run the compiled model over payments and reports, after its hook; returns features by payment."""
    names = (
        "transaction_id",
        "customer_id",
        "merchant_id",
        "event_us",
        "amount_minor",
        "category",
        "country",
    )
    columns: dict[str, Any] = {name: [getattr(item, name) for item in transactions] for name in names}
    schema = {name: pa.int64() if name in ("event_us", "amount_minor") else pa.string() for name in names}
    table = pa.table({name: pa.array(values, schema[name]) for name, values in columns.items()})
    table = table.append_column("place", pa.array([place_of(item) for item in transactions], pa.int64()))
    table = table.append_column("reported_merchant_id", table["merchant_id"])
    told = {
        "event_us": pa.array([report.event_us for report in reports], pa.int64()),
        "reported_merchant_id": pa.array([report.reported_merchant_id for report in reports], pa.string()),
        "reported_id": pa.array([report.reported_id for report in reports], pa.string()),
    }
    table = pa.concat_tables([table, pa.table(told)], promote_options="default")
    with duckdb.connect() as connection:
        connection.register("given", table)
        connection.execute("attach ':memory:' as build; create schema build.intermediate")
        connection.execute(f"create table {HISTORY_TABLE} as from given")
        before(connection)
        rows = connection.execute(sql).to_arrow_table().drop_columns(["event_timestamp"]).to_pylist()
    return {row.pop("transaction_id"): row for row in rows}
