"""Laws of every scorer, found by discovery: a new subclass of RiskScorer is tested without a word here."""

from __future__ import annotations

import copy
import importlib
import pkgutil
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import ml
from ml.estimators.anomaly import AutoencoderDetector, IsolationForestDetector, OneClassSvmDetector
from ml.estimators.base import RiskScorer
from ml.estimators.ensemble import CalibratedClassifier, RankAverageClassifier
from ml.estimators.foreign_detector import EstimatorDetector
from ml.estimators.hybrid import HybridFraudPipeline
from ml.estimators.linear_and_neural import LogisticClassifier, NeuralClassifier
from ml.estimators.segmenter import Segmenter
from ml.estimators.trees import LightGBMClassifier, RandomForest, XGBoostClassifier, default_lightgbm
from ml.runtimes.kinds import DENSE_KINDS, load_runtime
from ml.scoring.parity import DENSE_TOLERANCE, PARITY_TOLERANCE
from tests.support.planted_fraud import planted_rows

pytestmark = pytest.mark.slow

# Small versions of scorers whose default size is for real data; others are tested as they come.
SMALL: dict[type[RiskScorer], dict[str, Any]] = {
    IsolationForestDetector: {"n_estimators": 10},
    EstimatorDetector: {"estimator": IsolationForest(n_estimators=10)},
    HybridFraudPipeline: {
        "anomaly_detector": IsolationForestDetector(n_estimators=5),
        "classifier": default_lightgbm(n_estimators=10, learning_rate=0.2, n_jobs=1),
        "n_splits": 2,
    },
    OneClassSvmDetector: {"n_prototypes": 64},
    AutoencoderDetector: {"hidden": (8, 3, 8), "epochs": 8},
    NeuralClassifier: {"hidden": (8,), "epochs": 60, "dropout": 0.0},
    RandomForest: {"n_estimators": 10, "min_samples_leaf": 1},
    XGBoostClassifier: {"n_estimators": 10, "min_child_weight": 0.1, "learning_rate": 0.3},
    LightGBMClassifier: {"n_estimators": 15, "min_child_samples": 5, "learning_rate": 0.3},
    CalibratedClassifier: {"classifier": LogisticClassifier(C=1.0)},
    RankAverageClassifier: {
        "members": (
            ("line", LogisticClassifier(C=1.0)),
            ("trees", XGBoostClassifier(n_estimators=10, min_child_weight=0.1, learning_rate=0.3)),
        )
    },
}


def discovered() -> list[type[RiskScorer]]:
    for module in pkgutil.walk_packages(ml.__path__, "ml."):
        importlib.import_module(module.name)
    found: list[type[RiskScorer]] = []
    waiting: list[type[RiskScorer]] = [RiskScorer]
    while waiting:
        for subclass in waiting.pop().__subclasses__():
            waiting.append(subclass)
            if subclass.__module__.startswith("ml.") and not has_abstract_methods(subclass):
                found.append(subclass)
    return sorted(set(found), key=lambda scorer: scorer.__name__)


def has_abstract_methods(scorer: type) -> bool:
    """Look for what a base leaves to its subclasses: scikit-learn's estimators have no abstract metaclass."""
    return any(getattr(getattr(scorer, name), "__isabstractmethod__", False) for name in dir(scorer))


SCORERS = discovered()
SERVED = [scorer for scorer in SCORERS if hasattr(scorer, "export_steps")]


def make(scorer: type[RiskScorer]) -> RiskScorer:
    return scorer(**SMALL.get(scorer, {}), random_state=3)


@cache
def fit_on_planted(scorer: type[RiskScorer]) -> Any:
    frame, fraud = planted_rows()
    return make(scorer).fit(frame, fraud)  # type: ignore[attr-defined]


@pytest.fixture(params=SCORERS, ids=lambda scorer: scorer.__name__)
def fitted(request: pytest.FixtureRequest) -> Any:
    return fit_on_planted(request.param)


@pytest.fixture(params=SERVED, ids=lambda scorer: scorer.__name__)
def served(request: pytest.FixtureRequest) -> Any:
    """Return a fitted scorer that fits into bundles."""
    return fit_on_planted(request.param)


def test_the_known_scorers_are_discovered() -> None:
    assert {IsolationForestDetector, HybridFraudPipeline} <= set(SCORERS)
    assert {scorer.__name__ for scorer in SMALL} <= {scorer.__name__ for scorer in SCORERS}
    assert len(SCORERS) == 13
    assert set(SCORERS) - set(SERVED) == {EstimatorDetector}


@parametrize_with_checks([*[make(scorer) for scorer in SCORERS], Segmenter(random_state=3)])
def test_scikit_learn_accepts_it_as_an_estimator(estimator: Any, check: Any) -> None:
    check(estimator)


