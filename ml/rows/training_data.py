"""Rows of a split with their features: transactions from the published warehouse, features through Feast."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.feast_store import open_store
from ml.errors import TrainingDataError
from ml.features.catalog import (
    AMOUNT,
    CompiledSql,
    attribute_spec,
    feature_specs,
    read_compiled_sql,
    read_notes,
)
from ml.features.spec import FeatureSpec
from ml.features.training_frame import training_frame, with_derived
from ml.rows.known_labels import TRANSACTIONS
from ml.rows.protocols import Split, split_rows
from ml.runtimes.matrix import Float32Matrix, column_to_float64, table_to_matrix, to_float32
from warehouse.published import open_published
from warehouse.settings import Settings

# Labels never travel with the rows to Feast; attributes join the matrix beside the features.
_APART: Final = ("is_fraud", "label_known_us", "attributes_number", "attributes_text")
_MAX_ATTRIBUTES: Final = 2000
_ROWS_A_BATCH: Final = 1 << 16


@dataclass(frozen=True)
class TrainingData:
    """Rows of a split with their features, in order of time.

    Parameters
    ----------
    split : Split
        Which rows, and their parts.
    features : list of FeatureSpec
        Columns of `matrix`.
    matrix : ndarray of float32, shape (n_rows, n_features)
    sql : CompiledSql
        What derived and live features are computed with.
    """

    split: Split
    features: list[FeatureSpec]
    matrix: Float32Matrix
    sql: CompiledSql

    def frame(self, chosen: npt.NDArray[np.bool_]) -> pd.DataFrame:
        """Return the chosen rows' features by name."""
        return pd.DataFrame(self.matrix[chosen], columns=[feature.name for feature in self.features])

    def part(self, name: str) -> npt.NDArray[np.bool_]:
        """Return which rows are in a part of the split."""
        parts: npt.NDArray[Any] = self.split.rows.column("part").to_numpy(zero_copy_only=False)
        return np.asarray(parts == name, dtype=np.bool_)

    def labels(self) -> npt.NDArray[np.bool_]:
        """Return which rows are known frauds; rows without a known label are False."""
        return np.asarray(column_to_float64(self.split.rows.column("is_fraud")) == 1.0, dtype=np.bool_)

    def event_us(self) -> npt.NDArray[np.int64]:
        """Return event times, UTC microseconds."""
        return np.asarray(self.split.rows.column("event_us").to_numpy(), dtype=np.int64)


def read_training_data(
    settings: Settings,
    *,
    protocol: Mapping[str, Any],
    as_of_us: int | None = None,
    joining: Callable[[], None] = lambda: None,
) -> TrainingData:
    """Read the rows of a protocol with their features.

    Parameters
    ----------
    settings : Settings
        The home.
    protocol : mapping
        See `ml.rows.protocols`.
    as_of_us : int, optional
        Labels known later do not exist.
    joining : callable, optional
        Called when rows are chosen and features are about to be joined.
    """
    with open_published(settings, refused=TrainingDataError) as connection:
        split = split_rows(connection, protocol=protocol, as_of_us=as_of_us)
        keys = attribute_keys(connection, split.rows)
        features, matrix = join_features(settings, connection, split.rows, keys=keys, joining=joining)
    return TrainingData(split=split, features=features, matrix=matrix, sql=read_compiled_sql(settings))


