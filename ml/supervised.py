"""Supervised classifiers with settings that suit little, imbalanced, noisy fraud data."""

from __future__ import annotations

from typing import Any

from ml.errors import BundleError
from ml.runtimes import LIGHTGBM, ExportedModel


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
