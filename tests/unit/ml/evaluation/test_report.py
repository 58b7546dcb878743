"""A model's report: every file, every figure, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import classification_report, confusion_matrix

from ml.bundles.store import verify_bundle
from ml.errors import TrainingDataError
from ml.evaluation.plots import paint_confusion_matrix
from ml.evaluation.report import RowFacts, evaluate_model, plot_confusion_matrix, plot_curves
from ml.evaluation.scored_model import BundleModel, fraud_probability
from tests.support.planted_fraud import NAMES, fitted_pipeline, planted_rows, publish_planted

DAY_US = 86_400_000_000
PICTURES = {
    "confusion_matrix.png",
    "roc_curve.png",
    "precision_recall_curve.png",
    "score_distribution.png",
    "calibration.png",
}


def facts(rows: int) -> RowFacts:
    customers = np.asarray([f"c{index % 40}" for index in range(rows)], dtype=object)
    customers[::50] = None
    return RowFacts(
        customers=customers,
        event_us=np.arange(rows) * DAY_US // 100,
        amounts=np.full(rows, 5_000.0),
        earlier_transactions=np.arange(rows) // 40,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    frame, fraud = planted_rows(800, seed=3)
    elsewhere, fraud_elsewhere = planted_rows(400, seed=4)
    folder = tmp_path_factory.mktemp("reports")
    report = evaluate_model(
        fitted_pipeline(),
        frame,
        fraud,
        model_name="planted",
        X_external=elsewhere,
        y_external=fraud_elsewhere,
        facts=facts(800),
        threshold=0.3,
        replicates=20,
        data="planted <rows>",
        reports_dir=folder,
    )
    return report.folder, report.metrics


def test_every_file_is_there(written: tuple[Path, dict[str, Any]]) -> None:
    folder, metrics = written
    assert {path.name for path in folder.iterdir()} == PICTURES | {
        "cost_curve.png",
        "metrics.json",
        "external_metrics.json",
        "classification_report.csv",
        "report.html",
    }
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_classification_report_is_scikit_learns(written: tuple[Path, dict[str, Any]]) -> None:
    frame, fraud = planted_rows(800, seed=3)
    alerts = fitted_pipeline().risk_score(frame) >= 0.3
    expected = classification_report(fraud, alerts, output_dict=True, target_names=["genuine", "fraud"])
    with (written[0] / "classification_report.csv").open() as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    names = {"macro average": "macro avg", "weighted average": "weighted avg"}
    for name in ("genuine", "fraud", *names):
        for figure, key in (
            ("precision", "precision"),
            ("recall", "recall"),
            ("f1", "f1-score"),
            ("rows", "support"),
        ):
            assert float(rows[name][figure]) == pytest.approx(expected[names.get(name, name)][key])
    assert float(rows["accuracy"]["f1"]) == pytest.approx(expected["accuracy"])


def test_new_customers_are_measured_apart(written: tuple[Path, dict[str, Any]]) -> None:
    new, known = written[1]["new_customers"], written[1]["known_customers"]
    assert new["rows"] + known["rows"] == 800
    # 40 customers in turn: the first ten rounds are new, less the rows without a customer.
    assert new["rows"] == 400 - 8
    assert {"auc_roc", "average_precision", "at_threshold"} <= set(new)


def test_external_rows_are_measured_apart(written: tuple[Path, dict[str, Any]]) -> None:
    external = json.loads((written[0] / "external_metrics.json").read_text())
    assert external["figures"]["rows"] == 400
    assert "new_customers" not in external
    assert "cost" not in external


def test_the_page_needs_nothing_else_and_escapes_what_it_is_told(
    written: tuple[Path, dict[str, Any]],
) -> None:
    page = (written[0] / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(PICTURES) + 1
    assert "planted &lt;rows&gt;" in page
    assert "http" not in page
    assert "On external rows" in page


def test_the_same_rows_give_the_same_bytes(written: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    frame, fraud = planted_rows(800, seed=3)
    scores = fitted_pipeline().risk_score(frame)
    plot_curves(scores, fraud, tmp_path, threshold=0.3, title="planted")
    title = "Confusion matrix: planted, threshold 0.3"
    plot_confusion_matrix(fraud, scores >= 0.3, tmp_path / "confusion_matrix.png", title=title)
    for name in PICTURES:
        assert (tmp_path / name).read_bytes() == (written[0] / name).read_bytes(), name


def test_the_confusion_matrix_shows_the_counts() -> None:
    axes = Figure().add_subplot()
    fraud, alerts = np.arange(50) < 10, (np.arange(50) < 7) | (np.arange(50) > 45)
    paint_confusion_matrix(axes, fraud, alerts)
    counts = confusion_matrix(fraud, alerts)
    assert [text.get_text().split("\n")[0] for text in axes.texts] == [str(count) for count in counts.ravel()]


def test_a_bundle_is_evaluated_by_the_runtimes_that_serve_it(tmp_path: Path) -> None:
    frame, fraud = planted_rows(400, seed=5)
    bundle = BundleModel(verify_bundle(publish_planted(tmp_path / "models")))
    matrix = frame[NAMES].to_numpy(dtype=np.float32)
    assert np.array_equal(fraud_probability(bundle, matrix), fitted_pipeline().risk_score(frame))
    report = evaluate_model(bundle, matrix, fraud, model_name="bundle", replicates=0, reports_dir=tmp_path)
    assert "intervals" not in report.metrics


class _Broken:
    def risk_score(self, X: Any) -> Any:
        return np.full(len(X), np.nan)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_name": "../up"}, "without folders"),
        ({"model_name": ""}, "without folders"),
        ({"model_name": ".hidden"}, "without folders"),
        ({"y": np.zeros(100)}, "frauds and others"),
        ({"y": np.ones(3)}, "a label for each"),
        ({"model": object()}, "risk_score or predict_proba"),
        ({"model": _Broken()}, "finite"),
        ({"X_external": np.zeros((3, 9))}, "a label for each"),
    ],
)
def test_what_can_not_be_evaluated_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    frame, fraud = planted_rows(100)
    given = {"model": fitted_pipeline(), "X": frame, "y": fraud, "model_name": "m", **changes}
    with pytest.raises(TrainingDataError, match=message):
        evaluate_model(given.pop("model"), given.pop("X"), given.pop("y"), reports_dir=tmp_path, **given)
    assert not list(tmp_path.rglob("*.json"))


def test_facts_of_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="lengths"):
        RowFacts(amounts=np.zeros(3), event_us=np.zeros(2, dtype=np.int64))
