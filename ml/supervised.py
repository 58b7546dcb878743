"""Supervised classifiers with settings that suit little, imbalanced, noisy fraud data.

All are scikit-learn estimators of two classes, take NaN as missing, and score through the runtime that serves
them. Imbalance: ``fraud_weight`` says how much a fraud counts ('balanced': as much in sum as all others); the
balanced forest draws as many others as frauds for each tree instead. One more classifier: a subclass of
`FraudClassifier` here, and its name in `CLASSIFIERS`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.dense import pack_tensors, sigmoid
from ml.errors import BundleError
from ml.forest_text import forest_trees, lightgbm_text, xgboost_trees
from ml.matrix import Float32Matrix, Float64Vector
from ml.networks import network_output, network_tensors, train_network
from ml.risk import BinaryClassifier, Served, drawn_seed
from ml.runtimes import LIGHTGBM, LINEAR, NETWORK, ExportedModel
from ml.scaling import fit_scaling

Labels = npt.NDArray[np.int64]


class FraudClassifier(Served, BinaryClassifier):
    """Base: validates, then calls ``_fit_matrix``, which ends with ``_serve``; ``_trained_risk`` checks it."""

    def fit(self, X: Any, y: Any) -> FraudClassifier:
        """Learn from labelled rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Features; NaN is missing.
        y : array-like, shape (n_samples,)
            Two classes; the one that sorts last is fraud.

        Returns
        -------
        FraudClassifier
            Itself.

        Raises
        ------
        ValueError
            When there are not exactly two classes.
        """
        matrix, codes = self._validate_fit(X, y)
        self._fit_matrix(matrix, codes)
        return self

    @abstractmethod
    def _fit_matrix(self, X: Float32Matrix, y: Labels) -> None:
        """Learn from a validated matrix and labels 0 and 1."""


class LogisticClassifier(FraudClassifier):
    """Logistic regression on scaled features, with indicators of missing values.

    Parameters
    ----------
    C : float, default=0.1
        Inverse of the penalty's strength.
    fraud_weight : float or 'balanced', default=1.0
        How much a fraud counts.
    random_state : int, RandomState instance or None, default=None
        Taken for the interface; the solver draws nothing.
    """

    def __init__(
        self, C: float = 0.1, *, fraud_weight: float | str = 1.0, random_state: Any = None
    ) -> None:
        self.C = C
        self.fraud_weight = fraud_weight
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix, y: Labels) -> None:
        from sklearn.linear_model import LogisticRegression

        self.scaling_ = fit_scaling(X, tells_missing=True)
        weights = {0: 1.0, 1: fraud_weight(self.fraud_weight, y)}
        self.model_ = LogisticRegression(C=self.C, class_weight=weights, max_iter=2000)
        self.model_.fit(self.scaling_.apply(X), y)
        tensors = {
            **self.scaling_.tensors(),
            "coefficient": self.model_.coef_[0],
            "intercept": self.model_.intercept_,
        }
        self._serve(ExportedModel(kind=LINEAR, files={"weights": pack_tensors(tensors)}))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return _fraud_column(self.model_, self.scaling_.apply(X))


class NeuralClassifier(FraudClassifier):
    """Feed-forward network (multi-layer perceptron) on scaled features, trained by torch with early stopping.

    Parameters
    ----------
    hidden : sequence of int, default=(64, 32)
        Widths of the hidden layers.
    epochs : int, default=30
        At most.
    dropout : float, default=0.2
        Share of a layer's values that training hides.
    fraud_weight : float or 'balanced', default=3.0
        How much a fraud counts.
    random_state : int, RandomState instance or None, default=None
        Seed.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (64, 32),
        epochs: int = 30,
        dropout: float = 0.2,
        *,
        fraud_weight: float | str = 3.0,
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.epochs = epochs
        self.dropout = dropout
        self.fraud_weight = fraud_weight
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix, y: Labels) -> None:
        self.scaling_ = fit_scaling(X, tells_missing=True)
        self.network_ = train_network(
            self.scaling_.apply(X),
            y[:, None].astype(np.float64),
            hidden=self.hidden,
            loss="logistic",
            positive_weight=fraud_weight(self.fraud_weight, y),
            epochs=self.epochs,
            dropout=self.dropout,
            weight_decay=1e-4,
            seed=drawn_seed(self.random_state),
        )
        tensors = {**self.scaling_.tensors(), **network_tensors(self.network_)}
        self._serve(ExportedModel(kind=NETWORK, files={"weights": pack_tensors(tensors)}))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return sigmoid(network_output(self.network_, self.scaling_.apply(X))[:, 0])


