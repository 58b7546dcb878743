"""Scoring: the same bits alone, in a batch and as trained; nothing heavy is imported; reasons add up."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.errors import FeatureRowError
from ml.estimators.trees import export_classifier
from ml.runtimes.lightgbm_library import NativeBooster
from ml.runtimes.matrix import rows_to_matrix
from ml.scoring.graph import ROWS_A_THREAD
from ml.scoring.scorer import Score, Scorer
from tests.support.planted_fraud import NAMES, as_rows, fitted_pipeline, planted_rows, publish_planted


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_planted(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def scorer(bundle_dir: Path) -> Scorer:
    return Scorer.load(bundle_dir)


def planted(rows: int = 300, seed: int = 5) -> list[dict[str, Any]]:
    return as_rows(planted_rows(rows, seed=seed)[0])


def test_scores_are_those_of_the_pipeline_to_the_last_bit(scorer: Scorer) -> None:
    frame, _ = planted_rows(300, seed=5)
    scores = scorer.score(as_rows(frame), explain="none")
    assert [score.fraud_probability for score in scores] == fitted_pipeline().risk_score(frame).tolist()
    anomaly = fitted_pipeline().anomaly_score(frame)
    assert anomaly is not None
    assert [score.anomaly_score for score in scores] == anomaly.tolist()


def test_a_row_scores_and_is_explained_alike_alone_or_in_a_batch(scorer: Scorer) -> None:
    rows = planted()
    together = scorer.score(rows, explain="all")
    assert together == [scorer.score([row], explain="all")[0] for row in rows]
    assert together[::-1] == scorer.score(rows[::-1], explain="all")


def test_threads_share_a_scorer(scorer: Scorer) -> None:
    rows = planted()
    expected = scorer.score(rows, explain="all")
    found: list[list[Score]] = []
    threads = [
        threading.Thread(target=lambda: found.append(scorer.score(rows, explain="all"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_threads_that_share_many_rows_change_no_bit(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    rows = planted(3 * ROWS_A_THREAD + 1)
    apart = [rows[start : start + 100] for start in range(0, len(rows), 100)]
    alone = [score for part in apart for score in scorer.score(part)]
    assert any(score.reasons for score in alone)
    assert scorer.score(rows) == alone


def test_decisions_follow_the_thresholds(scorer: Scorer) -> None:
    scores = scorer.score(planted(1000), explain="none")
    thresholds = scorer.bundle.thresholds
    assert {score.decision for score in scores} == {"approve", "review", "decline"}
    assert all(score.decision == thresholds.decide(score.fraud_probability) for score in scores)


def test_explain_says_which_rows_get_reasons(scorer: Scorer) -> None:
    rows = planted()
    for score in scorer.score(rows, explain="alerts"):
        assert bool(score.reasons) == (score.decision != "approve")
    assert not any(score.reasons for score in scorer.score(rows, explain="none"))
    every = scorer.score(rows, explain="all")
    assert sum(bool(score.reasons) for score in every) > len(rows) / 2
    stripped = [dataclasses.replace(score, reasons=()) for score in every]
    assert stripped == scorer.score(rows, explain="none")
    with pytest.raises(ValueError, match="'some'"):
        scorer.score(rows, explain="some")  # type: ignore[arg-type]


def test_reasons_are_sentences_strongest_first(scorer: Scorer) -> None:
    for score in scorer.score(planted(1000), explain="alerts"):
        contributions = [reason.contribution for reason in score.reasons]
        assert contributions == sorted(contributions, reverse=True)
        assert all(contribution > 0 for contribution in contributions)
        assert len({reason.feature for reason in score.reasons}) == len(score.reasons)
        assert all(reason.text and "nan" not in reason.text.lower() for reason in score.reasons)


def test_contributions_are_exact() -> None:
    frame, _ = planted_rows(200)
    pipeline = fitted_pipeline()
    anomaly = pipeline.anomaly_score(frame)
    assert anomaly is not None
    inputs = np.column_stack([frame.to_numpy(), anomaly.astype(np.float32)])
    native = NativeBooster(export_classifier(pipeline.classifier_).files["trees"])
    contributions = native.contributions(inputs)
    assert contributions.shape == (200, len(NAMES) + 2)
    margin = pipeline.classifier_.booster_.predict(inputs, raw_score=True)
    assert contributions.sum(axis=1) == pytest.approx(margin, abs=1e-9)
    same = pipeline.classifier_.booster_.predict(inputs, pred_contrib=True, num_threads=1)
    assert contributions.tobytes() == np.ascontiguousarray(same).tobytes()
    assert native.predict(inputs) == pytest.approx(1 / (1 + np.exp(-margin)), abs=1e-12)


def test_other_keys_of_a_row_are_ignored(scorer: Scorer) -> None:
    row = planted(1)[0]
    more = {**row, "customer_id": "c", "surplus": "text", "attributes_number": {"V1": 1.0, "V2": 2.0}}
    plain = {**row, "attributes_number": {"V1": 1.0}}
    assert scorer.score([more]) == scorer.score([plain])


def test_an_attribute_that_a_row_lacks_is_missing(scorer: Scorer) -> None:
    row = planted(1)[0]
    rows = [{**row, "attributes_number": given} for given in ({}, None, {"V1": None})]
    rows.append({name: value for name, value in row.items() if name != "attributes_number"})
    assert len(set(scorer.score(rows, explain="all"))) == 1


def test_missing_values_are_none(scorer: Scorer) -> None:
    empty: dict[str, Any] = {name: None for name in NAMES if "." not in name}
    (score,) = scorer.score([empty], explain="all")
    assert 0 <= score.fraud_probability <= 1
    matrix = rows_to_matrix([dict.fromkeys(NAMES)], NAMES)
    assert score.fraud_probability == scorer.outputs(matrix)["fraud_probability"][0]


def test_a_row_without_a_feature_or_with_text_is_refused(scorer: Scorer) -> None:
    row = planted(1)[0]
    with pytest.raises(FeatureRowError, match="amount_minor"):
        scorer.score([{name: value for name, value in row.items() if name != "amount_minor"}])
    with pytest.raises(FeatureRowError):
        scorer.score([{**row, "amount_minor": "12"}])
    with pytest.raises(FeatureRowError):
        scorer.score([{**row, "attributes_number": {"V1": "12"}}])


def test_no_rows_give_no_scores(scorer: Scorer) -> None:
    assert scorer.score([]) == []


def test_a_matrix_of_another_width_is_refused(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match="columns"):
        scorer.outputs(np.zeros((2, len(NAMES) + 1), dtype=np.float32))


def test_the_bundle_says_what_it_needs(scorer: Scorer) -> None:
    bundle = scorer.bundle
    assert [feature.name for feature in bundle.features] == NAMES
    assert bundle.live_sql.startswith("select arrival_seq")
    assert bundle.derived_sql.startswith("select row_index")
    assert len(bundle.sha256) == len(bundle.sql_sha256) == 64
    assert bundle.service == "fraud_scoring_v1"


def test_scoring_imports_neither_scikit_learn_nor_pandas_nor_torch(bundle_dir: Path) -> None:
    program = """
import json, sys
from pathlib import Path
from ml.scoring.scorer import Scorer
scorer = Scorer.load(Path(sys.argv[1]))
names = [feature.name for feature in scorer.bundle.features if feature.key is None]
score, = scorer.score([dict.fromkeys(names, 1e6)], explain="all")
heavy = {"sklearn", "pandas", "torch", "lightgbm", "feast", "pyarrow", "duckdb"} & set(sys.modules)
print(json.dumps([score.fraud_probability, sorted(heavy)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(bundle_dir)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith(", []]")
    assert done.stderr == ""
