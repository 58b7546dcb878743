"""The same value is the same bits, whichever way it comes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.errors import FeatureRowError
from ml.runtimes.matrix import rows_to_matrix, table_to_matrix

LARGEST = float(np.finfo(np.float32).max)
INTEGERS = st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1))
DOUBLES = st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))


@settings(deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {"count": INTEGERS, "mean": DOUBLES, "is_new": st.one_of(st.none(), st.booleans())}
        ),
        min_size=1,
        max_size=30,
    )
)
def test_rows_and_tables_give_the_same_bits(rows: list[dict[str, Any]]) -> None:
    names = ["count", "mean", "is_new"]
    schema = pa.schema([("count", pa.int64()), ("mean", pa.float64()), ("is_new", pa.bool_())])
    table = pa.Table.from_pylist(rows, schema=schema)
    of_rows, of_table = rows_to_matrix(rows, names), table_to_matrix(table, names)
    assert of_rows.dtype == of_table.dtype == np.float32
    assert of_rows.tobytes() == of_table.tobytes()


def test_what_is_too_large_is_clipped_and_what_is_missing_is_nan() -> None:
    matrix = rows_to_matrix([{"a": 1e300, "b": None}, {"a": -1e300, "b": True}], ["a", "b"])
    assert matrix[:, 0].tolist() == [LARGEST, -LARGEST]
    assert math.isnan(matrix[0, 1])
    assert matrix[1, 1] == 1.0


def test_columns_come_in_the_order_of_the_names() -> None:
    row = {"a": 1, "b": 2, "unused": "text"}
    assert rows_to_matrix([row], ["b", "a"]).tolist() == [[2.0, 1.0]]
    assert rows_to_matrix([row], ["a"]).tolist() == [[1.0]]


@pytest.mark.parametrize("value", ["1.5", b"1", [1], 10**400])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(FeatureRowError, match="expected numbers"):
        rows_to_matrix([{"a": value}], ["a"])


def test_a_row_without_a_feature_is_refused_by_name() -> None:
    with pytest.raises(FeatureRowError, match="'b'"):
        rows_to_matrix([{"a": 1}], ["a", "b"])


def test_no_rows_make_an_empty_matrix() -> None:
    assert rows_to_matrix([], ["a", "b"]).shape == (0, 2)
    assert rows_to_matrix([{"a": 1}], []).shape == (1, 0)
