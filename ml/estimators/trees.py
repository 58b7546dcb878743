"""Classifiers made of trees: all are served and explained as LightGBM's text (see `lightgbm_text`)."""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np

from ml.errors import BundleError
from ml.estimators.base import drawn_seed
from ml.estimators.classifier_base import FraudClassifier, Labels, fraud_column, fraud_weight
from ml.runtimes.kinds import LIGHTGBM, ExportedModel
from ml.runtimes.lightgbm_text import Tree, forest_trees, lightgbm_text, xgboost_trees
from ml.runtimes.matrix import Float32Matrix, Float64Vector

# Splits lie between bins of a feature's values. With the libraries' 255, rare frauds beyond the largest
# genuine amount share a bin with genuine payments, and can't be told from them.
MAX_BINS: Final = 4095
# A forest of more bins than these takes longer, for nothing that could be measured.
FOREST_BINS: Final = 511


class RandomForest(FraudClassifier):
    """Random forest, served as LightGBM's text (`ml.runtimes.lightgbm_text`): with exact contributions.

    Grown by XGBoost on histograms, all trees at once: squared error over 0 and 1 splits as Gini's impurity
    does, and a leaf is its share of frauds. scikit-learn's forest sorts every column at every split, which
    takes fifteen times as long. The balanced one, of few rows a tree, is imbalanced-learn's.

    Parameters
    ----------
    n_estimators : int, default=200
        Number of trees.
    min_samples_leaf : int, default=10
        Fewest rows in a leaf, or their weight.
    max_leaf_nodes : int, default=512
        Most leaves of a tree: bounds the bundle.
    max_features : float, default=0.3
        Share of the features that a split may choose from.
    max_samples : float, default=0.63
        Share of the rows that a tree sees: as many as a bootstrap sample has of different ones.
    balanced_bagging : bool, default=False
        Whether each tree sees as many others as frauds (imbalanced-learn's `BalancedRandomForestClassifier`,
        which draws its rows with replacement); its probabilities are those of balanced data: calibrate them.
    fraud_weight : float or 'balanced', default=1.0
        How much a fraud counts; not with `balanced_bagging`.
    random_state : int, RandomState instance or None, default=None
        Seed.
    """

    def __init__(
        self,
        n_estimators: int = 200,
        min_samples_leaf: int = 10,
        max_leaf_nodes: int = 512,
        max_features: float = 0.3,
        max_samples: float = 0.63,
        *,
        balanced_bagging: bool = False,
        fraud_weight: float | str = 1.0,
        random_state: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf
        self.max_leaf_nodes = max_leaf_nodes
        self.max_features = max_features
        self.max_samples = max_samples
        self.balanced_bagging = balanced_bagging
        self.fraud_weight = fraud_weight
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix, y: Labels) -> None:
        seed = drawn_seed(self.random_state)
        trees = self._grow_balanced(X, y, seed) if self.balanced_bagging else self._grow(X, y, seed)
        text = lightgbm_text(trees, n_features=X.shape[1], is_log_odds=False)
        self._serve(ExportedModel(kind=LIGHTGBM, files={"trees": text}))

    def _grow(self, X: Float32Matrix, y: Labels, seed: int) -> list[Tree]:
        import xgboost

        self.model_ = xgboost.XGBRegressor(
            n_estimators=1,
            num_parallel_tree=self.n_estimators,
            learning_rate=1.0,
            subsample=self.max_samples,
            colsample_bynode=self.max_features,
            min_child_weight=self.min_samples_leaf,
            max_leaves=self.max_leaf_nodes,
            max_depth=0,
            grow_policy="lossguide",
            reg_lambda=0.0,
            objective="reg:squarederror",
            tree_method="hist",
            max_bin=FOREST_BINS,
            base_score=0.0,
            random_state=seed,
            n_jobs=1,
        ).fit(X, y, sample_weight=np.where(y == 1, fraud_weight(self.fraud_weight, y), 1.0))
        return xgboost_trees(bytes(self.model_.get_booster().save_raw("json")))

    def _grow_balanced(self, X: Float32Matrix, y: Labels, seed: int) -> list[Tree]:
        from imblearn.ensemble import BalancedRandomForestClassifier

        self.model_ = BalancedRandomForestClassifier(
            self.n_estimators,
            min_samples_leaf=self.min_samples_leaf,
            max_leaf_nodes=self.max_leaf_nodes,
            max_features=self.max_features,
            sampling_strategy="all",
            replacement=True,
            bootstrap=False,
            random_state=seed,
        ).fit(X, y)
        return forest_trees(self.model_)

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        if self.balanced_bagging:
            return fraud_column(self.model_, X)
        shares: Float64Vector = self.model_.predict(X).astype(np.float64)
        return np.clip(shares, 0.0, 1.0)


class XGBoostClassifier(FraudClassifier):
    """Trees boosted by XGBoost, served as LightGBM's text (`ml.runtimes.lightgbm_text`).

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

        self.model_ = xgboost.XGBClassifier(
            **_library_parameters(self),
            scale_pos_weight=fraud_weight(self.fraud_weight, y),
            random_state=drawn_seed(self.random_state),
            objective="binary:logistic",
            tree_method="hist",
            max_bin=MAX_BINS,
            base_score=0.5,
            n_jobs=1,
        ).fit(X, y)
        trees = xgboost_trees(bytes(self.model_.get_booster().save_raw("json")))
        text = lightgbm_text(trees, n_features=X.shape[1], is_log_odds=True)
        self._serve(ExportedModel(kind=LIGHTGBM, files={"trees": text}))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return fraud_column(self.model_, X)


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
        self.model_ = default_lightgbm(
            **_library_parameters(self),
            scale_pos_weight=fraud_weight(self.fraud_weight, y),
            random_state=drawn_seed(self.random_state),
        ).fit(X, y)
        self._serve(export_classifier(self.model_))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return fraud_column(self.model_, X)


def _library_parameters(classifier: FraudClassifier) -> dict[str, Any]:
    """Return the parameters that a boosting library knows by the same names."""
    own = {"fraud_weight", "random_state"}
    return {name: value for name, value in classifier.get_params().items() if name not in own}


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
        "max_bin": MAX_BINS,
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
    text, _, _ = booster.model_to_string().partition("\nend of trees\n")
    # the training rows' least and greatest values are some customer's own
    text = re.sub(r"^feature_infos=.*$", "feature_infos=" + "none " * booster.num_feature(), text, flags=re.M)
    return ExportedModel(kind=LIGHTGBM, files={"trees": (text + "\nend of trees\n").encode()})
