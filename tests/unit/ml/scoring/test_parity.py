"""Parity: runtimes against the trained objects, step by step, and the decisions of the whole chain."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ml.bundles.manifest import TrainingSpec
from ml.bundles.store import VerifiedBundle, publish_bundle, verify_bundle
from ml.errors import BundleError, TrainingDataError
from ml.estimators.calibration import through
from ml.estimators.ensemble import RankAverageClassifier
from ml.estimators.hybrid import ANOMALY_SCORE, HybridFraudPipeline
from ml.estimators.linear_and_neural import LogisticClassifier
from ml.estimators.trees import XGBoostClassifier
from ml.evaluation.report import evaluate_scores
from ml.features.catalog import CompiledSql
from ml.reasons.reference import measure
from ml.rows.protocols import TEST, TRAIN, Split
from ml.rows.split_times import Windows
from ml.rows.training_data import TrainingData
from ml.runtimes.matrix import Float32Matrix, Float64Vector, to_float32
from ml.scoring.graph import ModelGraph
from ml.scoring.parity import PARITY_TOLERANCE, check_decisions, check_models, check_steps
from ml.scoring.thresholds import Thresholds
from ml.training.packing import FRAUD_PROBABILITY
from ml.training.publishing import publish_model
from tests.support.planted_fraud import NAMES, feature_specs, pack_planted, planted_rows
from warehouse.settings import Settings

pytestmark = pytest.mark.slow

Trained = dict[str, Float64Vector]
LINE, TREES = f"{FRAUD_PROBABILITY}_line", f"{FRAUD_PROBABILITY}_trees"


@pytest.fixture(scope="module")
def pipeline() -> HybridFraudPipeline:
    """Return detectors and a segment under a rank average: every kind of step behind every other."""
    members = (("line", LogisticClassifier()), ("trees", XGBoostClassifier(n_estimators=20)))
    return HybridFraudPipeline(
        ("isolation_forest", "autoencoder", "one_class_svm"),
        RankAverageClassifier(members),
        segmenter="kmeans",
        n_splits=2,
        random_state=0,
    ).fit(*planted_rows(800))


@pytest.fixture(scope="module")
def bundle(pipeline: HybridFraudPipeline, tmp_path_factory: pytest.TempPathFactory) -> VerifiedBundle:
    reference = measure(NAMES, planted_rows()[0].to_numpy(dtype=np.float32))
    packed = pack_planted(pipeline, name="parity", seed=0, metrics={}, reference=reference)
    folder = tmp_path_factory.mktemp("models")
    return verify_bundle(
        publish_bundle(folder, manifest=packed.manifest, files=packed.files, day="2018-07-01")
    )


@pytest.fixture(scope="module")
def graph(bundle: VerifiedBundle) -> ModelGraph:
    return ModelGraph(bundle)


@pytest.fixture(scope="module")
def rows() -> Float32Matrix:
    return planted_rows(1000, seed=5)[0].to_numpy(dtype=np.float32)


@pytest.fixture
def trained(pipeline: HybridFraudPipeline, rows: Float32Matrix) -> Trained:
    return pipeline.trained_outputs(rows, FRAUD_PROBABILITY)


class Off:
    """A runtime that always says the same."""

    def run(self, X: Float32Matrix) -> Float64Vector:
        """Return the same for every row."""
        return np.full(len(X), 0.25)


def served_by(part: Any, **changes: Any) -> Any:
    """Return a copy of a fitted part with other attributes."""
    changed = copy.copy(part)
    for name, value in changes.items():
        setattr(changed, name, value)
    return changed


def test_a_rank_averages_answers_are_those_of_its_trained_members(pipeline: HybridFraudPipeline) -> None:
    X = planted_rows(500, seed=5)[0].to_numpy(dtype=np.float32)
    average = RankAverageClassifier(pipeline.classifier.members, random_state=0).fit(*planted_rows(800))
    expected = average.trained_outputs(X, "p")
    members = {name: served_by(member, _runtime=Off()) for name, member in average.members_.items()}
    astray = served_by(average, members_=members)
    found = astray.trained_outputs(X, "p")
    assert not np.array_equal(astray._risk(X), average._risk(X))
    assert {name: column.tobytes() for name, column in found.items()} == {
        name: column.tobytes() for name, column in expected.items()
    }


def test_a_hybrids_answers_are_those_of_its_trained_parts(
    pipeline: HybridFraudPipeline, rows: Float32Matrix, trained: Trained
) -> None:
    members = {
        name: served_by(member, _runtime=Off()) for name, member in pipeline.detector_.members_.items()
    }
    astray = served_by(
        pipeline,
        detector_=served_by(pipeline.detector_, members_=members),
        segmenter_=served_by(pipeline.segmenter_, _runtime=Off()),
    )
    found = astray.trained_outputs(rows, FRAUD_PROBABILITY)
    assert not np.array_equal(astray._risk(rows), pipeline._risk(rows))
    assert {name: column.tobytes() for name, column in found.items()} == {
        name: column.tobytes() for name, column in trained.items()
    }


def test_a_bundle_of_every_kind_scores_thousands_of_rows_as_it_was_trained(
    graph: ModelGraph, bundle: VerifiedBundle, rows: Float32Matrix, trained: Trained
) -> None:
    assert set(trained) == set(graph.outputs)
    check_models(graph, bundle, rows, trained)
    for threshold in np.quantile(trained[FRAUD_PROBABILITY], np.linspace(0.1, 1, 10)):
        check_decisions(graph, rows, trained, output=FRAUD_PROBABILITY, threshold=float(threshold))


@pytest.mark.parametrize("number", range(11))
def test_a_model_that_is_off_is_found_wherever_it_stands(
    graph: ModelGraph, rows: Float32Matrix, trained: Trained, number: int
) -> None:
    name = graph.outputs[number]
    for shift in (3e-5, -3e-5):
        with pytest.raises(BundleError, match=f"expected {name} within"):
            check_steps(graph, rows, {**trained, name: trained[name] + shift * (np.arange(len(rows)) == 77)})


def test_every_step_has_an_answer_to_compare_with(
    graph: ModelGraph, rows: Float32Matrix, trained: Trained
) -> None:
    for name in graph.outputs:
        with pytest.raises(BundleError, match=rf"got none for \['{name}'\]"):
            check_steps(graph, rows, {other: trained[other] for other in trained if other != name})
    with pytest.raises(BundleError, match=r"some for \['more'\]"):
        check_steps(graph, rows, {**trained, "more": trained[ANOMALY_SCORE]})
    with pytest.raises(BundleError, match="1000 answers"):
        check_steps(graph, rows, {**trained, LINE: trained[LINE][1:]})


def shifted(pipeline: HybridFraudPipeline, trained: Trained, shift: float) -> Trained:
    """Return the answers of models of which one says a little more, carried through the curves behind it."""
    average = pipeline.classifier_
    raw = trained[LINE] + shift
    rank = through(average.ranks_["line"], raw)
    columns = [to_float32(rank), to_float32(trained[f"{TREES}_rank"])]
    mean = np.sum(columns, axis=0, dtype=np.float64) / 2
    final = through(average.curve_, mean)
    changed = {LINE: raw, f"{LINE}_rank": rank, f"{FRAUD_PROBABILITY}_mean": mean, FRAUD_PROBABILITY: final}
    return {**trained, **changed}


def test_what_a_curve_makes_of_rounding_is_no_difference_of_models(
    pipeline: HybridFraudPipeline, graph: ModelGraph, rows: Float32Matrix, trained: Trained
) -> None:
    within = shifted(pipeline, trained, 8e-6)
    served = graph.run_features(rows)[FRAUD_PROBABILITY]
    assert np.max(np.abs(served - within[FRAUD_PROBABILITY])) > 10 * PARITY_TOLERANCE
    check_steps(graph, rows, within)
    flips = 0
    for threshold in np.quantile(within[FRAUD_PROBABILITY], np.linspace(0.02, 1, 30)):
        flips += int(np.sum((served >= threshold) != (within[FRAUD_PROBABILITY] >= threshold)))
        check_decisions(graph, rows, within, output=FRAUD_PROBABILITY, threshold=float(threshold))
    assert flips
    with pytest.raises(BundleError, match=f"{LINE} within"):
        check_steps(graph, rows, shifted(pipeline, trained, 3e-5))


def test_a_decision_that_flips_far_from_the_threshold_is_found(
    graph: ModelGraph, rows: Float32Matrix, trained: Trained
) -> None:
    probability = trained[FRAUD_PROBABILITY]
    threshold = float(np.quantile(probability, 0.95))
    other = {**trained, FRAUD_PROBABILITY: np.where(np.arange(len(rows)) == 9, 1.0, probability)}
    with pytest.raises(BundleError, match="got 1 others of 1000"):
        check_decisions(graph, rows, other, output=FRAUD_PROBABILITY, threshold=threshold)


def training_data() -> tuple[TrainingData, Any]:
    """Return planted rows as a split: two thirds train, the rest tests."""
    frame, fraud = planted_rows(3000)
    count = len(frame)
    rows = pa.table(
        {
            "transaction_id": [str(index) for index in range(count)],
            "part": [TRAIN if index < 2000 else TEST for index in range(count)],
            "event_us": list(range(count)),
            "customer_id": [f"c{index % 50}" for index in range(count)],
            "is_fraud": fraud.tolist(),
        }
    )
    windows = Windows(0, 2000, 2000, 2000, 3000, None, None)
    split = Split(protocol="latest", windows=windows, rows=rows)
    sql = CompiledSql(live="select arrival_seq from events", derived="select row_index from feature_row")
    return TrainingData(split, feature_specs(), frame.to_numpy(dtype=np.float32), sql), fraud


def publish_trained(folder: Path, fitted: HybridFraudPipeline, data: TrainingData, fraud: Any) -> Path:
    """Publish a pipeline below a folder."""
    settings = Settings(
        home=folder / "home",
        models_dir=folder / "models",
        reports_dir=folder / "reports",
        live_store_url="sqlite://",
    )
    probability = fitted.risk_score(data.frame(data.part(TEST)))
    evaluation = evaluate_scores(
        probability,
        fraud[data.part(TEST)],
        customers=np.asarray([f"c{index % 50}" for index in range(1000)]),
        days=np.zeros(1000, dtype=np.int64),
    )
    return publish_model(
        settings,
        fitted,
        data,
        name="planted",
        training=TrainingSpec(
            protocol={"name": "latest"},
            train_start_us=0,
            train_end_us=2000,
            test_start_us=2000,
            test_end_us=3000,
            as_of_us=None,
            train_rows=2000,
            train_frauds=100,
            test_rows=1000,
            test_frauds=50,
            seed=0,
        ),
        thresholds=Thresholds(float(np.quantile(probability, 0.95)), None, 5.0, 1000, 1.0),
        evaluation=evaluation,
    )


def test_a_model_whose_trained_objects_say_otherwise_is_never_listed(tmp_path: Path) -> None:
    data, fraud = training_data()
    fitted = HybridFraudPipeline(
        "isolation_forest", XGBoostClassifier(n_estimators=20), n_splits=2, random_state=0
    ).fit(data.frame(data.part(TRAIN)), fraud[data.part(TRAIN)])
    models = tmp_path / "models"
    # the runtime is what the pipeline scores with, but the bundle's file is another's
    other = served_by(fitted.classifier_, _runtime=Off())
    with pytest.raises(TrainingDataError, match="off the model that was trained"):
        publish_trained(tmp_path, served_by(fitted, classifier_=other), data, fraud)
    assert list(models.iterdir()) == []
    published = publish_trained(tmp_path, fitted, data, fraud)
    assert [path.name for path in models.glob("planted/*")] == [published.name]


def test_a_trained_object_that_differs_on_test_rows_alone_is_found(tmp_path: Path) -> None:
    data, fraud = training_data()
    fitted = HybridFraudPipeline(None, XGBoostClassifier(n_estimators=20), random_state=0)
    fitted.fit(data.frame(data.part(TRAIN)), fraud[data.part(TRAIN)])
    # no drawn row has so large an amount: the bundle's own sample can't tell
    largest = data.matrix.copy()
    largest[-1, 0] = 1e9

    class Differs(XGBoostClassifier):
        def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
            return np.where(X[:, 0] == np.float32(1e9), 0.0, super()._trained_risk(X))

    astray = copy.copy(fitted.classifier_)
    astray.__class__ = Differs
    with pytest.raises(BundleError, match="fraud_probability within"):
        publish_trained(tmp_path, served_by(fitted, classifier_=astray), replace(data, matrix=largest), fraud)
    assert list((tmp_path / "models").iterdir()) == []
