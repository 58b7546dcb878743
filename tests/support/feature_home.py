"""A small home with a dbt manifest and feature files, written by hand: what Feast needs, without dbt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.build.feature_files import publish_files
from warehouse.settings import Settings

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
START_US = 1_530_000_000_000_000
ARROW_TYPES = {
    "bigint": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "varchar": pa.string(),
    "timestamp": pa.timestamp("us"),
}


@dataclass(frozen=True)
class Model:
    """One feature model: its name, Feast settings and columns (type by name, the key first)."""

    name: str
    feast: Mapping[str, Any]
    columns: Mapping[str, str]
    contract: bool = True
    hidden: tuple[str, ...] = ()

    def node(self) -> dict[str, Any]:
        """Build its node of dbt's manifest."""
        columns = {
            name: {
                "name": name,
                "data_type": data_type,
                "description": f"What {name}\nmeans.",
                "config": {"meta": {"feature": False} if name in self.hidden else {}},
            }
            for name, data_type in self.columns.items()
        }
        return {
            "name": self.name,
            "resource_type": "model",
            "description": f"One row per {self.feast.get('entity')}.",
            "config": {"meta": {"feast": dict(self.feast)}, "contract": {"enforced": self.contract}},
            "columns": columns,
        }

    def table(self, rows: Mapping[str, list[Any]]) -> pa.Table:
        """Build an Arrow table of its columns; times are UTC microseconds."""
        arrays = {name: pa.array(rows[name], self._raw_type(name)) for name in self.columns}
        return pa.table({name: array.cast(ARROW_TYPES[self.columns[name]]) for name, array in arrays.items()})

    def _raw_type(self, column: str) -> pa.DataType:
        data_type = self.columns[column]
        return pa.int64() if data_type == "timestamp" else ARROW_TYPES[data_type]

    def without(self, column: str) -> Model:
        """Return the same model without one column."""
        return replace(self, columns={name: kind for name, kind in self.columns.items() if name != column})


PROFILE = Model(
    "feat_customer_profile",
    {"view": "customer_profile", "entity": "customer", "ttl_days": 7, "online": True},
    {
        "customer_id": "varchar",
        "event_timestamp": "timestamp",
        "snapshot_day": "varchar",
        "profile_count": "bigint",
        "profile_mean": "double",
        "profile_is_new": "boolean",
        "profile_country": "varchar",
    },
    hidden=("snapshot_day",),
)
MERCHANT = Model(
    "feat_merchant_risk",
    {"view": "merchant_risk", "entity": "merchant", "ttl_days": 0, "online": True},
    {"merchant_id": "varchar", "event_timestamp": "timestamp", "merchant_risk_30d": "double"},
)
CATEGORY = Model(
    "feat_category_risk",
    {"view": "category_risk", "entity": "category", "ttl_days": 7, "online": True},
    {"category": "varchar", "event_timestamp": "timestamp", "category_risk_30d": "double"},
)
VELOCITY = Model(
    "feat_transaction_velocity",
    {"view": "transaction_velocity", "entity": "transaction", "ttl_days": 0, "online": False},
    {"transaction_id": "varchar", "event_timestamp": "timestamp", "transaction_count_24h": "bigint"},
)
MODELS = (PROFILE, MERCHANT, CATEGORY, VELOCITY)


def make_settings(folder: Path) -> Settings:
    """Build settings of a home below `folder`."""
    return Settings.from_environment(
        {
            "CBP_HOME": str(folder / "home"),
            "CBP_MODELS": str(folder / "models"),
            "CBP_REPORTS": str(folder / "reports"),
        }
    )


def write_manifest(settings: Settings, *models: Model) -> None:
    """Write a manifest with these models, and one model that isn't a feature model."""
    nodes = {f"model.project.{model.name}": model.node() for model in models}
    nodes["model.project.dim_customers"] = {
        "name": "dim_customers",
        "resource_type": "model",
        "description": "",
        "config": {"meta": {}, "contract": {"enforced": False}},
        "columns": {},
    }
    nodes["test.project.not_null"] = {"name": "not_null", "resource_type": "test", "config": {"meta": {}}}
    settings.dbt_target_dir.mkdir(parents=True, exist_ok=True)
    (settings.dbt_target_dir / "manifest.json").write_text(json.dumps({"nodes": nodes}))


def write_features(settings: Settings, model: Model, rows: Mapping[str, list[Any]]) -> None:
    """Publish the rows of a model, replaced as a whole."""
    with duckdb.connect() as connection:
        connection.register("given", model.table(rows))
        publish_files(connection, "given", settings.features_dir / model.name)


def write_small_world(settings: Settings) -> None:
    """Write manifest and feature files of three customers, two merchants, one category, four transactions."""
    write_manifest(settings, *MODELS)
    day = [START_US + n * DAY_US for n in range(10)]
    write_features(
        settings,
        PROFILE,
        {
            "customer_id": ["c1", "c1", "c2", "c3"],
            "event_timestamp": [day[0], day[1], day[1], day[9]],
            "snapshot_day": ["x"] * 4,
            "profile_count": [1, 2**53 + 1, None, 9],
            "profile_mean": [0.1, 0.30000000000000004, None, -0.0],
            "profile_is_new": [True, False, None, True],
            "profile_country": ["BE", "é", None, ""],
        },
    )
    write_features(
        settings,
        MERCHANT,
        {"merchant_id": ["m1", "m2"], "event_timestamp": [day[0], day[1]], "merchant_risk_30d": [0.25, None]},
    )
    write_features(
        settings, CATEGORY, {"category": ["food"], "event_timestamp": [day[0]], "category_risk_30d": [0.5]}
    )
    write_features(
        settings,
        VELOCITY,
        {
            "transaction_id": ["t1", "t2", "t3", "t4"],
            "event_timestamp": [day[1], day[2], day[2], day[9]],
            "transaction_count_24h": [0, 1, 2, 3],
        },
    )


def small_transactions() -> dict[str, list[Any]]:
    """Build the columns of the four transactions of `write_small_world`."""
    return {
        "transaction_id": ["t4", "t1", "t2", "t3"],
        "customer_id": ["c1", "c1", "c2", None],
        "merchant_id": ["m1", None, "m2", "unknown"],
        "category": ["food", "food", None, "food"],
        "event_us": [START_US + 9 * DAY_US, START_US + DAY_US, START_US + 2 * DAY_US, START_US + 2 * DAY_US],
    }
