"""The models of a bundle, run in order over one matrix: each reads columns and writes one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ml.bundles.store import VerifiedBundle
from ml.errors import BundleError
from ml.runtimes.kinds import DENSE_KINDS, Runtime, load_runtime
from ml.runtimes.matrix import Float32Matrix, Float64Vector, to_float32

ROWS_A_THREAD: Final = 1_000
"""From so many rows on each, threads share a matrix: fewer are scored before a thread has begun."""


@dataclass(frozen=True)
class _Step:
    """A loaded model, the columns it reads (None: all before its output), and the name of what it writes."""

    runtime: Runtime
    inputs: npt.NDArray[np.intp] | None
    output: str


class ModelGraph:
    """The loaded models of a bundle.

    Parameters
    ----------
    bundle : VerifiedBundle
        From `ml.bundles.store.verify`.

    Raises
    ------
    BundleError
        When a model can't be loaded.

    Attributes
    ----------
    n_features : int
    width : int
        Of the matrix: features, and what each model writes.
    outputs : tuple of str
        In order.
    """

    def __init__(self, bundle: VerifiedBundle) -> None:
        manifest = bundle.manifest
        columns = [feature.name for feature in manifest.features]
        columns += [step.output for step in manifest.steps]
        self.n_features = len(manifest.features)
        self.width = len(columns)
        positions = {name: index for index, name in enumerate(columns)}
        self._steps = []
        for number, spec in enumerate(manifest.steps):
            runtime = load_runtime(spec.kind, {role: bundle.files[name] for role, name in spec.files.items()})
            if runtime.n_inputs != len(spec.inputs):
                raise BundleError(
                    f"expected a model with {len(spec.inputs)} inputs for {spec.output!r}, "
                    f"got {runtime.n_inputs}"
                )
            indices = np.asarray([positions[name] for name in spec.inputs], dtype=np.intp)
            is_all = np.array_equal(indices, np.arange(self.n_features + number))
            self._steps.append(_Step(runtime, None if is_all else indices, spec.output))
        self._dense = frozenset(spec.output for spec in manifest.steps if spec.kind in DENSE_KINDS)
        self._numbers = {step.output: number for number, step in enumerate(self._steps)}
        self.outputs = tuple(self._numbers)

    def run(self, matrix: Float32Matrix) -> dict[str, Float64Vector]:
        """Run every model; over many rows by as many threads as there are cores, which changes no bit.

        Parameters
        ----------
        matrix : ndarray of float32, shape (n, width)
            The features, then room for the outputs, which is filled in place.

        Returns
        -------
        dict of str to ndarray of float64, shape (n,)
            By output.
        """
        shares = _shares(matrix)
        if len(shares) == 1:
            return self._run(matrix)
        with ThreadPoolExecutor(len(shares)) as pool:
            results = list(pool.map(self._run, shares))
        return {name: np.concatenate([result[name] for result in results]) for name in self.outputs}

    def _run(self, matrix: Float32Matrix) -> dict[str, Float64Vector]:
        outputs = {}
        for number, step in enumerate(self._steps):
            result = step.runtime.run(self._inputs(matrix, number))
            matrix[:, self.n_features + number] = to_float32(result)
            outputs[step.output] = result
        return outputs

    def run_features(self, features: Float32Matrix) -> dict[str, Float64Vector]:
        """Run every model over a matrix of the features alone, shape (n, n_features)."""
        if features.ndim != 2 or features.shape[1] != self.n_features:
            raise ValueError(f"expected a matrix with {self.n_features} columns, got shape {features.shape}")
        matrix = np.empty((len(features), self.width), dtype=np.float32)
        matrix[:, : self.n_features] = features
        return self.run(matrix)

    def run_apart(
        self, features: Float32Matrix, given: Mapping[str, Float64Vector]
    ) -> dict[str, Float64Vector]:
        """Run every model over the features and what `given` says that the models before it wrote."""
        matrix = np.empty((len(features), self.width), dtype=np.float32)
        matrix[:, : self.n_features] = features
        for number, step in enumerate(self._steps):
            matrix[:, self.n_features + number] = to_float32(given[step.output])
        return {step.output: step.runtime.run(self._inputs(matrix, n)) for n, step in enumerate(self._steps)}

    def is_dense(self, output: str) -> bool:
        """Return whether a product of matrices makes an output."""
        return output in self._dense

    def can_explain(self, output: str) -> bool:
        """Return whether the model of an output gives contributions."""
        return hasattr(self._steps[self._numbers[output]].runtime, "contributions")

    def contributions(self, output: str, matrix: Float32Matrix) -> npt.NDArray[np.float64]:
        """Return the contributions of one model's inputs over rows that `run` has filled."""
        number = self._numbers[output]
        runtime = self._steps[number].runtime
        found: npt.NDArray[np.float64] = runtime.contributions(self._inputs(matrix, number))  # type: ignore[attr-defined]
        return found

    def outputs_before(self, output: str) -> list[str]:
        """Return the outputs of the models before one."""
        return [step.output for step in self._steps[: self._numbers[output]]]

    def _inputs(self, matrix: Float32Matrix, number: int) -> Float32Matrix:
        inputs = self._steps[number].inputs
        return matrix[:, : self.n_features + number] if inputs is None else matrix[:, inputs]


def threads_for(rows: int) -> int:
    """Return how many threads share so many rows: one a core, where there is enough for each."""
    return max(1, min(os.cpu_count() or 1, rows // ROWS_A_THREAD))


def _shares(matrix: Float32Matrix) -> Sequence[Float32Matrix]:
    """Share rows out among threads, as views."""
    return np.array_split(matrix, threads_for(len(matrix)))
