"""Classifiers of classifiers: curves learned on rows that the scoring model has not seen, served as data."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from ml.estimators.calibration import through
from ml.estimators.classifier_base import FraudClassifier, Labels
from ml.estimators.ensemble import (
    CalibratedClassifier,
    RankAverageClassifier,
    held_out_scores,
    make_classifier,
)
from ml.estimators.linear_and_neural import LogisticClassifier
from ml.estimators.trees import RandomForest, XGBoostClassifier
from ml.runtimes.curves import CurveRuntime
from ml.runtimes.kinds import CURVE, LIGHTGBM, LINEAR, MEAN, load_runtime
from ml.runtimes.matrix import Float32Matrix, Float64Vector, to_float32
from tests.support.planted_fraud import planted_rows

MEMBERS = (
    ("line", LogisticClassifier(C=1.0)),
    ("forest", RandomForest(n_estimators=15, min_samples_leaf=2)),
    ("boosted", XGBoostClassifier(n_estimators=15, learning_rate=0.3)),
)


@pytest.fixture(scope="module")
def rows() -> tuple[pd.DataFrame, np.ndarray[Any, np.dtype[np.bool_]]]:
    return planted_rows(3000)


@pytest.fixture(scope="module")
def average(rows: tuple[pd.DataFrame, Any]) -> RankAverageClassifier:
    return RankAverageClassifier(MEMBERS, random_state=0).fit(*rows)


class RemembersRows(FraudClassifier):
    """Scores 1 for rows that it was fitted on, 0 for others: what must never teach a curve."""

    def _fit_matrix(self, X: Float32Matrix, y: Labels) -> None:
        self.seen_ = set(X[:, 0].tolist())

    def _risk(self, X: Float32Matrix) -> Float64Vector:
        return np.asarray([value in self.seen_ for value in X[:, 0].tolist()], dtype=np.float64)

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return self._risk(X)


def test_curves_are_learned_on_later_rows_that_the_classifier_has_not_seen() -> None:
    X = np.arange(1000, dtype=np.float32)[:, None]
    y = np.arange(1000) % 2
    scores, labels = held_out_scores(RemembersRows(), X, y, share=0.2)
    assert not scores.any()
    assert labels.tolist() == y[800:].tolist()


def test_too_few_rows_are_scored_by_a_classifier_of_all() -> None:
    X = np.arange(30, dtype=np.float32)[:, None]
    scores, labels = held_out_scores(RemembersRows(), X, np.arange(30) % 2, share=0.2)
    assert scores.all()
    assert len(labels) == 30


def test_the_average_is_served_as_fixed_curves_of_each_member(
    average: RankAverageClassifier, rows: tuple[pd.DataFrame, Any]
) -> None:
    frame, _ = rows
    steps = average.export_steps(list(frame.columns), "p")
    assert [(step.output, step.model.kind) for step in steps] == [
        ("p_line", LINEAR),
        ("p_line_rank", CURVE),
        ("p_forest", LIGHTGBM),
        ("p_forest_rank", CURVE),
        ("p_boosted", LIGHTGBM),
        ("p_boosted_rank", CURVE),
        ("p_mean", MEAN),
        ("p", CURVE),
    ]
    curve = json.loads(next(step for step in steps if step.output == "p_forest_rank").model.files["knots"])
    assert curve["x"] == average.ranks_["forest"].x.tolist()


def test_the_average_is_the_mean_of_ranks_whatever_rows_come_along(
    average: RankAverageClassifier,
) -> None:
    frame, _ = planted_rows(500, seed=3)
    X = frame.to_numpy(dtype=np.float32)
    expected = []
    for row in X:
        ranks = [
            through(average.ranks_[name], member._risk(row[None]))[0]
            for name, member in average.members_.items()
        ]
        mean = float(np.sum(to_float32(np.asarray(ranks)), dtype=np.float64)) / len(ranks)
        expected.append(through(average.curve_, np.asarray([mean]))[0])
    assert average.risk_score(frame) == pytest.approx(expected, abs=1e-15)


def test_steps_of_a_bundle_score_as_the_average_does(average: RankAverageClassifier) -> None:
    frame, _ = planted_rows(500, seed=3)
    columns = {name: frame[name].to_numpy() for name in frame}
    for step in average.export_steps(list(frame.columns), "p"):
        inputs = np.column_stack([columns[name] for name in step.inputs]).astype(np.float32)
        columns[step.output] = load_runtime(step.model.kind, step.model.files).run(inputs)
    assert columns["p"].tobytes() == average.risk_score(frame).tobytes()


def test_the_average_ranks_no_worse_than_its_worst_member_and_is_calibrated(
    average: RankAverageClassifier,
) -> None:
    frame, fraud = planted_rows(3000, seed=4)
    X = frame.to_numpy(dtype=np.float32)
    worst = min(roc_auc_score(fraud, member._risk(X)) for member in average.members_.values())
    found = average.risk_score(frame)
    assert roc_auc_score(fraud, found) >= worst
    assert found.mean() == pytest.approx(fraud.mean(), abs=0.02)


def test_balanced_bagging_is_calibrated_back_to_the_usual_rate(rows: tuple[pd.DataFrame, Any]) -> None:
    forest = RandomForest(n_estimators=30, min_samples_leaf=2, balanced_bagging=True, random_state=0)
    frame, fraud = planted_rows(3000, seed=4)
    balanced = forest.fit(*rows).risk_score(frame)
    calibrated = CalibratedClassifier(forest, random_state=0).fit(*rows)
    assert balanced.mean() > 1.4 * fraud.mean()
    assert calibrated.risk_score(frame).mean() == pytest.approx(fraud.mean(), abs=0.02)
    assert brier_score_loss(fraud, calibrated.risk_score(frame)) < brier_score_loss(fraud, balanced)
    assert isinstance(calibrated.curve_, CurveRuntime)


def test_what_can_not_be_averaged_is_refused(rows: tuple[pd.DataFrame, Any]) -> None:
    with pytest.raises(ValueError, match="members"):
        RankAverageClassifier(()).fit(*rows)
    with pytest.raises(ValueError, match="'forest'"):
        make_classifier("forest", seed=0)
