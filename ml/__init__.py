"""Models: features for training, estimators, evaluation, bundles and scoring."""
