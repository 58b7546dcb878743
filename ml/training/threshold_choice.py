"""Where a trained model's decisions change: thresholds placed on rows that it has not learned from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from ml.errors import TrainingDataError
from ml.estimators.hybrid import HybridFraudPipeline
from ml.rows.protocols import CALIBRATION, TRAIN
from ml.rows.training_data import TrainingData
from ml.scoring.thresholds import Thresholds, threshold_for_budget, threshold_for_precision
from warehouse.times import DAY_US

_DECLINE_PRECISION: Final = 0.95
_FIT_SHARE: Final = 0.8


def choose_thresholds(
    pipeline: HybridFraudPipeline, data: TrainingData, *, alert_budget: float
) -> Thresholds:
    """Choose where a fitted pipeline reviews, by the alert budget, and where it declines, by precision.

    Review: on the days between training and test, which the model has not seen and whose labels are not yet
    known. Where there are none, on the last fifth of the training rows, scored by a model fitted on the rest.
    Decline: on that last fifth, the lowest probability at and above which 95 % are fraud; none where that is
    not reached.
    """
    held_out = _held_out_scores(pipeline, data)
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


def _held_out_scores(pipeline: HybridFraudPipeline, data: TrainingData) -> _HeldOut | None:
    """Score the last fifth of the training rows by a model of the others; None if those are of one class."""
    rows = np.flatnonzero(data.part(TRAIN))
    cut = int(len(rows) * _FIT_SHARE)
    fitted, held = np.zeros(len(data.matrix), dtype=bool), np.zeros(len(data.matrix), dtype=bool)
    fitted[rows[:cut]], held[rows[cut:]] = True, True
    labels, times = data.labels(), data.event_us()
    if len(np.unique(labels[fitted])) < 2:
        return None
    earlier = clone(pipeline).fit(data.frame(fitted), labels[fitted])
    days = max((times[held].max() - times[held].min()) / DAY_US, 1 / 24)
    return _HeldOut(scores=earlier.risk_score(data.frame(held)), labels=labels[held], days=float(days))
