"""Sentences about a feature's value: the value, the customer's normal, the window.

What to say follows from the grammar of names (``<measure>_<operation>_<window>``, prefixes for other
entities, ``amount_over_<other>`` for ratios); a name that no phrase knows is told by its description from
dbt. A normal is the customer's own where the row holds it (profile or mean of the window), else the median of
past transactions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from ml.features.spec import FeatureSpec
from ml.reasons.habit_phrases import HABIT_SAYINGS
from ml.reasons.wording import (
    WINDOW,
    Number,
    Phrase,
    Row,
    Saying,
    compared,
    duration,
    first_known,
    in_currency,
    is_near,
    money,
    number,
    plural,
    share,
    window_seconds,
    window_text,
)

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_AMOUNT_STATISTICS: Final[Mapping[str, str]] = {
    "mean": "mean",
    "robust_mean": "usual mean",
    "shrunk_mean": "expected mean",
    "median": "median",
    "p95": "95th percentile",
    "max": "largest amount",
    "stddev": "usual deviation",
}


class Phrasebook:
    """Says what a row's values mean.

    Parameters
    ----------
    features : sequence of FeatureSpec
        Names, units and descriptions.
    typical : mapping of str to float
        Median of each feature over past transactions.
    """

    def __init__(self, features: Sequence[FeatureSpec], typical: Mapping[str, float]) -> None:
        self._specs = {feature.name: feature for feature in features}
        self._typical = typical
        self._says = {name: _matched(name) for name in self._specs}

    def say(self, name: str, row: Row) -> Phrase:
        """Return the sentence about feature `name` of `row`."""
        spec = self._specs[name]
        value = (row.get("attributes_number") or {}).get(spec.key) if spec.key else row.get(name)
        if value is None:
            return _absent(spec, row)
        found = self._says[name]
        if found is not None:
            saying, match = found
            phrase = saying(match, value, row, self._typical.get(name))
            if phrase is not None:
                return phrase
        return _described(spec, value, row, self._typical.get(name))


def _amount(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase | None:
    for name in ("profile_amount_mean_90d", "profile_amount_mean_30d", "amount_mean_30d", "amount_mean_7d"):
        if row.get(name):
            return _amount_against(name, value / row[name], row)
    return Phrase(f"Amount {money(value, row)}", value, None)


def _amount_ratio(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase | None:
    return _amount_against(match["other"], value, row)


def _amount_against(other: str, ratio: float, row: Row) -> Phrase | None:
    described, normal, amount = _amount_statistic(other), row.get(other), row.get("amount_minor")
    if described is None or normal is None or amount is None:
        return None
    if is_near(ratio, 1):
        return Phrase(f"Amount {money(amount, row)}", amount, None, is_usual=True)
    text = f"Amount {money(amount, row)} is {number(ratio)} times {described} ({money(normal, row)})"
    return Phrase(text, amount, normal)


def _amount_deviation(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase | None:
    other = f"{match['profile'] or ''}amount_{match['shrunk'] or ''}mean_{match['window']}"
    described, normal, amount = _amount_statistic(other), row.get(other), row.get("amount_minor")
    if described is None or normal is None or amount is None:
        return None
    if abs(value) < 1:
        text = f"Amount {money(amount, row)} is within a standard deviation of {described}"
        return Phrase(f"{text} ({money(normal, row)})", amount, normal, is_usual=True)
    side = "above" if value >= 0 else "below"
    text = (
        f"Amount {money(amount, row)} is {number(abs(value))} standard deviations {side} {described} "
        f"({money(normal, row)})"
    )
    return Phrase(text, amount, normal)


def _amount_statistic(name: str) -> str | None:
    match = re.fullmatch(rf"(?P<entity>profile_|merchant_)?amount_(?P<op>\w+?)_{WINDOW}", name)
    what = None if match is None else _AMOUNT_STATISTICS.get(match["op"])
    if match is None or what is None:
        return None
    whose = "the merchant's" if match["entity"] == "merchant_" else "the customer's"
    return f"{whose} {what} of the last {window_text(match['window'])}"


def _transaction_count(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    per_day = first_known(row, "profile_transactions_per_day_30d", "profile_transactions_per_day_90d")
    return _counted(value, match["window"], per_day, typical)


def _counted(value: Number, window: str, per_day: float | None, typical: float | None) -> Phrase:
    normal = typical if per_day is None else per_day * window_seconds(window) / 86_400
    text = f"{plural(value, 'transaction')} of the customer in the {window_text(window)} before"
    return compared(text, value, normal, is_own=per_day is not None)


def _count_over_profile(
    match: re.Match[str], value: Number, row: Row, typical: float | None
) -> Phrase | None:
    count = row.get(f"transaction_count_{match['window']}")
    per_day = row.get(f"profile_{match['shrunk'] or ''}transactions_per_day_{match['profile_window']}")
    return None if count is None else _counted(count, match["window"], per_day, None)


def _spent(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    window = match["window"]
    usual_day = _usual_day(row)
    normal = typical if usual_day is None else usual_day * window_seconds(window) / 86_400
    text = f"The customer spent {money(value, row)} in the {window_text(window)} before"
    return compared(text, value, normal, is_own=usual_day is not None, shown=in_currency(row))


def _spent_over_profile(
    match: re.Match[str], value: Number, row: Row, typical: float | None
) -> Phrase | None:
    usual_day, amount, window = _usual_day(row), row.get("amount_minor"), match["window"]
    if usual_day is None or amount is None:
        return None
    spent = amount + (row.get(f"amount_sum_{window}") or 0)
    normal = usual_day * window_seconds(window) / 86_400
    text = f"With this one the customer spends {money(spent, row)} in {window_text(window)}"
    return compared(text, spent, normal, is_own=True, shown=in_currency(row))


def _spent_history(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    operation, window = match["op"], match["window"]
    own = first_known(row, f"profile_amount_{operation}_90d", f"profile_amount_{operation}_30d")
    what = {"mean": "mean amount", "max": "largest amount", "stddev": "deviation of amounts"}[operation]
    text = f"The customer's {what} of the {window_text(window)} before is {money(value, row)}"
    return compared(
        text, value, typical if own is None else own, is_own=own is not None, shown=in_currency(row)
    )


def _distinct(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    things = {"country": "countries", "category": "categories"}.get(match["thing"], f"{match['thing']}s")
    thing = match["thing"] if value == 1 else things
    where = "at the merchant" if match["entity"] else "of the customer"
    text = f"{number(value)} different {thing} {where} in the {window_text(match['window'])} before"
    return compared(text, value, typical)


def _reported(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    window = window_text(match["window"])
    text = f"{plural(value, 'payment')} at the merchant reported as fraud in the {window} before"
    return compared(text, value, typical)


def _since_last(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    text = f"{duration(value)} since the customer's last transaction"
    return compared(text, value, typical, shown=duration)


def _place(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    if match["op"] == "kmh":
        text = f"{number(value)} km/h are needed to get here from the customer's last transaction"
    else:
        text = f"{number(value)} km from the customer's last transaction"
    return compared(text, value, typical)


def _same_merchant(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    window = window_text(match["window"])
    if value == 0:
        return Phrase(f"The customer has not paid this merchant in the {window} before", 0, None)
    text = f"{plural(value, 'transaction')} of the customer with this merchant in the {window} before"
    return compared(text, value, typical)


def _new_merchant(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    known = "has not paid" if value else "has already paid"
    text = f"The customer {known} this merchant in the {window_text(match['window'])} before"
    return Phrase(text, value, None)


def _merchant_count(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    text = f"{plural(value, 'transaction')} at the merchant in the {window_text(match['window'])} before"
    return compared(text, value, typical)


def _merchant_amount(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    text = f"The merchant's mean amount of the {window_text(match['window'])} before is {money(value, row)}"
    return compared(text, value, typical, shown=in_currency(row))


def _risk_rate(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    window = window_text(match["window"])
    text = f"{share(value)} of the {match['entity']}'s labels known in {window} are fraud"
    return compared(text, value, typical, shown=share)


def _risk_count(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    window = window_text(match["window"])
    text = f"{plural(value, 'fraud')} of the {match['entity']} became known in {window}"
    return compared(text, value, typical)


def _hour(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    hour, minute = divmod(int(value * 60), 60)
    return Phrase(f"Time of day is {hour:02d}:{minute:02d} UTC", value, None)


def _weekday(match: re.Match[str], value: Number, row: Row, typical: float | None) -> Phrase:
    return Phrase(f"Day of the week is {_DAYS[int(value) % 7]}", value, None)


_SAYINGS: Final[tuple[tuple[re.Pattern[str], Saying], ...]] = tuple(
    (re.compile(pattern), saying)
    for pattern, saying in (
        (r"amount_minor", _amount),
        (r"amount_over_(?P<other>.+)", _amount_ratio),
        (rf"amount_deviation_(?P<profile>profile_)?(?P<shrunk>shrunk_)?{WINDOW}", _amount_deviation),
        (rf"amount_sum_{WINDOW}_over_profile_\w+", _spent_over_profile),
        (
            rf"transaction_count_{WINDOW}_over_profile_(?P<shrunk>shrunk_)?(?P<profile_window>\w+)",
            _count_over_profile,
        ),
        (rf"transaction_count_{WINDOW}", _transaction_count),
        (rf"amount_sum_{WINDOW}", _spent),
        (rf"amount_(?P<op>mean|max|stddev)_{WINDOW}", _spent_history),
        (rf"merchant_fraud_distinct_{WINDOW}", _reported),
        (rf"(?P<entity>merchant_)?(?P<thing>[a-z]+)_distinct_{WINDOW}", _distinct),
        (rf"seconds_since_last_{WINDOW}", _since_last),
        (rf"place_last_(?P<op>kmh|km)_{WINDOW}", _place),
        (rf"same_merchant_transaction_count_{WINDOW}", _same_merchant),
        (rf"is_new_merchant_{WINDOW}", _new_merchant),
        (rf"merchant_transaction_count_{WINDOW}", _merchant_count),
        (rf"merchant_amount_mean_{WINDOW}", _merchant_amount),
        (rf"(?P<entity>merchant|category)_risk_fraud_rate_{WINDOW}", _risk_rate),
        (rf"(?P<entity>merchant|category)_risk_fraud_count_{WINDOW}", _risk_count),
        (r"hour_of_day", _hour),
        (r"day_of_week", _weekday),
        *HABIT_SAYINGS,
    )
)


_ABSENCES: Final = tuple(
    (re.compile(pattern), text)
    for pattern, text in (
        (
            rf"(?P<entity>merchant|category)_risk_fraud_rate_{WINDOW}",
            "No label of the {entity} became known in {window}",
        ),
        (
            rf"(amount_(sum|mean|max|stddev)|seconds_since_last)_{WINDOW}",
            "No transaction of the customer in the {window} before",
        ),
        (
            rf"merchant_amount_(sum|mean|max|stddev)_{WINDOW}",
            "No transaction at the merchant in the {window} before",
        ),
    )
)


def _matched(name: str) -> tuple[Saying, re.Match[str]] | None:
    for pattern, saying in _SAYINGS:
        match = pattern.fullmatch(name)
        if match is not None:
            return saying, match
    return None


def _absent(spec: FeatureSpec, row: Row) -> Phrase:
    """Say that a value is missing; an aggregate is null where its window is empty."""
    for pattern, text in _ABSENCES:
        match = pattern.fullmatch(spec.name)
        if match is not None:
            found = match.groupdict()
            return Phrase(text.format(**{**found, "window": window_text(found["window"])}), None, None)
    if spec.source == "profile" and row.get("profile_tenure_days") is None:
        return Phrase("The customer has no profile yet", None, None)
    return Phrase(f"Not known: {_title(spec, is_lower=True)}", None, None)


def _described(spec: FeatureSpec, value: Number, row: Row, typical: float | None) -> Phrase:
    is_money = spec.unit == "minor" or "minor units" in spec.description
    title = _title(spec).removesuffix(", in minor units")
    if is_money:
        return compared(f"{title}: {money(value, row)}", value, typical, shown=in_currency(row))
    return compared(f"{title}: {number(value)}", value, typical)


def _title(spec: FeatureSpec, *, is_lower: bool = False) -> str:
    meaning, *_ = spec.description.split(";")  # what follows says when it is null
    text = meaning.strip().removesuffix(".") or spec.name.replace("_", " ")
    first = text[0].lower() if is_lower else text[0].upper()
    return first + text[1:]


def _usual_day(row: Row) -> float | None:
    mean, per_day = row.get("profile_amount_mean_30d"), row.get("profile_transactions_per_day_30d")
    return None if mean is None or per_day is None else mean * per_day
