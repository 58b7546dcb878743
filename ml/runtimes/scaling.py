"""How dense models see a matrix: centred, scaled, with long tails drawn in; learned once, served as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.errors import BundleError
from ml.runtimes.matrix import Float32Matrix

DenseMatrix = npt.NDArray[np.float64]

_INNER: Final = (0.1, 0.9)


@dataclass(frozen=True)
class Scaling:
    """Turns features into ``asinh((value - center) / scale)``: linear near the centre, a logarithm far out.

    A missing value becomes 0, the centre. Where `indicated` names columns, one more column for each of them
    says by 1 that the value is missing.

    Parameters
    ----------
    center, scale : ndarray of float64, shape (n_features,)
        Median, and half the spread of the inner eight tenths.
    indicated : ndarray of int64
        Columns whose missing values are told.
    """

    center: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    indicated: npt.NDArray[np.int64]

    @property
    def width(self) -> int:
        """Number of columns that `apply` returns."""
        return len(self.center) + len(self.indicated)

    def apply(self, X: Float32Matrix) -> DenseMatrix:
        """Return the dense matrix, shape (n, width): each value by itself, so no row sees another."""
        missing = np.isnan(X)
        dense = np.empty((len(X), self.width), dtype=np.float64)
        scaled = np.arcsinh((X.astype(np.float64) - self.center) / self.scale)
        dense[:, : len(self.center)] = np.where(missing, 0.0, scaled)
        dense[:, len(self.center) :] = missing[:, self.indicated]
        return dense

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Return the arrays as a bundle stores them."""
        return {"center": self.center, "scale": self.scale, "indicated": self.indicated}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, npt.NDArray[Any]]) -> Scaling:
        """Read what `tensors` returned.

        Raises
        ------
        BundleError
            When the arrays do not belong together.
        """
        center, scale = tensors["center"].astype(np.float64), tensors["scale"].astype(np.float64)
        indicated = tensors["indicated"].astype(np.int64)
        if center.ndim != 1 or scale.shape != center.shape or indicated.ndim != 1:
            raise BundleError(
                f"expected a centre and a scale of each feature, got {center.shape}, {scale.shape}"
            )
        if not np.isfinite(center).all() or not (np.isfinite(scale) & (scale > 0)).all():
            raise BundleError("expected finite centres and scales above 0")
        if ((indicated < 0) | (indicated >= len(center))).any():
            raise BundleError("the scaling tells of missing values in columns that do not exist")
        return cls(center=center, scale=scale, indicated=indicated)


def fit_scaling(X: Float32Matrix, *, tells_missing: bool) -> Scaling:
    """Learn centre and scale of each column.

    Parameters
    ----------
    X : ndarray of float32, shape (n, n_features)
        NaN is missing.
    tells_missing : bool
        Whether columns that have missing values, but not only those, get an indicator.
    """
    center, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
    for index in range(X.shape[1]):
        present = X[:, index][~np.isnan(X[:, index])].astype(np.float64)
        if present.size:
            center[index] = np.median(present)
            low, high = np.quantile(present, _INNER)
            spread = (high - low) / 2 or float(np.std(present))
            scale[index] = spread if np.isfinite(spread) and spread > 0 else 1.0
    indicated = np.zeros(0, dtype=np.int64)
    if tells_missing:
        share = np.isnan(X).mean(axis=0)
        indicated = np.flatnonzero((share > 0) & (share < 1)).astype(np.int64)
    return Scaling(center=center, scale=scale, indicated=indicated)
