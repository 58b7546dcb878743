"""How good scores are, with intervals, folds, cost and calibration."""
