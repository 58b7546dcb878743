"""Training: rows of the protocol, features through Feast, a model, thresholds, figures, a bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from ml.bundles.manifest import TrainingSpec
from ml.errors import TrainingDataError
from ml.estimators.hybrid import HybridFraudPipeline
from ml.evaluation.folds import prequential_folds
from ml.evaluation.report import Evaluation, evaluate_scores, write_json
from ml.reports.progress import StageCounter, StageProgress
from ml.rows.protocols import TEST, TRAIN, chosen_protocol
from ml.rows.training_data import TrainingData, read_training_data
from ml.scoring.thresholds import Thresholds
from ml.training.publishing import provenance, publish_model
from ml.training.search import FEWEST_FRAUDS, draw_settings, search
from ml.training.suite import DEFAULT_MODEL, SUITE, make_model, search_space
from ml.training.threshold_choice import choose_thresholds
from warehouse.settings import Settings
from warehouse.times import DAY_US

_READING_STAGES: Final = ("choosing rows", "joining features")
_MODEL_STAGES: Final = ("fitting", "thresholds", "evaluating", "publishing")


@dataclass(frozen=True)
class TrainingResult:
    """What a training made.

    Parameters
    ----------
    model : str
        Its name in the suite.
    bundle_dir : Path
        The published bundle; it is not promoted.
    protocol : str
        Name of the protocol.
    train_rows, train_frauds, test_rows, test_frauds : int
        Sizes of the split.
    evaluation : Evaluation
        Figures on the test rows.
    thresholds : Thresholds
        Where decisions change.
    metrics_path : Path
        The same figures as JSON.
    fit_seconds : float
        How long the last fit took, without the search.
    """

    model: str
    bundle_dir: Path
    protocol: str
    train_rows: int
    train_frauds: int
    test_rows: int
    test_frauds: int
    evaluation: Evaluation
    thresholds: Thresholds
    metrics_path: Path
    fit_seconds: float


def train(
    settings: Settings,
    *,
    model: str = DEFAULT_MODEL,
    protocol: str | Mapping[str, Any] | None = None,
    history_days: int | None = None,
    as_of_us: int | None = None,
    seed: int = 0,
    alert_budget: float = 100.0,
    trials: int = 0,
    progress: StageProgress | None = None,
) -> TrainingResult:
    """Train a model on the published warehouse and publish its bundle.

    Parameters
    ----------
    settings : Settings
        The home; `cbp build` and the registration of features must have run.
    model : str, default='hybrid'
        A name in `ml.training.suite.SUITE`.
    protocol : str or mapping, optional
        How time is split (see `ml.rows.protocols`): a name, or a name with parameters; by default what the
        mapping of the newest landed batch that names one says, else 'latest'.
    history_days : int, optional
        How many days train, instead of what the protocol says; the test stays the same.
    as_of_us : int, optional
        Labels known later do not exist (UTC microseconds).
    seed : int, default=0
        Same data, code and seed: same hashes.
    alert_budget : float, default=100
        Alerts a day, the mean over the days before the test, that the review threshold allows.
    trials : int, default=0
        How many settings of the classifier to try on folds inside the training rows, the usual one among
        them; 0: no search. Of several models, those that have no classifier of their own, or several, are
        fitted as they are.
    progress : callable, optional
        See `TrainingProgress`.

    Returns
    -------
    TrainingResult

    Raises
    ------
    TrainingDataError
        When the data does not allow it.
    BundleError
        When the bundle can't be published.
    """
    (result,) = train_models(
        settings,
        [model],
        protocol=protocol,
        history_days=history_days,
        as_of_us=as_of_us,
        seed=seed,
        alert_budget=alert_budget,
        trials=trials,
        progress=progress,
    )
    return result


def train_models(
    settings: Settings,
    models: Sequence[str],
    *,
    protocol: str | Mapping[str, Any] | None = None,
    history_days: int | None = None,
    as_of_us: int | None = None,
    seed: int = 0,
    alert_budget: float = 100.0,
    trials: int = 0,
    fewest_frauds: int = FEWEST_FRAUDS,
    progress: StageProgress | None = None,
) -> list[TrainingResult]:
    """Train several models of the suite on the same rows, whose features are joined once.

    Parameters are those of `train`, which see, but for `models`, names in `ml.training.suite.SUITE`, and
    `fewest_frauds`, which a fold must have for settings to be searched on it.
    """
    unknown = sorted(set(models) - set(SUITE))
    if unknown or not models:
        raise TrainingDataError(f"expected models among {', '.join(SUITE)}, got {unknown or 'none'}")
    if trials and not any(search_space(make_model(name, [], seed=seed)) for name in models):
        raise TrainingDataError(
            "expected a model of one classifier to search settings for, got "
            f"{', '.join(models)}: detectors and averages are trained without --search"
        )
    report = StageCounter(progress, total=len(_READING_STAGES) + len(models) * len(_MODEL_STAGES))
    report.begin(_READING_STAGES[0])
    wanted = chosen_protocol(settings, protocol, history_days=history_days)
    data = read_training_data(
        settings, protocol=wanted, as_of_us=as_of_us, joining=lambda: report.begin(_READING_STAGES[1])
    )
    training = provenance(data, wanted, seed=seed)
    results = [
        _train_model(
            settings,
            data,
            name,
            training,
            alert_budget=alert_budget,
            trials=trials,
            fewest_frauds=fewest_frauds,
            report=report,
        )
        for name in models
    ]
    report.end()
    return results


def _train_model(
    settings: Settings,
    data: TrainingData,
    name: str,
    training: TrainingSpec,
    *,
    alert_budget: float,
    trials: int,
    fewest_frauds: int,
    report: StageCounter,
) -> TrainingResult:
    report.begin(f"{name}: fitting")
    model = make_model(name, data.features, seed=training.seed)
    if trials:
        setting = _searched(
            model,
            name,
            data,
            seed=training.seed,
            trials=trials,
            fewest_frauds=fewest_frauds,
            report=report,
        )
        training = training.model_copy(update={"parameters": dict(setting)})
    is_train, is_test, labels = data.part(TRAIN), data.part(TEST), data.labels()
    started = time.perf_counter()
    pipeline = model.fit(data.frame(is_train), labels[is_train])
    fit_seconds = time.perf_counter() - started
    report.begin(f"{name}: thresholds")
    thresholds = choose_thresholds(pipeline, data, alert_budget=alert_budget)
    report.begin(f"{name}: evaluating")
    probabilities = pipeline.risk_score(data.frame(is_test))
    evaluation = evaluate_scores(
        probabilities,
        labels[is_test],
        customers=data.split.rows.column("customer_id").to_numpy(zero_copy_only=False)[is_test],
        days=data.event_us()[is_test] // DAY_US,
        threshold=thresholds.review,
    )
    report.begin(f"{name}: publishing")
    bundle_dir = publish_model(
        settings, pipeline, data, name=name, training=training, thresholds=thresholds, evaluation=evaluation
    )
    metrics_path = settings.reports_dir / name / "metrics.json"
    write_json(
        {
            "model": name,
            "version": bundle_dir.name,
            "training": training.model_dump(),
            "test": evaluation.as_dict(),
            "thresholds": asdict(thresholds),
        },
        metrics_path,
    )
    return TrainingResult(
        model=name,
        bundle_dir=bundle_dir,
        protocol=data.split.protocol,
        train_rows=training.train_rows,
        train_frauds=training.train_frauds,
        test_rows=training.test_rows,
        test_frauds=training.test_frauds,
        evaluation=evaluation,
        thresholds=thresholds,
        metrics_path=metrics_path,
        fit_seconds=fit_seconds,
    )


def _searched(
    model: HybridFraudPipeline,
    name: str,
    data: TrainingData,
    *,
    seed: int,
    trials: int,
    fewest_frauds: int,
    report: StageCounter,
) -> Mapping[str, Any]:
    """Set the best of some settings on a model, on folds inside the training rows; return them."""
    space = search_space(model)
    if not space:
        report.tell(f"{name}: has no settings to search, fitting it as it is")
        return {}
    is_train = data.part(TRAIN)
    known_us = data.split.rows.column("label_known_us").filter(pa.array(is_train)).to_numpy()
    found = search(
        model,
        draw_settings(space, trials=trials, seed=seed),
        data.matrix[is_train],
        data.labels()[is_train],
        folds=prequential_folds(data.event_us()[is_train], known_us),
        fewest_frauds=fewest_frauds,
        progress=lambda done, total: report.tell(f"{name}: searching, fit {done} of {total}"),
    )
    model.set_params(**found.best.parameters)
    return found.best.parameters
