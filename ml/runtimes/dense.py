"""Runtimes of dense models: plain numpy over arrays from safetensors, each row a product of its own.

A product of two matrices adds in an order that depends on their shape, and for some shapes even on where a
row stands, so a row alone and the same row among others could differ in the last bit. `product` multiplies
each row by the matrix on its own, always in the same shape: a row scores the same bits wherever it stands
(law 7 of the design), whatever the number of threads. Sums are of float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.errors import BundleError
from ml.runtimes.matrix import Float32Matrix, Float64Vector
from ml.runtimes.scaling import DenseMatrix, Scaling

Tensors = Mapping[str, npt.NDArray[Any]]
# Rows that are held scaled in memory at once; the result does not depend on it.
_CHUNK_ROWS: Final = 4096


def product(dense: DenseMatrix, matrix: DenseMatrix) -> DenseMatrix:
    """Return ``dense @ matrix``, (n, d) by (d, m): n products of one row, not one of n rows."""
    out: DenseMatrix = (dense[:, None, :] @ matrix)[:, 0]
    return out


def in_chunks(score: Callable[[Float32Matrix], DenseMatrix], X: Float32Matrix) -> DenseMatrix:
    """Apply `score` to a few thousand rows at a time, to bound memory."""
    chunks = range(0, max(len(X), 1), _CHUNK_ROWS)
    return np.concatenate([score(X[start : start + _CHUNK_ROWS]) for start in chunks])


def sigmoid(margin: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return 1 / (1 + exp(-margin)) without overflow."""
    positive: npt.NDArray[np.float64] = np.exp(-np.abs(margin))
    return np.where(margin >= 0, 1.0, positive) / (1.0 + positive)


def pack_tensors(tensors: Tensors) -> bytes:
    """Write arrays as safetensors, with no metadata: the same arrays, the same bytes."""
    from safetensors.numpy import save

    content: bytes = save({name: np.ascontiguousarray(array) for name, array in sorted(tensors.items())})
    return content


class DenseRuntime(ABC):
    """Base: loads and checks the arrays and scales the inputs; a subclass scores scaled rows."""

    def __init__(self, tensors: Tensors) -> None:
        self._scaling = Scaling.from_tensors(tensors)
        self.n_inputs = len(self._scaling.center)
        for name, array in tensors.items():
            if array.dtype.kind not in "fi" or not np.isfinite(array).all():
                raise BundleError(f"expected finite numbers in {name!r} of the model")
        self._load({name: array.astype(np.float64) for name, array in tensors.items()})

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> DenseRuntime:
        """Load from the files of a bundle's step: ``weights``, safetensors."""
        from safetensors.numpy import load

        return cls(load(files["weights"]))

    def run(self, X: Float32Matrix) -> Float64Vector:
        """Return one number a row."""
        self._check(X)
        return in_chunks(lambda rows: self._score(self._scaling.apply(rows)), X)

    def _check(self, X: Float32Matrix) -> None:
        if X.ndim != 2 or X.shape[1] != self.n_inputs:
            raise ValueError(f"expected a matrix with {self.n_inputs} columns, got shape {X.shape}")

    @abstractmethod
    def _load(self, tensors: Mapping[str, npt.NDArray[np.float64]]) -> None:
        """Take the model's own arrays out of `tensors`, checking their shapes."""

    @abstractmethod
    def _score(self, dense: DenseMatrix) -> Float64Vector:
        """Score scaled rows, each by itself."""


class LinearRuntime(DenseRuntime):
    """Logistic regression: ``coefficient`` (width,) and ``intercept`` (1,); returns the probability."""

    def _load(self, tensors: Mapping[str, npt.NDArray[np.float64]]) -> None:
        self._coefficient = _shaped(tensors, "coefficient", (self._scaling.width,))
        self._intercept = float(_shaped(tensors, "intercept", (1,))[0])

    def _score(self, dense: DenseMatrix) -> Float64Vector:
        return sigmoid(product(dense, self._coefficient[:, None])[:, 0] + self._intercept)

    def contributions(self, X: Float32Matrix) -> npt.NDArray[np.float64]:
        """Return each coefficient times the deviation from the centre, shape (n, n_inputs + 1).

        What the indicator of a missing value says is added to its feature; the last column is the intercept.
        """
        self._check(X)
        return in_chunks(self._contributed, X)

    def _contributed(self, X: Float32Matrix) -> DenseMatrix:
        parts = self._scaling.apply(X) * self._coefficient
        out = np.full((len(X), self.n_inputs + 1), self._intercept)
        out[:, :-1] = parts[:, : self.n_inputs]
        out[:, self._scaling.indicated] += parts[:, self.n_inputs :]
        return out


