"""Families of features: those of one family are one reason, and their contributions are added up."""

from __future__ import annotations

import re
from typing import Final

# Features of one family are one reason. First match counts; a name without a match is its own family.
_FAMILIES: Final = (
    (r"amount_over_merchant_", "amount_at_merchant"),
    (r"amount_minor|amount_over_|amount_deviation_", "amount"),
    (r"amount_sum_", "spending"),
    (r"amount_", "amount_history"),
    (r"transaction_count_", "transaction_count"),
    (r"same_merchant_|is_new_merchant_", "same_merchant"),
    (r"(merchant|category|country|channel)_distinct_", "variety"),
    (r"seconds_since_", "seconds_since"),
    (r"place_", "place"),
    (r"merchant_(risk|fraud)_", "merchant_risk"),
    (r"category_risk_", "category_risk"),
    (r"merchant_", "merchant_activity"),
    (r"profile_fraud_", "customer_frauds"),
    (r"profile_amount_", "profile_amount"),
    (r"profile_", "profile_activity"),
    (r"hour_of_day|day_of_week|part_of_(day|week)_", "time"),
)


def family_of(name: str) -> str:
    """Return the family that a feature's contribution is counted in."""
    for pattern, family in _FAMILIES:
        if re.match(pattern, name):
            return family
    return name
