"""The rules of a mapping: how a raw file's columns become the canonical fields. Data, never code.

`statement` renders rules to SQL: names are quoted there, values escaped, nothing is ever run.
A rule may be a list: the first whose column the file has is used. A text stands for ``{column: text}``.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date, datetime
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

_PATTERN: Final = re.compile(r"(?:[^%]|%(?:-?[dmyHIMSj]|[aAbBYpfgnzZ%]))+")
_CONFIG: Final = ConfigDict(frozen=True, extra="forbid", strict=True)

ShortText = Annotated[str, Field(min_length=1, max_length=300)]


def _as_alternatives(value: object) -> object:
    alternatives = value if isinstance(value, list | tuple) else [value]
    return tuple({"column": rule} if isinstance(rule, str) else rule for rule in alternatives)


class ColumnRule(BaseModel):
    """Take a column. `may_be_absent`: a file without the column is fine, the field is then null."""

    model_config = _CONFIG
    column: ShortText
    may_be_absent: bool = False


class TextRule(BaseModel):
    """Take text from a column, a constant, or (ids only) name each row by the file's hash and its place."""

    model_config = _CONFIG
    column: ShortText | None = None
    constant: ShortText | None = None
    generate: Literal["file_and_row"] | None = None
    required: bool = False
    may_be_absent: bool = False

    @model_validator(mode="after")
    def _check_origin(self) -> TextRule:
        if sum(origin is not None for origin in (self.column, self.constant, self.generate)) != 1:
            raise ValueError("give exactly one of column, constant or generate")
        return self


class TimeRule(ColumnRule):
    """Take a time from a column.

    Either `unit` (a number since `origin`, by default 1970) or `format`: ``iso``, or a pattern such as
    ``%d/%m/%Y %H:%M``. Times without an offset are read in `zone`; without a zone they are refused.
    """

    unit: Literal["s", "ms", "us", "ns"] | None = None
    origin: Annotated[AwareDatetime, Field(strict=False)] | None = None
    format: ShortText | None = None
    zone: ShortText | None = None

    @model_validator(mode="after")
    def _check_reading(self) -> TimeRule:
        if (self.unit is None) == (self.format is None):
            raise ValueError("give exactly one of unit (numbers) or format (text)")
        if self.origin is not None and self.unit is None:
            raise ValueError("origin goes with unit")
        if self.zone is not None and self.unit is not None:
            raise ValueError("zone goes with format: numbers count from an instant")
        return self

    @field_validator("zone")
    @classmethod
    def _check_zone(cls, zone: str | None) -> str | None:
        if zone is not None:
            try:
                ZoneInfo(zone)
            except (OSError, KeyError, ValueError):
                raise ValueError(f"unknown time zone {zone!r}") from None
        return zone

    @field_validator("format")
    @classmethod
    def _check_format(cls, pattern: str | None) -> str | None:
        if pattern not in (None, "iso") and not _PATTERN.fullmatch(str(pattern)):
            raise ValueError("expected iso, or a pattern with %Y %m %d %H %M %S %f %z and the like")
        return pattern


class AmountRule(ColumnRule):
    """Take an amount: `scale` minor units make one of the column's units (100 for euros, 1 for cents).

    A scale above 1 rounds halves away from zero, on the decimal number as written; 1 takes whole numbers.
    """

    scale: Literal[1, 10, 100, 1_000, 10_000]


class KindRule(ColumnRule):
    """Tell payments from refunds by a column; without a value a row is a payment.

    `payments`, when given, lists every kind that is a payment; others are refused. Case does not matter.
    """

    refunds: Annotated[tuple[ShortText, ...], Field(strict=False, min_length=1)]
    payments: Annotated[tuple[ShortText, ...], Field(strict=False)] = ()


class DelayRule(BaseModel):
    """A label is known so many days after its event."""

    model_config = _CONFIG
    delay_days: Annotated[float, Field(ge=0, le=3_650, strict=False)]


