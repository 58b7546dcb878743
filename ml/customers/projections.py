"""Projections of points to a plane, to look at: PCA, t-SNE, UMAP.

PCA puts a new customer where it belongs, so its coordinates are stored and served. t-SNE and UMAP place the
points of one fit by their neighbours: distances between groups mean
little, and other points give another map.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Final

import numpy as np
from sklearn.manifold import TSNE

from ml.customers.space import Matrix
from ml.errors import TrainingDataError

_PERPLEXITY: Final = 30.0
_NEIGHBOURS: Final = 15


def project(points: Matrix, method: str, *, seed: int = 0) -> Matrix:
    """Return two coordinates for each point.

    Parameters
    ----------
    points : ndarray of float64, shape (n, n_dimensions)
        From `ProfileSpace.points`: along main directions, the strongest first; n is at least 5.
    method : {'pca', 'tsne', 'umap'}
    seed : int, default=0
        Same points, same seed, same machine: same map.

    Returns
    -------
    ndarray of float64, shape (n, 2)

    Raises
    ------
    TrainingDataError
        When the method is unknown.
    """
    if method not in PROJECTIONS:
        raise TrainingDataError(f"expected a projection among {', '.join(PROJECTIONS)}, got {method!r}")
    return np.asarray(PROJECTIONS[method](points, seed), dtype=np.float64)


def _pca(points: Matrix, seed: int) -> Matrix:
    del seed
    return points[:, :2]  # the space's own first directions


def _tsne(points: Matrix, seed: int) -> Matrix:
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    fitted = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    return np.asarray(fitted.fit_transform(points), dtype=np.float64)


def _umap(points: Matrix, seed: int) -> Matrix:
    with warnings.catch_warnings():
        # umap-learn warns of its own use of scikit-learn and of one thread under a seed: not ours to mend
        warnings.simplefilter("ignore")
        from umap import UMAP  # compiles for seconds: only who asks for it pays

        neighbours = min(_NEIGHBOURS, len(points) - 1)
        fitted = UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1, low_memory=True)
        return np.asarray(fitted.fit_transform(points), dtype=np.float64)


PROJECTIONS: Final[dict[str, Callable[[Matrix, int], Matrix]]] = {"pca": _pca, "tsne": _tsne, "umap": _umap}
"""By name."""
