"""Anomaly detectors: label-free scorers behind one ``risk_score``.

Missing values are handled inside each detector, so a detector takes the same matrix as the classifier beside
it. One more detector: a subclass of `AnomalyDetector` here and its name in `ml.estimators.detectors`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import IsolationForest

from ml.estimators.base import RiskScorer, Served, drawn_seed, validate_matrix
from ml.estimators.networks import network_output, network_tensors, train_network
from ml.estimators.one_class import fit_expansion
from ml.runtimes.dense import pack_tensors, sigmoid
from ml.runtimes.kinds import AUTOENCODER, ISOLATION_FOREST, KERNEL, ExportedModel
from ml.runtimes.lightgbm_text import isolation_trees, lightgbm_text
from ml.runtimes.matrix import Float32Matrix, Float64Vector
from ml.runtimes.scaling import DenseMatrix, fit_scaling


class AnomalyDetector(RiskScorer):
    """Base of the label-free detectors.

    A subclass writes ``_fit_matrix``, ``_risk`` and ``_trained_risk``; a `Served` one fits into bundles.
    """

    def fit(self, X: Any, y: Any = None) -> AnomalyDetector:
        """Learn what is normal.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Recent rows; NaN is missing.
        y : ignored
            Present for scikit-learn's interface: a detector never sees labels.

        Returns
        -------
        AnomalyDetector
            Itself.
        """
        matrix = validate_matrix(self, X, reset=True, ensure_min_samples=2)
        self._fit_matrix(matrix)
        return self

    def trained_risk_score(self, X: Any) -> Float64Vector:
        """Score with the object that was trained: what the runtime that serves is checked against."""
        return self._trained_risk(validate_matrix(self, X))

    @abstractmethod
    def _fit_matrix(self, X: Float32Matrix) -> None:
        """Learn from a validated matrix."""

    @abstractmethod
    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        """Score with the object that was trained, to check the runtime that serves against."""

    def trained_outputs(self, X: Float32Matrix, output: str) -> dict[str, Float64Vector]:
        """Return what each step writes, by the objects that were trained: `score_names` are among them."""
        return {output: self._trained_risk(X)}

    def score_columns(self, X: Float32Matrix) -> npt.NDArray[np.float64]:
        """Return what a classifier behind the detector sees, shape (n, len(score_names(…)))."""
        return self._risk(X)[:, None]

    def score_names(self, output: str) -> list[str]:
        """Return the names of `score_columns` when the detector's own score is named `output`."""
        return [output]


class IsolationForestDetector(Served, AnomalyDetector):
    """Isolation forest over median-filled features, served as LightGBM's text (`ml.runtimes.lightgbm_text`).

    Training and serving score through the same runtime, so a score is the same bits in both.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    max_samples : int or float, default=256
        Rows a tree sees; the number that the paper recommends.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Attributes
    ----------
    fill_ : ndarray of float32, shape (n_features,)
        Median of each feature; 0 where a feature has no value at all.
    forest_ : sklearn.ensemble.IsolationForest
        The trained trees.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, when ``fit`` was given any.

    References
    ----------
    Liu, Ting and Zhou, "Isolation Forest", ICDM 2008.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> detector = IsolationForestDetector(random_state=0).fit(X)
    >>> detector.risk_score([[0, 0, 0]])[0] < detector.risk_score([[9, 9, 9]])[0]
    np.True_
    """

    def __init__(
        self, n_estimators: int = 100, max_samples: int | float = 256, *, random_state: Any = None
    ) -> None:
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix) -> None:
        self.fill_ = column_medians(X)
        samples = self.max_samples
        if isinstance(samples, int):
            # scikit-learn warns where a tree can't get the rows it asks for
            samples = min(samples, len(X))
        self.forest_ = IsolationForest(
            n_estimators=self.n_estimators, max_samples=samples, random_state=self.random_state
        ).fit(filled(X, self.fill_))
        trees = isolation_trees(self.forest_, fill=self.fill_)
        text = lightgbm_text(trees, n_features=X.shape[1], is_log_odds=False)
        self._serve(ExportedModel(kind=ISOLATION_FOREST, files={"trees": text}))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return np.asarray(-self.forest_.score_samples(filled(X, self.fill_)), dtype=np.float64)


