"""A one-class support vector machine whose support is prototypes, so that no customer's row is in a bundle.

Up to `EXACT_ROWS` rows the machine is solved exactly [1]_, and its function, which the solver states over
rows of the training data, is then stated over prototypes: the combination of their kernels that is nearest to
it in the kernel's space (reduced set, [2]_). Beyond that the rows are mapped by Nyström's method over the
same prototypes [3]_ and the machine is solved by stochastic gradient descent; that function is one over
prototypes already. A prototype is the mean of at least `FEWEST_ROWS` rows.

References
----------
.. [1] Schölkopf et al., "Estimating the support of a high-dimensional distribution", 2001.
.. [2] Burges, "Simplified support vector decision rules", ICML 1996, section 3.
.. [3] Williams and Seeger, "Using the Nyström method to speed up kernel machines", NIPS 2000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans
from sklearn.linear_model import SGDOneClassSVM
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import OneClassSVM

from ml.scaling import DenseMatrix

EXACT_ROWS: Final = 20_000
FEWEST_ROWS: Final = 3
# Directions of the prototypes' space with less than this share of the strongest one are noise.
_RELATIVE_FLOOR: Final = 1e-6


@dataclass(frozen=True)
class KernelExpansion:
    """A function ``sum_j weights_j exp(-gamma |x - prototypes_j|^2) - offset``, below 0 for what is unusual.

    Parameters
    ----------
    prototypes : ndarray of float64, shape (m, d)
    weights : ndarray of float64, shape (m,)
    gamma, offset : float
    solver : sklearn estimator
        `OneClassSVM` or `SGDOneClassSVM` as it was fitted.
    reduction_error : float
        Of the exact machine: distance of its function from this one, over its own length; 0 for Nyström's.
    """

    prototypes: DenseMatrix
    weights: npt.NDArray[np.float64]
    gamma: float
    offset: float
    solver: Any
    reduction_error: float

    def margin(self, dense: DenseMatrix) -> npt.NDArray[np.float64]:
        """Return the function's value at each row, by scikit-learn's kernel."""
        values: npt.NDArray[np.float64] = rbf_kernel(dense, self.prototypes, gamma=self.gamma) @ self.weights
        return values - self.offset


def fit_expansion(
    dense: DenseMatrix, *, nu: float, gamma: float, n_prototypes: int, seed: int
) -> KernelExpansion:
    """Fit the machine on scaled rows and state it over prototypes.

    Parameters
    ----------
    dense : ndarray of float64, shape (n, d)
    nu : float
        Share of the rows that may lie outside.
    gamma : float
        Of the radial kernel.
    n_prototypes : int
        At most; fewer when rows are few.
    seed : int
    """
    prototypes = find_prototypes(dense, count=n_prototypes, seed=seed)
    values, vectors = np.linalg.eigh(rbf_kernel(prototypes, gamma=gamma))
    strong = values > values[-1] * _RELATIVE_FLOOR
    whitening = vectors[:, strong] / np.sqrt(values[strong])
    if len(dense) > EXACT_ROWS:
        mapped = rbf_kernel(dense, prototypes, gamma=gamma) @ whitening
        linear = SGDOneClassSVM(nu=nu, random_state=seed).fit(mapped)
        weights = whitening @ linear.coef_
        return KernelExpansion(prototypes, weights, gamma, float(linear.offset_[0]), linear, 0.0)
    exact = OneClassSVM(nu=nu, gamma=gamma).fit(dense)
    support, dual = exact.support_vectors_, exact.dual_coef_[0]
    projected = whitening.T @ (rbf_kernel(prototypes, support, gamma=gamma) @ dual)
    length = float(dual @ rbf_kernel(support, gamma=gamma) @ dual)
    error = float(np.sqrt(max(length - float(projected @ projected), 0.0) / length)) if length else 0.0
    return KernelExpansion(prototypes, whitening @ projected, gamma, float(exact.offset_[0]), exact, error)


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
