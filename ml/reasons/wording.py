"""Numbers, money, windows and durations in words, and the sentence that they end up in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from warehouse.velocity.declarations import duration_us

Number = int | float
Row = Mapping[str, Any]
WINDOW: Final = r"(?P<window>\d+[mhd])"


@dataclass(frozen=True)
class Phrase:
    """A sentence, the value that it names, and the normal that it compares with (None: it names none).

    `is_usual` tells that the value is as good as its normal: the sentence names the value alone then.
    """

    text: str
    value: Number | None
    normal: Number | None
    is_usual: bool = False


Shown = Callable[[Number], str]
"""Writes a number."""

Saying = Callable[[re.Match[str], Number, Row, float | None], Phrase | None]
"""Says a value, from the match of its name, the value, the row and what is typical; None: it can't."""

_NOTICEABLE: Final = 0.1
_UNITS: Final = {"m": "minute", "h": "hour", "d": "day"}
# ISO 4217: currencies whose minor unit is not a hundredth.
_EXPONENTS: Final = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}


def window_seconds(window: str) -> int:
    """Return the seconds of a window's name, such as '24h'."""
    return duration_us(window) // 1_000_000


def window_text(window: str) -> str:
    """Return a window in words: 'hour', '24 hours', '30 days'."""
    count, unit = int(window[:-1]), _UNITS[window[-1]]
    return unit if count == 1 else f"{count} {unit}s"


def money(amount_minor: Number, row: Mapping[str, Any]) -> str:
    """Return an amount of minor units in the row's currency, such as '215.40 EUR'."""
    currency = row.get("currency")
    exponent = _EXPONENTS.get(str(currency).upper(), 2)
    shown = f"{amount_minor / 10**exponent:,.{exponent}f}"
    return f"{shown} {currency}" if currency else shown


def number(value: Number) -> str:
    """Return a number for reading: whole numbers whole, others with up to three digits."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def plural(value: Number, noun: str) -> str:
    """Return a count with its noun: '1 transaction', '9 transactions'."""
    return f"{number(value)} {noun}" if value == 1 else f"{number(value)} {noun}s"


def share(value: Number) -> str:
    """Return a share in percent."""
    return f"{100 * value:.1f} %"


def duration(seconds: Number) -> str:
    """Return a duration in its largest fitting unit."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{number(round(seconds / length, 1))} {unit}s"
    return plural(round(seconds), "second")


def in_currency(row: Row) -> Shown:
    """Return what writes amounts of minor units in the row's currency."""
    return lambda amount_minor: money(amount_minor, row)


def is_near(value: Number, normal: Number) -> bool:
    """Return whether a value is within a tenth of its normal: a difference that nobody would call one."""
    return abs(value - normal) <= _NOTICEABLE * abs(normal)


def compared(
    text: str, value: Number, normal: Number | None, *, is_own: bool = False, shown: Shown = number
) -> Phrase:
    """End a sentence with its normal, the customer's own or what is typical, unless the value is near it."""
    if normal is None:
        return Phrase(text, value, None)
    if is_near(value, normal):
        return Phrase(text, value, None, is_usual=True)
    return Phrase(f"{text}; {'usually' if is_own else 'typically'} {shown(normal)}", value, normal)


def first_known(row: Row, *names: str) -> float | None:
    """Return the first value among `names` that the row knows."""
    return next((row[name] for name in names if row.get(name) is not None), None)