class LabelRule(ColumnRule):
    """Take the label from a column (by default 1/0, true/false, yes/no) and say when it was known."""

    known: Annotated[tuple[TimeRule | DelayRule, ...], BeforeValidator(_as_alternatives), Field(min_length=1)]
    fraud: Annotated[tuple[ShortText, ...], Field(strict=False)] = ("1", "1.0", "true", "t", "yes", "y")
    genuine: Annotated[tuple[ShortText, ...], Field(strict=False)] = ("0", "0.0", "false", "f", "no", "n")


TextRules = Annotated[tuple[TextRule, ...], BeforeValidator(_as_alternatives)]
ColumnRules = Annotated[tuple[ColumnRule, ...], BeforeValidator(_as_alternatives)]
TimeRules = Annotated[tuple[TimeRule, ...], BeforeValidator(_as_alternatives)]
AmountRules = Annotated[tuple[AmountRule, ...], BeforeValidator(_as_alternatives)]


class FieldRules(BaseModel):
    """Where each canonical field comes from."""

    model_config = _CONFIG
    transaction_id: Annotated[TextRules, Field(min_length=1)]
    customer_id: TextRules = ()
    merchant_id: TextRules = ()
    event_us: Annotated[TimeRules, Field(min_length=1)]
    amount_minor: Annotated[AmountRules, Field(min_length=1)]
    currency: TextRules = ()
    category: TextRules = ()
    channel: TextRules = ()
    country: TextRules = ()
    latitude: ColumnRules = ()
    longitude: ColumnRules = ()
    ingested_us: TimeRules = ()

    @model_validator(mode="after")
    def _check_generated(self) -> FieldRules:
        for field in ("customer_id", "merchant_id", "currency", "category", "channel", "country"):
            if any(rule.generate for rule in getattr(self, field)):
                raise ValueError(f"{field}: only transaction_id can be generated")
        return self


def _as_named_columns(value: object) -> object:
    return {name: name for name in value} if isinstance(value, list) else value


Attributes = Annotated[dict[ShortText, ShortText], BeforeValidator(_as_named_columns)]


class AttributeRules(BaseModel):
    """Other columns that go into the model's row: a list of columns, or names with their columns."""

    model_config = _CONFIG
    number: Attributes = {}
    text: Attributes = {}


def _as_plain_values(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {
        key: item.isoformat() if isinstance(item, date | datetime) else item for key, item in value.items()
    }


Protocol = Annotated[dict[ShortText, str | int | float | bool], BeforeValidator(_as_plain_values)]


class MappingRules(BaseModel):
    """A mapping; see the module.

    Parameters
    ----------
    name : str
        Shown in reports.
    recognise : tuple of str
        Columns by which a file is recognised; only presets are tried.
    fields, kind, label, attributes
        Rules, see their classes.
    drop : tuple of str
        Columns that are known and deliberately not used.
    other_columns : {'ignore', 'refuse'}
        What to do with a file that has columns named nowhere.
    delimiter : str, optional
        Between the columns of a CSV, a tab or a printable character of ASCII; by default found in the header.
    protocol : dict, optional
        ``name`` and parameters: how labels become known and how time is split. Carried to training as data.
    """

    model_config = _CONFIG
    name: ShortText
    recognise: Annotated[tuple[ShortText, ...], Field(strict=False)] = ()
    fields: FieldRules
    kind: KindRule | None = None
    label: LabelRule | None = None
    attributes: AttributeRules = AttributeRules()
    drop: Annotated[tuple[ShortText, ...], Field(strict=False)] = ()
    other_columns: Literal["ignore", "refuse"] = "ignore"
    delimiter: Annotated[str, Field(min_length=1, max_length=1, pattern=r"^[\t -!#-~]$")] | None = None
    protocol: Protocol | None = None

    @model_validator(mode="after")
    def _check_protocol(self) -> MappingRules:
        if self.protocol is not None and not isinstance(self.protocol.get("name"), str):
            raise ValueError("protocol: give its name")
        return self

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what the mapping does, whatever its file looks like."""
        content = self.model_dump(mode="json", exclude={"recognise"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