def test_scores_are_finite_and_between_0_and_1(fitted: Any) -> None:
    frame, _ = planted_rows(seed=1)
    extreme = pd.DataFrame(
        [np.full(frame.shape[1], value, dtype=np.float32) for value in (np.nan, 3e38, -3e38, 0)],
        columns=frame.columns,
    )
    scores = fitted.risk_score(pd.concat([frame, extreme]))
    assert scores.dtype == np.float64
    assert scores.shape == (len(frame) + len(extreme),)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    assert (scores <= 1).all()


def test_a_row_scores_the_same_bits_alone_or_in_a_batch(fitted: Any) -> None:
    frame, _ = planted_rows(200, seed=1)
    alone = np.concatenate([fitted.risk_score(frame.iloc[[index]]) for index in range(len(frame))])
    assert fitted.risk_score(frame).tobytes() == alone.tobytes()


def test_the_order_of_columns_does_not_matter(fitted: Any) -> None:
    frame, _ = planted_rows(200, seed=1)
    turned = frame[frame.columns[::-1]]
    assert fitted.risk_score(turned).tobytes() == fitted.risk_score(frame).tobytes()


def test_a_missing_or_extra_feature_is_refused(fitted: Any) -> None:
    frame, _ = planted_rows(20)
    with pytest.raises(ValueError, match="feature names"):
        fitted.risk_score(frame.drop(columns="amount_minor"))
    with pytest.raises(ValueError, match="feature names"):
        fitted.risk_score(frame.assign(surplus=1.0))
    with pytest.raises(ValueError, match="feature names"):
        fitted.risk_score(frame.rename(columns={"amount_minor": "amount"}))


def test_the_same_seed_gives_the_same_bits(fitted: Any) -> None:
    frame, fraud = planted_rows()
    again = clone(fitted).fit(frame, fraud)
    assert again.risk_score(frame).tobytes() == fitted.risk_score(frame).tobytes()


def test_the_same_seed_gives_the_same_hashes(served: Any) -> None:
    frame, fraud = planted_rows()
    columns = list(frame.columns)
    again = clone(served).fit(frame, fraud)
    assert again.export_steps(columns, "risk") == served.export_steps(columns, "risk")


def test_planted_fraud_scores_higher(fitted: Any) -> None:
    frame, fraud = planted_rows(seed=1)
    assert roc_auc_score(fraud, fitted.risk_score(frame)) > 0.5


def test_training_does_not_change_its_input(fitted: Any) -> None:
    frame, fraud = planted_rows()
    before = frame.copy()
    clone(fitted).fit(frame, fraud).risk_score(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_a_copy_scores_the_same_bits(fitted: Any) -> None:
    frame, _ = planted_rows(100, seed=1)
    copied = copy.deepcopy(fitted)
    assert copied.risk_score(frame).tobytes() == fitted.risk_score(frame).tobytes()


def test_its_bundle_scores_the_same_bits_and_holds_no_training_row(served: Any) -> None:
    frame, _ = planted_rows()
    matrix = frame.to_numpy(dtype=np.float32)
    steps = served.export_steps(list(frame.columns), "risk")
    columns = {name: matrix[:, index] for index, name in enumerate(frame.columns)}
    for step in steps:
        inputs = np.column_stack([columns[name] for name in step.inputs]).astype(np.float32)
        runtime = load_runtime(step.model.kind, step.model.files)
        columns[step.output] = runtime.run(inputs)
    assert np.clip(columns["risk"], 0, 1).tobytes() == served.risk_score(frame).tobytes()
    stored = b"".join(content for step in steps for content in step.model.files.values())
    for row in matrix[np.isfinite(matrix).all(axis=1)]:
        assert row.tobytes() not in stored
        assert row.astype(np.float64).tobytes() not in stored


def test_the_runtimes_agree_with_the_trained_objects(served: Any) -> None:
    frame, _ = planted_rows(seed=4)
    matrix = frame.to_numpy(dtype=np.float32)
    kinds = {step.output: step.model.kind for step in served.export_steps(list(frame.columns), "risk")}
    tolerance = DENSE_TOLERANCE if DENSE_KINDS & set(kinds.values()) else PARITY_TOLERANCE
    trained = served.trained_outputs(matrix, "risk")
    assert set(trained) == set(kinds)
    assert served.risk_score(frame) == pytest.approx(trained["risk"], abs=tolerance, rel=0)
    # a decision can differ only as near to the threshold as the scores are to each other
    threshold = np.quantile(trained["risk"], 0.95)
    flips = (served.risk_score(frame) >= threshold) != (trained["risk"] >= threshold)
    assert (np.abs(trained["risk"][flips] - threshold) <= tolerance).all()
