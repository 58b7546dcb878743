"""Training: rows of the protocol, features through Feast, the hybrid, thresholds, figures, a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.bundles import publish, verify
from ml.catalog import is_label_free
from ml.errors import TrainingDataError
from ml.evaluation import Evaluation, evaluate_scores, write_json
from ml.features import FRAUD_SCORING
from ml.hybrid import ANOMALY_SCORE, HybridFraudPipeline
from ml.manifest import FeatureSpec, TrainingSpec
from ml.matrix import Float32Matrix
from ml.packing import FRAUD_PROBABILITY, pack
from ml.protocols import CALIBRATION, TEST, TRAIN
from ml.reference import ReferenceStatistics, measure
from ml.scoring import Scorer
from ml.thresholds import Thresholds, threshold_for_budget, threshold_for_precision
from ml.training_data import TrainingData, read_training_data
from ml.windows import DAY_US
from warehouse.landing import list_batches
from warehouse.settings import Settings

MODEL_NAME: Final = "hybrid"
TrainingProgress = Callable[[str, int, int], None]
"""Called with what begins, how many stages are done, and how many there are."""

_STAGES: Final = ("choosing rows", "joining features", "fitting", "thresholds", "evaluating", "publishing")
_DECLINE_PRECISION: Final = 0.95
_FIT_SHARE: Final = 0.8


@dataclass(frozen=True)
class TrainingResult:
    """What a training made.

    Parameters
    ----------
    bundle_dir : Path
        The published bundle; it is not promoted.
    protocol : str
        Name of the protocol.
    train_rows, train_frauds, test_rows, test_frauds : int
        Sizes of the split.
    evaluation : Evaluation
        Figures on the test rows.
    thresholds : Thresholds
        Where decisions change.
    metrics_path : Path
        The same figures as JSON.
    """

    bundle_dir: Path
    protocol: str
    train_rows: int
    train_frauds: int
    test_rows: int
    test_frauds: int
    evaluation: Evaluation
    thresholds: Thresholds
    metrics_path: Path


def train(
    settings: Settings,
    *,
    protocol: str | Mapping[str, Any] | None = None,
    as_of_us: int | None = None,
    seed: int = 0,
    alert_budget: float = 100.0,
    progress: TrainingProgress | None = None,
) -> TrainingResult:
    """Train the hybrid on the published warehouse and publish its bundle.

    Parameters
    ----------
    settings : Settings
        The home; `cbp build` and the registration of features must have run.
    protocol : str or mapping, optional
        How time is split (see `ml.protocols`): a name, or a name with parameters; by default what the mapping
        of the newest landed batch that names one says, else 'latest'.
    as_of_us : int, optional
        Labels known later do not exist (UTC microseconds).
    seed : int, default=0
        Same data, code and seed: same hashes.
    alert_budget : float, default=100
        Alerts a day, the mean over the days before the test, that the review threshold allows.
    progress : callable, optional
        See `TrainingProgress`.

    Returns
    -------
    TrainingResult

    Raises
    ------
    TrainingDataError
        When the data does not allow it.
    BundleError
        When the bundle can't be published.
    """
    report = _Stages(progress)
    report.begin()
    wanted = chosen_protocol(settings, protocol)
    data = read_training_data(settings, protocol=wanted, as_of_us=as_of_us, joining=report.begin)
    report.begin()
    is_train, is_test, labels = data.part(TRAIN), data.part(TEST), data.labels()
    pipeline = _pipeline(data.features, seed).fit(data.frame(is_train), labels[is_train])
    report.begin()
    thresholds = choose_thresholds(pipeline, data, seed=seed, alert_budget=alert_budget)
    report.begin()
    probabilities = pipeline.risk_score(data.frame(is_test))
    evaluation = evaluate_scores(
        probabilities,
        labels[is_test],
        customers=data.split.rows.column("customer_id").to_numpy(zero_copy_only=False)[is_test],
        days=data.event_us()[is_test] // DAY_US,
        threshold=thresholds.review,
    )
    report.begin()
    training = _provenance(data, wanted, seed)
    packed = pack(
        pipeline,
        name=MODEL_NAME,
        service=FRAUD_SCORING,
        features=data.features,
        sql=data.sql,
        thresholds=thresholds,
        training=training,
        metrics=evaluation.as_dict(),
        reference=_reference(pipeline, data),
    )
    bundle_dir = publish(
        settings.models_dir, manifest=packed.manifest, files=packed.files, day=_version_day(training)
    )
    _check_served_alike(bundle_dir, data.matrix[is_test], probabilities)
    metrics_path = settings.reports_dir / MODEL_NAME / "metrics.json"
    write_json(
        {
            "model": MODEL_NAME,
            "version": bundle_dir.name,
            "training": training.model_dump(),
            "test": evaluation.as_dict(),
            "thresholds": packed.manifest["thresholds"],
        },
        metrics_path,
    )
    report.end()
    return TrainingResult(
        bundle_dir=bundle_dir,
        protocol=data.split.protocol,
        train_rows=training.train_rows,
        train_frauds=training.train_frauds,
        test_rows=training.test_rows,
        test_frauds=training.test_frauds,
        evaluation=evaluation,
        thresholds=thresholds,
        metrics_path=metrics_path,
    )


def chosen_protocol(settings: Settings, protocol: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a protocol with its parameters: as given, or of the newest landed batch that names it."""
    if isinstance(protocol, Mapping):
        return dict(protocol)
    landed = [batch.protocol for batch in list_batches(settings) if batch.protocol is not None]
    for carried in reversed(landed):
        if protocol is None or carried.get("name") == protocol:
            return dict(carried)
    return {"name": protocol or "latest"}


