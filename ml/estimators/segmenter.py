"""Segments of rows inside a pipeline: the nearest of a few means, the same at training and at scoring."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import MiniBatchKMeans
from sklearn.utils.validation import check_is_fitted

from ml.estimators.base import Served, drawn_seed, validate_matrix
from ml.runtimes.dense import pack_tensors
from ml.runtimes.kinds import SEGMENT, ExportedModel
from ml.runtimes.matrix import Float32Matrix, Float64Vector
from ml.runtimes.scaling import fit_scaling


class Segmenter(Served, ClusterMixin, BaseEstimator):  # type: ignore[misc]
    """K-means over scaled features; a row's segment is the number of its nearest centre.

    Parameters
    ----------
    n_clusters : int, default=8
        At most: fewer where there are fewer distinct rows.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Attributes
    ----------
    labels_ : ndarray of int64, shape (n_samples,)
        Segments of the training rows.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, when ``fit`` was given any.
    """

    def __init__(self, n_clusters: int = 8, *, random_state: Any = None) -> None:
        self.n_clusters = n_clusters
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        """Declare that NaN is welcome: it is the centre of its feature."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: Any, y: Any = None) -> Segmenter:
        """Find the centres; labels are ignored."""
        matrix = validate_matrix(self, X, reset=True, ensure_min_samples=2)
        self.scaling_ = fit_scaling(matrix, tells_missing=False)
        dense = self.scaling_.apply(matrix)
        clusters = min(self.n_clusters, len(np.unique(dense, axis=0)))
        self.model_ = MiniBatchKMeans(
            clusters, n_init=3, batch_size=4096, random_state=drawn_seed(self.random_state)
        ).fit(dense)
        tensors = {**self.scaling_.tensors(), "centroids": self.model_.cluster_centers_}
        self._serve(ExportedModel(kind=SEGMENT, files={"weights": pack_tensors(tensors)}))
        self.labels_ = self._risk(matrix).astype(np.int64)
        return self

    def predict(self, X: Any) -> npt.NDArray[np.int64]:
        """Return the segment of each row."""
        check_is_fitted(self)
        segments: npt.NDArray[np.int64] = self._risk(validate_matrix(self, X)).astype(np.int64)
        return segments

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return np.asarray(self.model_.predict(self.scaling_.apply(X)), dtype=np.float64)
