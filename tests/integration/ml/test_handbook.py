"""The handbook's protocol, whole, on simulated payments of the same kind and fewer folds."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import roc_auc_score

from feature_repo import feast_store
from ml.errors import TrainingDataError
from ml.studies.handbook.protocol import (
    LONG,
    PUBLISHED,
    SHORT,
    Candidate,
    HandbookResult,
    Plan,
    RankAverage,
    evaluate_handbook,
)
from ml.studies.handbook.rows import HandbookData, read_handbook
from warehouse.build.build import build
from warehouse.ingest.ingest import ingest
from warehouse.settings import Settings
from warehouse.simulation.simulate import simulate
from warehouse.times import DAY_US

PLAN = Plan(
    single="2018-06-19",
    prequential=("2018-06-19", "2018-06-12"),
    validation=("2018-06-05",),
    label_free="2018-06-05",
)
SMALL = {"n_estimators": 20, "learning_rate": 0.2}
CANDIDATES = (
    Candidate("lightgbm", SHORT, SMALL),
    Candidate("xgboost", LONG, SMALL),
    Candidate("xgboost", LONG, {**SMALL, "max_depth": 1, "n_estimators": 1}, genuine_share=0.5),
)
AVERAGE = RankAverage((CANDIDATES[0], CANDIDATES[1]))
DETECTORS = {"isolation_forest", "autoencoder", "one_class_svm"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("handbook")
    settings = Settings.from_environment(
        {"CBP_HOME": str(folder / "home"), "CBP_REPORTS": str(folder / "reports")}
    )
    settings.create_folders()
    raw = folder / "payments.parquet"
    simulate(raw, customers=300, merchants=600, days=72, seed=5, start=date(2018, 5, 1))
    ingest(settings, [raw]).raise_on_failure()
    build(settings)
    feast_store.apply(settings)
    return settings


@pytest.fixture(scope="module")
def raw_file(settings: Settings) -> Path:
    """Write a file that tells how frauds were simulated: by the last digit of the amount, here."""
    path = settings.home / "handbook.parquet"
    with duckdb.connect(str(settings.published_file), read_only=True) as connection:
        table = connection.execute(
            "select transaction_id as TRANSACTION_ID, make_timestamp(event_us) as TX_DATETIME, "
            "customer_id as CUSTOMER_ID, merchant_id as TERMINAL_ID, amount_minor / 100 as TX_AMOUNT, "
            "case when is_fraud then 1 + amount_minor % 2 else 0 end as TX_FRAUD_SCENARIO "
            "from marts.fct_transactions"
        ).to_arrow_table()
    pq.write_table(table, path)
    return path


@pytest.fixture(scope="module")
def result(settings: Settings, raw_file: Path) -> HandbookResult:
    return evaluate_handbook(settings, plan=PLAN, candidates=[*CANDIDATES, AVERAGE], raw_file=raw_file)


@pytest.fixture(scope="module")
def data(settings: Settings) -> HandbookData:
    return read_handbook(settings, protocol={"name": "handbook"}, train_starts=PLAN.starts())


def test_the_file_has_the_named_figures(result: HandbookResult, settings: Settings) -> None:
    assert result.path == settings.reports_dir / "handbook.json"
    figures = json.loads(result.path.read_text(encoding="utf-8"))
    assert figures == json.loads(json.dumps(result.figures))
    sizes = {"train_rows", "train_frauds", "test_rows", "test_frauds"}
    three = {"auc_roc", "average_precision", "card_precision_at_100"}
    assert sizes | three <= set(figures["single"])
    assert three | {"folds", "deviation"} <= set(figures["prequential"])
    assert [fold["train_start"] for fold in figures["prequential"]["folds"]] == list(PLAN.prequential)
    assert set(figures["label_free"]) == {"without_labels", "with_merchant_labels"}
    for detectors in figures["label_free"].values():
        assert set(detectors) == DETECTORS | {"features"}
        assert all(three <= set(detectors[name]) for name in DETECTORS)
    assert "published" in result.page.read_text(encoding="utf-8")


def test_means_and_deviations_are_the_folds(result: HandbookResult) -> None:
    prequential = result.figures["prequential"]
    for name in ("auc_roc", "average_precision", "card_precision_at_100"):
        folds = [fold[name] for fold in prequential["folds"]]
        assert prequential[name] == pytest.approx(np.mean(folds))
        assert prequential["deviation"][name] == pytest.approx(np.std(folds, ddof=1))


def test_settings_are_chosen_on_the_validation_folds_alone(result: HandbookResult) -> None:
    tried = [one for one in result.figures["validation"] if one["trained_on"] == LONG]
    best = max(tried, key=lambda one: float(one["average_precision"]))
    assert len(tried) == 3
    chosen = result.figures["prequential"]["model"]
    assert chosen == {name: best[name] for name in chosen}
    assert all([fold["train_start"] for fold in one["folds"]] == list(PLAN.validation) for one in tried)
    for plan in (PLAN, PUBLISHED):
        last_validation = date.fromisoformat(max(plan.validation)).toordinal() + 21
        assert last_validation <= date.fromisoformat(min(plan.prequential)).toordinal() + 14


def test_an_average_ranks_by_the_mean_of_its_members_ranks(
    result: HandbookResult, data: HandbookData
) -> None:
    (start,) = PLAN.validation
    names = set(result.figures["features"])
    columns = data.columns(lambda feature: feature.name in names)
    test = data.short[start].test
    scores = [member.scores(data, columns, start, seed=0) for member in AVERAGE.members]
    # A rank is how many are below, and half of those that tie.
    ranks = [[(of < score).sum() + (of <= score).sum() for score in of] for of in scores]
    means = np.mean(ranks, axis=0)
    (fold,) = result.figures["validation"][-1]["folds"]
    assert fold["auc_roc"] == pytest.approx(roc_auc_score(data.labels[test], means))


def test_detectors_without_labels_see_none(result: HandbookResult) -> None:
    seen = result.figures["label_free"]["without_labels"]["features"]
    assert seen
    assert not [name for name in seen if "fraud" in name or "risk" in name]
    with_labels = result.figures["label_free"]["with_merchant_labels"]["features"]
    assert set(seen) < set(with_labels)


def test_figures_come_by_scenario_where_the_raw_file_is_given(result: HandbookResult) -> None:
    single = result.figures["single"]
    assert sum(one["frauds"] for one in single["by_scenario"].values()) == single["test_frauds"]


def test_an_ideal_observer_is_told_beside(result: HandbookResult) -> None:
    ceiling = result.figures["ceiling"]
    tested = [(fold["test_rows"], fold["test_frauds"]) for fold in ceiling["folds"]]
    assert tested == [
        (fold["test_rows"], fold["test_frauds"]) for fold in result.figures["prequential"]["folds"]
    ]
    assert set(ceiling["label_free"]) == {"with_labels", "without_labels"}
    assert "ideal observer" in result.page.read_text(encoding="utf-8")


def test_rows_are_those_of_the_published_rules(data: HandbookData, settings: Settings) -> None:
    """A slow oracle: what trains was known, who was known to be compromised is not tested."""
    with duckdb.connect(str(settings.published_file), read_only=True) as connection:
        rows = connection.execute(
            "select event_us // 86400000000, customer_id, is_fraud from marts.fct_transactions "
            "order by event_us, transaction_id"
        ).fetchall()
    first = min(day for day, _, _ in rows)
    for start in PLAN.starts():
        day = date.fromisoformat(start).toordinal() - date(1970, 1, 1).toordinal()
        frauds: list[tuple[int, Any]] = [(when, who) for when, who, fraud in rows if fraud and when >= day]
        expected = [
            (when, who)
            for when, who, _ in rows
            if day + 14 <= when < day + 21 and not any(w == who and d < when - 7 for d, w in frauds)
        ]
        short, long = data.short[start], data.long[start]
        days = data.event_us // DAY_US
        found = list(zip(days[short.test].tolist(), data.customers[short.test].tolist(), strict=True))
        assert found == expected
        assert np.array_equal(short.test, long.test)
        assert len(short.train) == sum(day <= when < day + 7 for when, _, _ in rows)
        assert len(long.train) == sum(first + 30 <= when < day + 7 for when, _, _ in rows)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": CANDIDATES[:1]}, "trains on all history"),
        ({"plan": Plan(validation=(), prequential=(), label_free="2018-12-01")}, "whole data"),
    ],
)
def test_what_can_not_be_run_is_refused(changes: dict[str, Any], message: str, settings: Settings) -> None:
    with pytest.raises(TrainingDataError, match=message):
        evaluate_handbook(settings, **{"plan": PLAN, "candidates": CANDIDATES, **changes})


def test_a_raw_file_of_other_payments_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    other = {
        "TRANSACTION_ID": ["x"],
        "TX_DATETIME": ["2018-05-01 00:00:00"],
        "CUSTOMER_ID": ["c"],
        "TERMINAL_ID": ["m"],
        "TX_AMOUNT": [1.0],
        "TX_FRAUD_SCENARIO": [0],
    }
    pq.write_table(pa.table(other), path)
    with pytest.raises(TrainingDataError, match=r"other\.parquet"):
        evaluate_handbook(settings, plan=PLAN, candidates=CANDIDATES, raw_file=path)