def choose_thresholds(
    pipeline: HybridFraudPipeline, data: TrainingData, *, seed: int, alert_budget: float
) -> Thresholds:
    """Choose review by the alert budget and decline by precision.

    Review: on the days between training and test, which the model has not seen and whose labels are not yet
    known. Where there are none, on the last fifth of the training rows, scored by a model fitted on the rest.
    Decline: on that last fifth, the lowest probability at and above which 95 % are fraud; none where that is
    not reached.
    """
    held_out = _held_out_scores(data, seed)
    between = data.part(CALIBRATION)
    if between.any():
        windows = data.split.windows
        days = (windows.test_start_us - windows.calibration_start_us) / DAY_US
        scores = pipeline.risk_score(data.frame(between))
    elif held_out is not None:
        days, scores = held_out.days, held_out.scores
    else:
        raise TrainingDataError("expected days before the test to place the threshold on, got none")
    review = threshold_for_budget(scores, days=days, alerts_per_day=alert_budget)
    decline = None
    if held_out is not None:
        decline = threshold_for_precision(held_out.scores, held_out.labels, precision=_DECLINE_PRECISION)
    return Thresholds(
        review=review,
        decline=None if decline is None else max(decline, review),
        alert_budget=float(alert_budget),
        calibration_rows=len(scores),
        calibration_days=float(days),
    )


@dataclass(frozen=True)
class _HeldOut:
    scores: npt.NDArray[np.float64]
    labels: npt.NDArray[np.bool_]
    days: float


def _held_out_scores(data: TrainingData, seed: int) -> _HeldOut | None:
    """Score the last fifth of the training rows by a model of the others; None if those are of one class."""
    rows = np.flatnonzero(data.part(TRAIN))
    cut = int(len(rows) * _FIT_SHARE)
    fitted, held = np.zeros(len(data.matrix), dtype=bool), np.zeros(len(data.matrix), dtype=bool)
    fitted[rows[:cut]], held[rows[cut:]] = True, True
    labels, times = data.labels(), data.event_us()
    if len(np.unique(labels[fitted])) < 2:
        return None
    pipeline = _pipeline(data.features, seed).fit(data.frame(fitted), labels[fitted])
    days = max((times[held].max() - times[held].min()) / DAY_US, 1 / 24)
    return _HeldOut(scores=pipeline.risk_score(data.frame(held)), labels=labels[held], days=float(days))


def _pipeline(features: list[FeatureSpec], seed: int) -> HybridFraudPipeline:
    label_free = [index for index, feature in enumerate(features) if is_label_free(feature)]
    return HybridFraudPipeline(anomaly_features=label_free, random_state=seed)


def _reference(pipeline: HybridFraudPipeline, data: TrainingData) -> ReferenceStatistics:
    """Measure features on the training rows, outputs on rows that the model has not seen if there are any."""
    unseen = data.part(CALIBRATION) if data.part(CALIBRATION).any() else data.part(TRAIN)
    frame = data.frame(unseen)
    outputs = {FRAUD_PROBABILITY: pipeline.risk_score(frame)}
    anomaly = pipeline.anomaly_score(frame)
    if anomaly is not None:
        outputs[ANOMALY_SCORE] = anomaly
    features = measure([feature.name for feature in data.features], data.matrix[data.part(TRAIN)])
    scores = measure(list(outputs), np.column_stack(list(outputs.values())))
    return ReferenceStatistics(columns={**features.columns, **scores.columns})


def _provenance(data: TrainingData, protocol: Mapping[str, Any], seed: int) -> TrainingSpec:
    is_train, is_test, labels, windows = data.part(TRAIN), data.part(TEST), data.labels(), data.split.windows
    return TrainingSpec(
        protocol={key: _plain(value) for key, value in protocol.items()},
        train_start_us=windows.train_start_us,
        train_end_us=windows.train_end_us,
        test_start_us=windows.test_start_us,
        test_end_us=windows.test_end_us,
        as_of_us=windows.as_of_us,
        train_rows=int(is_train.sum()),
        train_frauds=int(labels[is_train].sum()),
        test_rows=int(is_test.sum()),
        test_frauds=int(labels[is_test].sum()),
        seed=seed,
    )


def _check_served_alike(
    bundle_dir: Path, matrix: Float32Matrix, probabilities: npt.NDArray[np.float64]
) -> None:
    """Score the test rows as the API will; a decision may not depend on who scores."""
    served = Scorer(verify(bundle_dir)).outputs(matrix)[FRAUD_PROBABILITY]
    if not np.array_equal(served, probabilities):
        distance = float(np.max(np.abs(served - probabilities)))
        raise TrainingDataError(f"the bundle scores up to {distance:.3g} off the model that was trained")


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool) or value is None else str(value)


def _version_day(training: TrainingSpec) -> str:
    time_us = training.as_of_us if training.as_of_us is not None else training.test_end_us
    return datetime.fromtimestamp(time_us // 1_000_000, tz=UTC).date().isoformat()


class _Stages:
    """Counts stages for `TrainingProgress`."""

    def __init__(self, progress: TrainingProgress | None) -> None:
        self._progress = progress
        self._begun = 0

    def begin(self) -> None:
        if self._progress is not None:
            self._progress(_STAGES[self._begun], self._begun, len(_STAGES))
        self._begun += 1

    def end(self) -> None:
        if self._progress is not None:
            self._progress("trained", len(_STAGES), len(_STAGES))
