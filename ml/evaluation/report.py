"""Evaluation of a fitted model: figures, pictures and a page below ``reports/<model_name>/``.

Files::

    metrics.json                what the model reaches on the rows given, with intervals, calibration, cost
    external_metrics.json       the same on the external rows, if any were given
    classification_report.csv   precision, recall, F1 and rows of each class at the threshold
    confusion_matrix.png, roc_curve.png, precision_recall_curve.png, score_distribution.png,
    calibration.png, cost_curve.png (where amounts are known)
    report.html                 all of it on one page
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.errors import TrainingDataError
from ml.evaluation.folds import Validation, prequential_folds, stratified_folds, validate_folds
from ml.evaluation.intervals import bootstrap_intervals
from ml.evaluation.metric_curves import DEFAULT_REVIEW_COST_MINOR, cost_curve, measure_calibration
from ml.evaluation.metrics import (
    Evaluation,
    ThresholdMetrics,
    as_labels,
    card_precision_at_k,
    evaluate_scores,
    metrics_at_threshold,
)
from ml.evaluation.page import write_page
from ml.evaluation.plots import plot_confusion_matrix, plot_cost, plot_curves
from ml.evaluation.scored_model import fraud_probability
from ml.reports.files import write_csv, write_json
from ml.rows.facts import RowFacts
from ml.runtimes.matrix import Float64Vector

__all__ = [
    "Evaluation",
    "ModelReport",
    "RowFacts",
    "ThresholdMetrics",
    "card_precision_at_k",
    "evaluate_model",
    "evaluate_scores",
    "metrics_at_threshold",
    "plot_confusion_matrix",
    "plot_curves",
    "write_json",
]

EvaluationProgress = Callable[[str], None]
"""Called with what begins."""

METRICS_FILE: Final = "metrics.json"
EXTERNAL_FILE: Final = "external_metrics.json"
CLASSES_FILE: Final = "classification_report.csv"
_PAGE_FILE: Final = "report.html"


@dataclass(frozen=True)
class ModelReport:
    """What an evaluation found and wrote.

    Parameters
    ----------
    folder : Path
        Where the files are.
    evaluation : Evaluation
        On the rows given.
    external : Evaluation or None
        On the external rows, if any were given.
    metrics : dict
        Content of ``metrics.json``.
    """

    folder: Path
    evaluation: Evaluation
    external: Evaluation | None
    metrics: dict[str, Any]


def evaluate_model(
    model: Any,
    X: Any,
    y: npt.ArrayLike,
    *,
    model_name: str,
    X_external: Any = None,
    y_external: npt.ArrayLike | None = None,
    facts: RowFacts | None = None,
    facts_external: RowFacts | None = None,
    threshold: float | None = None,
    k: int = 100,
    review_cost_minor: int = DEFAULT_REVIEW_COST_MINOR,
    validations: Sequence[Validation] = (),
    replicates: int = 200,
    seed: int = 0,
    data: str = "",
    reports_dir: Path = Path("reports"),
    progress: EvaluationProgress = lambda what: None,
) -> ModelReport:
    """Evaluate a fitted model on rows that it has not seen, and write its report.

    Parameters
    ----------
    model : object
        Fitted; with ``risk_score(X)``, or ``predict_proba(X)`` whose second column is fraud's.
    X : array-like or DataFrame of shape (n, n_features)
        Rows that the model was not trained on.
    y : array-like of shape (n,)
        Truth; 1 or True is fraud. Both classes must be there.
    model_name : str
        Names the folder below `reports_dir`.
    X_external, y_external : array-like, optional
        Rows from elsewhere, say another bank or year, measured apart.
    facts, facts_external : RowFacts, optional
        Customers, times, amounts: what is absent is not measured.
    threshold : float, optional
        Lowest score that is an alert; by default 0.5. A bundle brings its own.
    k : int, default=100
        Customers a day for card precision.
    review_cost_minor : int, default=1000
        What looking at an alert costs, for the cost curve.
    validations : sequence of Validation, optional
        From `cross_validate`: shown in the report.
    replicates : int, default=200
        Of the bootstrap; 0: no intervals.
    seed : int, default=0
        Of the bootstrap.
    data : str
        Which data this is: shown on the page and in the JSON.
    reports_dir : Path, default=reports
    progress : callable, optional
        See `EvaluationProgress`.

    Returns
    -------
    ModelReport

    Raises
    ------
    TrainingDataError
        When the rows hold one class only or labels that are neither 0 nor 1, lengths differ, or `model_name`
        is no plain name.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from sklearn.linear_model import LogisticRegression
    >>> X = np.random.default_rng(0).normal(size=(400, 2))
    >>> y = X[:, 0] > 1
    >>> model = LogisticRegression().fit(X[:200], y[:200])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = evaluate_model(model, X[200:], y[200:], model_name="plain", reports_dir=Path(folder))
    >>> report.evaluation.auc_roc > 0.99
    True
    """
    if not model_name or Path(model_name).name != model_name or model_name.startswith("."):
        raise TrainingDataError(f"expected a model's name without folders, got {model_name!r}")
    folder = reports_dir / model_name
    alerts_from = 0.5 if threshold is None else float(threshold)
    measure = _Measure(alerts_from, k, review_cost_minor, replicates, seed)
    progress("scoring")
    rows = _Rows.scored(model, X, y, facts)
    external = None if X_external is None else _Rows.scored(model, X_external, y_external, facts_external)
    progress("measuring")
    evaluation, figures = measure.all_of(rows)
    metrics = {
        "model": model_name,
        "data": data,
        **figures,
        "validations": [validation.as_dict() for validation in validations],
    }
    write_json(metrics, folder / METRICS_FILE)
    external_evaluation = None
    if external is not None:
        external_evaluation, external_figures = measure.all_of(external)
        write_json({"model": model_name, **external_figures}, folder / EXTERNAL_FILE)
    write_csv(*_classes(rows.scores >= alerts_from, rows.labels), folder / CLASSES_FILE)
    progress("drawing")
    pictures = _pictures(rows, folder, measure, model_name)
    write_page(
        folder / _PAGE_FILE, metrics, pictures, external=None if external is None else external_figures
    )
    return ModelReport(folder, evaluation, external_evaluation, metrics)


def cross_validate(
    model: Any,
    X: Any,
    y: npt.ArrayLike,
    *,
    facts: RowFacts | None = None,
    folds: int = 5,
    prequential: int = 4,
    k: int = 100,
    seed: int = 0,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> list[Validation]:
    """Validate a model on stratified folds and, where times are known, on prequential folds.

    Parameters
    ----------
    model : estimator
        Cloned and fitted for each fold.
    X : array-like or DataFrame of shape (n, n_features)
        Training rows in order of time.
    y : array-like of shape (n,)
        1 or True is fraud.
    facts : RowFacts, optional
        With ``event_us`` and ``label_known_us`` for prequential folds.
    folds, prequential : int, default=5 and 4
        How many of each; 0: none.
    k : int, default=100
        Customers a day for card precision.
    seed : int, default=0
        Of the stratified folds.
    progress : callable, optional
        Called with the kind of fold, how many are done, and how many there are.
    """
    labels, known = as_labels(y), facts or RowFacts()
    kinds = {}
    if folds:
        kinds["stratified"] = stratified_folds(labels, folds=folds, seed=seed)
    if prequential and known.event_us is not None and known.label_known_us is not None:
        kinds["prequential"] = prequential_folds(known.event_us, known.label_known_us, folds=prequential)
    return [
        validate_folds(
            model,
            X,
            labels,
            cut,
            kind=kind,
            facts=known,
            k=k,
            progress=lambda done, total, kind=kind: progress(kind, done, total),  # type: ignore[misc]
        )
        for kind, cut in kinds.items()
    ]


@dataclass(frozen=True)
class _Rows:
    scores: Float64Vector
    labels: npt.NDArray[np.bool_]
    facts: RowFacts

    @classmethod
    def scored(cls, model: Any, X: Any, y: npt.ArrayLike | None, facts: RowFacts | None) -> _Rows:
        labels = as_labels([] if y is None else y)
        if len(labels) != len(X):
            raise TrainingDataError(f"expected a label for each of {len(X)} rows, got {len(labels)}")
        if labels.all() or not labels.any():
            raise TrainingDataError(
                f"expected frauds and others to evaluate on, got {int(labels.sum())} frauds in "
                f"{len(labels)} rows"
            )
        return cls(fraud_probability(model, X), labels, facts or RowFacts())

    def take(self, chosen: npt.NDArray[np.bool_]) -> _Rows:
        return _Rows(self.scores[chosen], self.labels[chosen], self.facts.take(chosen))


@dataclass(frozen=True)
class _Measure:
    threshold: float
    k: int
    review_cost_minor: int
    replicates: int
    seed: int

    def all_of(self, rows: _Rows) -> tuple[Evaluation, dict[str, Any]]:
        """Return the figures of rows, plain and as JSON values."""
        evaluation = self.plain(rows)
        facts = rows.facts
        figures: dict[str, Any] = {
            "figures": evaluation.as_dict(),
            "calibration": measure_calibration(rows.scores, rows.labels).as_dict(),
        }
        if facts.amounts is not None:
            figures["cost"] = self.cost(rows).as_dict()
        if self.replicates:
            intervals = bootstrap_intervals(
                rows.scores,
                rows.labels,
                customers=facts.customers,
                days=facts.days(),
                k=self.k,
                threshold=self.threshold,
                replicates=self.replicates,
                seed=self.seed,
            )
            figures["intervals"] = {name: asdict(interval) for name, interval in intervals.items()}
        is_new = facts.is_new_customer()
        if is_new is not None:
            figures["new_customers"] = self.of_part(rows, is_new)
            figures["known_customers"] = self.of_part(rows, ~is_new)
        return evaluation, figures

    def plain(self, rows: _Rows) -> Evaluation:
        return evaluate_scores(
            rows.scores,
            rows.labels,
            customers=rows.facts.customers,
            days=rows.facts.days(),
            k=self.k,
            threshold=self.threshold,
            amounts=rows.facts.amounts,
        )

    def of_part(self, rows: _Rows, chosen: npt.NDArray[np.bool_]) -> dict[str, Any]:
        """Return the figures of some rows; sizes alone where they are of one class."""
        part = rows.take(chosen)
        frauds = int(part.labels.sum())
        if 0 < frauds < len(part.labels):
            return self.plain(part).as_dict()
        return {"rows": len(part.labels), "frauds": frauds}

    def cost(self, rows: _Rows) -> Any:
        amounts = np.zeros(len(rows.scores)) if rows.facts.amounts is None else rows.facts.amounts
        return cost_curve(rows.scores, rows.labels, amounts, review_cost_minor=self.review_cost_minor)


def _pictures(rows: _Rows, folder: Path, measure: _Measure, name: str) -> dict[str, Path]:
    drawn = {
        "confusion_matrix": plot_confusion_matrix(
            rows.labels,
            rows.scores >= measure.threshold,
            folder / "confusion_matrix.png",
            title=f"Confusion matrix: {name}, threshold {measure.threshold:.3g}",
        ),
        **plot_curves(rows.scores, rows.labels, folder, threshold=measure.threshold, title=name),
    }
    if rows.facts.amounts is not None:
        path = folder / "cost_curve.png"
        drawn["cost_curve"] = plot_cost(measure.cost(rows), path, title=f"Cost by alerts: {name}")
    return drawn


def _classes(
    alerts: npt.NDArray[np.bool_], labels: npt.NDArray[np.bool_]
) -> tuple[list[str], list[list[Any]]]:
    """Return the classification report: a row a class, their mean, and the mean weighted by rows."""
    rows: list[list[Any]] = []
    for name, said, true in (("genuine", ~alerts, ~labels), ("fraud", alerts, labels)):
        found = metrics_at_threshold(said.astype(float), true, threshold=0.5)
        rows.append([name, found.precision or 0.0, found.recall, found.f1, int(true.sum())])
    figures = np.asarray([row[1:4] for row in rows])
    counts = np.asarray([row[4] for row in rows])
    total = int(counts.sum())
    rows.append(["macro average", *figures.mean(axis=0).tolist(), total])
    rows.append(["weighted average", *np.average(figures, axis=0, weights=counts).tolist(), total])
    rows.append(["accuracy", None, None, float(np.mean(alerts == labels)), total])
    return ["class", "precision", "recall", "f1", "rows"], rows
