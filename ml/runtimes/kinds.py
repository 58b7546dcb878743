"""Native runtimes: what scores at serving time, and what the estimators themselves score with.

Nothing here imports scikit-learn, pandas or torch. Each runtime is loaded from bytes whose hash was checked
before (law 9 of the design) and takes the float32 matrix of its inputs. A row scores the same bits alone or
in a batch: trees are walked row by row, and dense models multiply row by row (`ml.runtimes.dense`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from ml.errors import BundleError
from ml.runtimes.curves import CurveRuntime, MeanRuntime
from ml.runtimes.dense import AutoencoderRuntime, KernelRuntime, LinearRuntime, NetworkRuntime, SegmentRuntime
from ml.runtimes.lightgbm_library import NativeBooster
from ml.runtimes.matrix import Float32Matrix, Float64Vector

ISOLATION_FOREST: Final = "isolation_forest"
LIGHTGBM: Final = "lightgbm"
LINEAR: Final = "linear"
NETWORK: Final = "network"
AUTOENCODER: Final = "autoencoder"
KERNEL: Final = "kernel"
SEGMENT: Final = "segment"
CURVE: Final = "curve"
MEAN: Final = "mean"

EXPLAINED_KINDS: Final = frozenset({LIGHTGBM, LINEAR})
"""Kinds with exact contributions: trees by LightGBM's TreeSHAP, linear models by their coefficients."""
TREE_KINDS: Final = frozenset({LIGHTGBM, ISOLATION_FOREST})
"""Kinds that LightGBM's library scores."""
DENSE_KINDS: Final = frozenset({LINEAR, NETWORK, AUTOENCODER, KERNEL, SEGMENT})
"""Kinds that `ml.runtimes.dense` scores by products of matrices."""


@dataclass(frozen=True)
class ExportedModel:
    """A fitted model as a bundle stores it.

    Parameters
    ----------
    kind : str
        Which runtime loads it.
    files : dict of str to bytes
        Contents by role.
    """

    kind: str
    files: dict[str, bytes]


class Runtime(Protocol):
    """A loaded model: float32 inputs of shape (n, n_inputs) to one float64 output a row."""

    n_inputs: int

    def run(self, X: Float32Matrix) -> Float64Vector:
        """Return one number a row."""


class ExplainingRuntime(Runtime, Protocol):
    """A runtime with exact contributions."""

    def contributions(self, X: Float32Matrix) -> npt.NDArray[np.float64]:
        """Return (n, n_inputs + 1): contributions to the margin, the last column the base value."""


class IsolationForestRuntime:
    """Trees of an isolation forest in LightGBM's text, written by `lightgbm_text.isolation_trees`.

    Parameters
    ----------
    text : bytes
        The trees' text.
    """

    def __init__(self, text: bytes) -> None:
        self._booster = NativeBooster(text)
        self.n_inputs = self._booster.n_features

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> IsolationForestRuntime:
        """Load from the files of a bundle's step: ``trees``."""
        return cls(files["trees"])

    def run(self, X: Float32Matrix) -> Float64Vector:
        """Return the anomaly score of each row, in [0, 1]: 2 to the power of what the leaves add up to."""
        return np.exp2(np.minimum(self._booster.predict(X), 0.0))


class LightGBMRuntime:
    """Trees in LightGBM's native text: its own, and those that `ml.runtimes.lightgbm_text` wrote.

    Parameters
    ----------
    text : bytes
        The model's text.
    """

    def __init__(self, text: bytes) -> None:
        self._booster = NativeBooster(text)
        self.n_inputs = self._booster.n_features

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> LightGBMRuntime:
        """Load from the files of a bundle's step: ``trees``."""
        return cls(files["trees"])

    def run(self, X: Float32Matrix) -> Float64Vector:
        """Return the probability of fraud of each row."""
        # the sum of a forest's leaves may pass 1 by its last bit
        return np.clip(self._booster.predict(X), 0.0, 1.0)

    def contributions(self, X: Float32Matrix) -> npt.NDArray[np.float64]:
        """Return exact tree contributions (TreeSHAP); the last column is the base value.

        They add up to what the leaves add up to: the log odds of boosted trees, a forest's probability.
        """
        return self._booster.contributions(X)


_LOADERS: Final[dict[str, Callable[[Mapping[str, bytes]], Any]]] = {
    ISOLATION_FOREST: IsolationForestRuntime.from_files,
    LIGHTGBM: LightGBMRuntime.from_files,
    LINEAR: LinearRuntime.from_files,
    NETWORK: NetworkRuntime.from_files,
    AUTOENCODER: AutoencoderRuntime.from_files,
    KERNEL: KernelRuntime.from_files,
    SEGMENT: SegmentRuntime.from_files,
    CURVE: CurveRuntime.from_files,
    MEAN: MeanRuntime.from_files,
}


def load_runtime(kind: str, files: Mapping[str, bytes]) -> Any:
    """Load a step of a bundle.

    Raises
    ------
    BundleError
        When the kind is unknown or the files can't be parsed.
    """
    loader = _LOADERS.get(kind)
    if loader is None:
        raise BundleError(f"expected a model of kind {sorted(_LOADERS)}, got {kind!r}; train again or update")
    try:
        return loader(files)
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(f"the {kind} model can't be loaded: {error}") from error
