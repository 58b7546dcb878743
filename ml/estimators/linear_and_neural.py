"""Supervised classifiers with settings that suit little, imbalanced, noisy fraud data.

All are scikit-learn estimators of two classes, take NaN as missing, and score through the runtime that serves
them. Imbalance: ``fraud_weight`` says how much a fraud counts ('balanced': as much in sum as all others); the
balanced forest draws as many others as frauds for each tree instead. One more classifier: a subclass of
`FraudClassifier`, and its name in `CLASSIFIERS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from ml.estimators.base import drawn_seed
from ml.estimators.classifier_base import FraudClassifier, Labels, fraud_column, fraud_weight
from ml.estimators.networks import network_output, network_tensors, train_network
from ml.estimators.trees import LightGBMClassifier, RandomForest, XGBoostClassifier
from ml.runtimes.dense import pack_tensors, sigmoid
from ml.runtimes.kinds import LINEAR, NETWORK, ExportedModel
from ml.runtimes.matrix import Float32Matrix, Float64Vector
from ml.runtimes.scaling import fit_scaling


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

    def __init__(self, C: float = 0.1, *, fraud_weight: float | str = 1.0, random_state: Any = None) -> None:
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
        return fraud_column(self.model_, self.scaling_.apply(X))


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
        self.network_, self.n_iter_ = train_network(
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


CLASSIFIERS: Final[dict[str, type[FraudClassifier]]] = {
    "logistic_regression": LogisticClassifier,
    "random_forest": RandomForest,
    "mlp": NeuralClassifier,
    "xgboost": XGBoostClassifier,
    "lightgbm": LightGBMClassifier,
}
"""Classifiers by the name that composes them."""
