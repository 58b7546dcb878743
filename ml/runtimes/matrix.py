"""The one way from rows and tables to the model's float32 matrix.

Every value goes int or bool -> float64 -> float32, here and nowhere else, so that a value a model was trained
on and the same value at scoring are the same bits (law 7 of the design). Missing is None in rows, null in
tables, NaN in the matrix; what float32 can't hold is clipped to its largest finite value, never infinite.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.errors import FeatureRowError

Float32Matrix = npt.NDArray[np.float32]
Float64Vector = npt.NDArray[np.float64]

_LARGEST: Final = float(np.finfo(np.float32).max)
_NAN: Final = float("nan")


def to_float32(values: npt.NDArray[np.float64]) -> Float32Matrix:
    """Cast float64 values to float32, clipping what would overflow; NaN stays NaN."""
    return np.clip(values, -_LARGEST, _LARGEST).astype(np.float32)


def rows_to_matrix(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Float32Matrix:
    """Build the matrix of `rows`, one column a name.

    Parameters
    ----------
    rows : sequence of mapping
        Values are int, float, bool or None (missing); names beyond `names` are ignored.
    names : sequence of str
        Columns of the result, in order.

    Returns
    -------
    ndarray of float32, shape (len(rows), len(names))

    Raises
    ------
    FeatureRowError
        When a row lacks a name or holds a value that is no number.
    """
    if not rows or not names:
        return np.empty((len(rows), len(names)), dtype=np.float32)
    pick = itemgetter(*names)
    flat = array("d")
    try:
        for row in rows:
            values = pick(row) if len(names) > 1 else (pick(row),)
            flat.extend([_NAN if value is None else value for value in values])
    except KeyError as error:
        raise FeatureRowError(
            f"expected a value or null for feature {error.args[0]!r}, got a row without it"
        ) from error
    except (TypeError, OverflowError) as error:
        raise FeatureRowError(f"expected numbers, booleans or null as feature values: {error}") from error
    return to_float32(np.frombuffer(flat, dtype=np.float64).reshape(len(rows), len(names)))


def table_to_matrix(table: Any, names: Sequence[str]) -> Float32Matrix:
    """Build the matrix of an Arrow table's numeric and boolean columns.

    Parameters
    ----------
    table : pyarrow.Table
        Holds at least the columns `names`.
    names : sequence of str
        Columns of the result, in order.

    Returns
    -------
    ndarray of float32, shape (table.num_rows, len(names)), C order
    """
    matrix = np.empty((table.num_rows, len(names)), dtype=np.float32)
    for index, name in enumerate(names):
        matrix[:, index] = to_float32(column_to_float64(table.column(name)))
    return matrix


def column_to_float64(column: Any) -> Float64Vector:
    """Read one numeric or boolean Arrow column as float64; null becomes NaN."""
    import pyarrow as pa  # offline only: scoring never holds a table

    as_double = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    # safe=False: integers beyond 2**53 round to the nearest double, as they do on the way from a Python int
    values = as_double.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64)
