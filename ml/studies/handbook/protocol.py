"""The published protocol of the Fraud Detection Handbook, whole: one run, one file of figures, one page.

What is run, after the rules of the handbook (Le Borgne et al., "Reproducible Machine Learning for Credit Card
Fraud Detection", chapters 5 and 7):

- *validation*: every setting on four earlier folds; the best mean average precision is chosen there, once for
  training on the published 7 days and once for training on all history whose labels are known;
- *single*: the published split, trained on its 7 days;
- *prequential*: the four published test folds, trained on all history;
- *label-free*: detectors on one week, truly without labels, and with merchants' labels known by then as
  inputs.

Customers known to be compromised since the published train start are dropped from a test, whatever trains.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

from ml.errors import TrainingDataError
from ml.estimators.anomaly import (
    AnomalyDetector,
    AutoencoderDetector,
    IsolationForestDetector,
    OneClassSvmDetector,
)
from ml.estimators.detectors import make_detector
from ml.evaluation.metrics import Evaluation, evaluate_scores
from ml.features.catalog import is_label_free
from ml.features.spec import FeatureSpec
from ml.reports.files import write_json
from ml.reports.progress import StageProgress
from ml.rows.protocols import chosen_protocol
from ml.rows.split_times import HANDBOOK_TRAIN_START
from ml.runtimes.matrix import Float64Vector
from ml.studies.handbook.candidates import CANDIDATES, LONG, SHORT, Candidate, RankAverage
from ml.studies.handbook.page import write_handbook_page
from ml.studies.handbook.rows import HandbookData, HandbookFold, read_handbook
from warehouse.settings import Settings
from warehouse.times import DAY_US

PROTOCOL: Final = "handbook"
HANDBOOK_REPORT: Final = "handbook.json"
HANDBOOK_PAGE: Final = "handbook.html"
FIGURES: Final = ("auc_roc", "average_precision", "card_precision_at_100")
# A tree of more rows tells more of them apart: 256, the usual number, leave the rarest in common leaves.
_DETECTORS: Final[Mapping[str, AnomalyDetector]] = {
    "isolation_forest": IsolationForestDetector(max_samples=2048),
    "autoencoder": AutoencoderDetector(),
    "one_class_svm": OneClassSvmDetector(),
}
_COMPACT: Final = re.compile(
    r"amount_minor$|hour_of_day$|amount_over_|amount_deviation_|profile_amount_robust_mean_90d$"
    r"|profile_transaction_count_90d$|profile_fraud_count_|amount_(mean|max)_(7d|30d)$|transaction_count_7d$"
    r"|merchant_amount_mean_7d$|merchant_(risk|fraud)_"
)
# A detector drowns in more: the amount, what it is beside the customer's usual one, and the merchant's
# payments that were reported as fraud in the last 7 days. Of windows of 3 to 30 days, alone or beside the
# merchant's streak of frauds, this one did best on the three weeks before the one that is told.
_RELATIVE: Final = re.compile(r"amount_minor$|amount_over_profile_amount_robust_mean_90d$")
_MERCHANT: Final = re.compile(r"merchant_fraud_distinct_7d$")


@dataclass(frozen=True)
class Plan:
    """Which folds: train starts, as dates.

    Parameters
    ----------
    single : str
    prequential, validation : tuple of str
    label_free : str
    """

    single: str = HANDBOOK_TRAIN_START
    prequential: tuple[str, ...] = ("2018-08-15", "2018-08-08", "2018-08-01", "2018-07-25")
    validation: tuple[str, ...] = ("2018-07-11", "2018-07-04", "2018-06-27", "2018-06-20")
    label_free: str = "2018-07-11"

    def starts(self) -> list[str]:
        """Return every start once."""
        return list(dict.fromkeys((self.single, *self.prequential, *self.validation, self.label_free)))


PUBLISHED: Final = Plan()


@dataclass(frozen=True)
class HandbookResult:
    """What a run found and wrote.

    Parameters
    ----------
    figures : dict
        Content of ``handbook.json``.
    path, page : Path
        The files.
    """

    figures: dict[str, Any]
    path: Path
    page: Path


def evaluate_handbook(
    settings: Settings,
    *,
    plan: Plan = PUBLISHED,
    candidates: Sequence[Candidate | RankAverage] = CANDIDATES,
    raw_file: Path | None = None,
    seed: int = 0,
    progress: StageProgress = lambda what, done, total: None,
) -> HandbookResult:
    """Run the protocol and write ``handbook.json`` and ``handbook.html`` below the reports folder.

    Parameters
    ----------
    settings : Settings
        A home that holds the handbook's data, built, its features registered.
    plan : Plan, default=PUBLISHED
    candidates : sequence of Candidate or RankAverage, default=CANDIDATES
        At least one for each window.
    raw_file : Path, optional
        The raw Parquet file: then figures come by fraud scenario too, and beside an ideal observer's.
    seed : int, default=0
    progress : callable, optional
        See `ml.training.train.TrainingProgress`.

    Raises
    ------
    TrainingDataError
        When the data does not allow it.
    """
    for window in (SHORT, LONG):
        if all(candidate.window != window for candidate in candidates):
            raise TrainingDataError(f"expected a candidate that trains on {window}, got none")
    total = len(candidates) * len(plan.validation) + len(plan.prequential) + 1 + 2 * len(_DETECTORS)
    total += 0 if raw_file is None else len(plan.prequential) + 2
    progress("choosing rows", 0, total)
    data = read_handbook(
        settings,
        protocol=chosen_protocol(settings, PROTOCOL),
        train_starts=plan.starts(),
        raw_file=raw_file,
        joining=lambda: progress("joining features", 0, total),
    )
    run = _Run(data, data.columns(lambda feature: bool(_COMPACT.match(feature.name))), seed, progress, total)
    tried = [_Tried(candidate, run.folds(candidate, plan.validation)) for candidate in candidates]
    short, long = (_best(tried, window) for window in (SHORT, LONG))
    (single,) = run.folds(short, (plan.single,))
    prequential = run.folds(long, plan.prequential)
    figures = {
        "features": [data.features[index].name for index in run.columns],
        "single": {**single, "model": _told(short)},
        "prequential": {"folds": prequential, **_spread(prequential), "model": _told(long)},
        "validation": [{**_told(one.candidate), "folds": one.folds, **_spread(one.folds)} for one in tried],
        "label_free": run.label_free(plan.label_free),
        "seed": seed,
    }
    if data.ideal:
        figures["ceiling"] = run.ceiling(plan)
    path, page = settings.reports_dir / HANDBOOK_REPORT, settings.reports_dir / HANDBOOK_PAGE
    write_json(figures, path)
    write_handbook_page(page, figures)
    progress("evaluated", total, total)
    return HandbookResult(figures, path, page)


@dataclass(frozen=True)
class _Tried:
    candidate: Candidate | RankAverage
    folds: list[dict[str, Any]]


def _best(tried: Sequence[_Tried], window: str) -> Candidate | RankAverage:
    """Return the candidate of a window with the highest mean average precision, the first of equal ones."""
    of_window = [one for one in tried if one.candidate.window == window]
    return max(of_window, key=lambda one: float(_spread(one.folds)["average_precision"])).candidate


def _told(candidate: Candidate | RankAverage) -> dict[str, Any]:
    if isinstance(candidate, RankAverage):
        members = [_told(member) for member in candidate.members]
        return {"classifier": "rank_average", "trained_on": candidate.window, "members": members}
    return {
        "classifier": candidate.classifier,
        "trained_on": candidate.window,
        "genuine_share": candidate.genuine_share,
        "parameters": dict(candidate.parameters),
    }


def _spread(folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of each figure over the folds, and their standard deviations (n - 1)."""
    values = {name: [fold[name] for fold in folds if fold[name] is not None] for name in FIGURES}
    means = {name: float(np.mean(found)) if found else None for name, found in values.items()}
    deviations = {
        name: float(np.std(found, ddof=1)) if len(found) > 1 else 0.0 for name, found in values.items()
    }
    return {**means, "deviation": deviations}


