"""Models side by side: how well they find fraud, how long they take to train, how fast they score."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ml.evaluation.report import write_json
from ml.reasons.reference import draw_sample
from ml.scoring.scorer import Scorer
from ml.training.train import TrainingResult
from warehouse.settings import Settings

_SINGLE_ROWS: Final = 200
_BULK_ROWS: Final = 10_000
FOLDER: Final = "leaderboard"


@dataclass(frozen=True)
class Standing:
    """One model's line.

    Parameters
    ----------
    model, version : str
        Of the bundle.
    auc_roc, average_precision : float
        On the test rows.
    card_precision_at_100 : float or None
        None where there are no customers.
    fit_seconds : float
        Of the last fit.
    row_microseconds : float
        Median to score one row by the bundle's runtime, one thread.
    rows_a_second : float
        In bulk, the same way.
    bundle_bytes : int
        Size of the bundle.
    """

    model: str
    version: str
    auc_roc: float
    average_precision: float
    card_precision_at_100: float | None
    fit_seconds: float
    row_microseconds: float
    rows_a_second: float
    bundle_bytes: int


def measure_standings(results: Sequence[TrainingResult]) -> list[Standing]:
    """Measure trained models, the highest average precision first."""
    standings = [_standing(result) for result in results]
    return sorted(standings, key=lambda standing: -standing.average_precision)


def write_leaderboard(
    settings: Settings, standings: Sequence[Standing], results: Sequence[TrainingResult]
) -> tuple[Path, Path]:
    """Write the leaderboard below the reports folder.

    Returns
    -------
    tuple of Path
        The JSON file and the picture.
    """
    folder = settings.reports_dir / FOLDER
    split = results[0]
    values: dict[str, Any] = {
        "protocol": split.protocol,
        "train_rows": split.train_rows,
        "train_frauds": split.train_frauds,
        "test_rows": split.test_rows,
        "test_frauds": split.test_frauds,
        "models": [asdict(standing) for standing in standings],
    }
    json_path, picture = folder / "leaderboard.json", folder / "leaderboard.png"
    write_json(values, json_path)
    _draw(standings, picture)
    return json_path, picture


def _standing(result: TrainingResult) -> Standing:
    scorer = Scorer.load(result.bundle_dir)
    names = [feature.name for feature in scorer.bundle.features]
    sample = draw_sample(scorer.reference, names, rows=_BULK_ROWS)
    single = []
    for index in range(_SINGLE_ROWS):
        started = time.perf_counter()
        scorer.outputs(sample[index : index + 1])
        single.append(time.perf_counter() - started)
    started = time.perf_counter()
    scorer.outputs(sample)
    bulk = time.perf_counter() - started
    return Standing(
        model=result.model,
        version=result.bundle_dir.name,
        auc_roc=result.evaluation.auc_roc,
        average_precision=result.evaluation.average_precision,
        card_precision_at_100=result.evaluation.card_precision_at_100,
        fit_seconds=result.fit_seconds,
        row_microseconds=float(np.median(single)) * 1e6,
        rows_a_second=len(sample) / bulk,
        bundle_bytes=sum(entry.bytes for entry in scorer.bundle.manifest.files.values()),
    )


def _draw(standings: Sequence[Standing], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.45 * len(standings) + 1.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    names = [standing.model for standing in reversed(standings)]
    left.barh(names, [standing.average_precision for standing in reversed(standings)], color="#4477aa")
    left.set_xlabel("average precision (test days)")
    left.set_xlim(0, 1)
    right.barh(names, [standing.row_microseconds for standing in reversed(standings)], color="#ccbb44")
    right.set_xlabel("microseconds to score one row")
    right.set_xscale("log")
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png")
