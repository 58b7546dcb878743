"""Training on a real home: simulated, ingested, built by dbt, joined by Feast."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

from cbp import main
from feature_repo import feast_store
from ml.bundles.store import current_promotion, promote_bundle, verify_bundle
from ml.errors import TrainingDataError
from ml.features.catalog import is_label_free
from ml.rows.training_data import read_training_data
from ml.scoring.scorer import Scorer
from ml.studies.leaderboard import measure_standings, write_leaderboard
from ml.training.suite import DEFAULT_MODEL, SUITE, names_of
from ml.training.train import TrainingResult, train, train_models
from warehouse.settings import Settings

PROTOCOL = {"name": "latest", "test_days": 7}


@pytest.fixture(scope="module")
def settings(copy_of_world: Callable[[], Settings]) -> Settings:
    return copy_of_world()


@pytest.fixture(scope="module")
def stages() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def result(settings: Settings, stages: list[tuple[str, int, int]]) -> TrainingResult:
    return train(settings, seed=7, progress=lambda *stage: stages.append(stage))


def test_the_bundle_is_published_and_can_be_promoted(settings: Settings, result: TrainingResult) -> None:
    assert result.bundle_dir.parent == settings.models_dir / "hybrid"
    promote_bundle(settings, result.bundle_dir)
    assert Scorer.load_promoted(settings).bundle.version == result.bundle_dir.name


def test_the_protocol_is_the_mappings(result: TrainingResult) -> None:
    assert result.protocol == "latest"
    assert verify_bundle(result.bundle_dir).manifest.training.protocol["test_days"] == 7


def test_rows_are_those_whose_labels_were_known(settings: Settings, result: TrainingResult) -> None:
    training = verify_bundle(result.bundle_dir).manifest.training
    with duckdb.connect(str(settings.published_file), read_only=True) as connection:
        counts = connection.execute(
            "select count(*), sum(is_fraud::int) from marts.fct_transactions "
            "where event_us >= $start and event_us < $end and label_known_us <= $known_by",
            {
                "start": training.train_start_us,
                "end": training.train_end_us,
                "known_by": training.test_start_us,
            },
        ).fetchone()
    assert counts == (result.train_rows, result.train_frauds)
    assert training.train_end_us <= training.test_start_us
    assert min(result.test_rows, result.train_frauds, result.test_frauds) > 0


def test_fraud_is_found(result: TrainingResult) -> None:
    assert result.evaluation.auc_roc > 0.6
    assert result.evaluation.average_precision > 5 * result.test_frauds / result.test_rows


def test_figures_are_reported_and_in_the_bundle(result: TrainingResult) -> None:
    report = json.loads(result.metrics_path.read_text())
    assert report["test"] == result.evaluation.as_dict()
    assert report["test"] == verify_bundle(result.bundle_dir).manifest.metrics
    assert report["version"] == result.bundle_dir.name
    assert report["training"]["train_rows"] == result.train_rows


def test_stages_are_told_in_order(result: TrainingResult, stages: list[tuple[str, int, int]]) -> None:
    assert [done for _, done, _ in stages] == list(range(len(stages)))
    assert stages[-1] == ("trained", len(stages) - 1, len(stages) - 1)


def test_the_same_seed_gives_the_same_hash_in_another_folder(
    settings: Settings, result: TrainingResult, tmp_path: Path
) -> None:
    elsewhere = replace(settings, models_dir=tmp_path / "models", reports_dir=tmp_path / "reports")
    again = train(elsewhere, seed=7)
    first, second = verify_bundle(result.bundle_dir), verify_bundle(again.bundle_dir)
    # somebody may commit while the test runs: the commit is a part of the version
    apart = {"version", "git_commit"}
    assert first.manifest.model_dump(exclude=apart) == second.manifest.model_dump(exclude=apart)
    if first.manifest.git_commit == second.manifest.git_commit:
        assert first.sha256 == second.sha256


def test_every_feature_is_a_number_of_the_service_or_derived(result: TrainingResult) -> None:
    specs = verify_bundle(result.bundle_dir).manifest.features
    names = {feature.name for feature in specs}
    assert {"amount_minor", "transaction_count_24h", "amount_over_amount_mean_30d"} <= names
    assert not {name for name in names if name.endswith("_id") or name.startswith(("is_fraud", "label"))}
    assert {feature.source for feature in specs} == {
        "raw",
        "velocity",
        "profile",
        "merchant_risk",
        "category_risk",
        "segment",
        "derived",
    }
    assert all(feature.description for feature in specs if feature.source != "raw")


def test_the_bundle_has_the_numeric_features_of_the_service(
    settings: Settings, result: TrainingResult
) -> None:
    store = feast_store.open_store(settings)
    manifest = verify_bundle(result.bundle_dir).manifest
    service = store.get_feature_service(manifest.service)
    served = {
        field.name: str(field.dtype)
        for projection in service.feature_view_projections
        for field in projection.features
    }
    numeric = {name for name, dtype in served.items() if dtype in {"Int64", "Float64", "Bool"}}
    apart = {"raw", "derived", "attribute"}
    assert {feature.name for feature in manifest.features if feature.source not in apart} == numeric


def test_the_detector_sees_no_labels(result: TrainingResult) -> None:
    manifest = verify_bundle(result.bundle_dir).manifest
    seen = {name for step in manifest.steps if step.output == "anomaly_score" for name in step.inputs}
    labelled = {feature.name for feature in manifest.features if not is_label_free(feature)}
    assert seen
    assert labelled
    assert not seen & labelled


def test_the_budget_holds_on_the_days_it_was_chosen_on(settings: Settings, result: TrainingResult) -> None:
    data = read_training_data(settings, protocol=PROTOCOL)
    scores = Scorer.load(result.bundle_dir).outputs(data.matrix[data.part("calibration")])
    alerts = int((scores["fraud_probability"] >= result.thresholds.review).sum())
    assert len(scores["fraud_probability"]) == result.thresholds.calibration_rows
    assert alerts <= result.thresholds.alert_budget * result.thresholds.calibration_days


def test_an_earlier_present_changes_rows_but_not_their_features(settings: Settings) -> None:
    now = read_training_data(settings, protocol=PROTOCOL)
    before = read_training_data(
        settings, protocol=PROTOCOL, as_of_us=now.split.windows.test_end_us + 86_400_000_000
    )
    assert before.split.windows.test_end_us < now.split.windows.test_end_us
    ids_now = np.asarray(now.split.rows.column("transaction_id").to_pylist())
    ids_before = np.asarray(before.split.rows.column("transaction_id").to_pylist())
    _, rows_now, rows_before = np.intersect1d(ids_now, ids_before, return_indices=True)
    assert len(rows_now) > 1000
    assert now.matrix[rows_now].tobytes() == before.matrix[rows_before].tobytes()


QUICK = ("logistic_regression", "isolation_forest", "random_forest")


@pytest.fixture(scope="module")
def several(settings: Settings) -> list[TrainingResult]:
    return train_models(settings, QUICK, seed=7)


def test_several_models_are_trained_on_the_same_rows(
    result: TrainingResult, several: list[TrainingResult]
) -> None:
    assert [trained.model for trained in several] == [*QUICK]
    for trained in several:
        assert trained.bundle_dir.parent.name == trained.model
        assert (trained.train_rows, trained.test_rows) == (result.train_rows, result.test_rows)
        manifest = verify_bundle(trained.bundle_dir).manifest
        assert manifest.features == verify_bundle(result.bundle_dir).manifest.features


def test_a_label_free_model_is_explained_by_what_is_furthest_from_usual(
    settings: Settings, several: list[TrainingResult]
) -> None:
    scorer = Scorer.load(several[1].bundle_dir)
    detector, curve = scorer.bundle.manifest.steps
    assert [*curve.inputs] == [detector.output]
    matrix = read_training_data(settings, protocol=PROTOCOL).matrix
    row = matrix[np.argmax(scorer.outputs(matrix)["anomaly_score"])].astype(float).tolist()
    names = [feature.name for feature in scorer.bundle.features]
    values = {name: None if value != value else value for name, value in zip(names, row, strict=True)}
    (score,) = scorer.score([{**values, "currency": "EUR"}], explain="all")
    assert "furthest from usual: " in score.reasons[0].text


def test_the_leaderboard_ranks_models_by_average_precision(
    settings: Settings, several: list[TrainingResult]
) -> None:
    standings = measure_standings(several)
    precisions = [standing.average_precision for standing in standings]
    assert precisions == sorted(precisions, reverse=True)
    assert {standing.model for standing in standings} == {*QUICK}
    for standing in standings:
        files = (settings.models_dir / standing.model / standing.version).iterdir()
        # the manifest itself is not a file that it lists
        assert standing.bundle_bytes == sum(
            path.stat().st_size for path in files if path.name != "manifest.json"
        )
        assert min(standing.row_microseconds, standing.rows_a_second, standing.fit_seconds) > 0
    report, picture = write_leaderboard(settings, standings, several)
    written = json.loads(report.read_text())
    assert [model["model"] for model in written["models"]] == [standing.model for standing in standings]
    assert written["train_rows"] == several[0].train_rows
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_search_sets_the_best_of_what_it_tried_and_leaves_detectors_as_they_are(
    settings: Settings,
) -> None:
    told: list[str] = []
    searched, detector = train_models(
        settings,
        ["logistic_regression", "isolation_forest"],
        seed=7,
        trials=2,
        fewest_frauds=1,
        progress=lambda what, done, total: told.append(what),
    )
    assert "logistic_regression: searching, fit 8 of 8" in told
    assert "isolation_forest: has no settings to search, fitting it as it is" in told
    parameters = verify_bundle(searched.bundle_dir).manifest.training.parameters
    assert all(name.startswith("classifier__") for name in parameters)
    assert verify_bundle(detector.bundle_dir).manifest.training.parameters == {}


def test_a_search_without_anything_to_search_is_refused_before_rows_are_read(settings: Settings) -> None:
    with pytest.raises(TrainingDataError, match="one classifier"):
        train_models(replace(settings, home=settings.home / "nowhere"), ["autoencoder", "ensemble"], trials=3)


def test_too_few_frauds_to_search_on_are_told_so(settings: Settings) -> None:
    with pytest.raises(TrainingDataError, match="longer history"):
        train(settings, model="logistic_regression", seed=7, trials=2)


def test_all_models_are_those_of_the_suite_and_an_unknown_one_is_told_so(settings: Settings) -> None:
    assert names_of("all") == [*SUITE]
    assert names_of("all")[0] == DEFAULT_MODEL
    with pytest.raises(TrainingDataError, match="hybrid_ensemble"):
        train_models(settings, ["perceptron"])


def test_commands_train_promote_and_compare(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBP_HOME", str(settings.home))
    monkeypatch.setenv("CBP_MODELS", str(settings.models_dir))
    monkeypatch.setenv("CBP_REPORTS", str(settings.reports_dir))
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, [*arguments])
        assert done.exit_code == code, done.output
        return done.output

    trained = run("train", "--model", "logistic_regression")
    serving = current_promotion(settings)
    assert serving.path.parent.name == "logistic_regression"
    (told,) = [line for line in trained.splitlines() if f" logistic_regression/{serving.path.name} " in line]
    assert " promoted " in told
    assert "promoted" not in run("train", "--model", "isolation_forest", "--no-promote")
    compared = run("benchmark-models", "--model", "logistic_regression", "--model", "isolation_forest")
    assert "leaderboard.png" in compared.replace("\n", "")
    assert current_promotion(settings) == serving
    assert "expected models among" in run("train", "--model", "perceptron", code=2)


def test_a_home_without_a_warehouse_is_told_to_build(tmp_path: Path) -> None:
    empty = Settings.from_environment({"CBP_HOME": str(tmp_path)})
    with pytest.raises(TrainingDataError, match="cbp build"):
        train(empty)


def test_too_early_a_present_is_told_so(settings: Settings) -> None:
    with pytest.raises(TrainingDataError, match="labelled history"):
        train(settings, as_of_us=0)
