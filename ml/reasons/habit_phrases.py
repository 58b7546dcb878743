"""Sentences about habits and known frauds: what daily snapshots say of a customer or a merchant."""

from __future__ import annotations

import re
from typing import Final

from ml.reasons.wording import (
    WINDOW,
    Number,
    Phrase,
    Row,
    Saying,
    compared,
    duration,
    in_currency,
    is_near,
    money,
    number,
    plural,
    share,
    window_text,
)
from warehouse.times import DAY_US

_PARTS_OF_DAY: Final = ("night", "morning", "afternoon", "evening")
_AMOUNTS: Final = {
    "mean": "mean amount",
    "robust_mean": "usual mean amount",
    "shrunk_mean": "expected mean amount",
    "stddev": "deviation of amounts",
    "shrunk_stddev": "expected deviation of amounts",
    "median": "median amount",
    "p95": "95th percentile of amounts",
    "max": "largest amount",
}


def _profile_amount(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    text = f"The customer's {_AMOUNTS[match['op']]} of {window_text(match['window'])} is {money(value, row)}"
    return compared(text, value, typical, shown=in_currency(row))


def _profile_share(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    when = {"night": "at night", "weekend": "at weekends"}.get(match["part"], f"in the {match['part']}")
    return _share_of_customer(f"pays {when} (UTC)", match["window"], value, typical)


def _top_merchant(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    return _share_of_customer("pays the most frequent merchant", match["window"], value, typical)


def _share_of_customer(does: str, window: str, value: Number, typical: float | None) -> Phrase:
    text = f"In {share(value)} of the transactions of {window_text(window)} the customer {does}"
    return compared(text, value, typical, shown=share)


def _part_of_day(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase | None:
    if row.get("event_us") is None:
        return None
    part = _PARTS_OF_DAY[int(row["event_us"]) % DAY_US * len(_PARTS_OF_DAY) // DAY_US]
    return _habit_now(f"It is {part} (UTC)", match["window"], value, typical)


def _part_of_week(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase | None:
    if row.get("event_us") is None:
        return None
    # 1970-01-01 was a Thursday.
    is_weekend = int(row["event_us"]) // DAY_US % 7 in (2, 3)
    return _habit_now(f"It is {'a weekend' if is_weekend else 'a weekday'}", match["window"], value, typical)


def _habit_now(now: str, window: str, value: Number, typical: float | None) -> Phrase:
    text = f"{now}, when {share(value)} of the customer's transactions of {window_text(window)} were"
    # What others do then is not said; but only a time that is rarer than with others is unusual.
    return Phrase(
        text, value, None, is_usual=typical is not None and (value >= typical or is_near(value, typical))
    )


def _gap(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    what = {"mean": "mean", "max": "longest"}[match["op"]]
    text = f"The {what} time between the customer's transactions of {window_text(match['window'])} is "
    return compared(text + duration(value), value, typical, shown=duration)


def _since_last_over_gap(
    match: re.Match[str], value: Number, row: Row, typical: float | None
) -> Phrase | None:
    since, gap = row.get("seconds_since_last_30d"), row.get(f"profile_gap_seconds_mean_{match['window']}")
    if since is None or gap is None:
        return None
    text = f"{duration(since)} since the customer's last transaction"
    return compared(text, since, gap, is_own=True, shown=duration)


def _expected_per_day(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    return compared(f"{plural(value, 'transaction')} a day are expected of the customer", value, typical)


def _merchants(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    text = f"{plural(value, 'different merchant')} of the customer in {window_text(match['window'])}"
    return compared(text, value, typical)


def _customer_frauds(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    text = f"{plural(value, 'fraud')} of the customer became known in {window_text(match['window'])}"
    return compared(text, value, typical)


def _unexplained(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    text = (
        f"{plural(value, 'fraud')} of usual amounts at the merchant became known in "
        f"{window_text(match['window'])}"
    )
    return compared(text, value, typical)


def _run_age(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    return Phrase(f"The merchant's latest run of known frauds began {_days(value)} ago", value, None)


def _run_length(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    return Phrase(f"The merchant's latest run of known frauds lasted {_days(value)}", value, None)


def _run_count(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    return Phrase(f"{plural(value, 'fraud')} in the merchant's latest run of known frauds", value, None)


def _streak_count(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    text = f"{plural(value, 'known fraud')} at the merchant, with no payment known to be genuine since"
    return Phrase(text, value, None)


def _streak_age(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    text = "The first of the merchant's known frauds without a genuine payment since was"
    return Phrase(f"{text} {_days(value)} ago", value, None)


def _genuine_age(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    text = f"The merchant's latest payment known to be genuine was {_days(value)} ago"
    return Phrase(text, value, None)


def _days(value: Number) -> str:
    return f"{number(value)} days"


HABIT_SAYINGS: Final[tuple[tuple[str, Saying], ...]] = (
    (rf"profile_amount_(?P<op>{'|'.join(_AMOUNTS)})_{WINDOW}", _profile_amount),
    (rf"profile_(?P<part>{'|'.join(_PARTS_OF_DAY)}|weekend)_share_{WINDOW}", _profile_share),
    (rf"profile_top_merchant_share_{WINDOW}", _top_merchant),
    (rf"part_of_day_share_profile_{WINDOW}", _part_of_day),
    (rf"part_of_week_share_profile_{WINDOW}", _part_of_week),
    (rf"profile_gap_seconds_(?P<op>mean|max)_{WINDOW}", _gap),
    (rf"seconds_since_last_over_profile_gap_{WINDOW}", _since_last_over_gap),
    (rf"profile_shrunk_transactions_per_day_{WINDOW}", _expected_per_day),
    (rf"profile_merchant_distinct_{WINDOW}", _merchants),
    (rf"profile_fraud_count_{WINDOW}", _customer_frauds),
    (rf"merchant_risk_unexplained_count_{WINDOW}", _unexplained),
    (r"merchant_risk_run_age_days", _run_age),
    (r"merchant_risk_run_length_days", _run_length),
    (r"merchant_risk_run_fraud_count", _run_count),
    (r"merchant_risk_streak_fraud_count", _streak_count),
    (r"merchant_risk_streak_age_days", _streak_age),
    (r"merchant_risk_genuine_age_days", _genuine_age),
)
"""Patterns of names and what says them."""
