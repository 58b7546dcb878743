"""Materializing 50,000 entities of 30 features, and reading one at a time, beside Feast's SQLite store."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import RepoConfig
from feast.types import Float64, Int64, String

from bench.measuring import describe_versions
from bench.pairs import Pairs, run_rounds
from bench.reporting import Row, write_report

ENTITIES = 50_000
FEATURES = [f"count_{i}" for i in range(15)] + [f"mean_{i}" for i in range(15)]
WRITE_PAIRS = 5
READ_PAIRS = 15
READS = 300
PEER = "Feast's SQLite store"
COMMAND = "make bench NAME=online_store"
OURS = {
    "offline_store": {"type": "warehouse.feature_store.offline_store.AsofOfflineStore"},
    "online_store": {"type": "warehouse.feature_store.online_store.RowOnlineStore"},
    "batch_engine": {"type": "warehouse.feature_store.batch_engine.ArrowComputeEngine"},
}
THEIRS = {"offline_store": {"type": "duckdb"}, "online_store": {"type": "sqlite"}}


def run() -> None:
    """Compare the stores' rows, then their times and sizes."""
    with tempfile.TemporaryDirectory() as folder:
        source = _write_source(Path(folder))
        ours, peer = (
            _Side(Path(folder) / name, stores, source) for name, stores in (("ours", OURS), ("peer", THEIRS))
        )
        writes = run_rounds({"ours": ours.materialize, "peer": peer.materialize}, count=WRITE_PAIRS)
        if ours.rows() != peer.rows():
            raise RuntimeError("the stores hold different values: times would mean nothing")
        sizes = Pairs((ours.file_bytes() / 1e6,), (peer.file_bytes() / 1e6,))
        reads = run_rounds({"ours": ours.read_one_by_one, "peer": peer.read_one_by_one}, count=READ_PAIRS)
    rows = [
        _row(
            "materialize",
            "s",
            Pairs.of(**writes, figure=float),
            "at least 2.5 times faster",
            lambda ratio: ratio >= 2.5,
        ),
        _row("online file", "MB", sizes, "a tenth of the file", lambda ratio: ratio >= 10),
        _row("online_read of one entity", "ms", Pairs.of(**reads, figure=float), "", lambda _: True),
    ]
    write_report(
        "online_store",
        rows,
        versions=describe_versions("duckdb", "feast", "pyarrow"),
        data={"simulated": True, "entities": ENTITIES, "features": len(FEATURES), "pairs": WRITE_PAIRS},
    )


class _Side:
    """One pair of stores over the same source."""

    def __init__(self, folder: Path, stores: dict[str, dict[str, Any]], source: Path) -> None:
        folder.mkdir()
        self.path = folder / "online.db"
        stores = {section: dict(options) for section, options in stores.items()}
        stores["online_store"]["path"] = str(self.path)
        if "warehouse" in stores["offline_store"]["type"]:
            stores["offline_store"]["temp_directory"] = str(folder / "spill")
        config = RepoConfig(
            project="bench",
            provider="local",
            registry=str(folder / "registry.db"),
            entity_key_serialization_version=3,
            **stores,
        )
        self.store = FeatureStore(config=config)
        self.view = _view(source)
        self.store.apply([self.view, _entity()])

    def materialize(self) -> float:
        """Fill an empty file; returns seconds."""
        self.store.provider.online_store.teardown(self.store.config, [self.view], [])
        self.store.apply([self.view, _entity()])
        before = time.perf_counter()
        with (
            Path(os.devnull).open("w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            self.store.materialize(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 3, tzinfo=UTC))
        return time.perf_counter() - before

    def read_one_by_one(self) -> float:
        """Read some entities alone; returns milliseconds for one."""
        keys = [f"customer-{number * 157 % ENTITIES}" for number in range(READS)]
        protos = [_key(key) for key in keys]
        read = self.store.provider.online_store.online_read
        before = time.perf_counter()
        for proto in protos:
            read(self.store.config, self.view, [proto], FEATURES)
        return (time.perf_counter() - before) / READS * 1e3

    def rows(self) -> list[Any]:
        """Read the values of all entities."""
        keys = [_key(f"customer-{number}") for number in range(ENTITIES)]
        found = []
        for first in range(0, ENTITIES, 5_000):
            some = keys[first : first + 5_000]
            found += self.store.provider.online_store.online_read(
                self.store.config, self.view, some, FEATURES
            )
        return [values for _, values in found]

    def file_bytes(self) -> int:
        """Size of the file and its logs."""
        return sum(path.stat().st_size for path in self.path.parent.glob("online.db*"))


def _row(metric: str, unit: str, pairs: Pairs, goal: str, is_met: Callable[[float], bool]) -> Row:
    columns: dict[str, Any] = pairs.columns(PEER)
    met = is_met(columns["ratio_median"])
    return Row(metric=metric, unit=unit, goal=goal, met=met, command=COMMAND, **columns)


def _write_source(folder: Path) -> Path:
    chance = np.random.default_rng(0)
    columns: dict[str, Any] = {
        "customer_id": [f"customer-{number}" for number in range(ENTITIES)],
        "event_timestamp": pa.array([datetime(2024, 1, 2, tzinfo=UTC)] * ENTITIES, pa.timestamp("us", "UTC")),
    }
    for name in FEATURES:
        is_count = name.startswith("count")
        columns[name] = chance.integers(0, 10**6, ENTITIES) if is_count else chance.normal(size=ENTITIES)
    path = folder / "features.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def _entity() -> Entity:
    return Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)


def _view(source: Path) -> FeatureView:
    return FeatureView(
        name="profile",
        entities=[_entity()],
        schema=[
            Field(name="customer_id", dtype=String),
            *(Field(name=name, dtype=Int64 if name.startswith("count") else Float64) for name in FEATURES),
        ],
        source=FileSource(path=str(source), timestamp_field="event_timestamp"),
    )


def _key(customer: str) -> EntityKey:
    return EntityKey(join_keys=["customer_id"], entity_values=[Value(string_val=customer)])
