"""Trees of other libraries, written as LightGBM's text, score and are explained as by their own library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from imblearn.ensemble import BalancedRandomForestClassifier
from sklearn.ensemble import IsolationForest, RandomForestClassifier

from ml.runtimes.kinds import IsolationForestRuntime
from ml.runtimes.lightgbm_library import NativeBooster
from ml.runtimes.lightgbm_text import Tree, forest_trees, isolation_trees, lightgbm_text, xgboost_trees
from ml.runtimes.matrix import Float32Matrix, Float64Vector

FEATURES = 4


def rows(count: int, *, seed: int = 0) -> tuple[Float32Matrix, np.ndarray[Any, Any]]:
    """Draw rows on a coarse grid, so that values meet thresholds exactly; a fifth is missing."""
    generator = np.random.default_rng(seed)
    X = (generator.integers(-8, 8, (count, FEATURES)) / 4).astype(np.float32)
    y = (X[:, 0] + X[:, 1] * X[:, 2] + generator.normal(scale=0.5, size=count) > 1).astype(int)
    X[generator.random(X.shape) < 0.2] = np.nan
    return X, y


def walk(tree: Tree, row: Float32Matrix) -> float:
    """Score one row by one tree, slowly and obviously."""
    node = 0
    while tree.left[node] >= 0:
        value = row[tree.feature[node]]
        goes_left = tree.missing_left[node] if np.isnan(value) else float(value) <= tree.threshold[node]
        node = int(tree.left[node] if goes_left else tree.right[node])
    return float(tree.value[node])


def fit_forest(X: Float32Matrix, y: Any) -> Any:
    return RandomForestClassifier(20, min_samples_leaf=2, random_state=0).fit(X, y)


def fit_balanced(X: Float32Matrix, y: Any) -> Any:
    return BalancedRandomForestClassifier(
        20, sampling_strategy="all", replacement=True, bootstrap=False, random_state=0
    ).fit(X, y)


@pytest.mark.parametrize("fit", [fit_forest, fit_balanced])
def test_a_forest_scores_as_scikit_learn_does(fit: Callable[..., Any]) -> None:
    forest = fit(*rows(800))
    native = NativeBooster(lightgbm_text(forest_trees(forest), n_features=FEATURES, is_log_odds=False))
    X, _ = rows(3000, seed=1)
    assert native.predict(X) == pytest.approx(forest.predict_proba(X)[:, 1], abs=1e-14)


@pytest.mark.parametrize("base_score", [0.5, 0.03])
def test_boosted_trees_score_as_xgboost_does(base_score: float) -> None:
    X, y = rows(800)
    model = xgboost.XGBClassifier(
        n_estimators=40, max_depth=4, tree_method="hist", base_score=base_score, n_jobs=1, random_state=0
    ).fit(X, y)
    text = lightgbm_text(
        xgboost_trees(bytes(model.get_booster().save_raw("json"))), n_features=FEATURES, is_log_odds=True
    )
    X, _ = rows(3000, seed=1)
    # XGBoost adds its leaves in float32
    assert NativeBooster(text).predict(X) == pytest.approx(model.predict_proba(X)[:, 1], abs=1e-6)


@pytest.mark.parametrize("max_samples", [1, 2, 3, 64, 256])
def test_an_isolation_forest_scores_as_scikit_learn_does(max_samples: int) -> None:
    X, _ = rows(800)
    fill = np.array([0.5, -1, 0, 3], dtype=np.float32)
    filled = np.where(np.isnan(X), fill, X)
    forest = IsolationForest(n_estimators=20, max_samples=max_samples, random_state=0).fit(filled)
    text = lightgbm_text(isolation_trees(forest, fill=fill), n_features=FEATURES, is_log_odds=False)
    scores = IsolationForestRuntime(text).run(X)
    assert scores == pytest.approx(-forest.score_samples(filled), abs=1e-14)


@pytest.mark.parametrize("fit", [fit_forest, fit_balanced])
def test_contributions_add_up_to_the_forests_probability(fit: Callable[..., Any]) -> None:
    forest = fit(*rows(800))
    native = NativeBooster(lightgbm_text(forest_trees(forest), n_features=FEATURES, is_log_odds=False))
    X, _ = rows(300, seed=1)
    contributions = native.contributions(X)
    assert contributions.sum(axis=1) == pytest.approx(forest.predict_proba(X)[:, 1], abs=1e-9)
    # the base value is what the trees say on average of the rows that grew them
    assert np.ptp(contributions[:, -1]) == 0


def test_contributions_of_boosted_trees_are_xgboosts_own() -> None:
    X, y = rows(800)
    model = xgboost.XGBClassifier(
        n_estimators=20, max_depth=3, base_score=0.5, n_jobs=1, random_state=0, reg_lambda=1.0
    ).fit(X, y)
    text = lightgbm_text(
        xgboost_trees(bytes(model.get_booster().save_raw("json"))), n_features=FEATURES, is_log_odds=True
    )
    X, _ = rows(300, seed=1)
    theirs = model.get_booster().predict(xgboost.DMatrix(X), pred_contribs=True)
    assert NativeBooster(text).contributions(X) == pytest.approx(theirs, abs=2e-4)


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> Tree:
    """Draw a tree, a single leaf included, whose thresholds lie on the grid of `rows`."""
    left, right, feature, threshold, missing_left, value, cover = [], [], [], [], [], [], []

    def grow(rest: int, weight: float) -> int:
        node = len(left)
        is_leaf = rest == 0 or draw(st.booleans())
        left.append(-1)
        right.append(-1)
        feature.append(0 if is_leaf else draw(st.integers(0, FEATURES - 1)))
        threshold.append(0.0 if is_leaf else draw(st.integers(-9, 9)) / 4)
        missing_left.append(draw(st.booleans()))
        value.append(draw(st.floats(-1, 1, allow_subnormal=False)))
        cover.append(weight)
        if not is_leaf:
            left[node] = grow(rest - 1, weight * 0.75)
            right[node] = grow(rest - 1, weight * 0.25)
        return node

    grow(depth, 100.0)
    return Tree(
        left=np.asarray(left),
        right=np.asarray(right),
        feature=np.asarray(feature),
        threshold=np.asarray(threshold, dtype=np.float64),
        missing_left=np.asarray(missing_left),
        value=np.asarray(value, dtype=np.float64),
        cover=np.asarray(cover, dtype=np.float64),
    )


@settings(deadline=None)
@given(
    forest=st.lists(trees(), min_size=1, max_size=3),
    X=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.just(FEATURES)),
        elements=st.sampled_from([np.nan, -np.inf, np.inf, *(value / 4 for value in range(-9, 10))]),
    ),
)
def test_any_tree_branches_as_it_says(forest: list[Tree], X: Float32Matrix) -> None:
    native = NativeBooster(lightgbm_text(forest, n_features=FEATURES, is_log_odds=False))
    expected: Float64Vector = np.asarray([sum(walk(tree, row) for tree in forest) for row in X])
    assert native.predict(X) == pytest.approx(expected, abs=1e-12)


def test_a_threshold_between_two_float32_values_tells_them_apart() -> None:
    at = np.float32(0.1)
    tree = Tree(
        left=np.array([1, -1, -1]),
        right=np.array([2, -1, -1]),
        feature=np.array([0, 0, 0]),
        threshold=np.array([float(at), 0, 0]),
        missing_left=np.array([False, False, False]),
        value=np.array([0.0, 1.0, 2.0]),
        cover=np.array([2.0, 1.0, 1.0]),
    )
    native = NativeBooster(lightgbm_text([tree], n_features=1, is_log_odds=False))
    around = np.array([[np.nextafter(at, np.float32(0))], [at], [np.nextafter(at, np.float32(1))], [np.nan]])
    assert native.predict(around.astype(np.float32)).tolist() == [1.0, 1.0, 2.0, 2.0]