def join_features(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    chosen: pa.Table,
    *,
    keys: Sequence[str],
    joining: Callable[[], None] = lambda: None,
) -> tuple[list[FeatureSpec], Float32Matrix]:
    """Join every feature to chosen transactions, each as of its own time.

    Parameters
    ----------
    settings : Settings
        The home.
    connection : duckdb.DuckDBPyConnection
        Of `warehouse.published.open_published`.
    chosen : pyarrow.Table
        With a column ``transaction_id``.
    keys : sequence of str
        Numeric attributes to join, see `attribute_keys`.
    joining : callable, optional
        Called when transactions are read and features are about to be joined.

    Returns
    -------
    list of FeatureSpec
        Columns of the matrix.
    ndarray of float32, shape (n_chosen, n_features)
        In order of time and id.
    """
    sql, notes = read_compiled_sql(settings), read_notes(settings)
    connection.register("chosen", chosen.select(["transaction_id"]))
    transactions = connection.execute(_rows_query("* exclude (" + ", ".join(_apart(connection)) + ")"))
    table = transactions.to_arrow_table()
    attributes = attribute_matrix(connection, chosen, keys)
    joining()
    store = open_store(settings)
    frame = with_derived(training_frame(store, table), sql.derived, store=store)
    candidates = [AMOUNT, *[name for name in frame.column_names if name not in table.column_names]]
    features = feature_specs(frame, candidates, notes=notes)
    matrix = table_to_matrix(frame, [feature.name for feature in features])
    if keys:
        features += [attribute_spec(key) for key in keys]
        matrix = np.hstack([matrix, attributes])
    return features, matrix


def attribute_keys(connection: duckdb.DuckDBPyConnection, chosen: pa.Table) -> list[str]:
    """Return the names of the numeric attributes that the chosen transactions have, sorted."""
    connection.register("chosen", chosen.select(["transaction_id"]))
    names = _rows_query("transaction_id, event_us, unnest(map_keys(attributes_number)) as key")
    rows = connection.execute(f"select distinct key from ({names}) order by key").fetchall()  # noqa: S608
    if len(rows) > _MAX_ATTRIBUTES:
        raise TrainingDataError(f"expected at most {_MAX_ATTRIBUTES} numeric attributes, got {len(rows)}")
    return [str(key) for (key,) in rows]


def _rows_query(columns: str) -> str:
    # names of ours and of the warehouse's own columns
    return (
        f"select {columns} from {TRANSACTIONS} inner join chosen using (transaction_id) "  # noqa: S608
        "order by event_us, transaction_id"
    )


def _apart(connection: duckdb.DuckDBPyConnection) -> list[str]:
    rows = connection.execute(f"describe {TRANSACTIONS}").fetchall()
    return [name for name, *_ in rows if name in _APART]


def attribute_matrix(
    connection: duckdb.DuckDBPyConnection, chosen: pa.Table, keys: Sequence[str]
) -> Float32Matrix:
    """Read attributes of the chosen transactions, all in one pass over them.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of `warehouse.published.open_published`.
    chosen : pyarrow.Table
        With a column ``transaction_id``.
    keys : sequence of str
        Names of numeric attributes; others are left out.

    Returns
    -------
    ndarray of float32, shape (n_found, n_keys)
        A row for each transaction that is there, in order of time and id; NaN where it lacks an attribute.
    """
    if not keys:
        return np.empty((chosen.num_rows, 0), dtype=np.float32)
    connection.register("chosen", chosen.select(["transaction_id"]))
    found = connection.execute(_rows_query("transaction_id, event_us, attributes_number"))
    wanted = pa.array(keys, pa.string())
    blocks = [np.empty((0, len(keys)), dtype=np.float32)]
    blocks += [
        _look_up(batch.column("attributes_number"), wanted) for batch in found.to_arrow_reader(_ROWS_A_BATCH)
    ]
    return np.vstack(blocks)


def _look_up(attributes: pa.MapArray, wanted: pa.Array) -> Float32Matrix:
    """Build a matrix of a row for each map and a column for each wanted key."""
    maps = attributes.fill_null([])
    offsets = np.asarray(maps.offsets)
    entries = slice(int(offsets[0]), int(offsets[-1]))
    rows = np.repeat(np.arange(len(maps)), np.diff(offsets))
    columns = column_to_float64(pc.index_in(maps.keys[entries], wanted))
    is_wanted = ~np.isnan(columns)
    values = to_float32(column_to_float64(maps.items[entries]))
    matrix = np.full((len(maps), len(wanted)), np.nan, dtype=np.float32)
    matrix[rows[is_wanted], columns[is_wanted].astype(np.int64)] = values[is_wanted]
    return matrix
