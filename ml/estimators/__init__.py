"""Models to train: everything with `fit` and `risk_score`."""
