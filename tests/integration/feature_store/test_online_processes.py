"""The online store under several real processes: readers beside a writer, several writers, a kill, a fork."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.repo_config import RepoConfig
from feast.types import Int64, String

from warehouse.feature_store.online_store import RowOnlineStore

pytestmark = pytest.mark.services

START = datetime(2024, 1, 1, tzinfo=UTC)
FEATURES = [f"number_{i}" for i in range(20)]
Start = Callable[..., "subprocess.Popen[str]"]
KEYS = [f"customer-{i}" for i in range(2_000)]


def make_view() -> FeatureView:
    entity = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.STRING)
    return FeatureView(
        name="numbers",
        entities=[entity],
        schema=[
            Field(name="customer_id", dtype=String),
            *(Field(name=feature, dtype=Int64) for feature in FEATURES),
        ],
        source=FileSource(path="numbers.parquet", timestamp_field="happened"),
    )


def make_config(folder: Path) -> RepoConfig:
    return RepoConfig(
        project="test",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={
            "type": "warehouse.feature_store.online_store.RowOnlineStore",
            "path": str(folder / "online.db"),
        },
        entity_key_serialization_version=3,
    )


def make_batch(version: int) -> pa.RecordBatch:
    """All keys with one number everywhere, later for a higher version."""
    happened = pa.array([START + timedelta(days=version)] * len(KEYS), pa.timestamp("us", "UTC"))
    numbers = {feature: pa.array([version] * len(KEYS)) for feature in FEATURES}
    return pa.RecordBatch.from_pydict({"customer_id": KEYS, **numbers, "happened": happened})


def write_versions(folder: Path, first: int, last: int) -> None:
    """Write all keys again and again, each version in one transaction of several batches."""
    store, config, view = RowOnlineStore(), make_config(folder), make_view()
    for version in range(first, last):
        batch = make_batch(version)
        store.write_arrow(config, view, [batch[:700], batch[700:1_400], batch[1_400:]])
        print(version, flush=True)  # noqa: T201 - tells the test how far it is


def read_until_stopped(folder: Path) -> None:
    """Read all keys again and again; print what was seen, and how long the longest read took."""
    store, config, view = RowOnlineStore(), make_config(folder), make_view()
    seen: list[int] = []
    slowest = 0.0
    while not (folder / "stop").exists():
        before = time.perf_counter()
        found = store.values_reader(config, view, FEATURES).read([(key,) for key in KEYS])
        slowest = max(slowest, time.perf_counter() - before)
        versions = {number for record in found if record for number in record[1]}
        if len(versions) != 1 or None in found:
            raise AssertionError(f"half of a write was seen: {versions}")
        seen.append(versions.pop())
    print(json.dumps({"seen": seen, "slowest": slowest}))  # noqa: T201 - the answer


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start this file as a program; what still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start_one(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", __name__, str(tmp_path), *map(str, arguments)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start_one
    for process in started:
        process.kill()
        process.communicate(timeout=60)


def _numbers(folder: Path) -> set[int]:
    found = (
        RowOnlineStore()
        .values_reader(make_config(folder), make_view(), FEATURES)
        .read([(key,) for key in KEYS])
    )
    return {number for record in found if record for number in record[1]}


def test_readers_never_wait_nor_see_half_of_a_write(tmp_path: Path, start: Start) -> None:
    write_versions(tmp_path, 0, 1)
    readers = [start("read") for _ in range(2)]
    writer = start("write", 1, 40)
    writer.communicate(timeout=120)
    assert writer.returncode == 0
    (tmp_path / "stop").touch()
    answers = [json.loads(reader.communicate(timeout=60)[0]) for reader in readers]
    assert [reader.returncode for reader in readers] == [0, 0]
    for answer in answers:
        assert answer["seen"] == sorted(answer["seen"])
        assert answer["seen"][-1] == 39
    assert _numbers(tmp_path) == {39}


def test_writers_wait_for_each_other_and_the_newest_row_stays(tmp_path: Path, start: Start) -> None:
    writers = [start("write", first, last) for first, last in ((0, 15), (5, 25))]
    for writer in writers:
        writer.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert _numbers(tmp_path) == {24}


@pytest.mark.parametrize("after_seconds", [0.0, 0.02, 0.05])
def test_a_killed_writer_leaves_all_of_a_version_or_nothing_of_it(
    after_seconds: float, tmp_path: Path, start: Start
) -> None:
    write_versions(tmp_path, 0, 1)
    writer = start("write", 1, 10_000)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "1\n"
    time.sleep(after_seconds)
    writer.send_signal(signal.SIGKILL)
    writer.wait(timeout=60)
    (left,) = _numbers(tmp_path)
    assert left >= 1
    write_versions(tmp_path, 20_000, 20_001)
    assert _numbers(tmp_path) == {20_000}


def test_a_reader_made_before_a_fork_serves_in_the_child(tmp_path: Path) -> None:
    write_versions(tmp_path, 0, 1)
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        f"from {__name__} import *\n"
        "store, config, view = RowOnlineStore(), make_config(Path(sys.argv[1])), make_view()\n"
        "read = lambda: store.values_reader(config, view, FEATURES).read([(KEYS[0],)])[0][1][0]\n"
        "assert read() == 0\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(7 if read() == 0 else 1)\n"
        "assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7\n"
        "assert read() == 0\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=60)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if sys.argv[2] == "read":
        read_until_stopped(folder)
    else:
        write_versions(folder, int(sys.argv[3]), int(sys.argv[4]))
