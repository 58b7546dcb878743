"""The main job end to end, on the embedded defaults, in a home of its own.

Simulate; land all but the last day; build; materialize; train with the labels known by then; send the last
day through the real server in event order; land and build again; compare what the decisions used with what
dbt then computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from api.settings import ApiSettings, generate_keys
from cbp.proof.comparison.compare import Comparison, compare_with_warehouse, dbt_features
from cbp.proof.comparison.records import USED_FILE, write_used
from cbp.proof.homes import api_settings, create_client, fresh_home
from cbp.proof.stages import Announce, Stages
from cbp.proof.traffic.client import ScoringClient, percentiles, requests_from
from cbp.proof.traffic.server import running_server
from feature_repo import feast_store
from ml.bundles.store import promote_bundle
from ml.reports.files import write_json
from ml.scoring.scorer import Scorer
from ml.training.train import TrainingResult, train
from warehouse.build.build import build
from warehouse.build.dbt import warm_dbt
from warehouse.errors import OperationError
from warehouse.ingest.ingest import ingest
from warehouse.live.backfill import backfill_live_windows
from warehouse.settings import Settings
from warehouse.simulation.simulate import simulate
from warehouse.times import DAY_US, now_us
from warehouse.velocity.declarations import read_declarations


@dataclass(frozen=True)
class DemoResult:
    """What the demo found.

    Parameters
    ----------
    report : dict
        Content of ``demo.json``.
    training : TrainingResult
        Rows, metrics and bundle.
    comparison : Comparison
        Values used against values computed.
    decisions : dict of str to int
        Decisions of the last day by kind.
    caught, frauds : int
        Frauds of the last day that were not approved, and how many there were.
    example : dict or None
        An alert with its reasons.
    audit_records : int
        Records of the audit log, all verified.
    path : Path
        Where the report was written.
    """

    report: dict[str, Any]
    training: TrainingResult
    comparison: Comparison
    decisions: dict[str, int]
    caught: int
    frauds: int
    example: dict[str, Any] | None
    audit_records: int
    path: Path


@warm_dbt()
def run_demo(
    settings: Settings, *, customers: int, merchants: int, days: int, seed: int, announce: Announce
) -> DemoResult:
    """Run the demo below ``<home>/demo``, which is emptied first; writes ``demo.json`` to the reports.

    Raises
    ------
    OperationError
        When a stage fails. Values that don't match are not an error here: see `DemoResult.comparison`.
    """
    stages = Stages(announce)
    home = fresh_home(settings, settings.home / "demo")
    with stages("simulate"):
        raw = home.home / "raw" / "payments.parquet"
        raw.parent.mkdir(parents=True)
        simulated = simulate(raw, customers=customers, merchants=merchants, days=days, seed=seed)
        history, last_day, day_start_us = _split_last_day(raw)
    with stages("ingest"):
        ingest(home, [history]).raise_on_failure()
    with stages("build"):
        build(home)
    with stages("materialize"):
        feast_store.apply(home)
        feast_store.materialize(home, until_us=day_start_us)
        backfill_live_windows(home, now_us=now_us())
    with stages("train"):
        training = train(home, as_of_us=day_start_us, seed=seed)
        promote_bundle(home, training.bundle_dir)
    secrets = generate_keys()
    demo_settings = api_settings(home, secrets)
    with stages("score"):
        predictions, latencies_ms = _score(demo_settings, secrets, last_day, day_start_us)
    with stages("land and build"):
        build(home)
    with stages("compare"):
        derived_sql = Scorer.load(training.bundle_dir).bundle.derived_sql
        used = home.home / USED_FILE
        types = dbt_features(home, derived_sql=derived_sql).types
        recorded = write_used(demo_settings, used, types=types)
        comparison = compare_with_warehouse(home, used, derived_sql=derived_sql)
    report = {
        "rows": simulated.rows,
        "frauds": simulated.frauds,
        "auc_roc": training.evaluation.auc_roc,
        "average_precision": training.evaluation.average_precision,
        "card_precision_at_100": training.evaluation.card_precision_at_100,
        "scored": len(predictions),
        "mismatched_values": comparison.mismatched,
        "missing": comparison.missing,
        "values": comparison.values,
        "latency_ms": percentiles(latencies_ms),
        "seconds": stages.seconds,
    }
    path = settings.reports_dir / "demo.json"
    write_json(report, path)
    frauds = {row["transaction_id"] for row in last_day.to_pylist() if row["is_fraud"]}
    alerts = [prediction for prediction in predictions if prediction["decision"] != "approve"]
    return DemoResult(
        report=report,
        training=training,
        comparison=comparison,
        decisions=_count(prediction["decision"] for prediction in predictions),
        caught=sum(prediction["transaction_id"] in frauds for prediction in alerts),
        frauds=len(frauds),
        example=max(alerts, key=lambda alert: float(alert["fraud_probability"]), default=None),
        audit_records=recorded.records,
        path=path,
    )


def _split_last_day(raw: Path) -> tuple[Path, pa.Table, int]:
    """Write all but the last day to a file; returns it, the last day in event order, and its start."""
    history = raw.with_name("history.parquet")
    with duckdb.connect() as connection:
        connection.execute("set threads = 1")
        relation = connection.read_parquet(str(raw))
        (newest_us,) = relation.aggregate("max(event_us)").fetchone() or (None,)
        if newest_us is None:
            raise OperationError("the simulation gave no payments: ask for more customers or days")
        start_us = newest_us // DAY_US * DAY_US
        relation.filter(f"event_us < {start_us}").write_parquet(str(history))
        last_day = relation.filter(f"event_us >= {start_us}").order("event_us, transaction_id")
        return history, last_day.to_arrow_table(), start_us


def _score(
    settings: ApiSettings, secrets: Mapping[str, str], last_day: pa.Table, day_start_us: int
) -> tuple[list[dict[str, Any]], list[float]]:
    """Send the day one by one, as payments come; within it, profiles of the night before begin to count."""
    due_us = day_start_us + read_declarations().profile_lag_us
    key = create_client(settings, "scorer")
    predictions = []
    is_due = True
    with running_server(settings.home, secrets) as url:
        client = ScoringClient(url, key)
        for request in requests_from(last_day):
            if is_due and request["event_us"] >= due_us:
                feast_store.materialize(settings.home, until_us=due_us)
                is_due = False
            predictions += client.predict([request])
        client.close()
    return predictions, client.latencies_ms


def _count(decisions: Iterator[str]) -> dict[str, int]:
    counts = {"approve": 0, "review": 0, "decline": 0}
    for decision in decisions:
        counts[decision] += 1
    return counts
