"""Scoring by a bundle's runtimes beside the objects that were trained: one row, and 10,000 rows."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.measuring import describe_versions
from bench.pairs import Pairs, run_rounds
from bench.reporting import Row, write_report
from ml.bundles.manifest import TrainingSpec
from ml.bundles.store import publish_bundle
from ml.estimators.anomaly import AutoencoderDetector, IsolationForestDetector, OneClassSvmDetector
from ml.estimators.hybrid import ANOMALY_SCORE, HybridFraudPipeline
from ml.estimators.linear_and_neural import CLASSIFIERS
from ml.features.catalog import CompiledSql
from ml.features.spec import FeatureSpec
from ml.reasons.reference import measure
from ml.runtimes.kinds import load_runtime
from ml.scoring.graph import threads_for
from ml.scoring.scorer import Scorer
from ml.scoring.thresholds import Thresholds, threshold_for_budget
from ml.training.packing import FRAUD_PROBABILITY, pack

FEATURES = 140
TRAIN_ROWS = 5_000
BULK_ROWS = 10_000
ALERTS = 100
SINGLE_ROWS = 20
SINGLE_PAIRS = 15
BULK_PAIRS = 5
TOLERANCE = 1e-5
PEER = "the trained objects"
COMMAND = "make bench NAME=scoring"
Float32Matrix = npt.NDArray[np.float32]


def run() -> None:
    """Compare the scores, then the times of each scorer and of all together, then score in bulk."""
    X, fraud = _rows(TRAIN_ROWS, seed=0)
    asked, _ = _rows(BULK_ROWS, seed=1)
    sides = {name: _sides(scorer, X, fraud) for name, scorer in _scorers().items()}
    for name, (ours, peer) in sides.items():
        if not np.allclose(ours(asked[:1000]), peer(asked[:1000]), rtol=0, atol=TOLERANCE):
            raise RuntimeError(f"{name} scores otherwise than it was trained: times would mean nothing")
    rows = [_single(name, [side], asked, goal="") for name, side in sides.items()]
    goal = "at least 20 times faster for one row (all scorers together)"
    rows += [_single("all scorers", list(sides.values()), asked, goal=goal)]
    rows += [_bulk(name, side, asked) for name, side in sides.items()]
    rows += _bulk_by_bundle(X, fraud, asked)
    write_report(
        "scoring",
        rows,
        versions=describe_versions("lightgbm", "numpy", "scikit-learn", "torch", "xgboost-cpu"),
        data={
            "simulated": True,
            "features": FEATURES,
            "train_rows": TRAIN_ROWS,
            "rows": BULK_ROWS,
            "alerts": ALERTS,
            "threads of a scorer": 1,
            "threads of a bundle": threads_for(BULK_ROWS),
        },
    )


Score = Callable[[Float32Matrix], npt.NDArray[np.float64]]


def _scorers() -> dict[str, Any]:
    detectors: dict[str, Any] = {
        "isolation_forest": IsolationForestDetector(random_state=0),
        "one_class_svm": OneClassSvmDetector(random_state=0),
        "autoencoder": AutoencoderDetector(epochs=5, random_state=0),
    }
    return detectors | {name: classifier(random_state=0) for name, classifier in CLASSIFIERS.items()}


def _sides(scorer: Any, X: Float32Matrix, fraud: npt.NDArray[np.bool_]) -> tuple[Score, Score]:
    """Fit a scorer; return what a bundle scores with, and the object that was trained."""
    scorer.fit(X, fraud)
    model = scorer.export()
    trained: Any = getattr(scorer, "model_", None)
    if hasattr(trained, "set_params"):
        trained.set_params(n_jobs=1)
    return load_runtime(model.kind, model.files).run, scorer._trained_risk


def _single(name: str, sides: list[tuple[Score, Score]], asked: Float32Matrix, *, goal: str) -> Row:
    def microseconds(which: int) -> float:
        started = time.perf_counter()
        for index in range(SINGLE_ROWS):
            for side in sides:
                side[which](asked[index : index + 1])
        return (time.perf_counter() - started) / SINGLE_ROWS * 1e6

    results = run_rounds(
        {"ours": partial(microseconds, 0), "peer": partial(microseconds, 1)}, count=SINGLE_PAIRS
    )
    return _row(f"one row: {name}", "µs", results, goal=goal, least=20.0 if goal else 0.0)


def _bulk(name: str, side: tuple[Score, Score], asked: Float32Matrix) -> Row:
    def seconds(which: int) -> float:
        started = time.perf_counter()
        side[which](asked)
        return (time.perf_counter() - started) / len(asked) * 1e6

    results = run_rounds({"ours": partial(seconds, 0), "peer": partial(seconds, 1)}, count=BULK_PAIRS)
    return _row(f"{len(asked):,} rows: {name}", "µs/row", results, goal="", least=0.0)


def _row(metric: str, unit: str, results: Any, *, goal: str, least: float) -> Row:
    columns: dict[str, Any] = Pairs.of(**results, figure=float).columns(PEER)
    return Row(
        metric=metric, unit=unit, goal=goal, met=columns["ratio_median"] >= least, command=COMMAND, **columns
    )


def _bulk_by_bundle(X: Float32Matrix, fraud: npt.NDArray[np.bool_], asked: Float32Matrix) -> list[Row]:
    """Score rows by the default model's bundle, with reasons for its alerts."""
    pipeline = HybridFraudPipeline(random_state=0).fit(X, fraud)
    with tempfile.TemporaryDirectory() as folder:
        scorer = Scorer.load(_publish(Path(folder), pipeline, X, asked))
    values = [[None if value != value else value for value in row] for row in asked.astype(float).tolist()]
    rows = [dict(zip(_names(), row, strict=True)) for row in values]
    review = scorer.bundle.thresholds.review

    def by_runtime() -> int:
        scores = scorer.outputs(asked)[FRAUD_PROBABILITY]
        alerts = [rows[index] for index in np.flatnonzero(scores >= review)]
        return sum(bool(score.reasons) for score in scorer.score(alerts, explain="all"))

    def by_rows() -> int:
        return sum(bool(score.reasons) for score in scorer.score(rows, explain="alerts"))

    goal = "bulk at least 50,000 rows a second, with reasons for alerts only"
    return [
        _rate("the default bundle's runtime, and reasons for alerts", by_runtime, goal),
        _rate("the default bundle from rows as the API has them to decisions and reasons", by_rows, ""),
    ]