class NetworkRuntime(DenseRuntime):
    """Layers ``weight_i`` (out, in) and ``bias_i``, rectified between, one output: the probability."""

    def _load(self, tensors: Mapping[str, npt.NDArray[np.float64]]) -> None:
        self._layers = _layers(tensors, first=self._scaling.width, last=1)

    def _score(self, dense: DenseMatrix) -> Float64Vector:
        return sigmoid(_forward(self._layers, dense)[:, 0])


class AutoencoderRuntime(DenseRuntime):
    """Layers back to the width of the input; the risk is ``error / (error + usual)``, in [0, 1).

    The error is the mean squared distance between the scaled row and what the network makes of it.
    """

    def _load(self, tensors: Mapping[str, npt.NDArray[np.float64]]) -> None:
        self._layers = _layers(tensors, first=self._scaling.width, last=self._scaling.width)
        self._usual = float(_shaped(tensors, "usual", (1,))[0])
        if self._usual <= 0:
            raise BundleError(f"expected a usual error above 0, got {self._usual}")

    def _score(self, dense: DenseMatrix) -> Float64Vector:
        distance = dense - _forward(self._layers, dense)
        error = np.mean(distance * distance, axis=1)
        risk: Float64Vector = error / (error + self._usual)
        return risk


class KernelRuntime(DenseRuntime):
    """A one-class support vector machine over prototypes: the further below its edge, the riskier.

    ``prototypes`` (m, width), ``weights`` (m,), ``gamma``, ``offset`` and ``spread`` (1,): the margin is the
    weighted sum of ``exp(-gamma * squared distance)`` less the offset; the risk is the sigmoid of the
    negative margin over the spread.
    """

    def _load(self, tensors: Mapping[str, npt.NDArray[np.float64]]) -> None:
        count = len(tensors["weights"])
        self._prototypes = _shaped(tensors, "prototypes", (count, self._scaling.width))
        self._weights = _shaped(tensors, "weights", (count,))
        self._gamma, self._offset, self._spread = (
            float(_shaped(tensors, name, (1,))[0]) for name in ("gamma", "offset", "spread")
        )
        if self._gamma <= 0 or self._spread <= 0:
            raise BundleError("expected gamma and spread above 0")
        self._squares = np.sum(self._prototypes * self._prototypes, axis=1)

    def _score(self, dense: DenseMatrix) -> Float64Vector:
        squares = np.sum(dense * dense, axis=1)[:, None] + self._squares
        distance = np.maximum(squares - 2.0 * product(dense, self._prototypes.T), 0.0)
        kernel = np.exp(-self._gamma * distance)
        margin = product(kernel, self._weights[:, None])[:, 0] - self._offset
        return sigmoid(-margin / self._spread)


class SegmentRuntime(DenseRuntime):
    """The number of the nearest of ``centroids`` (k, width), the first of equally near ones."""

    def _load(self, tensors: Mapping[str, npt.NDArray[np.float64]]) -> None:
        self._centroids = _shaped(tensors, "centroids", (len(tensors["centroids"]), self._scaling.width))
        self._squares = np.sum(self._centroids * self._centroids, axis=1)

    def _score(self, dense: DenseMatrix) -> Float64Vector:
        nearest = np.argmin(self._squares - 2.0 * product(dense, self._centroids.T), axis=1)
        return np.asarray(nearest, dtype=np.float64)


def _forward(
    layers: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]], dense: DenseMatrix
) -> DenseMatrix:
    for number, (weight, bias) in enumerate(layers):
        dense = product(dense, weight.T) + bias
        if number < len(layers) - 1:
            dense = np.maximum(dense, 0.0)
    return dense


def _layers(
    tensors: Mapping[str, npt.NDArray[np.float64]], *, first: int, last: int
) -> list[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    layers = []
    width = first
    for number in range(sum(name.startswith("weight_") for name in tensors)):
        bias = tensors[f"bias_{number}"]
        layers.append((_shaped(tensors, f"weight_{number}", (len(bias), width)), bias))
        width = len(bias)
    if not layers or width != last:
        raise BundleError(f"expected layers from {first} to {last} values, got {len(layers)} to {width}")
    return layers


def _shaped(
    tensors: Mapping[str, npt.NDArray[np.float64]], name: str, shape: tuple[int, ...]
) -> npt.NDArray[np.float64]:
    array = tensors[name]
    if array.shape != shape or 0 in shape:
        raise BundleError(f"expected {name!r} of shape {shape}, got {array.shape}")
    return array
