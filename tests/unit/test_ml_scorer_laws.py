"""Laws of every scorer, found by discovery: a new subclass of RiskScorer is tested without a word here."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted_fraud import planted_rows
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import ml
from ml.anomaly import AnomalyDetector, IsolationForestDetector
from ml.hybrid import HybridFraudPipeline
from ml.risk import RiskScorer
from ml.supervised import default_lightgbm

# Small versions of scorers whose default size is for real data; others are tested as they come.
SMALL: dict[type[RiskScorer], dict[str, Any]] = {
    IsolationForestDetector: {"n_estimators": 10},
    HybridFraudPipeline: {
        "anomaly_detector": IsolationForestDetector(n_estimators=5),
        "classifier": default_lightgbm(n_estimators=10, learning_rate=0.2, n_jobs=1),
        "n_splits": 2,
    },
}


def discovered() -> list[type[RiskScorer]]:
    for module in pkgutil.iter_modules(ml.__path__):
        importlib.import_module(f"ml.{module.name}")
    found: list[type[RiskScorer]] = []
    waiting: list[type[RiskScorer]] = [RiskScorer]
    while waiting:
        for subclass in waiting.pop().__subclasses__():
            waiting.append(subclass)
            if subclass.__module__.startswith("ml.") and not inspect.isabstract(subclass):
                found.append(subclass)
    return sorted(set(found) - {AnomalyDetector}, key=lambda scorer: scorer.__name__)


SCORERS = discovered()


def make(scorer: type[RiskScorer]) -> RiskScorer:
    return scorer(**SMALL.get(scorer, {}), random_state=3)


@pytest.fixture(scope="module", params=SCORERS, ids=lambda scorer: scorer.__name__)
def fitted(request: pytest.FixtureRequest) -> Any:
    frame, fraud = planted_rows()
    return make(request.param).fit(frame, fraud)  # type: ignore[attr-defined]


def test_the_known_scorers_are_discovered() -> None:
    assert {IsolationForestDetector, HybridFraudPipeline} <= set(SCORERS)


@parametrize_with_checks([make(scorer) for scorer in SCORERS])
def test_scikit_learn_accepts_it_as_an_estimator(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        # scikit-learn says by a warning that it skips its array API check, which needs SciPy's own switch
        warnings.filterwarnings("ignore", message=".*SCIPY_ARRAY_API.*")
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


def test_planted_fraud_scores_higher(fitted: Any) -> None:
    frame, fraud = planted_rows(seed=1)
    assert roc_auc_score(fraud, fitted.risk_score(frame)) > 0.5


def test_training_does_not_change_its_input(fitted: Any) -> None:
    frame, fraud = planted_rows()
    before = frame.copy()
    clone(fitted).fit(frame, fraud).risk_score(frame)
    pd.testing.assert_frame_equal(frame, before)
