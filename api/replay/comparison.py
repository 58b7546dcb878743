"""Compares the feature values that decisions used with those that dbt computed for the same transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ml.features import open_store, training_frame, with_derived
from warehouse.errors import OperationError
from warehouse.settings import Settings

_EXAMPLES: Final = 10


@dataclass(frozen=True)
class Difference:
    """One value that is not the same."""

    transaction_id: str
    feature: str
    used: Any
    computed: Any


@dataclass(frozen=True)
class Comparison:
    """Outcome of a comparison.

    Parameters
    ----------
    transactions : int
        Decisions that were compared.
    missing : int
        Decisions whose transaction the warehouse does not have.
    values : int
        Values that were compared.
    mismatched : int
        Values that differ in at least one bit.
    examples : tuple of Difference
        The first few.
    """

    transactions: int
    missing: int
    values: int
    mismatched: int
    examples: tuple[Difference, ...]


def compare_with_warehouse(
    settings: Settings, used: Mapping[str, Mapping[str, Any]], *, derived_sql: str
) -> Comparison:
    """Compare bit by bit.

    Parameters
    ----------
    settings : Settings
        A home that has been built since the transactions were scored.
    used : Mapping of str to Mapping
        By transaction id the feature values that its decision used.
    derived_sql : str
        Compiled text of the derived features.
    """
    transactions = _warehouse_rows(settings, list(used))
    store = open_store(settings)
    computed = with_derived(training_frame(store, transactions), derived_sql, store=store)
    ids = computed["transaction_id"].to_pylist()
    names = _feature_names(used)
    unknown = sorted(set(names) - set(computed.column_names))
    if unknown:
        raise OperationError(
            f"decisions used features that dbt does not have: {unknown}; rebuild and retrain"
        )
    mismatched, examples = 0, list[Difference]()
    for name in names:
        column = computed[name].combine_chunks()
        ours = pa.array([used[transaction][name] for transaction in ids], column.type)
        different = np.flatnonzero(_differs(ours, column))
        mismatched += different.size
        examples += [
            Difference(ids[row], name, ours[row].as_py(), column[row].as_py())
            for row in different[: _EXAMPLES - len(examples)].tolist()
        ]
    return Comparison(
        transactions=len(ids),
        missing=len(used) - len(ids),
        values=len(ids) * len(names),
        mismatched=mismatched,
        examples=tuple(examples),
    )


def _warehouse_rows(settings: Settings, ids: Sequence[str]) -> pa.Table:
    wanted = pa.table({"transaction_id": pa.array(ids, pa.string())})
    with duckdb.connect(str(settings.published_file), read_only=True) as connection:
        connection.register("wanted", wanted)
        return connection.execute(
            "select fct_transactions.* from marts.fct_transactions semi join wanted using (transaction_id) "
            "order by event_us, transaction_id"
        ).to_arrow_table()


def _feature_names(used: Mapping[str, Mapping[str, Any]]) -> list[str]:
    names = {tuple(sorted(values)) for values in used.values()}
    if len(names) > 1:
        raise OperationError("decisions used different sets of features: compare one model at a time")
    return list(names.pop()) if names else []


def _differs(left: pa.Array, right: pa.Array) -> npt.NDArray[np.bool_]:
    """Where two arrays of one type differ: in being null, or in a bit of the value."""
    left_null, right_null = left.is_null().to_numpy(False), right.is_null().to_numpy(False)
    both = ~left_null & ~right_null
    differs: npt.NDArray[np.bool_] = (left_null != right_null) | (both & (_bits(left) != _bits(right)))
    return differs


def _bits(array: pa.Array) -> npt.NDArray[Any]:
    if pa.types.is_floating(array.type):
        values: npt.NDArray[Any] = array.fill_null(0.0).to_numpy(False).view(np.int64)
        return values
    if pa.types.is_integer(array.type):
        return np.asarray(array.fill_null(0).to_numpy(False))
    return np.asarray(array.to_numpy(False), dtype=object)
