"""Building: what lands is built, tested and published; what fails or dies leaves the published copy alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from tests.support.killed_runs import kill_in_the_middle
from tests.support.landed_rows import land
from warehouse.build.build import BuildResult, build
from warehouse.build.dbt import dbt_environment, run_dbt
from warehouse.build.last_build import build_inputs, nodes_if_current
from warehouse.canonical import MAX_AHEAD_US, TRANSACTION_SCHEMA
from warehouse.errors import BuildError
from warehouse.live.backfill import backfill_live_windows
from warehouse.live.events import Transaction
from warehouse.live.labels import Label
from warehouse.live.landing_of_scored import land_scored
from warehouse.live.schema import events
from warehouse.live.store import LiveStore
from warehouse.settings import PROJECT_ROOT, Settings

DAY_US = 86_400_000_000
START_US = 1_700_006_400_000_000  # a midnight
OLD, RECENT = 0, (4 * 30, 4 * 60)  # payments of the first day, and after 30 and 60 days
LIVE_SQL = "select arrival_seq from events where arrival_seq between :first_seq and :last_seq"


def payment(number: int, *, amount_minor: int = 1_000) -> dict[str, Any]:
    """Build one canonical row: a payment every six hours by three customers."""
    event_us = START_US + number * DAY_US // 4
    return {
        "transaction_id": f"t{number}",
        "customer_id": f"c{number % 3}",
        "merchant_id": f"m{number % 2}",
        "event_us": event_us,
        "amount_minor": amount_minor,
        "currency": "EUR",
        "ingested_us": event_us,
        "source": "file",
        "source_order": number,
    }


def published(settings: Settings, query: str) -> list[Any]:
    with duckdb.connect(str(settings.published_file), read_only=True) as connection:
        return connection.execute(query).fetchall()


def live_events(store: LiveStore) -> list[dict[str, Any]]:
    with store.reading() as connection:
        return [
            dict(row) for row in connection.execute(select(events).order_by(events.c.event_us)).mappings()
        ]


def score(settings: Settings, *, event_us: int) -> None:
    """Give a payment its place in the live store, and tell that it was a fraud."""
    store = LiveStore.open(settings)
    store.create_tables()
    scored = Transaction(
        transaction_id="live",
        customer_id="c0",
        event_us=event_us,
        amount_minor=5,
        latitude=1.5,
        longitude=2.5,
    )
    store.claim([scored], worker="test/1/1.00", now_us=START_US, live_sql=LIVE_SQL)
    store.record_labels([Label("live", True, event_us)], source="analyst", now_us=event_us)
    store.close()


def new_home(folder: Path) -> Settings:
    settings = Settings.from_environment({"CBP_HOME": str(folder)})
    settings.create_folders()
    return settings


@dataclass(frozen=True)
class Built:
    """A home that was built, how, and how many nodes were left after each."""

    settings: Settings
    result: BuildResult
    progress: list[int]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build a home that the tests build again, each with more; what must not stay is taken away."""
    settings = new_home(tmp_path_factory.mktemp("built"))
    labels = [
        {"transaction_id": "t1", "is_fraud": True, "known_us": START_US + DAY_US, "source": "file"},
        {"transaction_id": "t1", "is_fraud": False, "known_us": START_US + 2 * DAY_US, "source": "analyst"},
        {"transaction_id": "t2", "is_fraud": True, "known_us": START_US + DAY_US, "source": "file"},
    ]
    land(settings, "first", [payment(number) for number in (*range(12), *RECENT)], labels)
    progress: list[int] = []
    result = build(settings, progress=lambda _, done, total: progress.append(total - done))
    return Built(settings, result, progress)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Make a home in which every model is there, without a row, and documented."""
    settings = new_home(tmp_path_factory.mktemp("empty"))
    run_dbt(settings, ["run", "--empty"], ["docs", "generate"])
    return settings


def test_what_lands_is_published(built: Built) -> None:
    result, settings = built.result, built.settings
    assert (
        result.published["marts.fct_transactions"]
        == result.published["features.feat_transaction_velocity"]
        == 14
    )
    assert built.progress[-1] == 0
    assert published(settings, "select transaction_id from marts.fct_transactions where is_fraud") == [
        ("t2",)
    ]
    assert {link.name for link in settings.features_dir.iterdir() if link.is_symlink()} == {
        "feat_category_risk",
        "feat_customer_profile",
        "feat_customer_segment",
        "feat_merchant_risk",
        "feat_transaction_velocity",
    }


def test_a_build_with_nothing_to_do_does_nothing(built: Built) -> None:
    settings = built.settings
    before = settings.published_file.stat().st_mtime_ns
    again = build(settings, progress=lambda *_: pytest.fail("dbt was run"))
    assert (again.is_new, again.nodes, again.published) == (False, built.result.nodes, built.result.published)
    assert settings.published_file.stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["a batch", "another instant", "a model's table", "a feature's files"])
def test_a_build_runs_when_anything_has_changed(built: Built, tmp_path: Path, change: str) -> None:
    shutil.copytree(built.settings.home, tmp_path / "home", symlinks=True)
    settings = new_home(tmp_path / "home")
    assert nodes_if_current(settings, build_inputs(settings, as_of_us=None)) is not None
    if change == "a batch":
        land(settings, "more", [payment(400)])
    elif change == "a model's table":
        with duckdb.connect(str(settings.build_file)) as connection:
            connection.execute("delete from marts.fct_transactions")
    elif change == "a feature's files":
        (settings.features_dir / "feat_merchant_risk").unlink()
    as_of_us = START_US if change == "another instant" else None
    assert nodes_if_current(settings, build_inputs(settings, as_of_us=as_of_us)) is None


def test_the_live_store_gets_recent_history_and_loses_what_lies_behind(built: Built, tmp_path: Path) -> None:
    settings = replace(built.settings, live_store_url=f"sqlite:///{tmp_path / 'live.db'}")
    store = LiveStore.open(settings)
    store.create_tables()
    store.backfill(pa.Table.from_pylist([payment(OLD)], TRANSACTION_SCHEMA))
    now_us = START_US + 61 * DAY_US
    assert backfill_live_windows(settings, now_us=now_us) == 2
    assert [row["transaction_id"] for row in live_events(store)] == [f"t{number}" for number in RECENT]
    assert backfill_live_windows(settings, now_us=now_us) == 0
    store.close()


def test_a_row_dated_in_the_future_is_copied_and_pushes_nothing_out_of_the_live_store(
    built: Built, tmp_path: Path
) -> None:
    settings = replace(built.settings, live_store_url=f"sqlite:///{tmp_path / 'live.db'}")
    ahead, behind = RECENT[1], RECENT[0]
    now_us = payment(ahead)["event_us"] - MAX_AHEAD_US - 1
    # Of the newest that has happened: every payment since is known, and nothing is behind its horizon.
    assert backfill_live_windows(settings, now_us=now_us) == 14
    store = LiveStore.open(settings)
    assert {row["transaction_id"] for row in live_events(store)} >= {"t0", f"t{behind}", f"t{ahead}"}
    # A microsecond on it may have happened, as the API sees it: it is the newest.
    assert backfill_live_windows(settings, now_us=now_us + 1) == 0
    assert [row["transaction_id"] for row in live_events(store)] == [f"t{number}" for number in RECENT]
    store.close()


def test_a_history_that_lies_all_in_the_future_is_copied_whole(built: Built, tmp_path: Path) -> None:
    settings = replace(built.settings, live_store_url=f"sqlite:///{tmp_path / 'live.db'}")
    assert backfill_live_windows(settings, now_us=START_US - DAY_US) == 14


def test_what_was_scored_lands_and_a_killed_build_is_repaired_by_the_next(built: Built) -> None:
    settings = built.settings
    score(settings, event_us=START_US + 4 * DAY_US)
    before = settings.published_file.stat().st_mtime_ns
    program = (
        "from warehouse.build.build import build; from warehouse.settings import Settings; "
        "build(Settings.from_environment(), progress=print)"
    )
    kill_in_the_middle(settings, [sys.executable, "-c", program], after_lines=1)
    kill_in_the_middle(settings, [sys.executable, "-c", program], after_lines=60, after_seconds=0.05)
    assert settings.published_file.stat().st_mtime_ns == before
    build(settings)
    # The first of the killed builds had landed it already: it is there, and once.
    assert published(
        settings,
        "select source, is_fraud, latitude_e6, transaction_count_30d from marts.fct_transactions "
        "join features.feat_transaction_velocity using (transaction_id) where transaction_id = 'live'",
    ) == [("api", True, 1_500_000, 4)]
    assert land_scored(settings).events == 0


def test_a_failed_test_leaves_the_published_warehouse(built: Built) -> None:
    settings = built.settings
    before = settings.published_file.stat().st_mtime_ns
    land(settings, "bad", [], [{"transaction_id": None, "is_fraud": True, "known_us": 1, "source": "file"}])
    with pytest.raises(BuildError, match="published warehouse is unchanged"):
        build(settings)
    assert settings.published_file.stat().st_mtime_ns == before
    (bad,) = settings.landing_dir.glob("*-bad")
    shutil.rmtree(bad)


def velocity_of(settings: Settings, target: Path, **variables: Any) -> str:
    """Compile the velocity model against what is built; returns its text."""
    arguments = ["--target-path", str(target), "--vars", json.dumps(variables)]
    run_dbt(settings, ["compile", "--select", "feat_transaction_velocity", *arguments])
    (text,) = (target / "compiled").rglob("feat_transaction_velocity.sql")
    return text.read_text(encoding="utf-8")


def test_velocity_is_computed_by_loops(built: Built, tmp_path: Path) -> None:
    assert "read_parquet" in velocity_of(built.settings, tmp_path)


def test_velocity_falls_back_to_windows_where_numba_keeps_nothing(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert "partition by customer_id" in velocity_of(built.settings, tmp_path)
    with pytest.raises(BuildError, match="cannot cache function"):
        velocity_of(built.settings, tmp_path, velocity_rendering="loops")


def test_velocity_falls_back_to_windows_where_a_column_is_not_of_integers(tmp_path: Path) -> None:
    settings = new_home(tmp_path / "home")
    land(settings, "first", [payment(1)])
    variables = {
        "measures": {"latitude": "latitude"},
        "velocity_features": [
            {"entity": "customer", "measure": "latitude", "operation": "max", "windows": ["24h"]}
        ],
    }
    run_dbt(settings, ["run", "--select", "+int_events", "--vars", json.dumps(variables)])
    assert "partition by customer_id" in velocity_of(settings, tmp_path, **variables)
    with pytest.raises(BuildError, match=r"got .*latitude.*double"):
        velocity_of(settings, tmp_path, velocity_rendering="loops", **variables)


def test_dbts_own_unit_tests_pass(empty: Settings) -> None:
    assert run_dbt(empty, ["test", "--select", "test_type:unit"]) >= 9


@pytest.mark.services
def test_plain_dbt_and_feast_work_from_the_root(tmp_path: Path) -> None:
    settings = new_home(tmp_path)
    land(settings, "good", [payment(number) for number in range(8)])
    score(settings, event_us=START_US + 2 * DAY_US)
    environment = os.environ | dbt_environment(settings) | {"DBT_TARGET_PATH": str(tmp_path / "elsewhere")}
    tools = Path(sys.executable).parent
    for command in (["dbt", "run"], ["feast", "-c", "feature_repo", "apply"]):
        done = subprocess.run(
            [str(tools / command[0]), *command[1:]],
            cwd=PROJECT_ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if command[0] == "dbt":
            assert "Landed from the live store: 1 events, 1 labels" in done.stdout
    assert (settings.feast_dir / "registry.db").is_file()
    assert land_scored(settings).events == 0
    with duckdb.connect(str(settings.build_file), read_only=True) as connection:
        scored = "select source, is_fraud from marts.fct_transactions where transaction_id = 'live'"
        assert connection.execute(scored).fetchall() == [("api", True)]
    velocity = pq.read_table(settings.features_dir / "feat_transaction_velocity")
    assert "live" in velocity["transaction_id"].to_pylist()


def test_a_live_store_that_cannot_be_read_stops_a_run_and_says_so(tmp_path: Path) -> None:
    settings = new_home(tmp_path)
    (tmp_path / "live" / "live.db").write_text("no database, but long enough to be taken for one" * 9)
    with pytest.raises(BuildError, match="the live store can't be"):
        run_dbt(settings, ["run"])


def test_the_documentation_has_no_gap(empty: Settings) -> None:
    manifest = json.loads(empty.manifest_file.read_text(encoding="utf-8"))
    catalog = json.loads((empty.dbt_target_dir / "catalog.json").read_text(encoding="utf-8"))
    models = {name: node for name, node in manifest["nodes"].items() if node["resource_type"] == "model"}
    assert set(models) == set(catalog["nodes"])
    for name, node in models.items():
        described = {column for column, detail in node["columns"].items() if detail["description"]}
        assert node["description"], name
        assert described == set(catalog["nodes"][name]["columns"]), name
