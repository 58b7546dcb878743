"""SQL that reads raw values: text, numbers, amounts and times, as DuckDB expressions.

Every value is read as text first (numbers in Parquet too, in their shortest form), so that one reading serves
all formats and an amount is rounded on its decimal digits, not on a binary fraction. Readings never fail:
what can't be read is null, and `warehouse.ingest.mapping.fields` says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from warehouse.canonical import MAX_AMOUNT_MINOR
from warehouse.errors import InputError, MappingError
from warehouse.ingest.mapping.rules import TimeRule
from warehouse.sql_text import literal
from warehouse.times import to_us

NUMBER_PATTERN: Final = r"'[+-]?(\d+[.]?\d*|[.]\d+)([eE][+-]?\d+)?'"

_DATE: Final = r"\d{4}-(0[1-9]|1[0-2])-\d{2}"
_TIME: Final = r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.]\d{1,9})?)?"
_OFFSET: Final = r" ?(Z|[+-](0\d|1[0-4])(:?[0-5]\d)?)"
_LOCAL_PATTERN: Final = f"'{_DATE}[T ]{_TIME}'"
_INSTANT_PATTERN: Final = f"'{_DATE}[T ]{_TIME}{_OFFSET}'"

# Digits of a unit in microseconds; nanoseconds lose three instead.
_UNIT_PLACES: Final = {"s": 6, "ms": 3, "us": 0, "ns": 0}


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
    "JSON": Family.TEXT,
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
    """Read a column as text, null when blank; whole floats lose ``.0`` (pandas makes floats of ids).

    Raises
    ------
    InputError
        When the column holds lists, objects or bytes.
    """
    value, family = column.expression, column.family
    if family is Family.OTHER:
        raise InputError(
            f"column {column.name} has type {column.type_name}: expected text, a number, a boolean or a time"
        )
    if family is Family.FLOAT:
        is_whole = f"isfinite({value}) and abs({value}) < 1e15 and {value} = trunc({value})"
        return f"case when {is_whole} then {value}::bigint::varchar else {value}::varchar end"
    if family is Family.TEXT:
        return f"nullif(trim(cast({value} as varchar)), '')"
    return f"cast({value} as varchar)"


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
    # Cheaper than a pattern; what the cast takes beyond decimal numbers are underscores and infinities.
    number = f"try_cast({text} as double)"
    return f"case when isfinite({number}) and not contains({text}, '_') then {number} end"


def is_missing_number(text: str) -> str:
    """Say whether a text stands for no number: blank or ``nan``."""
    return f"({text} is null or lower({text}) = 'nan')"


def read_amount(column: RawColumn, *, places: int, text: str) -> str:
    """Read an amount times ten to the power of `places` as bigint, with halves rounded away from zero.

    Null when it is negative, no number or too large; `text` names the column's value as text.
    """
    value = column.expression
    by_digits = (
        f"case when {_is_exact(text, places=places)} then {_join_digits(text)}"
        f" when {_is_plain(text, places=places)} then {_shift_digits(text, places=places, rounds=True)}"
        f" when {is_number(text)} and not {is_negative(text)}"
        f" then {_shift_decimal(text, places=places, to='round')} end"
    )
    if column.family is Family.INTEGER:
        is_in_range = f"{value} between 0 and {MAX_AMOUNT_MINOR}"
        return f"case when {is_in_range} then cast({value} as bigint) * {10**places} end"
    if column.family is Family.FLOAT:
        # The float nearest to a number with so few digits: no digit is lost, none needs to be looked at.
        shifted = f"round({value} * {10**places})"
        is_exact = f"{value} >= 0 and {value} < 1e13 and {shifted} / {10**places} = {value}"
        return f"case when {is_exact} then cast({shifted} as bigint) else {by_digits} end"
    return by_digits


def is_negative(text: str) -> str:
    """Say whether a number is below zero (minus zero is not)."""
    return f"regexp_matches({text}, '^-[0.]*[1-9]')"


def _is_exact(text: str, *, places: int) -> str:
    """Say whether a number has just so many places: by far the most do."""
    fraction = rf"[.]\d{{{places}}}" if places else ""
    return rf"regexp_full_match({text}, '\d{{1,{18 - places}}}{fraction}')"


def _join_digits(text: str) -> str:
    return f"cast(replace({text}, '.', '') as bigint)"


def _is_plain(text: str, *, places: int) -> str:
    return rf"regexp_full_match({text}, '[+]?\d{{1,{18 - places}}}([.]\d*)?')"


def _shift_digits(text: str, *, places: int, rounds: bool) -> str:
    """Shift the digits of a plain number as text: exact, and five times faster than DuckDB's decimals."""
    digits = f"ltrim({text}, '+-')"
    fraction = f"split_part({digits}, '.', 2)"
    shifted = f"cast(split_part({digits}, '.', 1) || rpad({fraction}, {places}, '0') as bigint)"
    half = f" + case when substr({fraction}, {places + 1}, 1) >= '5' then 1 else 0 end"
    return shifted + (half if rounds else "")


def _shift_decimal(text: str, *, places: int, to: str) -> str:
    """Shift numbers that are written with an exponent, or too long."""
    decimal = f"try_cast({text} as decimal(28, 12)) * {10**places}::decimal(7, 0)"
    return f"try_cast({to}({decimal}) as bigint)"


def has_fraction(text: str) -> str:
    """Say whether a number is not whole."""
    digits = f"split_part({text}, '.', 2)"
    return (
        rf"case when regexp_full_match({text}, '[+-]?\d+([.]\d*)?') then ltrim({digits}, '0') <> ''"
        f" else try_cast({text} as decimal(28, 12)) <> trunc(try_cast({text} as decimal(28, 12))) end"
    )


def read_time_text(column: RawColumn) -> str:
    """Read a time's column as text; of one that is typed only whether there is a value."""
    if column.family in _TIMES:
        return f"case when {column.expression} is not null then '' end"
    return read_text(column)


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
    parsed = f"try_strptime({text}, {literal(str(rule.format))})"
    has_zone = "%z" in str(rule.format) or "%Z" in str(rule.format)
    return f"epoch_us({parsed})" if has_zone else _read_wall_clock(column, rule, parsed)


def _read_count(rule: TimeRule, *, text: str) -> str:
    places = _UNIT_PLACES[str(rule.unit)]
    digits = _shift_digits(text, places=places, rounds=False)
    unsigned = f"ltrim({text}, '-')"
    count = (
        f"case when {_is_exact(text, places=places)} then {_join_digits(text)}"
        f" when {_is_plain(text, places=places)} then {digits}"
        f" when {_is_plain(unsigned, places=places)} then -({digits})"
        f" when {is_number(text)} then {_shift_decimal(text, places=places, to='floor')} end"
    )
    if rule.unit == "ns":
        count = f"({count}) // 1000"
    origin_us = 0 if rule.origin is None else to_us(rule.origin)
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
    return f"epoch_us(timezone({literal(rule.zone)}, {timestamp}))"
