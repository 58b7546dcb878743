"""Rows of the Fraud Detection Handbook's folds with their features, joined once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml.errors import TrainingDataError
from ml.features.spec import FeatureSpec
from ml.rows.known_labels import TRANSACTIONS
from ml.rows.protocols import TEST, TRAIN, select_rows
from ml.rows.split_times import Windows, handbook_windows
from ml.rows.training_data import join_features
from ml.runtimes.matrix import Float32Matrix, Float64Vector, column_to_float64
from ml.studies.handbook.ceiling import SimulatedPayments, ideal_scores
from warehouse.published import open_published
from warehouse.settings import Settings
from warehouse.times import DAY_US

# Before, profiles and merchants have too little behind them to learn from.
_FIRST_DAYS: Final = 30


@dataclass(frozen=True)
class HandbookFold:
    """Positions of a fold's rows, in order of time.

    Parameters
    ----------
    train_start : str
        When the published training begins (a date): names the fold.
    train, test : ndarray of int
    """

    train_start: str
    train: npt.NDArray[np.intp]
    test: npt.NDArray[np.intp]


@dataclass(frozen=True)
class HandbookData:
    """Rows of all folds, in order of time and id.

    Parameters
    ----------
    features : list of FeatureSpec
        Columns of `matrix`.
    matrix : ndarray of float32, shape (n, n_features)
    labels : ndarray of bool, shape (n,)
    customers : ndarray of object, shape (n,)
    event_us : ndarray of int64, shape (n,)
    scenarios : ndarray of int64, shape (n,), or None
        How a fraud was simulated (0: genuine), where the raw file was given: for figures, never a feature.
    ideal : mapping of str to ndarray of float64, shape (n,)
        With the raw file: what an ideal observer would score the rows that a fold tests, ``with_labels`` and
        ``without_labels`` (see `ml.studies.handbook.ceiling`); NaN elsewhere.
    short, long : mapping of str to HandbookFold
        By train start: trained on the published days alone, and on all history since the first 30 days.
    """

    features: list[FeatureSpec]
    matrix: Float32Matrix
    labels: npt.NDArray[np.bool_]
    customers: npt.NDArray[Any]
    event_us: npt.NDArray[np.int64]
    scenarios: npt.NDArray[np.int64] | None
    ideal: Mapping[str, Float64Vector]
    short: Mapping[str, HandbookFold]
    long: Mapping[str, HandbookFold]

    def columns(self, keeps: Callable[[FeatureSpec], bool]) -> list[int]:
        """Return the positions of the features that `keeps` accepts."""
        return [index for index, feature in enumerate(self.features) if keeps(feature)]

    def rows(self, positions: npt.NDArray[np.intp], columns: Sequence[int]) -> Float32Matrix:
        """Return some columns of some rows."""
        places = np.asarray(columns, dtype=np.intp)
        return np.ascontiguousarray(self.matrix[positions[:, None], places])


def read_handbook(
    settings: Settings,
    *,
    protocol: Mapping[str, Any],
    train_starts: Sequence[str],
    raw_file: Path | None = None,
    joining: Callable[[], None] = lambda: None,
) -> HandbookData:
    """Read the rows of folds with their features.

    Parameters
    ----------
    settings : Settings
        The home; `cbp build` and the registration of features must have run.
    protocol : mapping
        Lengths of the published protocol (see `ml.rows.protocols`).
    train_starts : sequence of str
        A fold's train start each, as dates.
    raw_file : Path, optional
        The raw Parquet file, for how each fraud was simulated.
    joining : callable, optional
        Called when features are about to be joined.
    """
    with open_published(settings, refused=TrainingDataError) as connection:
        published = {start: handbook_windows({**protocol, "train_start": start}) for start in train_starts}
        first_us = _first_us(connection) + _FIRST_DAYS * DAY_US
        last_us = max(windows.test_end_us for windows in published.values())
        rows = connection.execute(_ROWS, {"first": first_us, "last": last_us}).to_arrow_table()
        ids = rows.column("transaction_id").combine_chunks()

        def folds(windows: Mapping[str, Windows]) -> dict[str, HandbookFold]:
            return {start: _fold(connection, ids, start, found) for start, found in windows.items()}

        longest = {
            start: handbook_windows(
                {**protocol, "train_start": start, "history_days": _days(first_us, windows)}
            )
            for start, windows in published.items()
        }
        short, long = folds(published), folds(longest)
        joining()
        features, matrix = join_features(settings, connection, rows, keys=[])
    scenarios: npt.NDArray[np.int64] | None = None
    ideal: dict[str, Float64Vector] = {}
    if raw_file is not None:
        payments = SimulatedPayments.read(raw_file)
        scenarios = payments.scenarios[_places(payments, ids, raw_file)]
        tested = np.unique(np.concatenate([fold.test for fold in long.values()]))
        windows = next(iter(published.values()))
        delay_days = (windows.test_start_us - windows.train_end_us) // DAY_US
        for seen, delay in (("with_labels", delay_days), ("without_labels", None)):
            ideal[seen] = np.full(len(ids), np.nan)
            ideal[seen][tested] = ideal_scores(payments, ids.take(pa.array(tested)), delay_days=delay)
    return HandbookData(
        features=features,
        matrix=matrix,
        labels=np.asarray(column_to_float64(rows.column("is_fraud")) == 1.0, dtype=np.bool_),
        customers=rows.column("customer_id").to_numpy(zero_copy_only=False),
        event_us=rows.column("event_us").to_numpy(),
        scenarios=scenarios,
        ideal=ideal,
        short=short,
        long=long,
    )


_ROWS: Final = f"""
select transaction_id, event_us, customer_id, is_fraud
from {TRANSACTIONS}
where event_us >= $first and event_us < $last
order by event_us, transaction_id
"""  # noqa: S608 - a name of ours


def _first_us(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute(f"select min(event_us) from {TRANSACTIONS}").fetchone()  # noqa: S608 - ours
    if row is None or row[0] is None:
        raise TrainingDataError("expected the handbook's transactions, got none: ingest them and build first")
    return int(row[0]) - int(row[0]) % DAY_US


def _days(first_us: int, windows: Windows) -> int:
    return max((windows.train_end_us - first_us) // DAY_US, 1)


def _fold(connection: duckdb.DuckDBPyConnection, ids: pa.Array, start: str, windows: Windows) -> HandbookFold:
    chosen = select_rows(connection, windows=windows)
    positions = {}
    for part in (TRAIN, TEST):
        wanted = chosen.filter(pc.equal(chosen.column("part"), part)).column("transaction_id")
        found = pc.index_in(wanted.combine_chunks(), ids)
        positions[part] = np.sort(found.drop_null().to_numpy().astype(np.intp))
    if not len(positions[TRAIN]) or not len(positions[TEST]):
        raise TrainingDataError(
            f"expected labelled transactions to train on from {start} and to test after, got "
            f"{len(positions[TRAIN])} and {len(positions[TEST])}: ingest the handbook's whole data"
        )
    return HandbookFold(start, positions[TRAIN], positions[TEST])


def _places(payments: SimulatedPayments, ids: pa.Array, raw_file: Path) -> npt.NDArray[np.intp]:
    places = pc.index_in(ids, payments.ids)
    if places.null_count:
        raise TrainingDataError(
            f"expected every transaction of the home in {raw_file.name}, got none for {places.null_count}"
        )
    return np.asarray(places.to_numpy(), dtype=np.intp)
