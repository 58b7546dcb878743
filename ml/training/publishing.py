"""From a fitted model to its published bundle, checked to score as the model does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from feature_repo.services import FRAUD_SCORING
from ml.bundles.manifest import TrainingSpec
from ml.bundles.store import VerifiedBundle, publish_bundle
from ml.errors import TrainingDataError
from ml.estimators.hybrid import ANOMALY_SCORE, HybridFraudPipeline
from ml.evaluation.report import Evaluation
from ml.reasons.reference import ReferenceStatistics, measure
from ml.rows.protocols import CALIBRATION, TEST, TRAIN
from ml.rows.training_data import TrainingData
from ml.runtimes.matrix import Float32Matrix
from ml.scoring.graph import ModelGraph
from ml.scoring.parity import check_models
from ml.scoring.scorer import Scorer
from ml.scoring.thresholds import Thresholds
from ml.training.packing import FRAUD_PROBABILITY, pack
from warehouse.settings import Settings

PARITY_ROWS: Final = 4096
"""How many test rows the trained objects score too, at most."""


def publish_model(
    settings: Settings,
    pipeline: HybridFraudPipeline,
    data: TrainingData,
    *,
    name: str,
    training: TrainingSpec,
    thresholds: Thresholds,
    evaluation: Evaluation,
) -> Path:
    """Publish a fitted model that scores as it was trained; it is not promoted.

    Before the bundle appears, it must score the test rows to the bit as the pipeline does, and up to
    `PARITY_ROWS` of them as the trained objects do (`ml.scoring.parity`): those nearest to the threshold to
    review, where a decision could flip, and as many of all.

    Parameters
    ----------
    settings : Settings
        The home.
    pipeline : HybridFraudPipeline
        Fitted on the training rows of `data`.
    data : TrainingData
    name : str
        Of the model.
    training, thresholds, evaluation
        What the bundle says of itself.

    Returns
    -------
    Path
        Folder of the bundle.

    Raises
    ------
    BundleError
        When it can't be written, or its runtimes are not what was trained.
    TrainingDataError
        When the bundle does not score the test rows as the model does.
    """
    packed = pack(
        pipeline,
        name=name,
        service=FRAUD_SCORING,
        features=data.features,
        sql=data.sql,
        thresholds=thresholds,
        training=training,
        metrics=evaluation.as_dict(),
        reference=_reference(pipeline, data),
    )
    is_test = data.part(TEST)
    matrix, probabilities = data.matrix[is_test], pipeline.risk_score(data.frame(is_test))

    def check(bundle: VerifiedBundle) -> None:
        _check_served_alike(bundle, matrix, probabilities)
        rows = matrix[_parity_rows(probabilities, thresholds.review)]
        check_models(ModelGraph(bundle), bundle, rows, pipeline.trained_outputs(rows, FRAUD_PROBABILITY))

    return publish_bundle(
        settings.models_dir,
        manifest=packed.manifest,
        files=packed.files,
        day=_version_day(training),
        check=check,
    )


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


def provenance(data: TrainingData, protocol: Mapping[str, Any], *, seed: int) -> TrainingSpec:
    """Say what rows a model is trained and tested on."""
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
    bundle: VerifiedBundle, matrix: Float32Matrix, probabilities: npt.NDArray[np.float64]
) -> None:
    """Score the test rows as the API will; a decision may not depend on who scores."""
    served = Scorer(bundle).outputs(matrix)[FRAUD_PROBABILITY]
    if not np.array_equal(served, probabilities):
        distance = float(np.max(np.abs(served - probabilities)))
        raise TrainingDataError(f"the bundle scores up to {distance:.3g} off the model that was trained")


def _parity_rows(probabilities: npt.NDArray[np.float64], review: float) -> npt.NDArray[np.intp]:
    """Choose rows to compare: half of them nearest to the threshold, half spread over time."""
    half = PARITY_ROWS // 2
    nearest = np.argsort(np.abs(probabilities - review), kind="stable")[:half]
    spread = np.linspace(0, len(probabilities) - 1, min(half, len(probabilities))).astype(np.intp)
    return np.union1d(nearest, spread)


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool) or value is None else str(value)


def _version_day(training: TrainingSpec) -> str:
    time_us = training.as_of_us if training.as_of_us is not None else training.test_end_us
    return datetime.fromtimestamp(time_us // 1_000_000, tz=UTC).date().isoformat()
