"""The hybrid: out of fold, composed by arguments, and the same bits from its parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from ml.errors import BundleError
from ml.estimators.anomaly import AnomalyDetector, IsolationForestDetector, column_medians
from ml.estimators.detectors import make_detector
from ml.estimators.hybrid import HybridFraudPipeline, out_of_fold_scores
from ml.estimators.trees import default_lightgbm, export_classifier
from ml.runtimes.matrix import Float32Matrix, Float64Vector
from tests.support.planted_fraud import NAMES, fitted_pipeline, planted_rows


class SeenBefore(AnomalyDetector):
    """Scores 1 for rows that it was fitted on, 0 for all others."""

    def _fit_matrix(self, X: Float32Matrix) -> None:
        self.seen_ = set(X[:, 0].tolist())

    def _risk(self, X: Float32Matrix) -> Float64Vector:
        return np.asarray([value in self.seen_ for value in X[:, 0].tolist()], dtype=np.float64)

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return self._risk(X)


def small_lightgbm() -> Any:
    return default_lightgbm(n_estimators=20, n_jobs=1)


def test_no_row_is_scored_by_a_detector_that_has_seen_it() -> None:
    X = np.arange(23, dtype=np.float32).reshape(-1, 1)
    assert out_of_fold_scores(SeenBefore(), X, n_splits=5) == pytest.approx(np.zeros((23, 1)))
    assert SeenBefore().fit(X).risk_score(X) == pytest.approx(np.ones(23))


def test_blocks_are_consecutive() -> None:
    X = np.arange(20, dtype=np.float32).reshape(-1, 1)

    class FitsOnBoth(SeenBefore):
        def _risk(self, X: Float32Matrix) -> Float64Vector:
            mine = X[:, 0].tolist()
            between = any(min(mine) < value < max(mine) for value in self.seen_)
            return np.full(len(X), float(between))

    assert out_of_fold_scores(FitsOnBoth(), X, n_splits=4) == pytest.approx(np.zeros((20, 1)))


def test_the_classifier_gets_the_anomaly_score_as_its_last_column() -> None:
    frame, fraud = planted_rows()
    pipeline = clone(fitted_pipeline()).fit(frame, fraud)
    assert pipeline.classifier_.n_features_in_ == len(NAMES) + 1
    anomaly = pipeline.anomaly_score(frame)
    assert anomaly is not None
    appended = np.column_stack([frame.to_numpy(), anomaly.astype(np.float32)])
    expected = pipeline.classifier_.predict_proba(appended)[:, 1]
    assert pipeline.predict_proba(frame)[:, 1].tobytes() == expected.tobytes()


def test_the_detector_sees_only_its_features() -> None:
    frame, _ = planted_rows()
    changed = frame.assign(merchant_risk_fraud_rate_7d=np.float32(0.9))
    pipeline = fitted_pipeline()
    assert np.array_equal(pipeline.anomaly_score(frame), pipeline.anomaly_score(changed))
    assert not np.array_equal(pipeline.risk_score(frame), pipeline.risk_score(changed))


def test_features_of_the_detector_may_be_named() -> None:
    frame, fraud = planted_rows()
    by_name = HybridFraudPipeline(
        IsolationForestDetector(n_estimators=10),
        small_lightgbm(),
        anomaly_features=NAMES[:3],
        random_state=0,
    ).fit(frame, fraud)
    by_position = clone(by_name).set_params(anomaly_features=[0, 1, 2]).fit(frame, fraud)
    assert np.array_equal(by_name.risk_score(frame), by_position.risk_score(frame))


def test_without_a_detector_it_is_the_classifier_alone() -> None:
    frame, fraud = planted_rows()
    pipeline = HybridFraudPipeline(None, small_lightgbm(), random_state=0).fit(frame, fraud)
    assert pipeline.anomaly_score(frame) is None
    alone = clone(pipeline.classifier_).fit(frame.to_numpy(), fraud)
    assert np.array_equal(pipeline.predict_proba(frame), alone.predict_proba(frame.to_numpy()))


def test_a_callable_may_stand_for_the_detector() -> None:
    frame, fraud = planted_rows()

    def unusual_amount(X: Float32Matrix) -> Float64Vector:
        return np.clip(X[:, 0] / 1e5, 0, 1).astype(np.float64)

    pipeline = HybridFraudPipeline(unusual_amount, small_lightgbm(), random_state=0).fit(frame, fraud)
    assert np.array_equal(pipeline.anomaly_score(frame), unusual_amount(frame.to_numpy()))


class RemembersRows(BaseEstimator):
    """Finds unusual what it was not fitted on."""

    def fit(self, X: Any) -> RemembersRows:
        """Remember rows."""
        self.seen_ = set(X[:, 0].tolist())
        return self

    def score_samples(self, X: Any) -> Any:
        """Return 1 for rows of ``fit``, 0 for others."""
        return np.asarray([value in self.seen_ for value in X[:, 0].tolist()], dtype=np.float64)


ESTIMATORS = [
    IsolationForest(n_estimators=10),
    LocalOutlierFactor(novelty=True),
    OneClassSVM(nu=0.1),
    make_pipeline(StandardScaler(), IsolationForest(n_estimators=10)),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_an_estimator_may_stand_for_the_detector(estimator: Any) -> None:
    frame, fraud = planted_rows()
    pipeline = HybridFraudPipeline(estimator, small_lightgbm(), random_state=0).fit(frame, fraud)
    assert not hasattr(estimator, "n_features_in_")  # a clone is fitted
    assert pipeline.classifier_.n_features_in_ == len(NAMES) + 1
    risk = pipeline.anomaly_score(frame)
    assert risk is not None
    assert ((risk > 0) & (risk < 1)).all()
    assert roc_auc_score(fraud, risk) > 0.5
    filled = np.where(np.isnan(frame), column_medians(frame.to_numpy()), frame).astype(np.float32)
    usual = pipeline.detector_.estimator_.score_samples(filled)
    # the map is of one number, learned at fit: it keeps the order and knows no other row
    assert np.array_equal(np.argsort(risk, kind="stable"), np.argsort(-usual, kind="stable"))
    assert np.median(risk) == pytest.approx(0.5, abs=1e-9)
    again = clone(pipeline).fit(frame, fraud)
    assert again.risk_score(frame).tobytes() == pipeline.risk_score(frame).tobytes()


def test_no_row_is_scored_by_an_estimator_that_has_seen_it() -> None:
    X = np.arange(23, dtype=np.float32).reshape(-1, 1)
    scores = out_of_fold_scores(make_detector(RemembersRows(), 0), X, n_splits=5)
    assert scores is not None
    assert (scores > 0.5).all()


def test_a_pipeline_with_an_estimator_can_not_be_published() -> None:
    frame, fraud = planted_rows()
    forest = IsolationForest(n_estimators=5)
    pipeline = HybridFraudPipeline(forest, small_lightgbm(), random_state=0).fit(frame, fraud)
    with pytest.raises(BundleError, match="runtime serves, got IsolationForest: publish with one of"):
        pipeline.export_steps(NAMES, "risk")
    called = HybridFraudPipeline(lambda X: np.zeros(len(X)), small_lightgbm(), random_state=0)
    with pytest.raises(BundleError, match="runtime serves, got function"):
        called.fit(frame, fraud).export_steps(NAMES, "risk")


@pytest.mark.parametrize(
    ("detector", "told"),
    [
        (IsolationForest, r"the class IsolationForest: write IsolationForest\(\)"),
        (IsolationForestDetector, r"write IsolationForestDetector\(\)"),
        (LocalOutlierFactor(), "LocalOutlierFactor without score_samples"),
        (LogisticRegression(), "LogisticRegression without score_samples"),
        (3, "int without fit, score_samples, get_params"),
    ],
)
def test_what_is_no_detector_is_refused(detector: Any, told: str) -> None:
    frame, fraud = planted_rows()
    with pytest.raises(TypeError, match=told):
        HybridFraudPipeline(detector, small_lightgbm(), random_state=0).fit(frame, fraud)


@pytest.mark.parametrize(
    "called",
    [
        lambda X: X[:, :1],
        lambda X: np.zeros(len(X) - 1),
        lambda X: np.full(len(X), np.nan),
        lambda X: np.full(len(X), np.inf),
        lambda X: np.full(len(X), 1.5),
        lambda X: np.full(len(X), -0.1),
        lambda X: 0.5,
    ],
)
def test_a_callable_that_gives_no_risks_is_refused(called: Any) -> None:
    frame, fraud = planted_rows()
    pipeline = HybridFraudPipeline(called, small_lightgbm(), random_state=0)
    with pytest.raises(ValueError, match=r"expected 1200 finite scores in \[0, 1\]"):
        pipeline.fit(frame, fraud)


def test_an_estimator_whose_scores_are_no_numbers_is_refused() -> None:
    class NoNumbers(RemembersRows):
        def score_samples(self, X: Any) -> Any:
            return np.full(len(X), np.nan)

    frame, _ = planted_rows()
    with pytest.raises(ValueError, match=r"finite scores of NoNumbers\.score_samples"):
        make_detector(NoNumbers(), 0).fit(frame)


def test_any_classifier_may_be_composed_but_only_served_ones_exported() -> None:
    frame, fraud = planted_rows()
    complete = frame.fillna(0)
    linear = make_pipeline(StandardScaler(), LogisticRegression())
    pipeline = HybridFraudPipeline(IsolationForestDetector(n_estimators=10), linear, random_state=0)
    assert pipeline.fit(complete, fraud).predict_proba(complete).shape == (len(frame), 2)
    with pytest.raises(BundleError, match="Pipeline"):
        export_classifier(pipeline.classifier_)


def test_one_class_is_refused() -> None:
    frame, fraud = planted_rows()
    with pytest.raises(ValueError, match="two classes"):
        HybridFraudPipeline(random_state=0).fit(frame, np.zeros_like(fraud))


def test_medians_ignore_what_is_missing() -> None:
    X = np.array([[1, np.nan, np.nan], [3, 5, np.nan], [np.nan, 7, np.nan]], dtype=np.float32)
    assert column_medians(X).tolist() == [2.0, 6.0, 0.0]


def test_the_runtime_of_the_forest_is_scikit_learns_forest() -> None:
    frame, _ = planted_rows(3000)
    detector = IsolationForestDetector(random_state=0).fit(frame)
    assert detector.risk_score(frame) == pytest.approx(detector.trained_risk_score(frame), abs=1e-7)
    filled = np.where(np.isnan(frame), detector.fill_, frame).astype(np.float32)
    assert detector.trained_risk_score(frame) == pytest.approx(-detector.forest_.score_samples(filled))
