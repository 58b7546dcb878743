"""Reports and files of a real home: evaluation, clustering, ablation, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cbp import main
from ml.bundles.store import promote_bundle
from ml.customers.segmentation import SegmentedCustomers, assign_customers, cluster_customers
from ml.errors import TrainingDataError
from ml.evaluation.report import ModelReport
from ml.rows.export import export_files
from ml.studies.ablation import VARIANTS, WHOLE, Ablation, run_ablation
from ml.studies.bundle_evaluation import evaluate_bundle, read_row_facts
from ml.training.train import TrainingResult, train
from warehouse.build.build import build
from warehouse.published import open_published
from warehouse.settings import Settings

NOW_US = 1_900_000_000_000_000


@pytest.fixture(scope="module")
def settings(copy_of_world: Callable[[], Settings]) -> Settings:
    return copy_of_world()


@pytest.fixture(scope="module")
def segmented(settings: Settings) -> SegmentedCustomers:
    return cluster_customers(settings, k=4, projection="pca", now_us=NOW_US)


@pytest.fixture(scope="module")
def trained(settings: Settings) -> TrainingResult:
    result = train(settings, model="logistic_regression")
    promote_bundle(settings, result.bundle_dir)
    return result


@pytest.fixture(scope="module")
def evaluated(settings: Settings, trained: TrainingResult) -> ModelReport:
    return evaluate_bundle(settings, folds=2, prequential=2, review_cost_minor=500, replicates=20)


@pytest.fixture(scope="module")
def compared(settings: Settings) -> Ablation:
    return run_ablation(settings, history_days=14, weeks=2, seeds=1, classifier="logistic_regression")


def test_a_bundle_is_measured_on_the_rows_that_training_left(
    evaluated: ModelReport, trained: TrainingResult, settings: Settings
) -> None:
    assert evaluated.folder == settings.reports_dir / "logistic_regression"
    assert evaluated.evaluation.rows == trained.test_rows
    assert evaluated.evaluation.auc_roc == pytest.approx(trained.evaluation.auc_roc)
    assert evaluated.evaluation.card_precision == trained.evaluation.card_precision


def test_the_evaluation_has_folds_intervals_and_new_customers(evaluated: ModelReport) -> None:
    metrics = json.loads((evaluated.folder / "metrics.json").read_text(encoding="utf-8"))
    assert [validation["kind"] for validation in metrics["validations"]] == ["stratified", "prequential"]
    assert metrics["intervals"]["auc_roc"]["low"] < metrics["figures"]["auc_roc"]
    new, known = metrics["new_customers"]["rows"], metrics["known_customers"]["rows"]
    assert new + known == metrics["figures"]["rows"]
    assert metrics["cost"]["review_cost_minor"] == 500
    assert {"report.html", "roc_curve.png", "cost_curve.png", "classification_report.csv"} <= {
        path.name for path in evaluated.folder.iterdir()
    }


def test_who_is_new_is_told_by_all_earlier_payments(settings: Settings) -> None:
    with open_published(settings) as connection:
        rows = connection.execute(
            "select transaction_id, customer_id, event_us, label_known_us from marts.fct_transactions "
            "order by event_us, transaction_id"
        ).to_arrow_table()
    seen: dict[str, list[int]] = {}
    expected = []
    for customer, time_us in zip(rows["customer_id"].to_pylist(), rows["event_us"].to_pylist(), strict=True):
        earlier = seen.setdefault(customer, [])
        expected.append(sum(before < time_us for before in earlier))
        earlier.append(time_us)
    last = slice(len(rows) - 500, len(rows))
    facts = read_row_facts(settings, rows.slice(len(rows) - 500))
    assert facts.earlier_transactions is not None
    assert facts.earlier_transactions.tolist() == expected[last]


def test_another_home_is_measured_apart(
    settings: Settings, trained: TrainingResult, copy_of_world: Callable[[], Settings]
) -> None:
    other = copy_of_world()
    with duckdb.connect(str(other.published_file)) as connection:
        connection.execute("delete from marts.fct_transactions where hash(customer_id) % 2 = 0")
    report = evaluate_bundle(settings, external_home=other.home, review_cost_minor=500, replicates=0)
    assert report.external is not None
    assert report.evaluation.rows == trained.test_rows > report.external.rows > 0
    assert report.evaluation.auc_roc == pytest.approx(trained.evaluation.auc_roc)
    # As if the bundle were evaluated there.
    there = replace(settings, home=other.home, reports_dir=other.reports_dir)
    assert report.external == evaluate_bundle(there, review_cost_minor=500, replicates=0).evaluation
    written = json.loads((report.folder / "external_metrics.json").read_text(encoding="utf-8"))
    assert written["figures"]["rows"] == report.external.rows


def test_rows_that_trained_the_bundle_are_no_test(
    settings: Settings, tmp_path: Path, trained: TrainingResult
) -> None:
    later = replace(settings, models_dir=tmp_path, reports_dir=tmp_path)
    trains_all = train(later, model="logistic_regression", protocol={"name": "ulb", "train_share": 0.97})
    with pytest.raises(TrainingDataError, match="until when logistic_regression was trained"):
        evaluate_bundle(later, reference=trains_all.model, protocol="latest", review_cost_minor=500)


def test_segments_come_back_as_features(settings: Settings, segmented: SegmentedCustomers) -> None:
    assert (settings.reports_dir / "clustering" / "report.html").exists()
    assert segmented.clustering.method == "kmeans"
    assert sum(segment.customers for segment in segmented.segments) > 100
    build(settings)
    with duckdb.connect(str(settings.published_file), read_only=True) as connection:
        found = connection.execute(
            "select segment_name, count(*) from marts.dim_customer_segments group by 1"
        ).fetchall()
        served = connection.execute("select count(*) from features.feat_customer_segment").fetchone()
    assert {name for name, _ in found} <= {segment.name for segment in segmented.segments}
    assert served == (segmented.rows,)
    again = assign_customers(settings, now_us=NOW_US)
    assert (again.times, again.rows) == (segmented.times, segmented.rows)


def test_every_part_is_left_out_on_the_same_rows(compared: Ablation) -> None:
    assert len(compared.runs) == 2 * len(VARIANTS)
    assert len({run.test_start_us for run in compared.runs}) == 2
    for week in {run.test_start_us for run in compared.runs}:
        runs = {run.variant: run for run in compared.runs if run.test_start_us == week}
        assert len({(run.figures.rows, run.figures.frauds) for run in runs.values()}) == 1
        whole = runs[WHOLE].features
        assert runs["anomaly score"].features == whole
        for part in ("profile", "velocity", "merchant risk"):
            assert runs[part].features < whole


def test_a_gain_is_the_mean_of_pairs(compared: Ablation) -> None:
    (gain,) = [g for g in compared.gains if (g.left_out, g.figure) == ("profile", "auc_roc")]
    by_week = {
        name: {run.test_start_us: run.figures.auc_roc for run in compared.runs if run.variant == name}
        for name in (WHOLE, "profile")
    }
    differences = [by_week[WHOLE][week] - by_week["profile"][week] for week in by_week[WHOLE]]
    assert gain.gain == pytest.approx(np.mean(differences))
    assert gain.deviation == pytest.approx(np.std(differences, ddof=1))
    assert (gain.low, gain.high, gain.pairs) == (min(differences), max(differences), 2)
    assert {path.name for path in compared.folder.iterdir()} == {
        "ablation.json",
        "ablation.csv",
        "ablation.png",
        "report.html",
    }


def test_files_are_scaled_by_what_trains_and_split_by_time(settings: Settings, tmp_path: Path) -> None:
    result = export_files(settings, tmp_path, file_format="parquet")
    assert {path.name for path in result.rows} == {
        "transactions_processed.parquet",
        "customer_profiles.parquet",
        "transactions_split.parquet",
    }
    split = pq.read_table(tmp_path / "transactions_split.parquet").to_pandas()
    train, test = split[split["dataset"] == "train"], split[split["dataset"] == "test"]
    assert train["event_us"].max() < test["event_us"].min()
    assert len(train) / len(split) == pytest.approx(0.8, abs=0.01)
    processed = pq.read_table(tmp_path / "transactions_processed.parquet").to_pandas()
    assert processed["transaction_id"].tolist() == split["transaction_id"].tolist()
    numbers = processed.drop(columns=["transaction_id", "is_fraud"])
    assert np.isfinite(numbers.to_numpy()).all()
    amounts = train["amount_minor"].to_numpy(dtype=float)
    low, high = np.quantile(amounts, [0.1, 0.9])
    expected = np.arcsinh((split["amount_minor"] - np.median(amounts)) / ((high - low) / 2))
    assert processed["amount_minor"].to_numpy() == pytest.approx(expected.to_numpy(), rel=1e-5, abs=1e-6)
    profiles = pq.read_table(tmp_path / "customer_profiles.parquet")
    assert len(profiles) == split["customer_id"].nunique()


def test_files_without_split_and_target(settings: Settings, tmp_path: Path) -> None:
    runner = CliRunner()
    environment = {"CBP_HOME": str(settings.home), "CBP_REPORTS": str(settings.reports_dir)}
    arguments = ["export", "--processed-dir", str(tmp_path / "new"), "--no-split", "--target-column", ""]
    done = runner.invoke(main, arguments, env=environment)
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        "transactions_processed.csv",
        "customer_profiles.csv",
    }
    table = arrow_csv.read_csv(tmp_path / "new" / "transactions_processed.csv")
    assert "is_fraud" not in table.column_names
    clash = runner.invoke(
        main, ["export", "--processed-dir", str(tmp_path), "--target-column", "amount_minor"], env=environment
    )
    assert clash.exit_code == 2
    assert "amount_minor" in clash.output
    assert not list(tmp_path.glob("*.csv"))


def test_the_commands_print_what_was_found(settings: Settings, trained: TrainingResult) -> None:
    environment = {
        "CBP_HOME": str(settings.home),
        "CBP_MODELS": str(settings.models_dir),
        "CBP_REPORTS": str(settings.reports_dir),
    }
    runner = CliRunner()
    evaluated = runner.invoke(main, ["evaluate", "--review-cost", "500"], env=environment)
    assert evaluated.exit_code == 0, evaluated.output
    assert f"{trained.test_frauds:,} frauds" in evaluated.output
    clustered = runner.invoke(main, ["cluster", "-k", "3", "--projection", "pca"], env=environment)
    assert clustered.exit_code == 0, clustered.output
    assert "cbp build" in clustered.output
    wrong = runner.invoke(main, ["cluster", "--method", "magic"], env=environment)
    assert wrong.exit_code == 2
    one_split = runner.invoke(main, ["ablate", "--protocol", "ulb", "--weeks", "2"], env=environment)
    assert one_split.exit_code == 2
    assert "--weeks 1" in one_split.output
