"""The main job, whole: from a raw file to decisions over HTTP, equal to the warehouse in every value."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from api.replay.comparison import compare_with_warehouse
from api.replay.demo import DemoResult, run_demo
from ml.scoring import Scorer
from warehouse.settings import Settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("main_job")
    return Settings.from_environment(
        {
            "CBP_HOME": str(folder),
            "CBP_MODELS": str(folder / "models"),
            "CBP_REPORTS": str(folder / "reports"),
        }
    )


@pytest.fixture(scope="module")
def result(settings: Settings) -> DemoResult:
    return run_demo(settings, customers=100, merchants=200, days=60, seed=3, announce=lambda _: None)


def test_no_value_differs_from_the_warehouse(result: DemoResult) -> None:
    assert result.comparison.examples == ()
    assert result.report["mismatched_values"] == result.report["missing"] == 0
    manifest = json.loads((result.training.bundle_dir / "manifest.json").read_text(encoding="utf-8"))
    declared = [feature for feature in manifest["features"] if feature["source"] != "raw"]
    assert len(declared) > 100
    assert result.report["values"] == result.report["scored"] * len(declared)


def test_every_payment_of_the_day_is_decided_and_recorded(result: DemoResult) -> None:
    assert sum(result.decisions.values()) == result.report["scored"] == result.audit_records > 50


def test_the_report_is_what_was_said(result: DemoResult, settings: Settings) -> None:
    report = json.loads((settings.reports_dir / "demo.json").read_text(encoding="utf-8"))
    assert report == result.report
    expected = {"rows", "frauds", "auc_roc", "average_precision", "card_precision_at_100", "scored"}
    assert expected | {"mismatched_values", "latency_ms", "seconds"} <= set(report)
    assert report["auc_roc"] > 0.6


def test_an_alert_has_reasons_in_words(result: DemoResult) -> None:
    assert result.example is not None
    assert all(reason["text"] for reason in result.example["reasons"])
    assert result.example["model"]["name"] == "hybrid"


def test_a_wrong_value_is_found(result: DemoResult, settings: Settings) -> None:
    home = replace(settings, home=settings.home / "demo")
    derived_sql = Scorer.load(result.training.bundle_dir).bundle.derived_sql
    known = result.example
    assert known is not None
    used = {known["transaction_id"]: {"transaction_count_24h": -1, "amount_mean_24h": None}}
    comparison = compare_with_warehouse(home, used, derived_sql=derived_sql)
    assert comparison.mismatched >= 1
    assert comparison.examples[-1].feature == "transaction_count_24h"
    missing = compare_with_warehouse(home, {"nobody": {"transaction_count_24h": 0}}, derived_sql=derived_sql)
    assert (missing.transactions, missing.missing) == (0, 1)