class _Run:
    """Fits and measures on the rows of one home."""

    def __init__(
        self, data: HandbookData, columns: list[int], seed: int, progress: StageProgress, total: int
    ) -> None:
        if not columns:
            raise TrainingDataError("expected features of payments, profiles and merchants, got none")
        self.columns = columns
        self._data = data
        self._seed = seed
        self._progress = progress
        self._total = total
        self._done = 0
        self._fitted: dict[tuple[Candidate, str], Float64Vector] = {}

    def folds(self, candidate: Candidate | RankAverage, starts: Sequence[str]) -> list[dict[str, Any]]:
        """Return the figures of a candidate on folds."""
        told = _told(candidate)
        return [
            self._figures(
                candidate.fold(self._data, start),
                f"{told['classifier']} on {candidate.window}, training from {start}",
                lambda start=start: self._scores(candidate, start),  # type: ignore[misc]
            )
            for start in starts
        ]

    def _scores(self, candidate: Candidate | RankAverage, start: str) -> Float64Vector:
        """Return the scores of a fold's test rows; whoever is a member of an average is fitted once."""
        if isinstance(candidate, RankAverage):
            ranks = [rankdata(self._scores(member, start)) for member in candidate.members]
            return np.asarray(np.mean(ranks, axis=0), dtype=np.float64)
        key = (candidate, start)
        if key not in self._fitted:
            self._fitted[key] = candidate.scores(self._data, self.columns, start, seed=self._seed)
        return self._fitted[key]

    def ceiling(self, plan: Plan) -> dict[str, Any]:
        """Return the ideal observer's figures: on the prequential folds, and on the detectors' week."""
        folds = [self._observed(start, "with_labels") for start in plan.prequential]
        label_free = {seen: self._observed(plan.label_free, seen) for seen in self._data.ideal}
        return {"folds": folds, **_spread(folds), "label_free": label_free}

    def _observed(self, start: str, seen: str) -> dict[str, Any]:
        fold = self._data.long[start]
        what = f"an ideal observer {seen.replace('_', ' ')}, training from {start}"
        return self._figures(fold, what, lambda: self._data.ideal[seen][fold.test])

    def label_free(self, start: str) -> dict[str, Any]:
        """Return the figures of each detector, by what it sees."""
        seen = {
            "without_labels": lambda feature: bool(_RELATIVE.match(feature.name)) and is_label_free(feature),
            "with_merchant_labels": lambda feature: bool(
                _RELATIVE.match(feature.name) or _MERCHANT.match(feature.name)
            ),
        }
        return {name: self._detectors(start, keeps) for name, keeps in seen.items()}

    def _detectors(self, start: str, keeps: Callable[[FeatureSpec], bool]) -> dict[str, Any]:
        fold = self._data.short[start]
        columns = self._data.columns(keeps)

        def scores(name: str) -> Float64Vector:
            detector = make_detector(_DETECTORS[name], self._seed).fit(self._data.rows(fold.train, columns))
            found: Float64Vector = detector.risk_score(self._data.rows(fold.test, columns))
            return found

        figures = {
            name: self._figures(fold, f"{name}, training from {start}", lambda name=name: scores(name))  # type: ignore[misc]
            for name in _DETECTORS
        }
        return {"features": [self._data.features[index].name for index in columns], **figures}

    def _figures(self, fold: HandbookFold, what: str, score: Callable[[], Float64Vector]) -> dict[str, Any]:
        self._progress(what, self._done, self._total)
        self._done += 1
        scores, data = score(), self._data
        labels = data.labels[fold.test]
        found = evaluate_scores(
            scores, labels, customers=data.customers[fold.test], days=data.event_us[fold.test] // DAY_US
        )
        figures = {
            "train_start": fold.train_start,
            "train_rows": len(fold.train),
            "train_frauds": int(data.labels[fold.train].sum()),
            "test_rows": found.rows,
            "test_frauds": found.frauds,
            **_three(found),
        }
        if data.scenarios is not None:
            figures["by_scenario"] = _by_scenario(scores, data.scenarios[fold.test])
        return figures


def _three(found: Evaluation) -> dict[str, Any]:
    return {name: getattr(found, name) for name in FIGURES}


def _by_scenario(scores: Float64Vector, scenarios: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return, by how frauds were simulated, how many there are and their average precision among genuine."""
    by_scenario = {}
    for scenario in np.unique(scenarios[scenarios > 0]).tolist():
        rows = (scenarios == 0) | (scenarios == scenario)
        fraud = scenarios[rows] == scenario
        by_scenario[str(scenario)] = {
            "frauds": int(fraud.sum()),
            "average_precision": float(average_precision_score(fraud, scores[rows])),
        }
    return by_scenario
