"""The models that can be trained by name, each composed of the parts in this package.

Every one is a `HybridFraudPipeline`, so all are trained, thresholded, published and served alike. One more
model: one more entry in `SUITE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, cast

from sklearn.base import clone

from ml.errors import TrainingDataError
from ml.estimators.ensemble import CalibratedClassifier, RankAverageClassifier
from ml.estimators.hybrid import HybridFraudPipeline
from ml.estimators.linear_and_neural import CLASSIFIERS, LogisticClassifier
from ml.estimators.trees import RandomForest
from ml.features.catalog import is_label_free
from ml.features.spec import FeatureSpec
from ml.training.search import SPACES

DEFAULT_MODEL: Final = "hybrid"
ALL_MODELS: Final = "all"

_Parts = Callable[[], dict[str, Any]]


def _alone(classifier: Any) -> _Parts:
    return lambda: {"anomaly_detector": None, "classifier": classifier}


def _label_free(detector: str) -> _Parts:
    # One score and a curve that never turns: the order of rows is the detector's, which saw no label.
    return lambda: {
        "anomaly_detector": detector,
        "classifier": LogisticClassifier(C=1e3),
        "passthrough": False,
        "n_splits": 2,  # enough for the two numbers of the curve
    }


SUITE: Final[Mapping[str, _Parts]] = MappingProxyType(
    {
        "hybrid": lambda: {},
        "hybrid_ensemble": lambda: {
            "anomaly_detector": ("isolation_forest", "autoencoder"),
            "classifier": RankAverageClassifier(),
            "segmenter": "kmeans",
        },
        "ensemble": _alone(RankAverageClassifier()),
        "lightgbm": _alone("lightgbm"),
        "xgboost": _alone("xgboost"),
        "random_forest": _alone("random_forest"),
        "balanced_bagging": _alone(CalibratedClassifier(RandomForest(balanced_bagging=True))),
        "mlp": _alone(CalibratedClassifier("mlp", "sigmoid")),
        "logistic_regression": _alone("logistic_regression"),
        "isolation_forest": _label_free("isolation_forest"),
        "one_class_svm": _label_free("one_class_svm"),
        "autoencoder": _label_free("autoencoder"),
    }
)
"""What each model passes to `HybridFraudPipeline`; the default's are the pipeline's own."""


def make_model(name: str, features: Sequence[FeatureSpec], *, seed: int) -> HybridFraudPipeline:
    """Return an unfitted model of the suite.

    Parameters
    ----------
    name : str
        In `SUITE`.
    features : sequence of FeatureSpec
        Columns that it will be fitted on: detectors see only those that say nothing of labels.
    seed : int

    Raises
    ------
    TrainingDataError
        When there is no such model.
    """
    if name not in SUITE:
        raise TrainingDataError(f"expected a model among {', '.join(SUITE)}, got {name!r}")
    label_free = [index for index, feature in enumerate(features) if is_label_free(feature)]
    model = HybridFraudPipeline(**SUITE[name](), anomaly_features=label_free, random_state=seed)
    return cast(HybridFraudPipeline, clone(model))  # its parts are its own


def search_space(model: HybridFraudPipeline) -> dict[str, Sequence[Any]]:
    """Return the values to try of each parameter of a model; its classifier becomes an estimator to set.

    Empty where there is nothing to search: a detector has no classifier of its own, an average has several.
    """
    part, path = model.classifier, "classifier"
    if isinstance(part, CalibratedClassifier):
        part, path = part.classifier, f"{path}__classifier"
    kinds = {kind: name for name, kind in CLASSIFIERS.items()}
    name = part if isinstance(part, str) else kinds.get(type(part))
    if name is None or not model.passthrough:
        return {}
    if part == name:
        model.set_params(**{path: CLASSIFIERS[name]()})
    return {f"{path}__{parameter}": values for parameter, values in SPACES[name].items()}


def names_of(choice: str) -> list[str]:
    """Return the names that a choice stands for: all of them for 'all', the default first."""
    return list(SUITE) if choice == ALL_MODELS else [choice]