def _rate(metric: str, work: Callable[[], int], goal: str) -> Row:
    """Measure rows a second by the wall clock."""
    rates = []
    for _ in range(BULK_PAIRS):
        started = time.perf_counter()
        explained = work()
        rates.append(BULK_ROWS / (time.perf_counter() - started))
        if explained != ALERTS:
            raise RuntimeError(f"expected reasons for {ALERTS} alerts alone, got {explained}")
    rate = float(np.median(rates))
    metric = f"{BULK_ROWS:,} rows: {metric}"
    return Row(metric, "rows/s", rate, goal, not goal or rate >= 50_000, COMMAND)


def _publish(folder: Path, pipeline: HybridFraudPipeline, X: Float32Matrix, asked: Float32Matrix) -> Path:
    scores = pipeline.risk_score(asked)
    anomaly = pipeline.anomaly_score(asked)
    if anomaly is None:
        raise RuntimeError("expected a pipeline with a detector")
    names = _names()
    reference = measure([*names, FRAUD_PROBABILITY, ANOMALY_SCORE], np.column_stack([asked, scores, anomaly]))
    review = threshold_for_budget(scores, days=1, alerts_per_day=ALERTS)
    packed = pack(
        pipeline,
        name="bench",
        service="none",
        features=[
            FeatureSpec(name=name, dtype="double", source="velocity", family=name, description=name)
            for name in names
        ],
        sql=CompiledSql(live="select 1", derived="select 1"),
        thresholds=Thresholds(review, None, ALERTS, len(asked), 1),
        training=TrainingSpec(
            protocol={},
            train_start_us=0,
            train_end_us=0,
            test_start_us=0,
            test_end_us=0,
            as_of_us=None,
            train_rows=len(X),
            train_frauds=0,
            test_rows=0,
            test_frauds=0,
            seed=0,
        ),
        metrics={},
        reference=reference,
    )
    return publish_bundle(folder, manifest=packed.manifest, files=packed.files, day="2018-01-01")


def _names() -> list[str]:
    return [f"number_{index}" for index in range(FEATURES)]


def _rows(count: int, *, seed: int) -> tuple[Float32Matrix, npt.NDArray[np.bool_]]:
    """Draw rows of which some are frauds that eight of the columns tell; a tenth of the values is missing."""
    chance = np.random.default_rng(seed)
    X = chance.lognormal(size=(count, FEATURES)).astype(np.float32)
    fraud = np.log(X[:, :8]).sum(axis=1) + chance.normal(scale=2, size=count) > 8.0
    X[chance.random(X.shape) < 0.1] = np.nan
    return X, fraud
