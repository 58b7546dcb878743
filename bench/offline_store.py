"""A training frame by ASOF join beside Feast's own DuckDB store, and how its cost grows with the rows."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import sys
import tempfile
import threading
import time
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from bench.measuring import describe_versions, run_program
from bench.pairs import Pairs, run_rounds
from bench.reporting import Row, write_report

EVENTS_PER_KEY = 1_000
PEER_KEYS = 38
FEATURES = [f"number_{i}" for i in range(10)]
GROWTH_RUNS = 7
GROWTH_ROWS = (125_000, 250_000, 500_000, 1_000_000)
PAIRS = 5
PEER = "Feast's DuckDB store"
MEMORY_GOAL = "a tenth of the memory"
COMMAND = "make bench NAME=offline_store"


def run() -> None:
    """Compare the stores' frames, then their times and memory; then let the rows grow."""
    with tempfile.TemporaryDirectory() as folder:
        compared = Path(folder) / "compared"
        _write_data(compared, PEER_KEYS * EVENTS_PER_KEY)
        runs = run_rounds(
            {side: partial(_join, side, compared) for side in ("ours", "peer")},
            count=PAIRS,
        )
        if len({run["sha256"] for side in runs.values() for run in side}) != 1:
            raise RuntimeError("the stores return different frames: times would mean nothing")
        rows = [
            _row("training frame", "s", "first_seconds", runs, "at least 50 times faster", 50),
            _row("memory that the join adds", "MB", "added_mb", runs, MEMORY_GOAL, 10),
            _row(
                "memory of the whole process, Feast imported by ours as ADR 9 says, by the peer as it is",
                "MB",
                "peak_mb",
                runs,
                MEMORY_GOAL,
                10,
            ),
            *_growth(Path(folder)),
        ]
    write_report(
        "offline_store",
        rows,
        versions=describe_versions("duckdb", "feast", "pyarrow"),
        data={
            "simulated": True,
            "keys": PEER_KEYS,
            "events_per_key": EVENTS_PER_KEY,
            "entity_rows": PEER_KEYS * EVENTS_PER_KEY,
            "features": len(FEATURES),
            "pairs": PAIRS,
        },
    )


def _growth(folder: Path) -> list[Row]:
    seconds = []
    for size in GROWTH_ROWS:
        grown = folder / str(size)
        _write_data(grown, size)
        seconds.append(statistics.median(_join("ours", grown, GROWTH_RUNS)["seconds"]))
    slope = float(np.polyfit([math.log(size) for size in GROWTH_ROWS], [math.log(s) for s in seconds], 1)[0])
    goal = "linear in rows up to 1 million with 1,000 events a key"
    return [
        *(
            Row(f"training frame, {size:,} rows", "s", second, "", met=True, command=COMMAND)
            for size, second in zip(GROWTH_ROWS, seconds, strict=True)
        ),
        Row("growth: exponent of time over rows", "", slope, goal, slope <= 1.1, COMMAND),
    ]


def _row(metric: str, unit: str, key: str, runs: Any, goal: str, least: float) -> Row:
    columns: dict[str, Any] = Pairs.of(**runs, figure=itemgetter(key)).columns(PEER)
    met = columns["ratio_median"] >= least
    return Row(metric=metric, unit=unit, goal=goal, met=met, command=COMMAND, **columns)


def _write_data(folder: Path, size: int) -> None:
    """Write a source of `size` rows with 1,000 events a key, and as many entity rows."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    keys = np.char.add("customer-", (np.arange(size) // EVENTS_PER_KEY).astype(str))
    for name, number_of in (("source", len(FEATURES)), ("entities", 0)):
        times = chance.integers(1_700_000_000_000_000, 1_710_000_000_000_000, size)
        columns: dict[str, Any] = {
            "customer_id": keys,
            "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        }
        columns |= {feature: chance.integers(0, 10**6, size) for feature in FEATURES[:number_of]}
        if not number_of:
            columns["position"] = np.arange(size)
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")


def _join(side: str, folder: Path, runs: int = 1) -> dict[str, Any]:
    """Join in a process of its own, some times over."""
    command = [sys.executable, "-m", "bench.offline_store", side, str(folder), str(runs)]
    output = run_program(command, {}).output
    answer: dict[str, Any] = json.loads(output.splitlines()[-1])
    return answer


def _join_here(side: str, folder: Path, runs: int) -> dict[str, Any]:
    from datetime import timedelta

    if side == "ours":
        import warehouse  # noqa: F401 - as whatever of ours reads features: Feast is lighter then (ADR 9)
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.repo_config import RepoConfig
    from feast.types import Int64, String

    ours = {
        "type": "warehouse.feature_store.offline_store.AsofOfflineStore",
        "temp_directory": str(folder / "spill"),
    }
    config = RepoConfig(
        project="bench",
        provider="local",
        registry=str(folder / f"{side}.db"),
        offline_store=ours if side == "ours" else {"type": "duckdb"},
        online_store={"type": "sqlite", "path": str(folder / f"{side}_online.db")},
        entity_key_serialization_version=3,
    )
    store = FeatureStore(config=config)
    entity = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
    view = FeatureView(
        name="numbers",
        entities=[entity],
        ttl=timedelta(0),
        schema=[
            Field(name="customer_id", dtype=String),
            *(Field(name=name, dtype=Int64) for name in FEATURES),
        ],
        source=FileSource(path=str(folder / "source.parquet"), timestamp_field="event_timestamp"),
    )
    store.apply([entity, view])
    entity_rows = pq.read_table(folder / "entities.parquet").to_pandas()
    peak = _Peak()
    seconds = []
    for _ in range(runs):
        before = time.perf_counter()
        frame = store.get_historical_features(
            entity_df=entity_rows, features=[f"numbers:{name}" for name in FEATURES]
        ).to_arrow()
        seconds.append(time.perf_counter() - before)
    added, most = peak.stop()
    values = frame.sort_by("position").select(FEATURES).to_pandas().to_numpy(dtype=float)
    return {
        "seconds": seconds,
        "first_seconds": seconds[0],
        "added_mb": added / 1e6,
        "peak_mb": most / 1e6,
        "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
    }


class _Peak:
    """Watches the memory of this process."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._at_first = self._most = self._process.memory_info().rss
        self._is_done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> tuple[int, int]:
        """Return bytes added at the peak, and bytes at the peak."""
        self._is_done.set()
        self._thread.join()
        return self._most - self._at_first, self._most

    def _watch(self) -> None:
        while not self._is_done.wait(0.005):
            self._most = max(self._most, self._process.memory_info().rss)


if __name__ == "__main__":
    print(json.dumps(_join_here(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201 - the answer to the parent
