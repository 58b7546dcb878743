"""Models: features for training, estimators, evaluation, bundles and scoring."""

import warehouse  # noqa: F401 - before Feast: it lightens its import
