"""Ablation: what each part of the hybrid brings, as the difference that leaving it out makes.

Every variant is fitted and tested on the same rows with the same seed, so a gain is a difference of pairs:
the whole hybrid's figure less the variant's. Seeds vary the fit; weeks vary the rows (each is tested a week
before the one after it). A gain that is not far from its own spread is no gain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from ml.errors import TrainingDataError
from ml.estimators.hybrid import HybridFraudPipeline
from ml.evaluation.metrics import Evaluation, evaluate_scores
from ml.features.catalog import derived_inputs, is_label_free
from ml.features.spec import FeatureSpec
from ml.reports.drawing import BLUE, GREY, draw
from ml.reports.files import write_csv, write_json
from ml.reports.html import HtmlPage
from ml.reports.progress import StageProgress
from ml.rows.protocols import TEST, TRAIN, chosen_protocol
from ml.rows.split_times import HANDBOOK_TRAIN_START
from ml.rows.training_data import TrainingData, read_training_data
from warehouse.settings import Settings
from warehouse.times import DAY_US, time_text

_REPORT_NAME: Final = "ablation"
WHOLE: Final = "whole"
_FIGURES: Final = {
    "average_precision": "average precision",
    "auc_roc": "AUC ROC",
    "card_precision": "CP@100",
}
_WEEK_DAYS: Final = 7
_WEEKS: Final = 3
_WINDOWED: Final = re.compile(r"_\d+[mhd]$")
_SNAPSHOTS: Final = re.compile(r"(profile|merchant_risk|category_risk|segment)_")

Keeps = Callable[[FeatureSpec, frozenset[str]], bool]
"""Takes a feature and the columns that it is computed from, says whether a variant keeps it."""


def _everything(feature: FeatureSpec, inputs: frozenset[str]) -> bool:
    del feature, inputs
    return True


def _without(prefix: str) -> Keeps:
    """Leave out features whose own name, or that of a column they are computed from, has the prefix."""
    pattern = re.compile(prefix)
    return lambda feature, inputs: not any(pattern.match(name) for name in (feature.name, *inputs))


def _without_velocity(feature: FeatureSpec, inputs: frozenset[str]) -> bool:
    windowed = any(_WINDOWED.search(name) and not _SNAPSHOTS.match(name) for name in inputs)
    return feature.source != "velocity" and not windowed


@dataclass(frozen=True)
class Variant:
    """The hybrid without some of it.

    Parameters
    ----------
    name : str
        What is left out.
    keeps : Keeps
        Which features stay.
    parts : mapping
        Arguments of `HybridFraudPipeline` that differ from the whole hybrid's.
    """

    name: str
    keeps: Keeps = _everything
    parts: Mapping[str, Any] = field(default_factory=dict)


VARIANTS: Final = (
    Variant(WHOLE),
    Variant(
        "anomaly score and segments", _without("segment_"), {"anomaly_detector": None, "segmenter": None}
    ),
    Variant("anomaly score", parts={"anomaly_detector": None}),
    Variant("segments", _without("segment_"), {"segmenter": None}),
    Variant("profile", _without("profile_")),
    Variant("velocity", _without_velocity),
    Variant("merchant risk", _without("(merchant|category)_risk_|merchant_fraud_")),
)
"""What is compared; the second is the supervised model alone."""


@dataclass(frozen=True)
class Run:
    """One fit of one variant.

    Parameters
    ----------
    variant : str
    test_start_us : int
        When the test of its week begins, UTC microseconds.
    seed : int
    features : int
        How many the variant kept.
    figures : Evaluation
        On the test rows.
    """

    variant: str
    test_start_us: int
    seed: int
    features: int
    figures: Evaluation


@dataclass(frozen=True)
class Gain:
    """What a part brings to one figure.

    Parameters
    ----------
    left_out, figure : str
    without : float
        Mean of the figure when it is left out.
    gain : float
        Mean of the pairs' differences: positive where the part helps.
    deviation, low, high : float
        Standard deviation (n - 1), least and most of the differences.
    pairs : int
    """

    left_out: str
    figure: str
    without: float
    gain: float
    deviation: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class Ablation:
    """Every run, what each part brings, and where the report is."""

    runs: tuple[Run, ...]
    gains: tuple[Gain, ...]
    folder: Path


def run_ablation(
    settings: Settings,
    *,
    protocol: str | None = None,
    history_days: int | None = None,
    as_of_us: int | None = None,
    weeks: int | None = None,
    seeds: int = 2,
    classifier: str = "lightgbm",
    progress: StageProgress = lambda what, done, total: None,
) -> Ablation:
    """Fit the hybrid with and without each part, on several weeks with several seeds.

    Parameters
    ----------
    settings : Settings
        The home; `cbp build` and the registration of features must have run.
    protocol, history_days, as_of_us
        See `ml.training.train.train`; a week earlier shifts the handbook's training or the present of
        'latest'.
    weeks : int, optional
        How many to test on; by default 3, and 1 with a protocol that has one split (ulb).
    seeds : int, default=2
        Fits of each variant a week.
    classifier : str, default='lightgbm'
        A name of `ml.estimators.linear_and_neural.CLASSIFIERS`.
    progress : callable, optional
        See `ml.training.train.TrainingProgress`.

    Raises
    ------
    TrainingDataError
        When the data does not allow it.
    """
    wanted = chosen_protocol(settings, protocol, history_days=history_days)
    if weeks is None:
        weeks = 1 if wanted["name"] == "ulb" else _WEEKS
    if weeks < 1 or seeds < 1:
        raise TrainingDataError(f"expected 1 week and 1 seed or more, got {weeks} and {seeds}")
    _shifted(wanted, 0, weeks - 1)  # what has fewer weeks is refused before anything is fitted
    total = weeks * seeds * len(VARIANTS)
    runs: list[Run] = []
    present = as_of_us
    for week in range(weeks):
        progress(f"joining features of week {week + 1} of {weeks}", len(runs), total)
        shifted, at = _shifted(wanted, present, week)
        data = read_training_data(settings, protocol=shifted, as_of_us=at)
        present = data.split.windows.as_of_us if week == 0 else present
        inputs = derived_inputs(data.sql.derived)
        for seed in range(seeds):
            for variant in VARIANTS:
                progress(f"week {week + 1}, seed {seed}: without {variant.name}", len(runs), total)
                runs.append(_run(data, variant, inputs, seed=seed, classifier=classifier))
    gains = tuple(
        _gain(runs, variant.name, name)
        for variant in VARIANTS[1:]
        for name in _FIGURES
        if getattr(runs[0].figures, name) is not None
    )
    folder = settings.reports_dir / _REPORT_NAME
    _write(folder, runs, gains, {**wanted, "classifier": classifier, "weeks": weeks, "seeds": seeds})
    progress("compared", total, total)
    return Ablation(tuple(runs), gains, folder)


def _shifted(
    protocol: Mapping[str, Any], present_us: int | None, weeks: int
) -> tuple[dict[str, Any], int | None]:
    """Return the protocol and the present so many weeks earlier."""
    if not weeks:
        return dict(protocol), present_us
    if protocol["name"] == "handbook":
        start = date.fromisoformat(str(protocol.get("train_start", HANDBOOK_TRAIN_START)))
        return {**protocol, "train_start": start - timedelta(days=_WEEK_DAYS * weeks)}, present_us
    if protocol["name"] == "latest" and present_us is not None:
        return dict(protocol), present_us - _WEEK_DAYS * DAY_US * weeks
    raise TrainingDataError(f"protocol {protocol['name']} has one split: compare on one week (--weeks 1)")


def _run(
    data: TrainingData, variant: Variant, inputs: Mapping[str, frozenset[str]], *, seed: int, classifier: str
) -> Run:
    kept = [
        index
        for index, feature in enumerate(data.features)
        if variant.keeps(feature, inputs.get(feature.name, frozenset()))
    ]
    if not kept:
        raise TrainingDataError(f"expected features beside {variant.name}, got none: nothing to compare with")
    features = [data.features[index] for index in kept]
    matrix = data.matrix[:, kept]
    is_train, is_test, labels = data.part(TRAIN), data.part(TEST), data.labels()
    pipeline = HybridFraudPipeline(
        **{"classifier": classifier, "segmenter": "kmeans", **variant.parts},
        anomaly_features=[index for index, feature in enumerate(features) if is_label_free(feature)],
        random_state=seed,
    ).fit(matrix[is_train], labels[is_train])
    figures = evaluate_scores(
        pipeline.risk_score(matrix[is_test]),
        labels[is_test],
        customers=data.split.rows.column("customer_id").to_numpy(zero_copy_only=False)[is_test],
        days=data.event_us()[is_test] // DAY_US,
    )
    return Run(variant.name, data.split.windows.test_start_us, seed, len(kept), figures)


def _gain(runs: Sequence[Run], left_out: str, figure: str) -> Gain:
    def of(variant: str) -> dict[tuple[int, int], float]:
        chosen = [run for run in runs if run.variant == variant]
        return {(run.test_start_us, run.seed): getattr(run.figures, figure) for run in chosen}

    whole, without = of(WHOLE), of(left_out)
    differences = np.asarray([whole[pair] - value for pair, value in without.items()])
    return Gain(
        left_out=left_out,
        figure=figure,
        without=float(np.mean(list(without.values()))),
        gain=float(differences.mean()),
        deviation=float(differences.std(ddof=1)) if len(differences) > 1 else 0.0,
        low=float(differences.min()),
        high=float(differences.max()),
        pairs=len(differences),
    )


def _write(folder: Path, runs: Sequence[Run], gains: Sequence[Gain], what: Mapping[str, Any]) -> None:
    told = {name: str(value) if isinstance(value, date) else value for name, value in what.items()}
    lines = [{**asdict(run), "figures": run.figures.as_dict()} for run in runs]
    gain_rows = [asdict(gain) for gain in gains]
    write_json({"compared": told, "runs": lines, "gains": gain_rows}, folder / "ablation.json")
    write_csv(list(gain_rows[0]), [list(row.values()) for row in gain_rows], folder / "ablation.csv")
    picture = _draw(gains, folder / "ablation.png")
    page = HtmlPage("Ablation: what each part brings")
    page.text(
        "A gain is the whole hybrid's figure less the figure without the part, on the same rows with the "
        "same seed. The first leaves out both anomaly score and segments: the supervised model alone."
    )
    page.table("Compared", ("what", "value"), list(told.items()))
    whole = [run for run in runs if run.variant == WHOLE]
    rows = [
        (time_text(run.test_start_us), run.seed, *(getattr(run.figures, name) for name in _FIGURES))
        for run in whole
    ]
    page.table("The whole hybrid", ("test from", "seed", *_FIGURES.values()), rows)
    page.table(
        "Gains",
        tuple(name.replace("_", " ") for name in gain_rows[0]),
        [list(row.values()) for row in gain_rows],
    )
    page.pictures("Picture", {"what each part brings": picture})
    page.write(folder / "report.html")


def _draw(gains: Sequence[Gain], path: Path) -> Path:
    shown = [gain for gain in gains if gain.figure == "average_precision"][::-1]

    def paint(axes: Axes) -> None:
        names = [gain.left_out for gain in shown]
        errors = [gain.deviation for gain in shown]
        axes.barh(names, [gain.gain for gain in shown], xerr=errors, color=BLUE, ecolor=GREY, capsize=3)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_xlabel("gain in average precision; whiskers: one deviation of the pairs")

    return draw(path, "What each part brings", paint, size=(8.0, 3.6))
