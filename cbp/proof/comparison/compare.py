"""Compares the feature values that decisions used with those that dbt computed for the same transactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from api.serving.scoring import short_name
from cbp.proof.comparison.records import ID, feature_names
from feature_repo.feast_store import open_store
from feature_repo.services import FRAUD_SCORING
from ml.features.online import service_views
from ml.features.training_frame import training_frame, with_derived
from warehouse.published import open_published
from warehouse.settings import Settings

MOST_DIFFERENCES: Final = 5_000_000
"""Differences that are kept one by one; more are only counted."""

DIFFERENCE_SCHEMA: Final = pa.schema(
    [(ID, pa.string()), ("feature", pa.string()), ("used", pa.string()), ("computed", pa.string())]
)


@dataclass
class Comparison:
    """Outcome of a comparison.

    Parameters
    ----------
    transactions : int
        Decisions that were compared.
    missing : int
        Decisions whose transaction the other side does not have.
    values : int
        Values that were compared.
    mismatched : int
        Values that differ in at least one bit.
    by_feature : dict of str to int
        How many of them, by feature; only features that differ.
    kept : list of pyarrow.Table
        The first of them, `DIFFERENCE_SCHEMA`.
    """

    transactions: int = 0
    missing: int = 0
    values: int = 0
    mismatched: int = 0
    by_feature: dict[str, int] = field(default_factory=dict)
    kept: list[pa.Table] = field(default_factory=list)

    def differences(self) -> pa.Table:
        """Return what was kept in one table."""
        return pa.concat_tables([DIFFERENCE_SCHEMA.empty_table(), *self.kept])

    def examples(self, count: int = 10) -> list[dict[str, Any]]:
        """Return the first few differences."""
        rows: list[dict[str, Any]] = self.differences().slice(0, count).to_pylist()
        return rows

    def add(
        self, ids: pa.Array, name: str, used: pa.Array, computed: pa.Array, *, tolerance: float | None = None
    ) -> None:
        """Compare one feature of some decisions.

        Parameters
        ----------
        ids : pyarrow.Array
            Of the transactions.
        name : str
            The feature.
        used, computed : pyarrow.Array
            Its values, of one type, aligned with `ids`.
        tolerance : float, optional
            Relative (and, below 1, absolute) difference that still counts as equal; None: no bit.
        """
        different = np.flatnonzero(_differs(used, computed, tolerance))
        self.values += len(ids)
        if not different.size:
            return
        room = MOST_DIFFERENCES - sum(table.num_rows for table in self.kept)
        self.mismatched += different.size
        self.by_feature[name] = self.by_feature.get(name, 0) + different.size
        rows = different[:room].tolist()
        columns = [
            ids.take(rows),
            [name] * len(rows),
            [text_of(used[row].as_py()) for row in rows],
            [text_of(computed[row].as_py()) for row in rows],
        ]
        self.kept.append(pa.table(columns, schema=DIFFERENCE_SCHEMA))


@dataclass(frozen=True)
class DbtFeatures:
    """Every feature that dbt has in a home.

    Parameters
    ----------
    types : pyarrow.Schema
        All of them.
    derived : tuple of str
        Names of those that are derived from the others.
    views : dict of str to str
        The view of each that the online store serves, as `api.serving.scoring.short_name` has it.
    """

    types: pa.Schema
    derived: tuple[str, ...]
    views: dict[str, str]


def dbt_features(settings: Settings, *, derived_sql: str) -> DbtFeatures:
    """Read from a home's tables which features dbt has, and their types."""
    with open_published(settings) as connection:
        some = connection.execute("select * from marts.fct_transactions limit 1").to_arrow_table()
    store = open_store(settings)
    frame = training_frame(store, some)
    whole = with_derived(frame, derived_sql, store=store)
    return DbtFeatures(
        types=pa.schema([column for column in whole.schema if column.name not in some.column_names]),
        derived=tuple(name for name in whole.column_names if name not in frame.column_names),
        views={
            name: short_name(view.view.name)
            for view in service_views(store, FRAUD_SCORING)
            if view.view.online
            for name in view.features
        },
    )