class RandomForest(FraudClassifier):
    """Random forest, served as LightGBM's text (`ml.forest_text`): with exact contributions.

    Parameters
    ----------
    n_estimators : int, default=200
        Number of trees.
    min_samples_leaf : int, default=10
        Fewest rows in a leaf.
    max_leaf_nodes : int or None, default=512
        Most leaves of a tree: bounds the bundle.
    max_features : float or str, default=0.3
        Share of the features that a split may choose from.
    balanced_bagging : bool, default=False
        Whether each tree sees as many others as frauds (imbalanced-learn's `BalancedRandomForestClassifier`);
        its probabilities are those of balanced data: calibrate them.
    fraud_weight : float or 'balanced', default=1.0
        How much a fraud counts; not with `balanced_bagging`.
    random_state : int, RandomState instance or None, default=None
        Seed.
    """

    def __init__(
        self,
        n_estimators: int = 200,
        min_samples_leaf: int = 10,
        max_leaf_nodes: int | None = 512,
        max_features: float | str = 0.3,
        *,
        balanced_bagging: bool = False,
        fraud_weight: float | str = 1.0,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf
        self.max_leaf_nodes = max_leaf_nodes
        self.max_features = max_features
        self.balanced_bagging = balanced_bagging
        self.fraud_weight = fraud_weight
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix, y: Labels) -> None:
        from imblearn.ensemble import BalancedRandomForestClassifier
        from sklearn.ensemble import RandomForestClassifier

        settings: dict[str, Any] = {
            "n_estimators": self.n_estimators,
            "min_samples_leaf": self.min_samples_leaf,
            "max_leaf_nodes": self.max_leaf_nodes,
            "max_features": self.max_features,
            "random_state": drawn_seed(self.random_state),
        }
        if self.balanced_bagging:
            forest = BalancedRandomForestClassifier(
                **settings, sampling_strategy="all", replacement=True, bootstrap=False
            )
        else:
            weights = {0: 1.0, 1: fraud_weight(self.fraud_weight, y)}
            forest = RandomForestClassifier(**settings, class_weight=weights)
        self.model_ = forest.fit(X, y)
        text = lightgbm_text(forest_trees(self.model_), n_features=X.shape[1], is_log_odds=False)
        self._serve(ExportedModel(kind=LIGHTGBM, files={"trees": text}))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return _fraud_column(self.model_, X)


class XGBoostClassifier(FraudClassifier):
    """Trees boosted by XGBoost, served as LightGBM's text (`ml.forest_text`).

    The base score and the tree method are fixed here: from version 2 on XGBoost's defaults estimate the one
    from the data and choose the other by size, which costs precision on rare frauds.

    Parameters
    ----------
    n_estimators, learning_rate, max_depth, min_child_weight, subsample, colsample_bytree, reg_lambda
        As in ``xgboost.XGBClassifier``.
    fraud_weight : float or 'balanced', default=1.0
        How much a fraud counts.
    random_state : int, RandomState instance or None, default=None
        Seed.
    """

    def __init__(
        self,
        n_estimators: int = 250,
        learning_rate: float = 0.05,
        max_depth: int = 5,
        min_child_weight: float = 5.0,
        subsample: float = 0.8,
        colsample_bytree: float = 0.5,
        reg_lambda: float = 5.0,
        *,
        fraud_weight: float | str = 1.0,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.reg_lambda = reg_lambda
        self.fraud_weight = fraud_weight
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix, y: Labels) -> None:
        import xgboost

        own = {"fraud_weight", "random_state"}
        self.model_ = xgboost.XGBClassifier(
            **{name: value for name, value in self.get_params().items() if name not in own},
            scale_pos_weight=fraud_weight(self.fraud_weight, y),
            random_state=drawn_seed(self.random_state),
            objective="binary:logistic",
            tree_method="hist",
            base_score=0.5,
            n_jobs=1,
        ).fit(X, y)
        trees = xgboost_trees(bytes(self.model_.get_booster().save_raw("json")))
        text = lightgbm_text(trees, n_features=X.shape[1], is_log_odds=True)
        self._serve(ExportedModel(kind=LIGHTGBM, files={"trees": text}))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return _fraud_column(self.model_, X)


