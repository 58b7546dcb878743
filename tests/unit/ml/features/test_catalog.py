"""What the catalog says of a feature: a detector must see nothing that labels made."""

from __future__ import annotations

import pytest

from ml.features.catalog import is_label_free
from ml.features.spec import FeatureSource, FeatureSpec


@pytest.mark.parametrize(
    ("name", "source", "is_free"),
    [
        ("profile_fraud_count_30d", "profile", False),
        ("profile_fraud_count_90d", "profile", False),
        ("merchant_risk_unexplained_count_7d", "merchant_risk", False),
        ("category_risk_fraud_rate_30d", "category_risk", False),
        ("profile_amount_robust_mean_90d", "profile", True),
        ("amount_sum_24h", "velocity", True),
    ],
)
def test_known_frauds_are_no_feature_of_a_detector(
    name: str, source: FeatureSource, *, is_free: bool
) -> None:
    assert is_label_free(FeatureSpec(name=name, dtype="bigint", source=source, family=name)) is is_free
