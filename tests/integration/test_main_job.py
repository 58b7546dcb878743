"""The main job, whole: from a raw file to decisions over HTTP, equal to the warehouse in every value."""

from __future__ import annotations

import json

import pytest

from api.replay.demo import DemoResult, run_demo
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
    assert result.comparison.examples() == []
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
