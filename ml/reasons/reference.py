"""Reference statistics of a model's columns: quantiles and shares of missing values, no rows.

They say what is typical, measure drift later, and are what the sample that a bundle is checked with is drawn
from.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.errors import BundleError
from ml.runtimes.matrix import Float32Matrix

# The outermost hundredths are left out: they would be single people's values.
LEVELS: Final = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_LOW: Final = LEVELS.index(0.05)
_MEDIAN: Final = LEVELS.index(0.5)
_HIGH: Final = LEVELS.index(0.95)


@dataclass(frozen=True)
class ColumnStatistics:
    """One column.

    Parameters
    ----------
    quantiles : tuple of float
        At `LEVELS`; empty for a column without any value.
    missing : float
        Share of rows without a value.
    """

    quantiles: tuple[float, ...]
    missing: float


@dataclass(frozen=True)
class ReferenceStatistics:
    """Statistics of features and outputs by name."""

    columns: Mapping[str, ColumnStatistics]

    def medians(self) -> dict[str, float]:
        """Return the median of each column that has values."""
        return {name: column.quantiles[_MEDIAN] for name, column in self.columns.items() if column.quantiles}

    def share_below(self, name: str, value: float) -> float | None:
        """Return the highest level whose quantile `value` reaches, 0 below all; None without values."""
        column = self.columns.get(name)
        if column is None or not column.quantiles:
            return None
        index = bisect_right(column.quantiles, value)
        return LEVELS[index - 1] if index else 0.0

    def is_usual(self, name: str, value: float) -> bool:
        """Return whether a value lies in the middle nine tenths of past ones; True where there are none."""
        column = self.columns.get(name)
        if column is None or not column.quantiles:
            return True
        return column.quantiles[_LOW] <= value <= column.quantiles[_HIGH]

    def deviation(self, name: str, value: float) -> float:
        """Return how far a value is from the median, at least 0: ``asinh`` of the distance over the spread.

        The spread is half of what the middle nine tenths of past values cover, or all of them, or 1.
        """
        column = self.columns.get(name)
        if column is None or not column.quantiles:
            return 0.0
        quantiles = column.quantiles
        spread = (quantiles[_HIGH] - quantiles[_LOW]) / 2 or (quantiles[-1] - quantiles[0]) / 2 or 1.0
        return math.asinh(abs(value - quantiles[_MEDIAN]) / spread)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "levels": list(LEVELS),
            "columns": {
                name: {"quantiles": list(column.quantiles), "missing": column.missing}
                for name, column in self.columns.items()
            },
        }

    @classmethod
    def from_dict(cls, values: Any) -> ReferenceStatistics:
        """Read JSON values.

        Raises
        ------
        BundleError
            When they are not of the form that `as_dict` writes.
        """
        try:
            if tuple(values["levels"]) != LEVELS:
                raise BundleError("the reference statistics are of other levels: train again")
            columns = {
                str(name): ColumnStatistics(
                    quantiles=tuple(_number(value) for value in column["quantiles"]),
                    missing=_number(column["missing"]),
                )
                for name, column in values["columns"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"the reference statistics are malformed: {error}") from error
        if any(len(column.quantiles) not in (0, len(LEVELS)) for column in columns.values()):
            raise BundleError(f"expected {len(LEVELS)} quantiles of each column or none")
        if any(low > high for column in columns.values() for low, high in pairwise(column.quantiles)):
            raise BundleError("expected quantiles that do not fall")
        return cls(columns=columns)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    return float(value)


def measure(names: Sequence[str], matrix: npt.NDArray[Any]) -> ReferenceStatistics:
    """Measure the columns of a matrix, shape (n, len(names)); NaN is missing."""
    columns = {}
    for index, name in enumerate(names):
        values = np.asarray(matrix[:, index], dtype=np.float64)
        present = values[~np.isnan(values)]
        quantiles = np.quantile(present, LEVELS, method="inverted_cdf") if len(present) else ()
        columns[name] = ColumnStatistics(
            quantiles=tuple(float(value) for value in quantiles),
            missing=float(1.0 - len(present) / len(values)) if len(values) else 1.0,
        )
    return ReferenceStatistics(columns=columns)


def draw_sample(
    reference: ReferenceStatistics, names: Sequence[str], *, rows: int = 64, seed: int = 0
) -> Float32Matrix:
    """Draw rows that nobody ever was: each column by itself, between its quantiles.

    Parameters
    ----------
    reference : ReferenceStatistics
        Has every name.
    names : sequence of str
        Columns of the result.
    rows : int, default=64
    seed : int, default=0

    Returns
    -------
    ndarray of float32, shape (rows, len(names))
    """
    generator = np.random.default_rng(seed)
    sample = np.full((rows, len(names)), np.nan, dtype=np.float32)
    for index, name in enumerate(names):
        level, absent = generator.random(rows), generator.random(rows)
        column = reference.columns[name]
        if column.quantiles:
            drawn = np.interp(level, LEVELS, column.quantiles).astype(np.float32)
            sample[:, index] = np.where(absent < column.missing, np.float32(np.nan), drawn)
    return sample