def compare_with_warehouse(settings: Settings, used: Path, *, derived_sql: str) -> Comparison:
    """Compare bit by bit what decisions used with the tables of a home.

    Parameters
    ----------
    settings : Settings
        A home that was built over the same transactions.
    used : Path
        File of `cbp.proof.comparison.records.write_used`.
    derived_sql : str
        Compiled text of the derived features.
    """
    comparison = Comparison()
    store = open_store(settings)
    for group in groups_of(used):
        transactions = _warehouse_rows(settings, group[ID])
        frame = with_derived(training_frame(store, transactions), derived_sql, store=store)
        names = feature_names(group.schema)
        comparison.transactions += frame.num_rows
        comparison.missing += group.num_rows - frame.num_rows
        ids = frame[ID].combine_chunks()
        found = group.take(_places(group[ID], ids))
        for name in names:
            computed = frame[name].combine_chunks()
            comparison.add(ids, name, found[name].combine_chunks(), computed)
    return comparison


def compare_derived(
    settings: Settings, used: Path, *, derived_sql: str, derived: Sequence[str]
) -> Comparison:
    """Compare the derived features that decisions used with DuckDB's, over the other values as used.

    Parameters
    ----------
    settings : Settings
        A home with the transactions.
    used : Path
        File of `cbp.proof.comparison.records.write_used`.
    derived_sql : str
        Compiled text of the derived features.
    derived : sequence of str
        Their names.
    """
    comparison = Comparison()
    store = open_store(settings)
    for group in groups_of(used):
        frame = _warehouse_rows(settings, group[ID])
        ids = frame[ID].combine_chunks()
        found = group.take(_places(group[ID], ids))
        comparison.transactions += frame.num_rows
        for name in feature_names(group.schema):
            if name not in derived:
                frame = frame.append_column(name, found[name])
        frame = with_derived(frame, derived_sql, store=store)
        for name in derived:
            computed = frame[name].combine_chunks()
            comparison.add(ids, name, found[name].combine_chunks(), computed)
    return comparison


def groups_of(used: Path) -> Iterator[pa.Table]:
    """Yield the row groups of a file of `write_used`."""
    with pq.ParquetFile(used) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


def _warehouse_rows(settings: Settings, ids: pa.ChunkedArray) -> pa.Table:
    wanted = pa.table({ID: ids})
    with open_published(settings) as connection:
        connection.register("wanted", wanted)
        return connection.execute(
            "select fct_transactions.* from marts.fct_transactions semi join wanted using (transaction_id) "
            "order by event_us, transaction_id"
        ).to_arrow_table()


def _places(among: pa.ChunkedArray, ids: pa.Array) -> pa.Array:
    """Say where each of `ids` stands among all."""
    places: Mapping[str, int] = {name: place for place, name in enumerate(among.to_pylist())}
    return pa.array([places[name] for name in ids.to_pylist()], pa.int64())


def text_of(value: Any) -> str | None:
    """Return a value as differences hold it: every bit of it, in words."""
    return None if value is None else repr(value)


def _differs(left: pa.Array, right: pa.Array, tolerance: float | None) -> npt.NDArray[np.bool_]:
    """Where two arrays of one type differ: in being null, or in the value."""
    left_null, right_null = left.is_null().to_numpy(False), right.is_null().to_numpy(False)
    both = ~left_null & ~right_null
    if tolerance is None:
        is_other = _bits(left) != _bits(right)
    else:
        ours, theirs = (array.fill_null(0.0).to_numpy(False) for array in (left, right))
        is_other = np.abs(ours - theirs) > tolerance * np.maximum(np.abs(theirs), 1.0)
    differs: npt.NDArray[np.bool_] = (left_null != right_null) | (both & is_other)
    return differs


def _bits(array: pa.Array) -> npt.NDArray[Any]:
    if pa.types.is_floating(array.type):
        values: npt.NDArray[Any] = array.fill_null(0.0).to_numpy(False).view(np.int64)
        return values
    if pa.types.is_integer(array.type):
        return np.asarray(array.fill_null(0).to_numpy(False))
    return np.asarray(array.to_numpy(False), dtype=object)
