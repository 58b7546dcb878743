"""SQL that reads raw values: text, numbers, amounts and times, as DuckDB expressions.

Every value is read as text first (numbers in Parquet too, in their shortest form), so that one reading serves
all formats and an amount is rounded on its decimal digits, not on a binary fraction. Readings never fail:
what can't be read is null, and `warehouse.field_sql` says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final

from warehouse.errors import InputError, MappingError
from warehouse.mapping_rules import TimeRule
from warehouse.raw_files import quote_literal

NUMBER_PATTERN: Final = r"'[+-]?(\d+[.]?\d*|[.]\d+)([eE][+-]?\d+)?'"
NEGATIVE_PATTERN: Final = r"'^-[0.]*[1-9]'"

_WHITESPACE: Final = r"e' \t\r\n'"
_DATE: Final = r"\d{4}-(0[1-9]|1[0-2])-\d{2}"
_TIME: Final = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.]\d{1,9})?)?"
_OFFSET: Final = r" ?(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?)"
_LOCAL_PATTERN: Final = f"'{_DATE}[T ]{_TIME}'"
_INSTANT_PATTERN: Final = f"'{_DATE}[T ]{_TIME}{_OFFSET}'"

# Digits of a unit in microseconds; nanoseconds lose three instead.
_UNIT_PLACES: Final = {"s": 6, "ms": 3, "us": 0, "ns": 0}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Family(Enum):
    """What a raw column holds."""

    TEXT = auto()
    INTEGER = auto()
    FLOAT = auto()
    DECIMAL = auto()
    BOOLEAN = auto()
    TIMESTAMP = auto()
    INSTANT = auto()
    DATE = auto()
    OTHER = auto()


_FAMILIES: Final = {
    "VARCHAR": Family.TEXT,
    "ENUM": Family.TEXT,
    "UUID": Family.TEXT,
    "TINYINT": Family.INTEGER,
    "SMALLINT": Family.INTEGER,
    "INTEGER": Family.INTEGER,
    "BIGINT": Family.INTEGER,
    "HUGEINT": Family.INTEGER,
    "UTINYINT": Family.INTEGER,
    "USMALLINT": Family.INTEGER,
    "UINTEGER": Family.INTEGER,
    "UBIGINT": Family.INTEGER,
    "UHUGEINT": Family.INTEGER,
    "FLOAT": Family.FLOAT,
    "DOUBLE": Family.FLOAT,
    "DECIMAL": Family.DECIMAL,
    "BOOLEAN": Family.BOOLEAN,
    "TIMESTAMP": Family.TIMESTAMP,
    "TIMESTAMP_S": Family.TIMESTAMP,
    "TIMESTAMP_MS": Family.TIMESTAMP,
    "TIMESTAMP_NS": Family.TIMESTAMP,
    "TIMESTAMP WITH TIME ZONE": Family.INSTANT,
    "DATE": Family.DATE,
}
_NUMBERS: Final = frozenset({Family.TEXT, Family.INTEGER, Family.FLOAT, Family.DECIMAL})
_TIMES: Final = frozenset({Family.TIMESTAMP, Family.INSTANT, Family.DATE})


@dataclass(frozen=True)
class RawColumn:
    """A column of a raw file.

    Parameters
    ----------
    name : str
        As the file calls it.
    expression : str
        SQL that reads it.
    type_name : str
        DuckDB's type; text formats have VARCHAR alone.
    is_nested : str, optional
        SQL that says whether the value is a list or an object, where the format allows any.
    """

    name: str
    expression: str
    type_name: str = "VARCHAR"
    is_nested: str | None = None

    @property
    def family(self) -> Family:
        """What the column holds."""
        if self.type_name.endswith("]"):
            return Family.OTHER
        return _FAMILIES.get(self.type_name.partition("(")[0], Family.OTHER)


def read_text(column: RawColumn) -> str:
    """Read a column as text, null when blank; whole floats lose ``.0`` (pandas makes floats of ids)."""
    family = column.family
    if family is Family.OTHER:
        raise InputError(
            f"column {column.name} has type {column.type_name}: expected text, a number, a boolean or a time"
        )
    value = column.expression
    if family is Family.FLOAT:
        is_whole = f"isfinite({value}) and abs({value}) < 1e15 and {value} = trunc({value})"
        return f"case when {is_whole} then {value}::bigint::varchar else {value}::varchar end"
    return f"nullif(trim(cast({value} as varchar), {_WHITESPACE}), '')"


def read_number_text(column: RawColumn) -> str:
    """Read a column that must hold numbers or text as text.

    Raises
    ------
    InputError
        When the column has another type.
    """
    if column.family not in _NUMBERS:
        raise InputError(f"column {column.name} has type {column.type_name}: expected a number or text")
    return read_text(column)


def is_number(text: str) -> str:
    """Say whether a text is a finite decimal number."""
    return f"regexp_full_match({text}, {NUMBER_PATTERN})"


def read_double(text: str) -> str:
    """Read a text as a double; ``nan`` is missing."""
    return f"case when {is_number(text)} then try_cast({text} as double) end"


def is_missing_number(text: str) -> str:
    """Say whether a text stands for no number: blank or ``nan``."""
    return f"({text} is null or lower({text}) = 'nan')"


def read_magnitude(text: str, *, places: int, rounds: bool) -> str:
    """Read a number, without its sign, times ten to the power of `places` (bigint; null when too large).

    Digits behind are cut, or rounded with halves away from zero. Digits are shifted as text: exact, and
    five times faster than DuckDB's decimals, which are left for numbers with an exponent.
    """
    digits = f"ltrim({text}, '+-')"
    fraction = f"split_part({digits}, '.', 2)"
    is_plain = rf"regexp_full_match({text}, '[+-]?\d{{1,{18 - places}}}([.]\d*)?')"
    plain = f"cast(split_part({digits}, '.', 1) || rpad({fraction}, {places}, '0') as bigint)"
    if rounds:
        plain += f" + case when substr({fraction}, {places + 1}, 1) >= '5' then 1 else 0 end"
    to_whole = "round" if rounds else "floor"
    decimal = f"abs(try_cast({text} as decimal(28, 12))) * {10**places}::decimal(7, 0)"
    return (
        f"case when {is_plain} then {plain}"
        f" when {is_number(text)} then try_cast({to_whole}({decimal}) as bigint) end"
    )


def has_fraction(text: str) -> str:
    """Say whether a number is not whole."""
    digits = f"split_part({text}, '.', 2)"
    return (
        rf"case when regexp_full_match({text}, '[+-]?\d+([.]\d*)?') then ltrim({digits}, '0') <> ''"
        f" else try_cast({text} as decimal(28, 12)) <> trunc(try_cast({text} as decimal(28, 12))) end"
    )


def read_time(column: RawColumn, rule: TimeRule, *, text: str) -> str:
    """Read a time as UTC microseconds (bigint); `text` names the column's value as text.

    Raises
    ------
    InputError
        When the column's type is not what the rule reads.
    MappingError
        When the column holds wall-clock times and the rule has no zone.
    """
    family = column.family
    if rule.unit is not None:
        if family not in _NUMBERS:
            raise InputError(
                f"column {column.name} has type {column.type_name}: expected a number of {rule.unit}"
            )
        return _read_count(rule, text=text)
    if family is Family.INSTANT:
        return f"epoch_us({column.expression})"
    if family in _TIMES:
        return _read_wall_clock(column, rule, f"cast({column.expression} as timestamp)")
    if family is not Family.TEXT:
        raise InputError(
            f"column {column.name} has type {column.type_name}: the mapping expects a time as text"
        )
    if rule.format == "iso":
        return _read_iso(column, rule, text=text)
    parsed = f"try_strptime({text}, {quote_literal(str(rule.format))})"
    has_zone = "%z" in str(rule.format) or "%Z" in str(rule.format)
    return f"epoch_us({parsed})" if has_zone else _read_wall_clock(column, rule, parsed)


def _read_count(rule: TimeRule, *, text: str) -> str:
    places = _UNIT_PLACES[str(rule.unit)]
    sign = f"case when regexp_matches({text}, {NEGATIVE_PATTERN}) then -1 else 1 end"
    count = f"{sign} * ({read_magnitude(text, places=places, rounds=False)})"
    if rule.unit == "ns":
        count = f"({count}) // 1000"
    origin_us = 0 if rule.origin is None else (rule.origin - _EPOCH) // timedelta(microseconds=1)
    return f"try_cast(({count})::hugeint + {origin_us} as bigint)"


def _read_iso(column: RawColumn, rule: TimeRule, *, text: str) -> str:
    upper = f"upper({text})"
    instant = f"epoch_us(try_cast({upper} as timestamptz))"
    reading = f"case when regexp_full_match({upper}, {_INSTANT_PATTERN}) then {instant}"
    if rule.zone is not None:
        local = _read_wall_clock(column, rule, f"try_cast({upper} as timestamp)")
        reading += f" when regexp_full_match({upper}, {_LOCAL_PATTERN}) then {local}"
    return reading + " end"


def _read_wall_clock(column: RawColumn, rule: TimeRule, timestamp: str) -> str:
    if rule.zone is None:
        raise MappingError(
            f"column {column.name} holds times without an offset: add the zone they are in to the mapping"
        )
    if rule.zone == "UTC":
        return f"epoch_us({timestamp})"
    return f"epoch_us(timezone({quote_literal(rule.zone)}, {timestamp}))"
