"""Segments of customers: fitted once on profiles, then one rule for everybody.

A `Clustering` is plain data (it is stored as JSON beside the assignments): the space of profiles, the
reference points that decide, and the segments with their names. `assign` gives a profile the same segment
whether it is alone or among others, in the fit or not (see `ml.customers.methods` for each method's rule).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.customers.methods import (
    CLUSTER_METHODS,
    OUTLIER,
    ClusterCodes,
    Clusters,
    KProgress,
    References,
    mean_silhouette,
    run_method,
)
from ml.customers.names import name_segments
from ml.customers.space import Matrix, ProfileSpace
from ml.errors import TrainingDataError

OUTLIER_NAME: Final = "unlike the others"
CLUSTERING_FORMAT: Final = 1
_FEWEST_CUSTOMERS: Final = 20
_BLOCK_ROWS: Final = 2_000
# Beyond this many customers the tree and the densities don't fit in time or memory: a sample is fitted.
_MOST_FITTED: Final[Mapping[str, int]] = {
    "kmeans": 200_000,
    "hierarchical": 6_000,
    "dbscan": 20_000,
    "hdbscan": 20_000,
}


@dataclass(frozen=True)
class Segment:
    """One segment.

    Parameters
    ----------
    code : int
        0 is the largest in the fit; -1 are the outliers.
    name : str
        What sets it apart, as words.
    customers : int
        Of the fit.
    centre : tuple of float
        Mean point of its customers; of the outliers, of all customers.
    radius : float
        Mean distance of its customers to the centre; positive.
    traits : dict of str to float
        Mean of each profile column, in deviations from the median of all.
    """

    code: int
    name: str
    customers: int
    centre: tuple[float, ...]
    radius: float
    traits: Mapping[str, float]


@dataclass(frozen=True)
class Assignment:
    """Segments of some customers.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
        Segment of each.
    distances : ndarray of float64, shape (n,)
        To the segment's centre.
    typicality : ndarray of float64, shape (n,)
        That distance over the segment's mean distance: 1 is usual, 3 is far out.
    points : ndarray of float64, shape (n, n_dimensions)
        Coordinates along the main directions.
    """

    codes: ClusterCodes
    distances: Matrix
    typicality: Matrix
    points: Matrix


@dataclass(frozen=True)
class Clustering:
    """A fitted clustering, as plain data.

    Parameters
    ----------
    method : str
        In `ml.customers.methods.CLUSTER_METHODS`.
    columns : tuple of str
        Profile columns, in order.
    space : ProfileSpace
        Where customers are compared.
    references : References
        Who decides, with segment codes.
    segments : tuple of Segment
        By code, the largest first; outliers last.
    parameters : dict
        What the method was run with, the seed among them.
    quality : dict
        Silhouette, share of outliers, and the share of the fit whose assigned segment is the method's own.
    """

    method: str
    columns: tuple[str, ...]
    space: ProfileSpace
    references: References
    segments: tuple[Segment, ...]
    parameters: Mapping[str, Any]
    quality: Mapping[str, Any]

    def assign(self, profiles: Matrix) -> Assignment:
        """Return the segments of profiles, shape (n, n_columns), NaN where missing."""
        points = self.space.points(profiles)
        codes = nearest_reference(self.references, points)
        segments = {segment.code: segment for segment in self.segments}
        centres = np.asarray([segments[code].centre for code in codes.tolist()]).reshape(points.shape)
        radii = np.asarray([segments[code].radius for code in codes.tolist()], dtype=np.float64)
        distances = np.sqrt(np.sum((points - centres) ** 2, axis=1))
        return Assignment(codes, distances, distances / radii, points)

    def name_of(self, code: int) -> str:
        """Return the name of a segment."""
        return next(segment.name for segment in self.segments if segment.code == code)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        reach = [None if np.isinf(value) else value for value in self.references.reach.tolist()]
        return {
            "format_version": CLUSTERING_FORMAT,
            "method": self.method,
            "columns": list(self.columns),
            "space": self.space.as_dict(),
            "references": {
                "points": self.references.points.tolist(),
                "clusters": self.references.clusters.tolist(),
                "reach": reach,
            },
            "segments": [{**vars(segment), "centre": list(segment.centre)} for segment in self.segments],
            "parameters": dict(self.parameters),
            "quality": dict(self.quality),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Clustering:
        """Read what `as_dict` returned."""
        if values.get("format_version") != CLUSTERING_FORMAT:
            raise TrainingDataError(
                f"expected a clustering of format {CLUSTERING_FORMAT}, got {values.get('format_version')!r}: "
                "run `cbp cluster` again"
            )
        dimensions = len(values["space"]["directions"])
        found = values["references"]
        reach = [np.inf if value is None else value for value in found["reach"]]
        return cls(
            method=values["method"],
            columns=tuple(values["columns"]),
            space=ProfileSpace.from_dict(values["space"]),
            references=References(
                np.asarray(found["points"], dtype=np.float64).reshape(-1, dimensions),
                np.asarray(found["clusters"], dtype=np.int64),
                np.asarray(reach, dtype=np.float64),
            ),
            segments=tuple(
                Segment(**{**segment, "centre": tuple(segment["centre"])}) for segment in values["segments"]
            ),
            parameters=values["parameters"],
            quality=values["quality"],
        )


@dataclass(frozen=True)
class Fit:
    """A clustering with what only its pictures need.

    Parameters
    ----------
    clustering : Clustering
    rows : ndarray of int
        Positions of the profiles that were fitted.
    clusters : Clusters
        What the method said of them.
    """

    clustering: Clustering
    rows: npt.NDArray[np.intp]
    clusters: Clusters


def fit_clustering(
    profiles: Matrix,
    columns: Sequence[str],
    *,
    method: str = "kmeans",
    k: int | None = None,
    seed: int = 0,
    progress: KProgress = lambda done, total: None,
) -> Fit:
    """Find segments of customers.

    Parameters
    ----------
    profiles : ndarray of float64, shape (n, n_columns)
        A row a customer, NaN where missing.
    columns : sequence of str
        Names of the columns.
    method : {'kmeans', 'hierarchical', 'dbscan', 'hdbscan'}
    k : int, optional
        Number of segments of k-means and hierarchical; by default chosen by silhouette.
    seed : int, default=0
        Same profiles, same seed: same segments.
    progress : callable, optional
        See `ml.customers.methods.KProgress`.

    Raises
    ------
    TrainingDataError
        When there are too few customers, the method is unknown, or k does not fit.

    Examples
    --------
    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> profiles = np.concatenate([generator.normal(centre, 1, (50, 2)) for centre in (0, 20)])
    >>> fit = fit_clustering(profiles, ["profile_night_share_90d", "profile_amount_mean_90d"])
    >>> [segment.customers for segment in fit.clustering.segments]
    [50, 50]
    """
    _check(profiles, columns, method, k)
    rows = np.arange(len(profiles))
    if len(rows) > _MOST_FITTED[method]:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST_FITTED[method], replace=False))
    space = ProfileSpace.fit(profiles[rows])
    points = space.points(profiles[rows])
    found = run_method(method, points, k=k, seed=seed, progress=progress)
    references, own = _ordered_by_size(found, points)
    assigned = nearest_reference(references, points)
    scaled = space.scaled(profiles[rows])
    segments = _describe(points, scaled, assigned, references, columns)
    inside = own != OUTLIER
    quality = {
        "silhouette": mean_silhouette(points, assigned, seed=seed),
        "outlier_share": float(np.mean(assigned == OUTLIER)),
        "agreement": float(np.mean(assigned[inside] == own[inside])) if inside.any() else None,
        "variance_kept": float(space.explained.sum()),
        "fitted_customers": len(rows),
    }
    parameters = {**found.parameters, "seed": seed}
    clustering = Clustering(method, tuple(columns), space, references, segments, parameters, quality)
    return Fit(clustering, rows, found)


def nearest_reference(references: References, points: Matrix) -> ClusterCodes:
    """Return the cluster of each point's nearest reference point; -1 where it is out of reach.

    Of equally near ones the first decides. Each point is decided alone, in blocks that bound the memory.
    """
    codes = np.full(len(points), OUTLIER, dtype=np.int64)
    if not len(references.points):
        return codes
    rows = max(1, _BLOCK_ROWS * 1_000 // max(len(references.points), 1_000))
    for start in range(0, len(points), rows):
        block = points[start : start + rows]
        squares = np.zeros((len(block), len(references.points)))
        for mine, theirs in zip(block.T, references.points.T, strict=True):
            squares += (mine[:, None] - theirs) ** 2
        nearest = squares.argmin(axis=1)
        within = np.sqrt(squares[np.arange(len(block)), nearest]) <= references.reach[nearest]
        codes[start : start + rows] = np.where(within, references.clusters[nearest], OUTLIER)
    return codes


def _check(profiles: Matrix, columns: Sequence[str], method: str, k: int | None) -> None:
    if method not in CLUSTER_METHODS:
        raise TrainingDataError(f"expected a method among {', '.join(CLUSTER_METHODS)}, got {method!r}")
    if len(profiles) < _FEWEST_CUSTOMERS:
        raise TrainingDataError(
            f"expected {_FEWEST_CUSTOMERS} customers or more to cluster, got {len(profiles)}: ingest more "
            "history"
        )
    if len(columns) != profiles.shape[1] or len(columns) < 2:
        raise TrainingDataError(
            f"expected 2 profile columns or more and a name for each, got {profiles.shape[1]} columns and "
            f"{len(columns)} names"
        )
    if k is None:
        return
    if method not in ("kmeans", "hierarchical"):
        raise TrainingDataError(f"{method} finds the number of segments itself: leave k out")
    if not 2 <= k <= len(profiles) // 2:
        raise TrainingDataError(f"expected k from 2 to {len(profiles) // 2}, got {k}")


def _ordered_by_size(found: Clusters, points: Matrix) -> tuple[References, ClusterCodes]:
    """Return references and the method's labels with codes by falling size, then by the centre."""
    clusters = np.unique(found.references.clusters)
    sizes = {cluster: int((found.labels == cluster).sum()) for cluster in clusters.tolist()}
    places = {
        cluster: tuple(points[found.labels == cluster].mean(axis=0)) if sizes[cluster] else ()
        for cluster in sizes
    }
    order = sorted(sizes, key=lambda cluster: (-sizes[cluster], places[cluster]))
    codes = np.full(int(clusters.max()) + 2 if len(clusters) else 1, OUTLIER, dtype=np.int64)
    codes[order] = np.arange(len(order))
    # The last entry, which -1 reaches, stays an outlier.
    own = codes[found.labels]
    references = found.references
    return References(references.points, codes[references.clusters], references.reach), own


