"""Daily builds: whatever lands in whatever order, the tables are those of a full build, to the last bit."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from landed_rows import differences, home_with_the_same_landing, land

from warehouse.building import dbt_environment, run_dbt
from warehouse.settings import PROJECT_ROOT, Settings

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
START_US = 1_709_164_800_000_000  # 2024-02-29
DAYS = 45


def random_payment(chance: random.Random, number: int) -> dict[str, Any]:
    """Draw a payment: few customers and merchants, some unknown, times that tie."""
    event_us = START_US + chance.randrange(DAYS * 24) * HOUR_US + chance.choice([0, 0, 1])
    latitude = chance.choice([None, 48.85, -33.9])
    return {
        "transaction_id": f"t{number}",
        "customer_id": chance.choice(["c1", "c2", "c3", None]),
        "merchant_id": chance.choice(["m1", "m2", None]),
        "event_us": event_us,
        "amount_minor": chance.choice([0, 1, 999, 10**12, chance.randrange(10**6)]),
        "currency": "EUR",
        "category": chance.choice(["food", "travel", None]),
        "country": chance.choice(["FR", "DE"]),
        "latitude": latitude,
        "longitude": None if latitude is None else chance.uniform(-180, 180),
        "ingested_us": event_us,
        "source": "file",
        "source_order": number,
    }


def random_label(chance: random.Random, payment: dict[str, Any]) -> dict[str, Any]:
    """Draw a label that becomes known up to three weeks after the payment."""
    return {
        "transaction_id": payment["transaction_id"],
        "is_fraud": chance.random() < 0.5,
        "known_us": payment["event_us"] + chance.choice([0, 1, 7, 21]) * DAY_US,
        "source": chance.choice(["file", "analyst"]),
    }


def land_randomly(settings: Settings, seed: int, *, batches: int = 3) -> Iterator[int]:
    """Land batches one by one: in order of days, with late rows, duplicates, late and corrected labels."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable history
    payments = [random_payment(chance, number) for number in range(160)]
    payments.sort(key=lambda payment: (payment["event_us"] // DAY_US, chance.random()))
    late = [payments.pop(chance.randrange(len(payments))) for _ in range(12)]
    size = -(-len(payments) // batches)
    for batch in range(batches):
        fresh = payments[batch * size : (batch + 1) * size]
        rows = [*fresh, *(late.pop() for _ in range(4 if batch else 0))]
        if batch:
            again = chance.choice(payments[: batch * size])
            rows.append(again | {"amount_minor": 77, "source": "api"})
        known = payments[: (batch + 1) * size]
        labels = [random_label(chance, payment) for payment in chance.sample(known, len(known) // 2)]
        # Of a payment that hasn't landed yet, and of one that never will.
        labels += [random_label(chance, late[-1] if late else known[0])]
        labels += [random_label(chance, fresh[0] | {"transaction_id": "unheard of"})]
        land(settings, f"batch-{batch}", rows, labels)
        yield batch


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings.from_environment({"CBP_HOME": str(tmp_path / "home")})
    found.create_folders()
    return found


@pytest.mark.parametrize(("seed", "rendering"), [(1, "loops"), (2, "windows")])
def test_daily_builds_give_the_tables_of_a_full_build(
    settings: Settings, tmp_path: Path, seed: int, rendering: str
) -> None:
    few_days_at_once = f"{{velocity_rendering: {rendering}, snapshot_batch_transactions: 20}}"
    for _ in land_randomly(settings, seed):
        run_dbt(settings, ["run", "--vars", few_days_at_once])
    whole = home_with_the_same_landing(settings, tmp_path / "whole")
    run_dbt(whole, ["run"])
    assert differences(settings, whole) == []


def test_snapshots_go_back_in_time_and_return(settings: Settings, tmp_path: Path) -> None:
    as_of_us = START_US + 20 * DAY_US
    for _ in land_randomly(settings, seed=3, batches=1):
        run_dbt(settings, ["run"])
    run_dbt(settings, ["run", "--vars", f"as_of_us: {as_of_us}"])
    with duckdb.connect(str(settings.build_file), read_only=True) as connection:
        newest = connection.execute(
            "select max(epoch_us(event_timestamp)) from features.feat_customer_profile"
        ).fetchone()
    assert newest == (as_of_us + 6 * HOUR_US,)
    run_dbt(settings, ["run"])
    whole = home_with_the_same_landing(settings, tmp_path / "whole")
    run_dbt(whole, ["run"])
    assert differences(settings, whole) == []


def test_a_changed_declaration_is_built_from_nothing(settings: Settings, tmp_path: Path) -> None:
    changed = ["run", "--vars", "{risk_prior_weight: 5, profile_lag: 3h}"]
    for _ in land_randomly(settings, seed=4, batches=1):
        run_dbt(settings, ["run"])
    run_dbt(settings, changed)
    whole = home_with_the_same_landing(settings, tmp_path / "whole")
    run_dbt(whole, changed)
    assert differences(settings, whole) == []


def test_a_run_repairs_what_a_killed_one_left(settings: Settings, tmp_path: Path) -> None:
    chance = random.Random(6)  # noqa: S311 - repeatable moments
    for _ in land_randomly(settings, seed=6):
        kill_a_run(settings, after_seconds=chance.uniform(2.5, 9.0))
    run_dbt(settings, ["run"])
    whole = home_with_the_same_landing(settings, tmp_path / "whole")
    run_dbt(whole, ["run"])
    assert differences(settings, whole) == []


def test_a_reader_sees_one_version_of_a_feature_model(settings: Settings) -> None:
    landings = land_randomly(settings, seed=7, batches=2)
    next(landings)
    run_dbt(settings, ["run"])
    published = settings.features_dir / "feat_transaction_velocity"
    is_done, seen = threading.Event(), set()

    def read() -> None:
        while not is_done.is_set():
            version = published.resolve()
            seen.add((version.name, sum(pq.read_metadata(file).num_rows for file in version.iterdir())))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in landings:
            run_dbt(settings, ["run"])
    finally:
        is_done.set()
        reader.join()
    versions = [name for name, _ in seen]
    assert len(versions) == len(set(versions)) > 1


def kill_a_run(settings: Settings, *, after_seconds: float) -> None:
    """Start ``dbt run`` and kill it, children and all."""
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("dbt")), "--quiet", "run"],
        cwd=PROJECT_ROOT,
        env=os.environ | dbt_environment(settings),
        start_new_session=True,
    )
    time.sleep(after_seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
