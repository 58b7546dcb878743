"""Everything with `fit` and `risk_score`."""