def _describe(
    points: Matrix, scaled: Matrix, codes: ClusterCodes, references: References, columns: Sequence[str]
) -> tuple[Segment, ...]:
    segments = []
    known = np.unique(references.clusters).tolist()
    means = {code: scaled[codes == code].mean(axis=0) for code in known if (codes == code).any()}
    names = name_segments(
        {code: dict(zip(columns, mean.tolist(), strict=True)) for code, mean in means.items()}
    )
    everybody = scaled.mean(axis=0)
    outliers = [] if len(known) and np.isinf(references.reach).all() else [OUTLIER]
    for code in (*known, *outliers):
        members = points[codes == code]
        centre = members.mean(axis=0) if len(members) and code != OUTLIER else points.mean(axis=0)
        distance = np.sqrt(np.sum((members - centre) ** 2, axis=1)).mean() if len(members) else 0.0
        traits = scaled[codes == code].mean(axis=0) if len(members) else everybody
        segments.append(
            Segment(
                code=code,
                name=OUTLIER_NAME if code == OUTLIER else names.get(code, f"segment {code}"),
                customers=len(members),
                centre=tuple(centre.tolist()),
                radius=float(distance) or 1.0,
                traits=dict(zip(columns, traits.tolist(), strict=True)),
            )
        )
    return tuple(segments)
