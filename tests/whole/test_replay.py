"""Replay of a small, dirty history: proven as it is, and not once a row of either side is touched."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import click
import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from cbp import main
from cbp.commands.proofs import tell_replay
from cbp.proof.comparison.compare import compare_derived, dbt_features
from cbp.proof.comparison.oracle import arrived_events
from cbp.proof.comparison.records import USED_FILE
from cbp.proof.proving import ReplayOutcome, prove, replay
from cbp.proof.replay import ReplayOptions
from cbp.proof.report import ReplayReport, write_report
from cbp.proof.stages import Stages
from cbp.proof.traffic.freshness import PROBES
from cbp.proof.traffic.stream import in_sample
from cbp.terminal import Commands
from tests.support.landed_rows import home_with_the_same_landing
from tests.support.live_payments import LIVE_SQL, START_US, WORKER, pay
from warehouse.ingest.ingest import ingest
from warehouse.landing.batches import list_batches
from warehouse.live.engine import LiveEngine
from warehouse.live.store import LiveStore
from warehouse.settings import Settings
from warehouse.simulation.simulate import simulate

DAY_US = 86_400_000_000
DAYS = 45
FROM_US = (17_622 + DAYS - 4) * DAY_US
"""Four days before the end of a history that begins on 2018-04-01."""

OPTIONS = ReplayOptions(from_us=FROM_US, to_us=FROM_US + 3 * DAY_US)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("replay")
    settings = Settings.from_environment(
        {
            "CBP_HOME": str(folder),
            "CBP_MODELS": str(folder / "models"),
            "CBP_REPORTS": str(folder / "reports"),
        }
    )
    raw = folder / "payments.parquet"
    simulate(raw, customers=60, merchants=40, days=DAYS, seed=11, dirt=0.5)
    refused = tmp_path_factory.mktemp("files") / "refused.csv"
    at, known_us = "2018-05-13T10:00:00Z", FROM_US + 2 * DAY_US
    refused.write_text(
        "transaction_id,customer_id,merchant_id,event_time,amount_minor,currency,is_fraud,label_known_us\n"
        f"in small letters,customer-1,merchant-1,{at},100,eur,,\n"
        f"with\ta tab,customer-1,m00000,{at},100,EUR,1,{known_us}\n"
    )
    ingest(settings, [raw, refused])
    return settings


@pytest.fixture(scope="module")
def production_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make the live store of a service that runs: it has a payment that is not landed."""
    url = f"sqlite:///{tmp_path_factory.mktemp('production') / 'live.db'}"
    with closing(LiveStore(LiveEngine(url))) as store:
        store.create_tables()
        store.claim([pay("theirs")], worker=WORKER, now_us=START_US, live_sql=LIVE_SQL)
    return url


@pytest.fixture(scope="module")
def outcome(settings: Settings, production_url: str) -> ReplayOutcome:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TOKEN_SECONDS", "2")  # a long replay outlives many tokens; one lives 1 to 2 s
        # Of a service that runs: nothing may be written there.
        patched.setenv("PREDICTION_LOG", str(settings.home / "production.log"))
        patched.setenv("CBP_LIVE_STORE", production_url)
        patched.setenv("MAX_BATCH", "10")
        return replay(settings, OPTIONS, announce=lambda _: None, progress=lambda *_: None)


@pytest.fixture(scope="module")
def report(settings: Settings, outcome: ReplayOutcome) -> ReplayReport:
    return write_report(settings.reports_dir, outcome, OPTIONS)


def prove_again(outcome: ReplayOutcome) -> ReplayOutcome:
    return prove(outcome.replayed, stages=Stages(lambda _: None))


@contextmanager
def changed_live_store(outcome: ReplayOutcome, sql: str) -> Iterator[None]:
    """Run SQL on the events that arrived; all is as before when the block is left."""
    home = outcome.replayed.served.home
    with closing(sqlite3.connect(home.live_store_url.removeprefix("sqlite:///"))) as connection:
        connection.execute("create temp table before as select * from events")
        assert connection.execute(sql).rowcount == 1
        connection.commit()
        try:
            yield
        finally:
            connection.execute("delete from events")
            connection.execute("insert into events select * from before")
            connection.commit()


def test_every_value_is_proven_and_every_difference_is_a_late_rows(report: ReplayReport) -> None:
    found = json.loads(report.json.read_text(encoding="utf-8"))
    assert found == report.content
    assert found["mismatched_values"] == found["missing"] == found["unexplained"] == 0
    assert found["scored"] > 200
    assert (found["refused"], found["refused_labels"]) == (2, 1)
    assert found["reported"] > 0
    assert found["audit_records"] == found["scored"] + 2 * PROBES, "the probe's pairs have their records too"
    assert found["explained"] == found["differing_values"] > found["late"] > 0
    assert found["freshness_ms"]["p99"] >= found["freshness_ms"]["p50"] > 0
    assert found["throughput"] > 0


def test_late_rows_are_listed(report: ReplayReport, outcome: ReplayOutcome) -> None:
    listed = pyarrow.csv.read_csv(report.late_rows).to_pylist()
    sent = outcome.replayed.stream.replayed().to_pylist()
    late = {row["transaction_id"] for row in sent if row["ingested_us"] > row["event_us"]}
    assert {row["transaction_id"] for row in listed} == late
    assert sum(row["values_changed"] for row in listed) == report.content["explained"]
    page = report.html.read_text(encoding="utf-8")
    assert all(name in page for name in late)
    assert "live and historical values agree" in page


