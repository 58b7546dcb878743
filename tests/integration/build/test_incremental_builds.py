"""Daily builds: whatever lands in whatever order, the tables are those of a full build, to the last bit."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from tests.support.killed_runs import kill_dbt
from tests.support.landed_rows import differences, home_with_the_same_landing, land
from warehouse.build.dbt import run_dbt
from warehouse.settings import Settings

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
START_US = 1_709_164_800_000_000  # 2024-02-29
DAYS = 45
SEED = 1


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


def few_days_at_once(rendering: str) -> list[str]:
    return ["run", "--vars", f"{{velocity_rendering: {rendering}, snapshot_batch_transactions: 20}}"]


@dataclass(frozen=True)
class History:
    """A home built after each landing, which versions of a feature model a reader saw, and a full build."""

    daily: Settings
    versions: set[tuple[str, int]]
    whole: Settings


@contextmanager
def reading(published: Path) -> Iterator[set[tuple[str, int]]]:
    """Read a feature model again and again: which version, and how many rows."""
    is_done, seen = threading.Event(), set()

    def read() -> None:
        while not is_done.wait(0.001):
            if published.exists():
                version = published.resolve()
                rows = sum(pq.read_metadata(file).num_rows for file in version.iterdir())
                seen.add((version.name, rows))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        is_done.set()
        reader.join()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return new_home(tmp_path / "home")


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("history")
    daily = new_home(folder / "daily")
    with reading(daily.features_dir / "feat_transaction_velocity") as versions:
        for _ in land_randomly(daily, SEED):
            run_dbt(daily, few_days_at_once("loops"))
    whole = home_with_the_same_landing(daily, folder / "whole")
    run_dbt(whole, ["run"])
    return History(daily, versions, whole)


@pytest.fixture
def copied(history: History, tmp_path: Path) -> Callable[[], Settings]:
    """Copy the home that was built day by day, so that it can be built on."""

    def copy() -> Settings:
        shutil.copytree(history.daily.home, tmp_path / "home", symlinks=True)
        return new_home(tmp_path / "home")

    return copy


def new_home(folder: Path) -> Settings:
    settings = Settings.from_environment({"CBP_HOME": str(folder)})
    settings.create_folders()
    return settings


def test_daily_builds_give_the_tables_of_a_full_build(history: History) -> None:
    assert differences(history.daily, history.whole) == []


def test_so_they_do_by_window_functions(settings: Settings, history: History) -> None:
    for _ in land_randomly(settings, SEED):
        run_dbt(settings, few_days_at_once("windows"))
    assert differences(settings, history.whole) == []


def test_a_reader_sees_one_version_of_a_feature_model(history: History) -> None:
    names = [name for name, _ in history.versions]
    assert len(names) == len(set(names)) > 1


def test_snapshots_go_back_in_time_and_return(copied: Callable[[], Settings], history: History) -> None:
    settings = copied()
    as_of_us = START_US + 20 * DAY_US
    run_dbt(settings, ["run", "--vars", f"as_of_us: {as_of_us}"])
    with duckdb.connect(str(settings.build_file), read_only=True) as connection:
        newest = connection.execute(
            "select max(epoch_us(event_timestamp)) from features.feat_customer_profile"
        ).fetchone()
    assert newest == (as_of_us + 6 * HOUR_US,)
    run_dbt(settings, ["run"])
    assert differences(settings, history.whole) == []


def test_a_changed_declaration_is_built_from_nothing(copied: Callable[[], Settings], tmp_path: Path) -> None:
    settings = copied()
    changed = ("--vars", "{risk_prior_weight: 5, profile_lag: 3h, fraud_run_gap: 5d}")
    # A model alone, over others that are not yet what is declared.
    alone = ["run", "--select", "feat_merchant_risk", *changed]
    run_dbt(settings, alone, ["run", *changed])
    whole = home_with_the_same_landing(settings, tmp_path / "whole")
    run_dbt(whole, ["run", *changed])
    assert differences(settings, whole) == []


def run_in_parts(settings: Settings, *parts: str) -> None:
    """Run some models, then others, then all."""
    run_dbt(settings, *(["run", "--select", *part.split()] for part in parts), ["run"])


def test_models_that_were_built_alone_are_made_up_for(copied: Callable[[], Settings], tmp_path: Path) -> None:
    settings = copied()
    late = random_payment(random.Random(8), 1_000)  # noqa: S311 - the rest is given
    late |= {"customer_id": "c1", "event_us": START_US - 2 * DAY_US, "merchant_id": "m1"}
    land(settings, "late", [late])
    # Some know the payment, then some that read of it what others haven't been told.
    run_in_parts(
        settings,
        "+feat_transaction_velocity",
        "int_frauds__spells",
        "feat_customer_profile feat_merchant_risk",
    )
    known_us = START_US + 30 * DAY_US
    verdicts = [
        {"transaction_id": f"t{number}", "is_fraud": True, "known_us": known_us, "source": "file"}
        for number in range(100)
    ]
    land(settings, "verdicts", [], verdicts)
    run_in_parts(settings, "int_labels__changes", "feat_category_risk int_merchants__streaks")
    whole = home_with_the_same_landing(settings, tmp_path / "whole")
    run_dbt(whole, ["run"])
    assert differences(settings, whole) == []


def test_a_run_repairs_what_a_killed_one_left(settings: Settings, history: History) -> None:
    chance = random.Random(6)  # noqa: S311 - repeatable moments
    for _ in land_randomly(settings, SEED):
        # Two events a hook at the start, then two a model.
        events, seconds = chance.randrange(5, 45), chance.uniform(0, 0.1)
        kill_dbt(settings, ["run"], after_events=events, after_seconds=seconds)
    run_dbt(settings, ["run"])
    assert differences(settings, history.whole) == []


def test_models_see_the_slices_that_the_run_has_made(settings: Settings) -> None:
    # Slices of more rows than DuckDB keeps in one group: what it writes early is seen in another way.
    customers, days = 1_600, (0, 90, 180)
    template = random_payment(random.Random(7), 0)  # noqa: S311 - the rest is given
    land(
        settings,
        "sparse",
        [
            template
            | {"transaction_id": f"t{day}-{customer}", "customer_id": f"c{customer}"}
            | {"event_us": START_US + day * DAY_US, "ingested_us": START_US + day * DAY_US}
            for day in days
            for customer in range(customers)
        ],
    )
    in_two_slices = f"snapshot_batch_transactions: {customers * len(days) // 2}"
    run_dbt(settings, ["run", "--select", "+int_population__daily", "--vars", in_two_slices])
    with duckdb.connect(str(settings.build_file), read_only=True) as connection:
        counts = connection.execute(
            "select count(*), (select count(*) from intermediate.int_population__daily) "
            "from intermediate.int_customers__distributions"
        ).fetchone()
    assert counts == (customers * 181, 181)