class LightGBMClassifier(FraudClassifier):
    """Trees boosted by LightGBM (see `default_lightgbm`).

    Parameters
    ----------
    n_estimators, learning_rate, num_leaves, min_child_samples, colsample_bytree, subsample, reg_lambda
        As in ``lightgbm.LGBMClassifier``.
    fraud_weight : float or 'balanced', default=1.0
        How much a fraud counts.
    random_state : int, RandomState instance or None, default=None
        Seed.
    """

    def __init__(
        self,
        n_estimators: int = 200,
        learning_rate: float = 0.03,
        num_leaves: int = 12,
        min_child_samples: int = 30,
        colsample_bytree: float = 0.5,
        subsample: float = 0.8,
        reg_lambda: float = 5.0,
        *,
        fraud_weight: float | str = 1.0,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.colsample_bytree = colsample_bytree
        self.subsample = subsample
        self.reg_lambda = reg_lambda
        self.fraud_weight = fraud_weight
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix, y: Labels) -> None:
        own = {"fraud_weight", "random_state"}
        self.model_ = default_lightgbm(
            **{name: value for name, value in self.get_params().items() if name not in own},
            scale_pos_weight=fraud_weight(self.fraud_weight, y),
            random_state=drawn_seed(self.random_state),
        ).fit(X, y)
        self._serve(export_classifier(self.model_))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return _fraud_column(self.model_, X)


CLASSIFIERS: Final[dict[str, type[FraudClassifier]]] = {
    "logistic_regression": LogisticClassifier,
    "random_forest": RandomForest,
    "mlp": NeuralClassifier,
    "xgboost": XGBoostClassifier,
    "lightgbm": LightGBMClassifier,
}
"""Classifiers by the name that composes them."""


def fraud_weight(choice: float | str, y: Labels) -> float:
    """Return how much a fraud counts: the number itself, or for 'balanced' others over frauds."""
    if choice == "balanced":
        frauds = int(y.sum())
        return (len(y) - frauds) / frauds
    if isinstance(choice, str) or not choice > 0:
        raise ValueError(f"expected fraud_weight as 'balanced' or a number above 0, got {choice!r}")
    return float(choice)


def default_lightgbm(**overrides: Any) -> Any:
    """Return an unfitted LightGBM classifier whose result depends on data and seed alone.

    A week of 67,000 rows holds about 600 frauds: small trees, slow learning, leaves that need several rows, a
    random half of the features for each tree. The number of rounds is fixed, so no row is spent on early
    stopping.

    Parameters
    ----------
    **overrides
        Parameters of ``lightgbm.LGBMClassifier`` to replace.

    Returns
    -------
    lightgbm.LGBMClassifier
    """
    import lightgbm  # imports pandas and takes a second: only who trains pays for it

    settings: dict[str, Any] = {
        "n_estimators": 200,
        "learning_rate": 0.03,
        "num_leaves": 12,
        "min_child_samples": 30,
        "colsample_bytree": 0.5,
        "subsample": 0.8,
        "subsample_freq": 1,
        "reg_lambda": 5.0,
        "deterministic": True,
        "force_row_wise": True,
        # one thread: on a busy machine two that wait for each other take several times as long
        "n_jobs": 1,
        "verbosity": -1,
    }
    return lightgbm.LGBMClassifier(**(settings | overrides))


def export_classifier(classifier: Any) -> ExportedModel:
    """Return a fitted classifier as a bundle stores it.

    Raises
    ------
    BundleError
        When no runtime serves a classifier of its kind.
    """
    booster = getattr(classifier, "booster_", None)
    if booster is None:
        raise BundleError(f"expected a classifier that a runtime serves, got {type(classifier).__name__}")
    return ExportedModel(kind=LIGHTGBM, files={"trees": booster.model_to_string().encode()})


def _fraud_column(model: Any, X: npt.NDArray[Any]) -> Float64Vector:
    return np.asarray(model.predict_proba(X)[:, 1], dtype=np.float64)
