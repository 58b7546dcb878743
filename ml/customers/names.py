"""Names of segments: what sets one apart, as words ("night spenders, small amounts")."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

_STRONG: Final = 0.4
_MOST_TRAITS: Final = 2
ORDINARY: Final = "close to the average"

# Of columns with one theme the strongest speaks. First match counts; names are those of profile columns.
_THEMES: Final[Sequence[tuple[str, str, str, str]]] = (
    (r"night_share", "night", "night spenders", "seldom at night"),
    (r"morning_share", "morning", "morning spenders", "seldom in the morning"),
    (r"afternoon_share", "afternoon", "afternoon spenders", "seldom in the afternoon"),
    (r"evening_share", "evening", "evening spenders", "seldom in the evening"),
    (r"weekend_share", "weekend", "weekend spenders", "weekday spenders"),
    (r"amount_stddev|amount_entropy", "spread", "varying amounts", "steady amounts"),
    (r"amount_(robust_)?(mean|median|p95|max|sum)", "amount", "large amounts", "small amounts"),
    (
        r"per_day|transaction_count|active_days",
        "frequency",
        "frequent payments",
        "rare payments",
    ),
    (r"gap_", "frequency", "rare payments", "frequent payments"),
    (r"merchant_distinct|merchant_count", "merchants", "many merchants", "few merchants"),
    (r"top_merchant_share", "loyalty", "loyal to a merchant", "no favourite merchant"),
    (r"category_entropy|category_distinct", "categories", "many categories", "few categories"),
    (r"country_", "countries", "many countries", "few countries"),
    (r"tenure", "tenure", "long-standing customers", "new customers"),
    (r"recency", "recency", "long absent", "recently active"),
)
_WINDOW: Final = re.compile(r"_\d+[mhd]$")


def name_segments(traits: Mapping[int, Mapping[str, float]]) -> dict[int, str]:
    """Name segments by their strongest traits; no two share a name.

    Parameters
    ----------
    traits : mapping of int to mapping of str to float
        By segment code: the mean of each profile column, in deviations from the median of all.

    Returns
    -------
    dict of int to str
        By code. A segment that shares its strongest traits with an earlier one names more of them, and in the
        end its code.
    """
    names: dict[int, str] = {}
    for code in sorted(traits):
        words = _words(traits[code])
        for count in range(_MOST_TRAITS, max(len(words), _MOST_TRAITS) + 1):
            name = ", ".join(words[:count]) or ORDINARY
            if name not in names.values():
                break
        else:
            name = f"{name} ({code})"
        names[code] = name
    return names


def _words(means: Mapping[str, float]) -> list[str]:
    """Return what a segment's strong traits are called, the strongest first, one word a theme."""
    spoken: dict[str, str] = {}
    for column, mean in sorted(means.items(), key=lambda item: (-abs(item[1]), item[0])):
        if abs(mean) < _STRONG:
            break
        theme, word = _word(column, mean)
        spoken.setdefault(theme, word)
    return list(spoken.values())


def _word(column: str, mean: float) -> tuple[str, str]:
    for pattern, theme, high, low in _THEMES:
        if re.search(pattern, column):
            return theme, high if mean > 0 else low
    plain = _WINDOW.sub("", column.removeprefix("profile_")).replace("_", " ")
    return plain, f"{'high' if mean > 0 else 'low'} {plain}"
