"""Ways to cluster points, and the choice of how many clusters.

Each method gives labels to the points that it saw. What becomes of a customer that it did not see is decided
by reference points (`References`), the same rule for both, so that nobody's segment depends on whether they
were in the fit:

- k-means: the nearest centre, which is the method's own rule.
- hierarchical (Ward): the nearest centre of a cluster. The tree itself is transductive: it says nothing of
  others, and for few of its own points the nearest centre is another cluster's.
- DBSCAN: the cluster of the nearest core point within ``eps``, the method's own rule for border points;
  otherwise an outlier.
- HDBSCAN: transductive too: the cluster of the nearest member within the cluster's own widest gap between
  neighbours; otherwise an outlier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from sklearn.cluster import DBSCAN, HDBSCAN, KMeans
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from ml.customers.space import Matrix

ClusterCodes = npt.NDArray[np.int64]
KProgress = Callable[[int, int], None]
"""Called with how many values of k are tried and how many there are."""

OUTLIER: Final = -1
K_RANGE: Final = range(2, 11)
_SILHOUETTE_ROWS: Final = 3_000
_STARTS: Final = 10
_NEIGHBOUR_SHARE: Final = 0.02
_FEWEST_NEIGHBOURS: Final = 5


@dataclass(frozen=True)
class References:
    """Points that decide which cluster a point belongs to: that of the nearest within reach.

    Parameters
    ----------
    points : ndarray of float64, shape (n_references, n_dimensions)
    clusters : ndarray of int64, shape (n_references,)
        Cluster of each.
    reach : ndarray of float64, shape (n_references,)
        Greatest distance at which it decides; beyond, a point is an outlier.
    """

    points: Matrix
    clusters: ClusterCodes
    reach: Matrix


@dataclass(frozen=True)
class KChoice:
    """How many clusters there could be.

    Parameters
    ----------
    ks : tuple of int
        Tried.
    silhouettes : tuple of float
        Mean silhouette of each: 1 is well apart, 0 is overlapping.
    inertias : tuple of float
        Sum of squared distances to the own centre.
    best : int
        k of the highest silhouette: the one taken.
    elbow : int
        k where inertia stops falling fast (furthest below the line between its ends): for comparison.
    """

    ks: tuple[int, ...]
    silhouettes: tuple[float, ...]
    inertias: tuple[float, ...]
    best: int
    elbow: int


@dataclass(frozen=True)
class Clusters:
    """What a method found.

    Parameters
    ----------
    labels : ndarray of int64, shape (n,)
        The method's own; -1 is an outlier.
    references : References
        Who decides for all customers.
    choice : KChoice or None
        How k was chosen, where it was.
    linkage : ndarray of float64, shape (n - 1, 4) or None
        Scipy's linkage matrix, of the hierarchical method.
    parameters : dict
        What the method was run with.
    """

    labels: ClusterCodes
    references: References
    choice: KChoice | None
    linkage: Matrix | None
    parameters: dict[str, Any]


def run_method(
    method: str,
    points: Matrix,
    *,
    k: int | None,
    seed: int,
    progress: KProgress = lambda done, total: None,
) -> Clusters:
    """Cluster points.

    Parameters
    ----------
    method : str
        In `CLUSTER_METHODS`.
    points : ndarray of float64, shape (n, n_dimensions)
    k : int or None
        Clusters of k-means and of the hierarchical method; None: chosen by silhouette.
    seed : int
    progress : callable, optional
        See `KProgress`.
    """
    # One thread: threads that wait for each other on a busy machine take several times as long.
    with threadpool_limits(1):
        return CLUSTER_METHODS[method](points, k, seed, progress)


def choose_k(
    points: Matrix, labels_of: Callable[[int], ClusterCodes], *, seed: int, progress: KProgress
) -> KChoice:
    """Choose k by the silhouette of a sample of the points; `labels_of` clusters into k."""
    ks = [k for k in K_RANGE if k < len(np.unique(points, axis=0))]
    if not ks:
        return KChoice(ks=(1,), silhouettes=(0.0,), inertias=(0.0,), best=1, elbow=1)
    silhouettes, inertias = [], []
    for done, k in enumerate(ks):
        progress(done, len(ks))
        labels = labels_of(k)
        inertias.append(_inertia(points, labels))
        silhouettes.append(mean_silhouette(points, labels, seed=seed) or 0.0)
    progress(len(ks), len(ks))
    return KChoice(
        ks=tuple(ks),
        silhouettes=tuple(silhouettes),
        inertias=tuple(inertias),
        best=ks[int(np.argmax(silhouettes))],
        elbow=_elbow(ks, inertias),
    )


def mean_silhouette(points: Matrix, labels: ClusterCodes, *, seed: int) -> float | None:
    """Return the mean silhouette of a sample of the clustered points; None with fewer than two clusters."""
    inside = labels != OUTLIER
    if len(np.unique(labels[inside])) < 2 or inside.sum() <= len(np.unique(labels[inside])):
        return None
    chosen = np.flatnonzero(inside)
    if len(chosen) > _SILHOUETTE_ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(chosen, _SILHOUETTE_ROWS, replace=False))
        if len(np.unique(labels[chosen])) < 2:
            return None
    return float(silhouette_score(points[chosen], labels[chosen]))


def _kmeans(points: Matrix, k: int | None, seed: int, progress: KProgress) -> Clusters:
    def fit(count: int) -> KMeans:
        return KMeans(count, n_init=_STARTS, random_state=seed).fit(points)

    choice = None
    if k is None:
        choice = choose_k(
            points, lambda count: fit(count).labels_.astype(np.int64), seed=seed, progress=progress
        )
        k = choice.best
    fitted = fit(k)
    centres = np.asarray(fitted.cluster_centers_, dtype=np.float64)
    references = References(centres, np.arange(k), np.full(k, np.inf))
    return Clusters(fitted.labels_.astype(np.int64), references, choice, None, {"k": k, "starts": _STARTS})


def _hierarchical(points: Matrix, k: int | None, seed: int, progress: KProgress) -> Clusters:
    tree = np.asarray(linkage(points, method="ward"), dtype=np.float64)

    def cut(count: int) -> ClusterCodes:
        return np.asarray(fcluster(tree, count, criterion="maxclust"), dtype=np.int64) - 1

    choice = None
    if k is None:
        choice = choose_k(points, cut, seed=seed, progress=progress)
        k = choice.best
    labels = cut(k)
    centres = _centres(points, labels)
    references = References(centres, np.arange(len(centres)), np.full(len(centres), np.inf))
    return Clusters(labels, references, choice, tree, {"k": k, "linkage": "ward"})


def _dbscan(points: Matrix, k: int | None, seed: int, progress: KProgress) -> Clusters:
    del k, seed, progress
    neighbours = _neighbours(points)
    eps = _knee(np.sort(_neighbour_distances(points, neighbours)))
    fitted = DBSCAN(eps=eps, min_samples=neighbours).fit(points)
    labels = fitted.labels_.astype(np.int64)
    core = np.asarray(fitted.core_sample_indices_, dtype=np.intp)
    references = References(points[core], labels[core], np.full(len(core), eps))
    return Clusters(labels, references, None, None, {"eps": eps, "min_samples": neighbours})


def _hdbscan(points: Matrix, k: int | None, seed: int, progress: KProgress) -> Clusters:
    del k, seed, progress
    smallest = _neighbours(points)
    fitted = HDBSCAN(min_cluster_size=smallest, copy=True).fit(points)
    labels = np.where(fitted.labels_ >= 0, fitted.labels_, OUTLIER).astype(np.int64)
    inside = labels != OUTLIER
    reach = np.zeros(len(points))
    for cluster in np.unique(labels[inside]):
        members = labels == cluster
        reach[members] = _neighbour_distances(points[members], 1).max()
    references = References(points[inside], labels[inside], reach[inside])
    return Clusters(labels, references, None, None, {"min_cluster_size": smallest})


CLUSTER_METHODS: Final[dict[str, Callable[[Matrix, int | None, int, KProgress], Clusters]]] = {
    "kmeans": _kmeans,
    "hierarchical": _hierarchical,
    "dbscan": _dbscan,
    "hdbscan": _hdbscan,
}
"""By name."""


def _centres(points: Matrix, labels: ClusterCodes) -> Matrix:
    return np.stack([points[labels == cluster].mean(axis=0) for cluster in range(int(labels.max()) + 1)])


def _inertia(points: Matrix, labels: ClusterCodes) -> float:
    return float(np.sum((points - _centres(points, labels)[labels]) ** 2))


def _elbow(ks: list[int], inertias: list[float]) -> int:
    """Return the k whose inertia lies furthest below the line between the first and the last."""
    line = np.interp(ks, [ks[0], ks[-1]], [inertias[0], inertias[-1]])
    return ks[int(np.argmax(line - np.asarray(inertias)))]


def _neighbours(points: Matrix) -> int:
    return max(_FEWEST_NEIGHBOURS, round(len(points) * _NEIGHBOUR_SHARE))


def _neighbour_distances(points: Matrix, neighbours: int) -> Matrix:
    """Return each point's distance to its n-th neighbour; with too few points, to the furthest."""
    count = min(neighbours + 1, len(points))
    distances, _ = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(points)
    return np.asarray(distances[:, -1], dtype=np.float64)


def _knee(rising: Matrix) -> float:
    """Return the value that lies furthest below the line between the least and the greatest."""
    line = np.linspace(rising[0], rising[-1], len(rising))
    value = float(rising[int(np.argmax(line - rising))])
    return value or float(np.finfo(np.float64).eps)
