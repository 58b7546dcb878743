"""Curves from scores to probabilities and ranks: they say what happened, and keep the order of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from ml.canonical_json import canonical_json
from ml.errors import BundleError
from ml.estimators.calibration import CALIBRATION_METHODS, fit_calibration, fit_ranks, through
from ml.runtimes.curves import CurveRuntime, MeanRuntime
from ml.runtimes.dense import sigmoid
from ml.runtimes.matrix import Float64Vector, to_float32
from tests.support.examples import examples

Labels = np.ndarray[Any, np.dtype[np.bool_]]


def overconfident(rows: int = 20_000, *, seed: int = 0) -> tuple[Float64Vector, Labels, Float64Vector]:
    """Draw scores that are far too high, labels, and the probabilities that the labels were drawn from."""
    generator = np.random.default_rng(seed)
    margin = generator.normal(-3, 1.5, rows)
    probability = sigmoid(margin)
    return sigmoid(2 * margin + 5), generator.random(rows) < probability, probability


@pytest.mark.parametrize("method", CALIBRATION_METHODS)
def test_calibrated_scores_are_the_shares_of_fraud(method: str) -> None:
    scores, labels, _ = overconfident()
    curve = fit_calibration(scores, labels, method=method)
    scores, labels, truth = overconfident(seed=1)
    calibrated = through(curve, scores)
    assert brier_score_loss(labels, calibrated) < brier_score_loss(labels, scores) / 2
    assert np.mean(np.abs(calibrated - truth)) < 0.01
    for group in np.array_split(np.argsort(calibrated), 10):
        share, spread = labels[group].mean(), 3 * np.sqrt(labels[group].mean() / len(group)) + 0.005
        assert calibrated[group].mean() == pytest.approx(share, abs=spread)


@pytest.mark.parametrize("method", CALIBRATION_METHODS)
@settings(deadline=None, max_examples=examples(60))
@given(data=st.data())
def test_a_curve_keeps_the_order_of_scores(method: str, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 40))
    scores = data.draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    labels = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    curve = fit_calibration(scores, labels, method=method)
    asked = np.sort(np.asarray(data.draw(st.lists(st.floats(0, 1), min_size=2, max_size=20))))
    found = through(curve, asked)
    assert (np.diff(found) >= 0).all()
    assert (found >= 0).all()
    assert (found <= 1).all()


def test_scores_beyond_all_that_were_seen_keep_their_order() -> None:
    curve = fit_ranks(np.linspace(0.2, 0.3, 1000))
    found = through(curve, np.array([0.0, 0.1, 0.19, 0.31, 0.6, 1.0]))
    assert (np.diff(found) > 0).all()
    assert (found[0], found[-1]) == (0.0, 1.0)


def test_a_rank_is_the_share_of_past_scores_below() -> None:
    past = np.random.default_rng(0).beta(1, 30, 50_000)
    curve = fit_ranks(past)
    asked = np.quantile(past, [0.1, 0.5, 0.9, 0.99, 0.999])
    expected = [float((past < value).mean()) for value in asked]
    assert through(curve, asked) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("method", CALIBRATION_METHODS)
def test_one_class_alone_teaches_nothing(method: str) -> None:
    curve = fit_calibration([0.1, 0.5, 0.7], [False] * 3, method=method)
    asked = np.array([0.0, 0.25, 1.0])
    assert through(curve, asked).tolist() == asked.tolist()


def test_scores_that_say_the_opposite_become_the_overall_rate() -> None:
    curve = fit_calibration([0.9, 0.8, 0.2, 0.1], [False, False, True, True], method="sigmoid")
    assert set(through(curve, np.array([0.0, 0.5, 1.0]))) == {0.5}


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="'platt'"):
        fit_calibration([0.1, 0.2], [True, False], method="platt")


def test_a_curve_is_read_as_it_was_written() -> None:
    scores, labels, _ = overconfident(500)
    curve = fit_calibration(scores, labels, method="isotonic")
    again = CurveRuntime.from_files(curve.files())
    X = to_float32(np.linspace(0, 1, 999))[:, None]
    assert again.run(X).tobytes() == curve.run(X).tobytes()
    mean = MeanRuntime.from_files(MeanRuntime(3).files())
    assert mean.run(np.array([[0.5, 1.0, 0.0]], dtype=np.float32)).tolist() == [0.5]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([], []),
        ([0.0, 1.0], [0.0]),
        ([1.0, 0.0], [0.0, 1.0]),
        ([0.0, 0.0], [0.0, 1.0]),
        ([0.0, 1.0], [1.0, 0.0]),
        ([0.0, float("inf")], [0.0, 1.0]),
        ([0.0, 1.0], [0.0, float("nan")]),
        ([[0.0, 1.0]], [[0.0, 1.0]]),
        (list(range(10_001)), list(range(10_001))),
    ],
)
def test_knots_that_make_no_rising_curve_are_refused(x: list[Any], y: list[Any]) -> None:
    with pytest.raises(BundleError):
        CurveRuntime(x, y)


@pytest.mark.parametrize("width", [0, -1, 10_001, True, 2.0, "2", None, [2]])
def test_a_mean_of_nonsense_is_refused(width: Any) -> None:
    with pytest.raises(BundleError):
        MeanRuntime.from_files({"width": canonical_json(width)})


def test_no_two_scores_become_equal_probabilities() -> None:
    scores, labels, _ = overconfident(3000)
    curve = fit_calibration(scores, labels, method="isotonic")
    asked = np.unique(to_float32(scores)).astype(np.float64)
    assert (np.diff(through(curve, asked)) > 0).all()
