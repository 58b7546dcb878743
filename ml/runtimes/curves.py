"""Models that are a curve or a mean: calibration, quantile maps and their average, served as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.canonical_json import canonical_json, parse_bundle_json
from ml.errors import BundleError
from ml.runtimes.matrix import Float32Matrix, Float64Vector

_MAX_KNOTS: Final = 10_000


class CurveRuntime:
    """A line through knots, level beyond the first and the last.

    Parameters
    ----------
    x, y : array-like of float, shape (n_knots,)
        `x` increases; `y` does not decrease, so that a curve keeps the order of scores.
    """

    n_inputs = 1

    def __init__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> None:
        self.x, self.y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if self.x.ndim != 1 or self.x.shape != self.y.shape or not 1 <= len(self.x) <= _MAX_KNOTS:
            raise BundleError(f"expected from 1 to {_MAX_KNOTS} knots, got {self.x.shape} and {self.y.shape}")
        if not (np.isfinite(self.x).all() and np.isfinite(self.y).all()):
            raise BundleError("expected finite knots")
        if (np.diff(self.x) <= 0).any() or (np.diff(self.y) < 0).any():
            raise BundleError("expected a curve that rises from left to right")

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> CurveRuntime:
        """Load from the files of a bundle's step: ``knots``, a JSON object of ``x`` and ``y``."""
        knots: Any = parse_bundle_json(files["knots"], what="a curve")
        return cls(knots["x"], knots["y"])

    def files(self) -> dict[str, bytes]:
        """Return the curve as a bundle stores it."""
        return {"knots": canonical_json({"x": self.x.tolist(), "y": self.y.tolist()})}

    def run(self, X: Float32Matrix) -> Float64Vector:
        """Return the curve's value at each row's one input."""
        return np.interp(X[:, 0].astype(np.float64), self.x, self.y)


class MeanRuntime:
    """The mean of its inputs.

    Parameters
    ----------
    n_inputs : int
        How many.
    """

    def __init__(self, n_inputs: int) -> None:
        if isinstance(n_inputs, bool) or not isinstance(n_inputs, int) or not 1 <= n_inputs <= _MAX_KNOTS:
            raise BundleError(f"expected a mean of 1 to {_MAX_KNOTS} inputs, got {n_inputs!r}")
        self.n_inputs = n_inputs

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> MeanRuntime:
        """Load from the files of a bundle's step: ``width``, a JSON number."""
        return cls(parse_bundle_json(files["width"], what="a mean"))

    def files(self) -> dict[str, bytes]:
        """Return the mean as a bundle stores it."""
        return {"width": canonical_json(self.n_inputs)}

    def run(self, X: Float32Matrix) -> Float64Vector:
        """Return the mean of each row, added from left to right."""
        total = np.zeros(len(X), dtype=np.float64)
        for column in X.T:
            total += column
        return total / self.n_inputs
