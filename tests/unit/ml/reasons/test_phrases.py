"""Sentences name the value, the customer's normal and the window."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.features.families import family_of
from ml.features.spec import FeatureSpec
from ml.reasons.explainer import Explainer
from ml.reasons.phrases import Phrasebook
from ml.reasons.reference import measure
from ml.reasons.wording import compared, duration, money, number, window_text

ROW: dict[str, Any] = {
    "amount_minor": 21_540,
    "currency": "EUR",
    "amount_mean_30d": 5_230.4,
    "amount_max_30d": 12_000,
    "amount_sum_24h": 40_000,
    "profile_amount_mean_90d": 5_000.0,
    "profile_amount_mean_30d": 5_100.0,
    "profile_transactions_per_day_30d": 1.8,
    "merchant_amount_mean_7d": 2_000.0,
    "transaction_count_24h": 9,
    "event_us": 172_800_000_000,  # Saturday, 1970-01-03
    "profile_amount_robust_mean_90d": 4_800.0,
    "profile_amount_shrunk_mean_90d": 5_000.0,
    "profile_shrunk_transactions_per_day_30d": 2.5,
    "profile_amount_p95_90d": 9_000,
    "profile_gap_seconds_mean_90d": 43_200.0,
    "seconds_since_last_30d": 40.0,
}
TYPICAL = {
    "seconds_since_last_30d": 33_120.0,
    "merchant_risk_fraud_rate_7d": 0.008,
    "merchant_transaction_count_24h": 6.0,
    "profile_recency_days": 0.5,
    "profile_night_share_90d": 0.129,
}
SENTENCES = [
    (
        "amount_minor",
        21_540,
        "Amount 215.40 EUR is 4.3 times the customer's mean of the last 90 days (50.00 EUR)",
    ),
    (
        "amount_over_amount_mean_30d",
        4.118,
        "Amount 215.40 EUR is 4.1 times the customer's mean of the last 30 days (52.30 EUR)",
    ),
    (
        "amount_over_amount_max_30d",
        1.795,
        "Amount 215.40 EUR is 1.8 times the customer's largest amount of the last 30 days (120.00 EUR)",
    ),
    (
        "amount_over_merchant_amount_mean_7d",
        10.77,
        "Amount 215.40 EUR is 10.8 times the merchant's mean of the last 7 days (20.00 EUR)",
    ),
    (
        "amount_deviation_30d",
        5.2,
        "Amount 215.40 EUR is 5.2 standard deviations above the customer's mean of the last 30 days "
        "(52.30 EUR)",
    ),
    (
        "amount_deviation_profile_90d",
        -1.25,
        "Amount 215.40 EUR is 1.2 standard deviations below the customer's mean of the last 90 days "
        "(50.00 EUR)",
    ),
    (
        "transaction_count_24h",
        9,
        "9 transactions of the customer in the 24 hours before; usually 1.8",
    ),
    ("transaction_count_1h", 1, "1 transaction of the customer in the hour before; usually 0.075"),
    (
        "transaction_count_24h_over_profile_30d",
        5.0,
        "9 transactions of the customer in the 24 hours before; usually 1.8",
    ),
    ("amount_sum_24h", 40_000, "The customer spent 400.00 EUR in the 24 hours before; usually 91.80 EUR"),
    (
        "amount_sum_24h_over_profile_30d",
        6.7,
        "With this one the customer spends 615.40 EUR in 24 hours; usually 91.80 EUR",
    ),
    (
        "amount_max_7d",
        90_000,
        "The customer's largest amount of the 7 days before is 900.00 EUR",
    ),
    ("merchant_distinct_24h", 4, "4 different merchants of the customer in the 24 hours before"),
    ("country_distinct_7d", 2, "2 different countries of the customer in the 7 days before"),
    ("merchant_fraud_distinct_7d", 2, "2 payments at the merchant reported as fraud in the 7 days before"),
    ("merchant_customer_distinct_1h", 1, "1 different customer at the merchant in the hour before"),
    (
        "seconds_since_last_30d",
        40,
        "40 seconds since the customer's last transaction; typically 9.2 hours",
    ),
    ("place_last_km_30d", 412.3, "412 km from the customer's last transaction"),
    ("place_last_kmh_30d", 900.0, "900 km/h are needed to get here from the customer's last transaction"),
    (
        "same_merchant_transaction_count_30d",
        0,
        "The customer has not paid this merchant in the 30 days before",
    ),
    ("is_new_merchant_30d", 1, "The customer has not paid this merchant in the 30 days before"),
    ("is_new_merchant_30d", False, "The customer has already paid this merchant in the 30 days before"),
    (
        "merchant_transaction_count_24h",
        30,
        "30 transactions at the merchant in the 24 hours before; typically 6",
    ),
    ("merchant_amount_mean_7d", 2_000, "The merchant's mean amount of the 7 days before is 20.00 EUR"),
    (
        "merchant_risk_fraud_rate_7d",
        0.35,
        "35.0 % of the merchant's labels known in 7 days are fraud; typically 0.8 %",
    ),
    ("category_risk_fraud_count_30d", 12, "12 frauds of the category became known in 30 days"),
    ("hour_of_day", 3.2, "Time of day is 03:12 UTC"),
    ("day_of_week", 5.0, "Day of the week is Saturday"),
    (
        "amount_over_profile_amount_robust_mean_90d",
        4.5,
        "Amount 215.40 EUR is 4.5 times the customer's usual mean of the last 90 days (48.00 EUR)",
    ),
    (
        "amount_over_profile_amount_p95_90d",
        2.4,
        "Amount 215.40 EUR is 2.4 times the customer's 95th percentile of the last 90 days (90.00 EUR)",
    ),
    (
        "amount_deviation_profile_shrunk_90d",
        3.2,
        "Amount 215.40 EUR is 3.2 standard deviations above the customer's expected mean of the last 90 days "
        "(50.00 EUR)",
    ),
    (
        "transaction_count_24h_over_profile_shrunk_30d",
        4.5,
        "9 transactions of the customer in the 24 hours before; usually 2.5",
    ),
    (
        "profile_amount_shrunk_stddev_30d",
        2_000.0,
        "The customer's expected deviation of amounts of 30 days is 20.00 EUR",
    ),
    (
        "profile_shrunk_transactions_per_day_30d",
        2.5,
        "2.5 transactions a day are expected of the customer",
    ),
    ("profile_amount_median_30d", 4_500, "The customer's median amount of 30 days is 45.00 EUR"),
    (
        "profile_night_share_90d",
        0.4,
        "In 40.0 % of the transactions of 90 days the customer pays at night (UTC); typically 12.9 %",
    ),
    (
        "profile_weekend_share_30d",
        0.5,
        "In 50.0 % of the transactions of 30 days the customer pays at weekends (UTC)",
    ),
    (
        "profile_top_merchant_share_90d",
        0.25,
        "In 25.0 % of the transactions of 90 days the customer pays the most frequent merchant",
    ),
    (
        "part_of_day_share_profile_90d",
        0.02,
        "It is night (UTC), when 2.0 % of the customer's transactions of 90 days were",
    ),
    (
        "part_of_week_share_profile_90d",
        0.3,
        "It is a weekend, when 30.0 % of the customer's transactions of 90 days were",
    ),
    (
        "profile_gap_seconds_mean_30d",
        43_200.0,
        "The mean time between the customer's transactions of 30 days is 12 hours",
    ),
    (
        "seconds_since_last_over_profile_gap_90d",
        0.001,
        "40 seconds since the customer's last transaction; usually 12 hours",
    ),
    ("profile_merchant_distinct_30d", 1, "1 different merchant of the customer in 30 days"),
    ("profile_fraud_count_30d", 2, "2 frauds of the customer became known in 30 days"),
    (
        "merchant_risk_unexplained_count_14d",
        3,
        "3 frauds of usual amounts at the merchant became known in 14 days",
    ),
    (
        "merchant_risk_run_age_days",
        12.5,
        "The merchant's latest run of known frauds began 12.5 days ago",
    ),
    ("merchant_risk_run_length_days", 4.0, "The merchant's latest run of known frauds lasted 4 days"),
    ("merchant_risk_run_fraud_count", 5, "5 frauds in the merchant's latest run of known frauds"),
    (
        "merchant_risk_streak_fraud_count",
        2,
        "2 known frauds at the merchant, with no payment known to be genuine since",
    ),
    (
        "merchant_risk_streak_age_days",
        3.5,
        "The first of the merchant's known frauds without a genuine payment since was 3.5 days ago",
    ),
    (
        "merchant_risk_genuine_age_days",
        8.0,
        "The merchant's latest payment known to be genuine was 8 days ago",
    ),
    ("profile_recency_days", 12.0, "What profile_recency_days means: 12; typically 0.5"),
]


def book(*names: str) -> Phrasebook:
    specs = [
        FeatureSpec(
            name=name,
            dtype="double",
            source="profile" if name.startswith("profile_") else "velocity",
            family=family_of(name),
            description=f"What {name} means.",
        )
        for name in names
    ]
    return Phrasebook(specs, TYPICAL)


def test_a_description_is_told_up_to_when_its_value_is_null() -> None:
    spec = FeatureSpec(
        name="merchant_amount_p99_7d",
        dtype="double",
        source="velocity",
        family="merchant_amounts",
        description="Largest usual amount at the merchant, in minor units; null for none.",
    )
    said = Phrasebook([spec], {}).say(spec.name, {"currency": "EUR", spec.name: 1_250})
    assert said.text == "Largest usual amount at the merchant: 12.50 EUR"


@pytest.mark.parametrize(("name", "value", "sentence"), SENTENCES)
def test_a_sentence(name: str, value: float, sentence: str) -> None:
    assert book(name).say(name, {**ROW, name: value}).text == sentence


@pytest.mark.parametrize(
    ("name", "value", "row", "sentence"),
    [
        (
            "profile_night_share_90d",
            0.135,
            {},
            "In 13.5 % of the transactions of 90 days the customer pays at night (UTC)",
        ),
        ("amount_minor", 5_400, {}, "Amount 54.00 EUR"),
        ("amount_over_amount_mean_30d", 0.95, {"amount_minor": 4_969}, "Amount 49.69 EUR"),
        (
            "amount_deviation_30d",
            -0.8,
            {"amount_minor": 5_000},
            "Amount 50.00 EUR is within a standard deviation of the customer's mean of the last 30 days "
            "(52.30 EUR)",
        ),
        (
            "transaction_count_24h",
            2,
            {"profile_transactions_per_day_30d": 1.9},
            "2 transactions of the customer in the 24 hours before",
        ),
        (
            "merchant_risk_fraud_rate_7d",
            0.0081,
            {},
            "0.8 % of the merchant's labels known in 7 days are fraud",
        ),
        ("seconds_since_last_30d", 32_400, {}, "9 hours since the customer's last transaction"),
        (
            "seconds_since_last_over_profile_gap_90d",
            1.0,
            {"seconds_since_last_30d": 43_200.0},
            "12 hours since the customer's last transaction",
        ),
        ("profile_recency_days", 0.5, {}, "What profile_recency_days means: 0.5"),
    ],
)
def test_a_value_within_a_tenth_of_its_normal_is_told_alone(
    name: str, value: float, row: dict[str, Any], sentence: str
) -> None:
    phrase = book(name).say(name, {**ROW, name: value, **row})
    assert phrase.text == sentence
    assert phrase.is_usual
    assert "usually" not in sentence
    assert "typically" not in sentence


@given(value=st.floats(0, 1e6), normal=st.floats(0, 1e6))
def test_a_normal_is_named_only_where_the_value_departs_from_it(value: float, normal: float) -> None:
    phrase = compared("So it is", value, normal)
    assert phrase.is_usual == (abs(value - normal) <= normal / 10)
    assert (phrase.normal is None) == phrase.is_usual == ("typically" not in phrase.text)


def test_a_phrase_carries_value_and_normal() -> None:
    phrase = book("amount_over_amount_mean_30d").say(
        "amount_over_amount_mean_30d", {**ROW, "amount_over_amount_mean_30d": 4.1}
    )
    assert (phrase.value, phrase.normal) == (21_540, 5_230.4)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("profile_amount_mean_90d", "The customer has no profile yet"),
        ("seconds_since_last_30d", "No transaction of the customer in the 30 days before"),
        ("amount_mean_24h", "No transaction of the customer in the 24 hours before"),
        ("merchant_amount_mean_1h", "No transaction at the merchant in the hour before"),
        ("merchant_risk_fraud_rate_7d", "No label of the merchant became known in 7 days"),
        ("something_else", "Not known: what something_else means"),
    ],
)
def test_a_missing_value_is_said_to_be_missing(name: str, sentence: str) -> None:
    phrase = book(name).say(name, {name: None})
    assert (phrase.text, phrase.value, phrase.normal) == (sentence, None, None)


def test_a_profile_may_hold_nothing_to_tell() -> None:
    name = "profile_gap_seconds_mean_30d"
    phrase = book(name).say(name, {name: None, "profile_tenure_days": 1.0})
    assert phrase.text == "Not known: what profile_gap_seconds_mean_30d means"


@settings(deadline=None)
@given(
    row=st.dictionaries(
        st.sampled_from(sorted({*ROW, *(name for name, _, _ in SENTENCES)} - {"currency"})),
        st.one_of(st.none(), st.integers(0, 10**12), st.floats(-1e15, 1e15), st.booleans()),
    ),
    currency=st.sampled_from(["EUR", "JPY", "KWD", "", None, "XXX"]),
)
def test_whatever_a_row_holds_there_is_a_sentence(row: dict[str, Any], currency: str | None) -> None:
    names = [name for name, _, _ in SENTENCES]
    phrases = book(*names)
    for name in names:
        text = phrases.say(name, {**row, "currency": currency}).text
        assert text
        assert "None" not in text


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (21_540, "EUR", "215.40 EUR"),
        (21_540, "JPY", "21,540 JPY"),
        (21_540, "KWD", "21.540 KWD"),
        (1, "USD", "0.01 USD"),
        (123_456_789, None, "1,234,567.89"),
    ],
)
def test_money_has_the_digits_of_its_currency(amount: int, currency: str | None, text: str) -> None:
    assert money(amount, {"currency": currency}) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (9, "9"), (1234, "1,234"), (0.0753, "0.075"), (0.5, "0.5"), (4.118, "4.1"), (412.3, "412")],
)
def test_numbers_have_few_digits(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1, "1 second"),
        (40, "40 seconds"),
        (90, "90 seconds"),
        (600, "10 minutes"),
        (33_120, "9.2 hours"),
        (864_000, "10 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_windows_in_words() -> None:
    assert [window_text(window) for window in ("1h", "10m", "24h", "1d", "30d")] == [
        "hour",
        "10 minutes",
        "24 hours",
        "day",
        "30 days",
    ]


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("amount_minor", "amount"),
        ("amount_over_profile_amount_mean_90d", "amount"),
        ("amount_over_merchant_amount_mean_7d", "amount_at_merchant"),
        ("transaction_count_24h_over_profile_30d", "transaction_count"),
        ("amount_sum_24h", "spending"),
        ("merchant_risk_fraud_rate_7d", "merchant_risk"),
        ("merchant_transaction_count_1h", "merchant_activity"),
        ("profile_night_share_30d", "profile_activity"),
        ("profile_fraud_count_30d", "customer_frauds"),
        ("part_of_day_share_profile_90d", "time"),
        ("merchant_risk_run_age_days", "merchant_risk"),
        ("attribute.V1", "attribute.V1"),
    ],
)
def test_families(name: str, family: str) -> None:
    assert family_of(name) == family


@pytest.mark.parametrize(
    ("score", "sentence"),
    [
        (0.96, "Unusual as a whole: anomaly score 0.96, above 95% of past transactions"),
        (0.3, "As a whole: anomaly score 0.30, above 30% of past transactions"),
    ],
)
def test_a_score_is_called_unusual_where_few_past_ones_reach_it(score: float, sentence: str) -> None:
    reference = measure(["anomaly_score"], np.linspace(0, 1, 1_001)[:, None])
    explainer = Explainer(["anomaly_score"], features=[], reference=reference, seen={})
    (reason,) = explainer.reasons(np.array([1.0, -3.0]), row={}, outputs={"anomaly_score": score})
    assert reason.text == sentence


NIGHT, EVENING, RECENCY = "profile_night_share_90d", "profile_evening_share_90d", "profile_recency_days"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        # The strongest is as usual, the second is not; the third has the least to do with the score.
        ({NIGHT: 0.13, EVENING: 0.9, RECENCY: 9.0}, EVENING),
        ({NIGHT: 0.13, EVENING: 0.41, RECENCY: 9.0}, RECENCY),
        ({NIGHT: 0.7, EVENING: 0.9, RECENCY: 9.0}, NIGHT),
        ({NIGHT: 0.13, EVENING: 0.41, RECENCY: 0.5}, NIGHT),
    ],
)
def test_of_a_family_the_strongest_that_is_not_as_usual_is_told(row: dict[str, Any], told: str) -> None:
    names = [NIGHT, EVENING, RECENCY]
    features = [
        FeatureSpec(name=name, dtype="double", source="profile", family="habits", description=name)
        for name in names
    ]
    typical = np.tile([[0.129, 0.4, 0.5]], (10, 1))
    explainer = Explainer(names, features=features, reference=measure(names, typical), seen={})
    (reason,) = explainer.reasons(np.array([0.9, 0.5, 0.1, -3.0]), row=row, outputs={})
    assert reason.feature == told
    assert reason.value == row[told]
    assert reason.contribution == pytest.approx(1.5)


def test_what_did_not_raise_the_risk_is_no_reason_however_far_from_usual() -> None:
    names = [NIGHT, EVENING]
    features = [
        FeatureSpec(name=name, dtype="double", source="profile", family="habits", description=name)
        for name in names
    ]
    reference = measure(names, np.tile([[0.129, 0.4]], (10, 1)))
    explainer = Explainer(names, features=features, reference=reference, seen={})
    (reason,) = explainer.reasons(np.array([0.9, -0.2, -3.0]), row={NIGHT: 0.13, EVENING: 0.9}, outputs={})
    assert (reason.feature, reason.normal) == (NIGHT, None)
