"""A one-class support vector machine over prototypes, so that no customer's row is in a bundle.

Rows are mapped by Nyström's method [1]_ over prototypes, each the mean of at least `FEWEST_ROWS` rows, and
the linear one-class machine [2]_ is solved on what the map makes of them: exactly up to `EXACT_ROWS` rows, by
stochastic gradient descent beyond. Map and machine are scikit-learn's, and what they decide is a weighted sum
of kernels of the prototypes less an offset: that sum is what a bundle stores, the same function but for
rounding. The machine is the kernel's own, kept within the span of the prototypes.

References
----------
.. [1] Williams and Seeger, "Using the Nyström method to speed up kernel machines", NIPS 2000.
.. [2] Schölkopf et al., "Estimating the support of a high-dimensional distribution", 2001.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import SGDOneClassSVM
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import OneClassSVM

from ml.runtimes.scaling import DenseMatrix

EXACT_ROWS: Final = 20_000
FEWEST_ROWS: Final = 3


@dataclass(frozen=True)
class KernelExpansion:
    """A function ``sum_j weights_j exp(-gamma |x - prototypes_j|^2) - offset``, below 0 for what is unusual.

    Parameters
    ----------
    prototypes : ndarray of float64, shape (m, d)
    weights : ndarray of float64, shape (m,)
    gamma, offset : float
    trained : sklearn.pipeline.Pipeline
        The same function as it was trained: `Nystroem`, then `OneClassSVM` or `SGDOneClassSVM`.
    """

    prototypes: DenseMatrix
    weights: npt.NDArray[np.float64]
    gamma: float
    offset: float
    trained: Pipeline

    def margin(self, dense: DenseMatrix) -> npt.NDArray[np.float64]:
        """Return what the trained machine decides of each row."""
        return np.asarray(self.trained.decision_function(dense), dtype=np.float64)


def fit_expansion(
    dense: DenseMatrix, *, nu: float, gamma: float, n_prototypes: int, seed: int
) -> KernelExpansion:
    """Fit the machine on scaled rows and state it over prototypes.

    Parameters
    ----------
    dense : ndarray of float64, shape (n, d)
    nu : float
        Share of the rows that lie outside.
    gamma : float
        Of the radial kernel.
    n_prototypes : int
        At most; fewer when rows are few.
    seed : int
    """
    found = find_prototypes(dense, count=n_prototypes, seed=seed)
    # every prototype is a component of the map: the seed says in which order
    kernels = Nystroem(gamma=gamma, n_components=len(found), random_state=seed).fit(found)
    is_exact = len(dense) <= EXACT_ROWS
    machine = OneClassSVM(kernel="linear", nu=nu) if is_exact else SGDOneClassSVM(nu=nu, random_state=seed)
    machine.fit(kernels.transform(dense))
    return KernelExpansion(
        prototypes=kernels.components_,
        weights=kernels.normalization_.T @ machine.coef_.ravel(),
        gamma=gamma,
        offset=float(machine.offset_[0]),
        trained=make_pipeline(kernels, machine),
    )


def find_prototypes(dense: DenseMatrix, *, count: int, seed: int) -> DenseMatrix:
    """Return means of near rows, each of at least `FEWEST_ROWS`; at most `count`, at least one."""
    clusters = max(min(count, len(dense) // FEWEST_ROWS), 1)
    distinct = len(np.unique(dense, axis=0))
    found = MiniBatchKMeans(min(clusters, distinct), n_init=1, batch_size=2048, random_state=seed).fit(dense)
    sizes = np.bincount(found.labels_, minlength=len(found.cluster_centers_))
    large = np.flatnonzero(sizes >= FEWEST_ROWS)
    if not len(large):
        return np.asarray(dense.mean(axis=0, keepdims=True))
    return np.stack([dense[found.labels_ == cluster].mean(axis=0) for cluster in large])