class OneClassSvmDetector(Served, AnomalyDetector):
    """One-class support vector machine with a radial kernel; see `ml.estimators.one_class` for how it scales.

    Parameters
    ----------
    nu : float, default=0.05
        Share of the training rows that lie outside; well above the share of frauds among them, as the
        outermost rows decide where the edge is.
    gamma : float or None, default=None
        Of the kernel; None: one over the number of features and the variance of the scaled rows.
    n_prototypes : int, default=256
        How many means of near rows span the machine's function, at most.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Attributes
    ----------
    expansion_ : ml.estimators.one_class.KernelExpansion
        The machine as it was trained, and the same function over prototypes.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, when ``fit`` was given any.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> detector = OneClassSvmDetector(random_state=0).fit(X)
    >>> detector.risk_score([[0, 0, 0]])[0] < detector.risk_score([[9, 9, 9]])[0]
    np.True_
    """

    def __init__(
        self,
        nu: float = 0.05,
        gamma: float | None = None,
        n_prototypes: int = 256,
        *,
        random_state: Any = None,
    ) -> None:
        self.nu = nu
        self.gamma = gamma
        self.n_prototypes = n_prototypes
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix) -> None:
        self.scaling_ = fit_scaling(X, tells_missing=False)
        dense = self.scaling_.apply(X)
        variance = float(dense.var()) or 1.0
        gamma = self.gamma if self.gamma is not None else 1.0 / (dense.shape[1] * variance)
        self.expansion_ = fit_expansion(
            dense, nu=self.nu, gamma=gamma, n_prototypes=self.n_prototypes, seed=drawn_seed(self.random_state)
        )
        self.spread_ = float(np.std(self.expansion_.margin(dense))) or 1.0
        tensors = {
            **self.scaling_.tensors(),
            "prototypes": self.expansion_.prototypes,
            "weights": self.expansion_.weights,
            "gamma": np.asarray([gamma]),
            "offset": np.asarray([self.expansion_.offset]),
            "spread": np.asarray([self.spread_]),
        }
        self._serve(ExportedModel(kind=KERNEL, files={"weights": pack_tensors(tensors)}))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return sigmoid(-self.expansion_.margin(self.scaling_.apply(X)) / self.spread_)


class AutoencoderDetector(Served, AnomalyDetector):
    """Dense autoencoder: what it can't say again from a few numbers is unusual.

    Trained by torch with early stopping, on a GPU when there is one, and scored without torch.

    Parameters
    ----------
    hidden : sequence of int, default=(32, 8, 32)
        Widths of the hidden layers; the narrowest is what a row must pass through.
    epochs : int, default=30
        At most.
    random_state : int, RandomState instance or None, default=None
        Seed.

    Attributes
    ----------
    network_ : torch.nn.Sequential
    n_iter_ : int
        Epochs that were trained.
        As it was trained.
    usual_error_ : float
        Median of the training rows' error: scored 0.5.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, when ``fit`` was given any.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> detector = AutoencoderDetector(hidden=(8, 2, 8), random_state=0).fit(X)
    >>> detector.risk_score([[0, 0, 0]])[0] < detector.risk_score([[90, 90, -90]])[0]
    np.True_
    """

    def __init__(
        self, hidden: Sequence[int] = (32, 8, 32), epochs: int = 30, *, random_state: Any = None
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix) -> None:
        self.scaling_ = fit_scaling(X, tells_missing=False)
        dense = self.scaling_.apply(X)
        self.network_, self.n_iter_ = train_network(
            dense,
            dense,
            hidden=self.hidden,
            loss="squared",
            epochs=self.epochs,
            seed=drawn_seed(self.random_state),
        )
        # the smallest float32 above 0 keeps the score defined where every row is said again exactly
        usual = max(float(np.median(self._errors(dense))), float(np.finfo(np.float32).tiny))
        self.usual_error_ = usual
        tensors = {
            **self.scaling_.tensors(),
            **network_tensors(self.network_),
            "usual": np.asarray([self.usual_error_]),
        }
        self._serve(ExportedModel(kind=AUTOENCODER, files={"weights": pack_tensors(tensors)}))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        errors = self._errors(self.scaling_.apply(X))
        return errors / (errors + self.usual_error_)

    def _errors(self, dense: DenseMatrix) -> Float64Vector:
        distance = dense - network_output(self.network_, dense)
        return np.asarray(np.mean(distance * distance, axis=1), dtype=np.float64)


def column_medians(X: Float32Matrix) -> Float32Matrix:
    """Return the median of each column's values that are not NaN; 0 for a column without any."""
    medians = np.zeros(X.shape[1], dtype=np.float32)
    for index in range(X.shape[1]):
        present = X[:, index][~np.isnan(X[:, index])]
        if present.size:
            medians[index] = np.median(present)
    return medians


def filled(X: Float32Matrix, fill: Float32Matrix) -> Float32Matrix:
    """Return a matrix with a column's value of `fill` where one is missing."""
    return np.where(np.isnan(X), fill, X)
