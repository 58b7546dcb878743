"""The landing folder: one lock, one rename, rising numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse.canonical import LABEL_SCHEMA, LANDED_SCHEMAS, TRANSACTION_SCHEMA
from warehouse.errors import BusyError, InputError, StoreError
from warehouse.landing.batches import ensure_landing, landing_lock, list_batches, publish_batch, work_folder
from warehouse.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"CBP_HOME": str(tmp_path)})


def write_report(folder: Path) -> None:
    (folder / "report.json").write_text(json.dumps({"protocol": {"name": "latest"}}))


def test_globs_match_before_anything_has_landed(settings: Settings) -> None:
    ensure_landing(settings)
    for file, schema in LANDED_SCHEMAS.items():
        found = duckdb.read_parquet(f"{settings.landing_dir}/*/{file}").to_arrow_table()
        assert found.num_rows == 0
        assert found.schema.names == schema.names
    assert list_batches(settings) == []


def test_an_older_schema_batch_is_replaced(settings: Settings) -> None:
    ensure_landing(settings)
    path = settings.landing_dir / "000000-schema" / "labels.parquet"
    pq.write_table(pa.table({"old": [1]}).slice(0, 0), path)
    ensure_landing(settings)
    assert pq.read_schema(path).equals(LABEL_SCHEMA)


def test_batches_are_numbered_in_order_of_landing(settings: Settings) -> None:
    assert publish_batch(settings, "b", write=write_report) == "000001-b"
    assert publish_batch(settings, "a", write=write_report) == "000002-a"
    batches = list_batches(settings)
    assert [(batch.number, batch.name) for batch in batches] == [(1, "b"), (2, "a")]
    assert batches[0].protocol == {"name": "latest"}
    assert batches[0].transactions_path == settings.landing_dir / "000001-b" / "transactions.parquet"


def test_a_name_lands_once(settings: Settings) -> None:
    publish_batch(settings, "a", write=write_report)
    assert publish_batch(settings, "a", write=lambda folder: pytest.fail("was written again")) is None
    assert len(list_batches(settings)) == 1


def test_a_batch_without_files_does_not_appear(settings: Settings) -> None:
    assert publish_batch(settings, "a", write=lambda folder: None) is None
    assert publish_batch(settings, "b", write=write_report) == "000001-b"


def test_a_batch_whose_writing_fails_does_not_appear(settings: Settings) -> None:
    def fail(folder: Path) -> None:
        write_report(folder)
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        publish_batch(settings, "a", write=fail)
    assert list_batches(settings) == []
    assert list(work_folder(settings).iterdir()) == []


def test_other_columns_than_the_canonical_ones_do_not_land(settings: Settings) -> None:
    def write(folder: Path) -> None:
        pq.write_table(
            TRANSACTION_SCHEMA.empty_table().drop_columns("country"), folder / "transactions.parquet"
        )

    with pytest.raises(StoreError, match=r"transactions\.parquet of batch 000001-a must have the columns"):
        publish_batch(settings, "a", write=write)
    assert list_batches(settings) == []


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b", "x" * 121])
def test_a_name_is_no_path(settings: Settings, name: str) -> None:
    with pytest.raises(InputError, match="a batch name"):
        publish_batch(settings, name, write=write_report)


def test_a_broken_report_is_named(settings: Settings) -> None:
    publish_batch(settings, "a", write=lambda folder: (folder / "report.json").write_text("{") and None)
    with pytest.raises(StoreError, match=r"000001-a/report\.json is not JSON"):
        list_batches(settings)


def test_the_lock_waits_and_then_says_who_is_to_blame(settings: Settings) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with landing_lock(settings):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert entered.wait(30)
        with (
            pytest.raises(BusyError, match="locked by another run"),
            landing_lock(settings, timeout_seconds=0.1),
        ):
            pytest.fail("two held the lock")
    finally:
        leave.set()
        thread.join()
    with landing_lock(settings, timeout_seconds=0.1), landing_lock(settings, timeout_seconds=0.1):
        pass


def test_a_lock_that_was_not_had_is_not_held(settings: Settings) -> None:
    with landing_lock(settings):
        pass
    with landing_lock(settings, timeout_seconds=0):
        pass


CHILD = """
import os, signal, sys
from pathlib import Path
from warehouse.landing import batches
from warehouse.settings import Settings

def die(*ignored):
    os.kill(os.getpid(), signal.SIGKILL)

def write(folder):
    (folder / "report.json").write_text("{}")
    if sys.argv[2] == "writing":
        die()

if sys.argv[2] == "syncing":
    batches.sync_tree = die
if sys.argv[2] == "renaming":
    Path.rename = die
if sys.argv[2] == "renamed":
    batches.sync = lambda folder: die() if folder.name == "landing" else None
batches.ensure_landing(settings := Settings.from_environment({"CBP_HOME": sys.argv[1]}))
batches.publish_batch(settings, "killed", write=write)
"""


@pytest.mark.parametrize("moment", ["writing", "syncing", "renaming", "renamed"])
def test_a_killed_run_leaves_all_or_nothing(settings: Settings, moment: str) -> None:
    ensure_landing(settings)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(settings.home), moment], check=False, env=os.environ
    )
    assert child.returncode == -signal.SIGKILL
    names = [batch.name for batch in list_batches(settings)]
    assert names == (["killed"] if moment == "renamed" else [])
    publish_batch(settings, "killed", write=write_report)
    assert [batch.name for batch in list_batches(settings)] == ["killed"]
    assert list(work_folder(settings).iterdir()) == []
