"""Search on folds of the past: a fold never trains on what was not known when it began."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from ml.errors import TrainingDataError
from ml.estimators.linear_and_neural import CLASSIFIERS, LogisticClassifier
from ml.evaluation.folds import prequential_folds
from ml.training.search import SPACES, SearchResult, Trial, draw_settings, search
from ml.training.suite import SUITE, make_model, search_space
from tests.support.planted_fraud import planted_rows
from warehouse.times import DAY_US


@given(trials=st.integers(1, 400), seed=st.integers(0, 5), name=st.sampled_from(sorted(SPACES)))
@settings(deadline=None)
def test_settings_are_different_ones_of_the_space_the_usual_first(trials: int, seed: int, name: str) -> None:
    space = SPACES[name]
    drawn = draw_settings(space, trials=trials, seed=seed)
    assert drawn[0] == {}
    assert drawn == draw_settings(space, trials=trials, seed=seed)
    size = int(np.prod([len(values) for values in space.values()]))
    assert len(drawn) == min(trials, size + 1)
    assert len({tuple(sorted(setting.items())) for setting in drawn}) == len(drawn)
    for setting in drawn[1:]:
        assert set(setting) == set(space)
        assert all(value in space[parameter] for parameter, value in setting.items())


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_every_classifier_has_a_space_of_its_own_parameters(name: str) -> None:
    assert set(SPACES[name]) <= set(CLASSIFIERS[name]().get_params())


def test_the_setting_that_ranks_best_on_later_rows_wins() -> None:
    frame, fraud = planted_rows(4000)
    event_us = np.arange(len(frame)) * (60 * DAY_US // len(frame))
    told: list[tuple[int, int]] = []
    found = search(
        LogisticClassifier(),
        [{}, {"C": 1e-6}, {"C": 1.0}],
        frame.to_numpy(dtype=np.float32),
        fraud,
        folds=prequential_folds(event_us, event_us + 7 * DAY_US, folds=2),
        progress=lambda done, total: told.append((done, total)),
    )
    assert [len(trial.scores) for trial in found.trials] == [2, 2, 2]
    assert found.best.mean == max(trial.mean for trial in found.trials)
    assert found.trials[1].mean < found.best.mean
    assert told == [(done, 6) for done in range(7)]


def test_a_model_of_the_suite_takes_up_the_best_setting() -> None:
    frame, fraud = planted_rows(4000)
    model = make_model("logistic_regression", [], seed=0)
    event_us = np.arange(len(frame)) * (60 * DAY_US // len(frame))
    found = search(
        model,
        draw_settings(search_space(model), trials=3, seed=0),
        frame.to_numpy(dtype=np.float32),
        fraud,
        folds=prequential_folds(event_us, event_us + 7 * DAY_US, folds=2),
    )
    model.set_params(**found.best.parameters).fit(frame, fraud)
    for name, value in found.best.parameters.items():
        assert getattr(model.classifier_, name.rpartition("__")[2]) == value


def test_of_equal_trials_the_earliest_is_best() -> None:
    trials = tuple(Trial(parameters={"C": c}, scores=(0.5, 0.7)) for c in (1.0, 2.0))
    assert SearchResult(trials).best is trials[0]


def test_a_fold_without_frauds_is_told_so() -> None:
    frame, fraud = planted_rows(400)
    event_us = np.arange(400) * (DAY_US // 4)
    with pytest.raises(TrainingDataError, match="frauds or more in both parts of fold 1"):
        search(
            LogisticClassifier(),
            [{}],
            frame.to_numpy(dtype=np.float32),
            np.where(np.arange(400) < 300, False, fraud),
            folds=prequential_folds(event_us, event_us + 7 * DAY_US, folds=2),
        )


ONE_CLASSIFIER = (
    "hybrid",
    "lightgbm",
    "xgboost",
    "random_forest",
    "balanced_bagging",
    "mlp",
    "logistic_regression",
)


@pytest.mark.parametrize("name", ONE_CLASSIFIER)
def test_a_model_of_one_classifier_can_be_set_to_all_that_is_searched(name: str) -> None:
    model = make_model(name, [], seed=0)
    for setting in draw_settings(search_space(model), trials=5, seed=0):
        changed = clone(model).set_params(**setting).get_params()
        assert setting.items() <= changed.items()


@pytest.mark.parametrize("name", sorted(set(SUITE) - set(ONE_CLASSIFIER)))
def test_a_model_of_several_classifiers_or_none_has_nothing_to_search(name: str) -> None:
    assert search_space(make_model(name, [], seed=0)) == {}


def test_searching_one_model_leaves_the_suite_as_it_is() -> None:
    make_model("mlp", [], seed=0).set_params(classifier__held_out_share=0.5)
    assert make_model("mlp", [], seed=0).classifier.held_out_share == 0.2
