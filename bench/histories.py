"""Homes for benchmarks of the build: payments that have landed, and how long dbt's models took."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import duckdb

from bench.measuring import Run, run_program
from warehouse.build.build import COMPILED_ANALYSES
from warehouse.build.dbt import dbt_environment, run_dbt
from warehouse.build.publishing import publish_warehouse
from warehouse.canonical import LABELS_FILE, TRANSACTIONS_FILE
from warehouse.landing.batches import list_batches, publish_batch
from warehouse.settings import PROJECT_ROOT, Settings

HANDBOOK = PROJECT_ROOT.parent / "shared" / "data" / "handbook_transactions.parquet"
CUSTOMERS, MERCHANTS, DAYS = 5_000, 10_000, 183
_IDS = ("transaction_id", "customer_id", "merchant_id")
_BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Built:
    """One run of dbt.

    Parameters
    ----------
    seconds : Mapping of str to float
        Execution time by model, as dbt reports it: its own start is apart.
    run : Run
        The whole program.
    """

    seconds: Mapping[str, float]
    run: Run

    @property
    def model_seconds(self) -> float:
        """Execution time of all models."""
        return sum(self.seconds.values())


def open_home(folder: Path) -> Settings:
    """Lay out an empty home."""
    settings = Settings.from_environment({"CBP_HOME": str(folder)})
    settings.create_folders()
    return settings


def land_published_data(settings: Settings) -> dict[str, object]:
    """Land the handbook's payments, or as many simulated ones where its file isn't; says which."""
    if not HANDBOOK.is_file():
        return land_simulated(settings)
    _cbp(settings, "ingest", str(HANDBOOK), "--mapping", "handbook")
    return {"simulated": True, "file": HANDBOOK.name}


def land_simulated(settings: Settings, *, times: float = 1) -> dict[str, object]:
    """Land simulated payments: `times` the customers and merchants of the published data."""
    world = {"customers": round(CUSTOMERS * times), "merchants": round(MERCHANTS * times), "days": DAYS}
    raw = settings.home / "payments.parquet"
    _cbp(settings, "simulate", str(raw), *(f"--{name}={number}" for name, number in world.items()))
    _cbp(settings, "ingest", str(raw))
    raw.unlink()
    return {"simulated": True, **world}


def simulated_home(folder: Path, *, customers: int, days: int) -> Settings:
    """Simulate, land, build and publish payments of some customers, and twice as many merchants; no tests."""
    settings = open_home(folder)
    raw = settings.home / "payments.parquet"
    _cbp(
        settings,
        "simulate",
        str(raw),
        f"--customers={customers}",
        f"--merchants={2 * customers}",
        f"--days={days}",
    )
    _cbp(settings, "ingest", str(raw))
    run_dbt(settings, ["run"], ["compile", "--select", *COMPILED_ANALYSES])
    publish_warehouse(settings)
    raw.unlink()
    return settings


def land_copies(settings: Settings, *, copies: int) -> dict[str, object]:
    """Land simulated payments of the published size, so many copies of them, each with ids of its own."""
    with tempfile.TemporaryDirectory() as folder:
        once = open_home(Path(folder))
        data = land_simulated(once)
        for copy in range(copies):
            land_part(once, settings, f"copy-{copy}", renamed={name: f"'{copy}-' || {name}" for name in _IDS})
    return data | {"copies": copies}


def land_part(
    whole: Settings,
    settings: Settings,
    name: str,
    condition: str = "true",
    *,
    renamed: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Land those of another home's payments that meet a condition, with labels; SQL by column may rename."""
    publish_batch(settings, name, write=lambda folder: _write_part(whole, folder, condition, renamed))


def dbt_run(
    settings: Settings, *arguments: str, rendering: str = "auto", environment: Mapping[str, str] | None = None
) -> Built:
    """Run ``dbt run`` in a home; each rendering of velocity keeps what dbt has read of the project."""
    target = settings.dbt_target_dir / rendering
    run = run_program(
        [
            *(str(_BIN / "dbt"), "run", "--project-dir", str(PROJECT_ROOT)),
            *("--vars", f"velocity_rendering: {rendering}", *arguments),
        ],
        dbt_environment(settings)
        | {"DBT_PROFILES_DIR": str(PROJECT_ROOT), "DBT_TARGET_PATH": str(target)}
        | dict(environment or {}),
    )
    return Built(_model_seconds(target), run)


def cbp_build(settings: Settings, *arguments: str) -> Built:
    """Run ``cbp build`` in a home: models, tests, publishing."""
    run = _cbp(settings, "build", *arguments)
    return Built(_model_seconds(settings.dbt_target_dir), run)


def _model_seconds(target: Path) -> dict[str, float]:
    """Read what dbt reports of its last run."""
    results = json.loads((target / "run_results.json").read_text(encoding="utf-8"))["results"]
    models = [result for result in results if result["unique_id"].startswith("model.")]
    return {result["unique_id"].split(".")[-1]: result["execution_time"] for result in models}


def query(settings: Settings, sql: str) -> Sequence[tuple[object, ...]]:
    """Read from what dbt built."""
    with duckdb.connect(str(settings.build_file), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def _cbp(settings: Settings, *arguments: str) -> Run:
    return run_program([str(_BIN / "cbp"), *arguments], {"CBP_HOME": str(settings.home)})


def _write_part(whole: Settings, folder: Path, condition: str, renamed: Mapping[str, str]) -> None:
    batches = list_batches(whole)
    payments = ", ".join(f"'{batch.transactions_path}'" for batch in batches)
    labels = ", ".join(f"'{batch.labels_path}'" for batch in batches)
    chosen = f"from read_parquet([{payments}]) where {condition}"
    known = f"from read_parquet([{labels}]) semi join (select transaction_id {chosen}) using (transaction_id)"
    of_label = {name: sql for name, sql in renamed.items() if name == "transaction_id"}
    for file, rows, columns in ((TRANSACTIONS_FILE, chosen, renamed), (LABELS_FILE, known, of_label)):
        names = ", ".join(f"{sql} as {name}" for name, sql in columns.items())
        replaced = f" replace ({names})" if names else ""
        duckdb.execute(
            f"copy (select *{replaced} {rows}) to '{folder / file}' (format parquet, compression zstd)"
        )
