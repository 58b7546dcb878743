"""The daily snapshot models, compiled by dbt and run without it, on an in-memory DuckDB."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from tests.support.compiled_sql import COMPILED
from warehouse.build.dbt import run_dbt
from warehouse.settings import Settings

# In the order in which they read each other.
MODELS = (
    "intermediate/int_labels__changes",
    "intermediate/int_snapshot_days",
    "intermediate/int_customers__daily",
    "intermediate/int_customers__windows",
    "intermediate/int_customers__distributions",
    "intermediate/int_population__daily",
    "intermediate/int_frauds__spells",
    "features/feat_customer_profile",
    "intermediate/int_frauds__explained",
    "intermediate/int_merchants__frauds",
    "intermediate/int_merchants__streaks",
    "features/feat_merchant_risk",
    "features/feat_category_risk",
)
FEATURES = tuple(name for name in MODELS if name.startswith("features/"))
_TRANSACTIONS = pa.schema(
    {
        "transaction_id": pa.string(),
        "customer_id": pa.string(),
        "merchant_id": pa.string(),
        "category": pa.string(),
        "event_us": pa.int64(),
        "amount_minor": pa.int64(),
        "batch": pa.string(),
    }
)
_LABELS = pa.schema(
    {
        "transaction_id": pa.string(),
        "is_fraud": pa.bool_(),
        "known_us": pa.int64(),
        "source": pa.string(),
        "batch": pa.string(),
    }
)


class CompiledModels(dict[str, str]):
    """Texts of models by name; long, so a failing example names them instead of showing them."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self)})"


def compile_snapshots(home: Path) -> CompiledModels:
    """Compile the models in a home of its own; returns their texts by name."""
    settings = Settings.from_environment({"CBP_HOME": str(home)})
    run_dbt(settings, ["compile", "--select", *(name.split("/")[1] for name in MODELS)])
    folder = settings.dbt_target_dir / COMPILED / "models"
    return CompiledModels({name: (folder / f"{name}.sql").read_text(encoding="utf-8") for name in MODELS})


class SnapshotWarehouse:
    """Snapshot tables of some transactions and labels; to be closed.

    Parameters
    ----------
    texts : dict of str to str
        Compiled models.
    transactions, labels : sequence of dict
        Rows of ``int_transactions__deduped`` and ``stg_landing__labels``.
    threads : int
    """

    def __init__(
        self,
        texts: dict[str, str],
        transactions: Sequence[dict[str, Any]],
        labels: Sequence[dict[str, Any]],
        *,
        threads: int = 1,
    ) -> None:
        self._texts = texts
        self._connection = duckdb.connect(config={"threads": threads})
        self._connection.execute(
            "set preserve_insertion_order = false; attach ':memory:' as build; "
            "create schema build.staging; create schema build.intermediate; create schema build.features"
        )
        for name, rows, schema in (
            ("intermediate.int_transactions__deduped", transactions, _TRANSACTIONS),
            ("staging.stg_landing__labels", labels, _LABELS),
        ):
            self._connection.register("given", pa.Table.from_pylist(list(rows), schema))
            self._connection.execute(f"create table build.{name} as from given")
            self._connection.unregister("given")
        self.run(MODELS)

    def run(self, models: Collection[str], *, only_days: Sequence[int] | None = None) -> None:
        """Build models again, in order; `only_days` replaces the days that are due."""
        if only_days is not None:
            self._connection.execute(
                "create or replace table build.intermediate.int_snapshot_days as "
                "select cast(unnest(?) as bigint) as day",
                [list(only_days)],
            )
        for name in MODELS:
            if name in models:
                table = name.replace("/", ".")
                self._connection.execute(f"create or replace table build.{table} as {self._texts[name]}")

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        """Return a feature table as sorted tuples: key, microseconds, values."""
        relation = self._connection.table(f"build.{name.replace('/', '.')}")
        return (
            relation.project("* replace (epoch_us(event_timestamp) as event_timestamp)")
            .order("#1, #2")
            .fetchall()
        )

    def by_key(self, name: str) -> dict[tuple[str, int], dict[str, Any]]:
        """Return a feature table by key and microseconds."""
        rows = self.rows(name)
        described = self._connection.execute(f"describe build.{name.replace('/', '.')}").fetchall()
        names = [column for column, *_ in described]
        return {(row[0], row[1]): dict(zip(names[2:], row[2:], strict=True)) for row in rows}

    def close(self) -> None:
        """Close the database."""
        self._connection.close()
