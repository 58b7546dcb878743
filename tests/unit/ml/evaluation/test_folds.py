"""Folds respect classes, time and the moment labels became known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ml.errors import TrainingDataError
from ml.evaluation.folds import prequential_folds, stratified_folds
from ml.evaluation.metrics import evaluate_scores
from ml.evaluation.report import cross_validate
from ml.rows.facts import RowFacts
from tests.support.planted_fraud import planted_rows

DAY_US = 86_400_000_000


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=12, max_size=80), st.integers(2, 5))
def test_stratified_folds_share_rows_and_frauds(labels: list[bool], folds: int) -> None:
    fraud = np.asarray(labels)
    if min(fraud.sum(), (~fraud).sum()) < folds:
        with pytest.raises(TrainingDataError, match="of each class"):
            stratified_folds(fraud, folds=folds)
        return
    cut = stratified_folds(fraud, folds=folds)
    assert sorted(np.concatenate([test for _, test in cut]).tolist()) == list(range(len(fraud)))
    for train, test in cut:
        assert sorted([*train.tolist(), *test.tolist()]) == list(range(len(fraud)))
        assert abs(int(fraud[test].sum()) - fraud.sum() / folds) < 1
        assert np.all(np.diff(train) > 0)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), min_size=2, max_size=60), st.integers(1, 4)
)
def test_a_prequential_fold_trains_on_what_was_known_when_its_test_began(
    rows: list[tuple[int, int]], folds: int
) -> None:
    event_us = np.sort(np.asarray([day for day, _ in rows], dtype=np.int64) * DAY_US)
    known_us = event_us + np.asarray([delay for _, delay in rows], dtype=np.int64) * DAY_US
    end = int(event_us.max()) + 1
    first_start = end - folds * 5 * DAY_US
    if not ((event_us < first_start) & (known_us <= first_start)).any():
        with pytest.raises(TrainingDataError, match="known before"):
            prequential_folds(event_us, known_us, folds=folds, test_us=5 * DAY_US)
        return
    cut = prequential_folds(event_us, known_us, folds=folds, test_us=5 * DAY_US)
    for number, (train, test) in enumerate(cut):
        start = end - (folds - number) * 5 * DAY_US
        stop = start + 5 * DAY_US
        assert train.tolist() == [
            index for index in range(len(rows)) if event_us[index] < start and known_us[index] <= start
        ]
        assert test.tolist() == [index for index in range(len(rows)) if start <= event_us[index] < stop]


def model() -> Any:
    return make_pipeline(StandardScaler(), LogisticRegression())


def test_cross_validation_measures_each_fold_as_done_by_hand() -> None:
    frame, fraud = planted_rows(600)
    frame = frame.fillna(0.0)
    times = np.arange(600) * DAY_US // 20
    facts = RowFacts(event_us=times, label_known_us=times + 2 * DAY_US)
    told: list[tuple[str, int, int]] = []
    found = cross_validate(
        model(), frame, fraud, facts=facts, folds=3, prequential=2, progress=lambda *step: told.append(step)
    )
    assert [(validation.kind, len(validation.folds)) for validation in found] == [
        ("stratified", 3),
        ("prequential", 2),
    ]
    assert told[-1] == ("prequential", 2, 2)
    train, test = prequential_folds(times, times + 2 * DAY_US, folds=2)[1]
    fitted = model().fit(frame.iloc[train], fraud[train])
    by_hand = evaluate_scores(fitted.predict_proba(frame.iloc[test])[:, 1], fraud[test])
    assert found[1].folds[1].figures.auc_roc == by_hand.auc_roc
    assert found[1].folds[1].train_rows == len(train)
    areas = [fold.figures.auc_roc for fold in found[0].folds]
    assert found[0].spread()["auc_roc"] == {
        "mean": pytest.approx(np.mean(areas)),
        "deviation": pytest.approx(np.std(areas, ddof=1)),
    }
    assert "card_precision" not in found[0].spread()


def test_without_times_there_are_no_prequential_folds() -> None:
    frame, fraud = planted_rows(400)
    found = cross_validate(model(), frame.fillna(0.0), fraud, folds=2)
    assert [validation.kind for validation in found] == ["stratified"]


def test_a_fold_without_frauds_is_told() -> None:
    frame, fraud = planted_rows(400)
    fraud[200:] = False
    times = np.arange(400) * DAY_US
    facts = RowFacts(event_us=times, label_known_us=times)
    with pytest.raises(TrainingDataError, match="prequential fold 1"):
        cross_validate(model(), frame.fillna(0.0), fraud, facts=facts, folds=0)