def test_every_feature_of_every_payment_is_compared(outcome: ReplayOutcome) -> None:
    findings, bundle = outcome.findings, outcome.replayed.bundle
    behavioural = [one for one in bundle.features if one.source != "raw"]
    assert findings.final.values >= outcome.replayed.traffic.sent.scored * len(behavioural)


def test_nothing_of_the_home_itself_was_touched(
    settings: Settings, outcome: ReplayOutcome, production_url: str
) -> None:
    del outcome
    with closing(LiveStore(LiveEngine(production_url))) as store:
        assert store.landed_events() == 0
    assert len(list_batches(settings)) == 2
    made = {path.name for path in settings.home.iterdir()}
    assert made == {"payments.parquet", "landing", "replay", "reports"} & made


def test_a_wrong_value_in_the_live_store_is_found(outcome: ReplayOutcome) -> None:
    sql = (
        "update events set amount_minor = amount_minor + 1 where arrival_seq = ("
        "select arrival_seq from events where source = 'api' and customer_id not like 'freshness%' limit 1)"
    )
    with changed_live_store(outcome, sql):
        again = prove_again(outcome)
    assert again.mismatched > 0
    assert not again.is_proven
    assert prove_again(outcome).is_proven


def test_a_row_that_the_live_store_lost_is_found(outcome: ReplayOutcome) -> None:
    sql = (
        "delete from events where arrival_seq = ("
        "select max(arrival_seq) from decisions where transaction_id not like 'freshness%')"
    )
    with changed_live_store(outcome, sql):
        again = prove_again(outcome)
    assert again.missing == 1
    assert not again.is_proven


def test_a_difference_whose_late_row_is_not_listed_is_unexplained(outcome: ReplayOutcome) -> None:
    late = outcome.findings.explanation.late.sort_by([("values_changed", "descending")]).to_pylist()[0]
    assert late["values_changed"] > 0
    sql = f"update events set event_us = 0 where transaction_id = '{late['transaction_id']}'"  # noqa: S608
    with changed_live_store(outcome, sql):
        again = prove_again(outcome)
    assert again.unexplained > 0


def test_a_wrong_derived_value_is_found(outcome: ReplayOutcome, tmp_path: Path) -> None:
    replayed = outcome.replayed
    sql = replayed.bundle.derived_sql
    derived = dbt_features(replayed.untouched, derived_sql=sql).derived
    used = pq.read_table(replayed.folder / USED_FILE)
    name = "amount_over_amount_mean_30d"
    values = used[name].to_pylist()
    index = next(index for index, value in enumerate(values) if value is not None)
    values[index] = math.nextafter(values[index], math.inf)
    changed = used.set_column(used.schema.get_field_index(name), name, pa.array(values, pa.float64()))
    pq.write_table(changed, tmp_path / USED_FILE)
    again = compare_derived(replayed.untouched, tmp_path / USED_FILE, derived_sql=sql, derived=derived)
    assert again.values == used.num_rows * len(derived)
    assert again.by_feature == {name: 1}


def told(outcome: ReplayOutcome, reports_dir: Path) -> Result:
    """Tell an outcome as the command does."""
    command = click.Command(
        "told",
        callback=lambda: tell_replay(
            write_report(reports_dir, outcome, OPTIONS), is_proven=outcome.is_proven
        ),
    )
    return CliRunner().invoke(Commands(commands={"told": command}), ["told"])


def test_a_row_that_the_warehouse_lost_is_missing_and_the_command_fails(
    settings: Settings, outcome: ReplayOutcome
) -> None:
    assert told(outcome, settings.reports_dir).exit_code == 0
    with duckdb.connect(str(outcome.replayed.untouched.published_file)) as connection:
        sent = outcome.replayed.stream.replayed()["transaction_id"][0].as_py()
        connection.execute("delete from marts.fct_transactions where transaction_id = ?", [sent])
    broken = prove_again(outcome)
    assert broken.missing == 1
    failed = told(broken, settings.reports_dir)
    assert failed.exit_code == 1
    assert "differ" in failed.output
    assert "Traceback" not in failed.output


def test_a_replay_of_some_customers_at_a_speed_is_proven_too(
    settings: Settings, outcome: ReplayOutcome, tmp_path: Path
) -> None:
    trained = outcome.replayed.served.home.models_dir
    home = replace(home_with_the_same_landing(settings, tmp_path), models_dir=trained)
    day_in_seconds = 3
    options = ReplayOptions(
        from_us=FROM_US, to_us=FROM_US + DAY_US, sample=0.5, speed=86_400 / day_in_seconds
    )
    sampled = replay(home, options, announce=lambda _: None, progress=lambda *_: None)
    assert sampled.is_proven
    assert sampled.seconds["send"] > day_in_seconds
    sent, rows = sampled.replayed.traffic.sent, sampled.replayed.stream.replayed()
    is_scored = in_sample(rows, 0.5)
    assert (sent.scored, sent.loaded) == (is_scored.sum(), (~is_scored).sum())
    assert min(sent.scored, sent.loaded) > 20
    arrived = arrived_events(sampled.replayed.served.home)
    assert set(rows["transaction_id"].to_pylist()) <= set(arrived["transaction_id"].to_pylist())


@pytest.mark.parametrize("day", ["2018-03-01", "2019-01-01"])
def test_a_replay_of_nothing_or_with_nothing_before_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, day: str
) -> None:
    monkeypatch.setenv("CBP_HOME", str(settings.home))
    failed = CliRunner().invoke(main, ["replay", "--from", day])
    assert failed.exit_code == 2
    assert "expected transactions that became known before --from" in " ".join(failed.output.split())
