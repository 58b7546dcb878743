"""What was scored lands once, whatever dies or is remade in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.live_payments import LIVE_SQL, START_US, WORKER, pay
from warehouse.build.dbt import dbt_environment
from warehouse.ingest.ingest import ingest
from warehouse.landing.batches import list_batches
from warehouse.live.labels import Label
from warehouse.live.landing_of_scored import LandedFromLive, land_scored
from warehouse.live.store import LiveStore
from warehouse.settings import Settings

MAPPING = """
name: mine
fields:
  transaction_id: {column: transaction_id}
  customer_id: {column: customer_id}
  merchant_id: {column: merchant_id}
  event_us: {column: event_time, unit: us}
  amount_minor: {column: amount_minor, scale: 1}
  currency: {column: currency}
"""

KILLED_BEFORE_THE_MARK = """
import os, signal
from warehouse.live.landing_of_scored import land_scored
from warehouse.live.store import LiveStore
from warehouse.settings import Settings

LiveStore.mark_landed = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
land_scored(Settings.from_environment())
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.from_environment({"CBP_HOME": str(tmp_path)})
    settings.create_folders()
    return settings


def score(settings: Settings, *names: str) -> None:
    """Give payments their place in the live store, each with a label."""
    with closing(LiveStore.open(settings)) as store:
        store.create_tables()
        store.claim([pay(name) for name in names], worker=WORKER, now_us=START_US, live_sql=LIVE_SQL)
        labels = [Label(name, True, START_US) for name in names]
        store.record_labels(labels, source="analyst", now_us=START_US)


def landed(settings: Settings) -> list[list[str]]:
    """Return the transactions of each batch, after seeing that its labels are theirs."""
    found = []
    for batch in list_batches(settings):
        names = pq.read_table(batch.transactions_path)["transaction_id"].to_pylist()
        assert pq.read_table(batch.labels_path)["transaction_id"].to_pylist() == names
        found.append(names)
    return found


def kill_between_rename_and_mark(settings: Settings) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_THE_MARK],
        env=os.environ | dbt_environment(settings),
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


def test_what_was_scored_lands_once(settings: Settings) -> None:
    assert land_scored(settings) == LandedFromLive(events=0, labels=0)
    score(settings, "a", "b")
    assert land_scored(settings) == LandedFromLive(events=2, labels=2)
    score(settings, "c")
    assert land_scored(settings) == LandedFromLive(events=1, labels=1)
    assert land_scored(settings) == LandedFromLive(events=0, labels=0)
    assert landed(settings) == [["a", "b"], ["c"]]


def test_what_was_scored_lands_before_a_file_that_says_otherwise(settings: Settings, tmp_path: Path) -> None:
    score(settings, "a")
    payment = pay("a")
    (tmp_path / "a.ndjson").write_text(
        json.dumps(
            {
                "transaction_id": payment.transaction_id,
                "customer_id": payment.customer_id,
                "merchant_id": payment.merchant_id,
                "event_time": str(payment.event_us + 1),
                "amount_minor": str(payment.amount_minor),
                "currency": payment.currency,
            }
        )
    )
    (tmp_path / "mine.yml").write_text(MAPPING)
    report = ingest(settings, [tmp_path / "a.ndjson"], mapping=str(tmp_path / "mine.yml"))
    assert report.scored == LandedFromLive(events=1, labels=1)
    assert (report.files[0].accepted, report.files[0].quarantined) == (0, 1)


def test_a_remade_live_store_lands_what_it_has_under_the_same_numbers(settings: Settings) -> None:
    score(settings, "a")
    land_scored(settings)
    shutil.rmtree(settings.home / "live")
    settings.create_folders()
    score(settings, "b")
    land_scored(settings)
    assert landed(settings) == [["a"], ["b"]]


def test_a_restored_live_store_lands_what_came_after_its_copy(settings: Settings) -> None:
    score(settings, "a")
    shutil.copytree(settings.home / "live", settings.home / "copy")
    score(settings, "b")
    land_scored(settings)
    shutil.rmtree(settings.home / "live")
    (settings.home / "copy").rename(settings.home / "live")
    score(settings, "c")
    land_scored(settings)
    assert landed(settings) == [["a", "b"], ["a", "c"]]


def test_a_kill_between_rename_and_mark_is_repaired_by_the_next_run(settings: Settings) -> None:
    score(settings, "a")
    kill_between_rename_and_mark(settings)
    land_scored(settings)
    assert landed(settings) == [["a"]]
    assert land_scored(settings).events == 0
    score(settings, "b")
    kill_between_rename_and_mark(settings)
    score(settings, "c")
    land_scored(settings)
    # Once more with what came since: staging keeps the first.
    assert landed(settings) == [["a"], ["b"], ["b", "c"]]
    assert land_scored(settings).events == 0
