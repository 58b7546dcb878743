"""The space in which customers are compared: profiles made comparable, then turned to their main directions.

Counts and amounts are skewed: where a column is, its logarithm is taken. Each column is centred on its median
and divided by its deviation; what is missing is the median, what is extreme is clipped. Columns of a profile
say similar things, so the columns' main directions are kept (principal components, 90 % of the variance), and
distances are measured there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

_SKEWED: Final = 1.0
_CLIP: Final = 4.0
_VARIANCE_KEPT: Final = 0.9


@dataclass(frozen=True)
class ProfileSpace:
    """Turns profiles into points; fitted once, then the same for every customer.

    Parameters
    ----------
    is_logarithmic : ndarray of bool, shape (n_columns,)
        Columns whose ``log1p`` is taken.
    centre, scale : ndarray of float64, shape (n_columns,)
        Median and deviation, after the logarithm.
    mean : ndarray of float64, shape (n_columns,)
        Mean of the scaled profiles.
    directions : ndarray of float64, shape (n_dimensions, n_columns)
        Orthonormal, by falling variance; each one's largest weight is positive.
    explained : ndarray of float64, shape (n_dimensions,)
        Share of the variance along each.
    """

    is_logarithmic: npt.NDArray[np.bool_]
    centre: Matrix
    scale: Matrix
    mean: Matrix
    directions: Matrix
    explained: Matrix

    @classmethod
    def fit(cls, profiles: Matrix) -> ProfileSpace:
        """Learn the space from profiles, shape (n, n_columns), NaN where missing; n is at least 3."""
        is_logarithmic = np.asarray([_is_skewed(column) for column in profiles.T], dtype=bool)
        values = _straightened(profiles, is_logarithmic)
        known = ~np.isnan(values).all(axis=0)
        centre, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
        centre[known] = np.nanmedian(values[:, known], axis=0)
        deviation = np.nanstd(values[:, known], axis=0)
        scale[known] = np.where(deviation > 0, deviation, 1.0)
        scaled = _scaled(values, centre, scale)
        mean = scaled.mean(axis=0)
        _, strengths, directions = np.linalg.svd(scaled - mean, full_matrices=False)
        variance = strengths**2
        share = variance / max(float(variance.sum()), np.finfo(float).tiny)
        enough = int(np.searchsorted(np.cumsum(share), _VARIANCE_KEPT) + 1)
        kept = min(max(2, enough), len(share))
        largest = np.abs(directions[:kept]).argmax(axis=1)
        signs = np.sign(directions[np.arange(kept), largest])
        turned = directions[:kept] * np.where(signs == 0, 1.0, signs)[:, None]
        return cls(is_logarithmic, centre, scale, mean, turned, share[:kept])

    def scaled(self, profiles: Matrix) -> Matrix:
        """Return comparable profiles, shape (n, n_columns): deviations from the median, within 4."""
        return _scaled(_straightened(profiles, self.is_logarithmic), self.centre, self.scale)

    def points(self, profiles: Matrix) -> Matrix:
        """Return the points of profiles, shape (n, n_dimensions); each depends on its own profile alone."""
        # A sum over columns in fixed order: a matrix product may add up in another order for other n.
        centred = self.scaled(profiles) - self.mean
        points = np.zeros((len(centred), len(self.directions)))
        for column, weights in zip(centred.T, self.directions.T, strict=True):
            points += column[:, None] * weights
        return points

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: getattr(self, name).tolist() for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProfileSpace:
        """Read what `as_dict` returned."""
        arrays = {name: np.asarray(values[name], dtype=np.float64) for name in cls.__dataclass_fields__}
        return cls(**{**arrays, "is_logarithmic": arrays["is_logarithmic"].astype(bool)})


def _is_skewed(column: Matrix) -> bool:
    """Return whether a column without negative values has a long right tail (Fisher's skewness above 1)."""
    values = column[~np.isnan(column)]
    deviation = float(values.std()) if len(values) else 0.0
    if deviation == 0.0 or values.min() < 0:
        return False
    return float(np.mean(((values - values.mean()) / deviation) ** 3)) > _SKEWED


def _straightened(profiles: Matrix, is_logarithmic: npt.NDArray[np.bool_]) -> Matrix:
    values = np.asarray(profiles, dtype=np.float64).copy()
    # A column that had no negative value at the fit may have one later.
    values[:, is_logarithmic] = np.log1p(np.maximum(values[:, is_logarithmic], 0.0))
    return values


def _scaled(values: Matrix, centre: Matrix, scale: Matrix) -> Matrix:
    return np.clip(np.nan_to_num((values - centre) / scale, nan=0.0), -_CLIP, _CLIP)
