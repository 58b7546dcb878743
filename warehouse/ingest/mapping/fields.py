"""SQL of each canonical field: what its rule reads from a raw file, and when its row is refused.

Everything that comes from a mapping or a file's header is a quoted name or an escaped literal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from warehouse.canonical import MAX_AMOUNT_MINOR, MAX_EVENT_US, MAX_ID_LENGTH, MIN_EVENT_US
from warehouse.errors import MappingError
from warehouse.ingest.mapping.rules import ColumnRule, DelayRule, FieldRules, MappingRules, TextRule, TimeRule
from warehouse.ingest.mapping.values import (
    RawColumn,
    has_fraction,
    is_missing_number,
    is_negative,
    is_number,
    read_amount,
    read_double,
    read_number_text,
    read_text,
    read_time,
    read_time_text,
)
from warehouse.quarantine import Problem
from warehouse.sql_text import literal
from warehouse.times import DAY_US

_MISSING: Final = {
    "transaction_id": Problem.TRANSACTION_ID_MISSING,
    "customer_id": Problem.CUSTOMER_ID_MISSING,
    "merchant_id": Problem.MERCHANT_ID_MISSING,
}
_SHOWN_COLUMNS: Final = 20

Raw = Mapping[str, RawColumn]
Rule = TypeVar("Rule", bound=ColumnRule | TextRule | DelayRule)


@dataclass(frozen=True)
class FieldSql:
    """What one field adds to the statement.

    Parameters
    ----------
    columns : tuple of str
        Raw columns that it reads.
    texts : dict
        Names and SQL of texts, read off raw columns.
    values : dict
        Names and SQL of values, computed from texts, raw columns and earlier values.
    maps : dict
        Names and SQL of what is built from values at last.
    refusals : tuple of (Problem, str)
        Conditions, over texts and values, on which the row is refused.
    """

    columns: tuple[str, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    maps: dict[str, str] = field(default_factory=dict)
    refusals: tuple[tuple[Problem, str], ...] = ()


def _choose(rules: Sequence[Rule], columns: Raw, *, purpose: str) -> Rule | None:
    """Choose the first rule whose column is there; None when it may be absent."""
    for rule in rules:
        name = getattr(rule, "column", None)
        if name is None or name in columns:
            return rule
    if not rules or any(getattr(rule, "may_be_absent", False) for rule in rules):
        return None
    wanted = " or ".join(str(getattr(rule, "column", "")) for rule in rules)
    raise MappingError(
        f"the mapping takes {purpose} from the column {wanted}, the file has {show_names(tuple(columns))}: "
        "correct the mapping or choose another"
    )


def show_names(names: Sequence[str]) -> str:
    """Write column names for a message, not too many of them."""
    more = len(names) - _SHOWN_COLUMNS
    return ", ".join(names[:_SHOWN_COLUMNS]) + (f" and {more} more" if more > 0 else "")


def render_text(name: str, fields: FieldRules, columns: Raw, *, content_sha256: str) -> FieldSql:
    """Render a text field; `content_sha256` names the file in generated ids."""
    rule: TextRule | None = _choose(getattr(fields, name), columns, purpose=name)
    if rule is None:
        return FieldSql(values={name: "cast(null as varchar)"})
    if rule.constant is not None:
        return FieldSql(values={name: literal(rule.constant)})
    if rule.column is None:
        row_name = f"substr(sha256({literal(content_sha256 + ':')} || line), 1, 32)"
        return FieldSql(values={name: row_name})
    text, refusals = f"text_{name}", []
    if rule.required or name == "transaction_id":
        refusals.append((_MISSING.get(name, Problem.REQUIRED_VALUE_MISSING), f"{text} is null"))
    is_nested = columns[rule.column].is_nested
    if is_nested:
        # The look at the type costs another parse: only texts that look like one get it.
        refusals.append(
            (
                Problem.NESTED_VALUE,
                f"case when left({text}, 1) in ('[', '{{') then {is_nested} else false end",
            )
        )
    if name in _MISSING:
        refusals.append((Problem.ID_TOO_LONG, f"length({text}) > {MAX_ID_LENGTH}"))
    return FieldSql(
        columns=(rule.column,),
        texts={text: read_text(columns[rule.column])},
        values={name: text},
        refusals=tuple(refusals),
    )


def render_event(fields: FieldRules, columns: Raw) -> FieldSql:
    """Render the event time."""
    rule = _choose(fields.event_us, columns, purpose="the event time")
    if rule is None:
        raise MappingError("the mapping lets the event time be absent, and the file has no column for it")
    column = columns[rule.column]
    return FieldSql(
        columns=(column.name,),
        texts={"text_event": read_time_text(column)},
        values={"event_us": read_time(column, rule, text="text_event")},
        refusals=(
            (Problem.EVENT_TIME_MISSING, "text_event is null"),
            (Problem.EVENT_TIME_UNREADABLE, "event_us is null"),
            (Problem.EVENT_TIME_OUT_OF_RANGE, f"event_us < {MIN_EVENT_US} or event_us >= {MAX_EVENT_US}"),
        ),
    )


def render_ingested(fields: FieldRules, columns: Raw) -> FieldSql:
    """Render the time of arrival; a row that does not tell arrived when it happened."""
    rule = _choose(fields.ingested_us, columns, purpose="the time of arrival")
    if rule is None:
        return FieldSql(values={"ingested_us": "event_us"})
    column = columns[rule.column]
    return FieldSql(
        columns=(column.name,),
        texts={"text_arrival": read_time_text(column)},
        values={
            "arrival_us": read_time(column, rule, text="text_arrival"),
            "ingested_us": "case when text_arrival is null then event_us else arrival_us end",
        },
        refusals=((Problem.INGESTED_TIME_UNREADABLE, f"not ({_is_time('ingested_us')})"),),
    )


def _is_time(value: str) -> str:
    return f"coalesce({value} >= {MIN_EVENT_US} and {value} < {MAX_EVENT_US}, false)"


def render_amount(fields: FieldRules, columns: Raw) -> FieldSql:
    """Render the amount."""
    rule = _choose(fields.amount_minor, columns, purpose="the amount")
    if rule is None:
        raise MappingError("the mapping lets the amount be absent, and the file has no column for it")
    column = columns[rule.column]
    places = len(str(rule.scale)) - 1
    refusals = [
        (Problem.AMOUNT_MISSING, "text_amount is null"),
        (Problem.AMOUNT_NOT_A_NUMBER, f"amount_minor is null and not {is_number('text_amount')}"),
        (Problem.AMOUNT_NEGATIVE, f"amount_minor is null and {is_negative('text_amount')}"),
        (Problem.AMOUNT_TOO_LARGE, f"amount_minor is null or amount_minor > {MAX_AMOUNT_MINOR}"),
    ]
    if rule.scale == 1:
        refusals.append((Problem.AMOUNT_FRACTION, has_fraction("text_amount")))
    return FieldSql(
        columns=(column.name,),
        texts={"text_amount": read_number_text(column)},
        values={"amount_minor": read_amount(column, places=places, text="text_amount")},
        refusals=tuple(refusals),
    )


def render_place(name: str, rules: Sequence[ColumnRule], columns: Raw, *, limit: int) -> FieldSql:
    """Render latitude or longitude: degrees from minus to plus `limit`."""
    rule = _choose(rules, columns, purpose=name)
    if rule is None:
        return FieldSql(values={name: "cast(null as double)"})
    text = f"text_{name}"
    is_in_range = f"coalesce({name} between -{limit} and {limit}, false)"
    return FieldSql(
        columns=(rule.column,),
        texts={text: read_number_text(columns[rule.column])},
        values={name: read_double(text)},
        refusals=((Problem.PLACE_UNREADABLE, f"not {is_missing_number(text)} and not {is_in_range}"),),
    )


def render_kind(mapping: MappingRules, columns: Raw) -> FieldSql:
    """Render the refusal of refunds and of kinds that the mapping does not name."""
    rule = mapping.kind
    if rule is None or _choose((rule,), columns, purpose="the kind of transaction") is None:
        return FieldSql()
    refusals = [(Problem.REFUND, _is_one_of("text_kind", rule.refunds))]
    if rule.payments:
        is_payment = _is_one_of("text_kind", rule.payments)
        refusals.append((Problem.UNKNOWN_KIND, f"text_kind is not null and not {is_payment}"))
    return FieldSql(
        columns=(rule.column,), texts={"text_kind": read_text(columns[rule.column])}, refusals=tuple(refusals)
    )


def _is_one_of(text: str, values: Sequence[str]) -> str:
    return f"coalesce(lower({text}) in ({', '.join(literal(value.lower()) for value in values)}), false)"


def render_label(mapping: MappingRules, columns: Raw) -> FieldSql:
    """Render the label and when it was known; a row without one is a transaction without a label."""
    rule = mapping.label
    if rule is None or _choose((rule,), columns, purpose="the label") is None:
        return FieldSql(values={"is_fraud": "cast(null as boolean)", "known_us": "cast(null as bigint)"})
    known = _choose(rule.known, columns, purpose="the time at which a label was known")
    used, texts = [rule.column], {"text_label": read_text(columns[rule.column])}
    if isinstance(known, TimeRule):
        column = columns[known.column]
        used.append(column.name)
        texts["text_known"] = read_time_text(column)
        known_us = read_time(column, known, text="text_known")
    elif isinstance(known, DelayRule):
        known_us = f"event_us + {round(known.delay_days * DAY_US)}"
    else:
        raise MappingError("the mapping does not say when a label of this file was known: add delay_days")
    values = {
        "is_fraud": _render_truth("text_label", false=rule.genuine, true=rule.fraud),
        "known_us": f"case when text_label is not null then {known_us} end",
    }
    refusals = (
        (Problem.LABEL_UNREADABLE, "text_label is not null and is_fraud is null"),
        (Problem.LABEL_TIME_UNREADABLE, f"text_label is not null and not {_is_time('known_us')}"),
        (Problem.LABEL_BEFORE_EVENT, "known_us < event_us"),
    )
    return FieldSql(columns=tuple(used), texts=texts, values=values, refusals=refusals)


def _render_truth(text: str, *, false: Sequence[str], true: Sequence[str]) -> str:
    # Most labels are the first value that is compared; an IN list of this length would become a join.
    cases = [(value, "false") for value in false] + [(value, "true") for value in true]
    return (
        f"case lower({text})"
        + "".join(f" when {literal(value.lower())} then {truth}" for value, truth in cases)
        + " end"
    )


def render_attributes(mapping: MappingRules, columns: Raw) -> FieldSql:
    """Render the two maps of attributes."""
    numbers, texts = mapping.attributes.number, mapping.attributes.text
    for name, column in (*numbers.items(), *texts.items()):
        _choose((ColumnRule(column=column),), columns, purpose=f"the attribute {name}")
    number_texts = {name: f"text_number_{place}" for place, name in enumerate(numbers)}
    plain_texts = {name: f"text_plain_{place}" for place, name in enumerate(texts)}
    values = {f"number_{place}": read_double(text) for place, text in enumerate(number_texts.values())}
    refusals = [
        (Problem.ATTRIBUTE_NOT_A_NUMBER, f"{value} is null and not {is_missing_number(text)}")
        for value, text in zip(values, number_texts.values(), strict=True)
    ]
    maps = {
        "attributes_number": _render_map(dict(zip(numbers, values, strict=True)), "double"),
        "attributes_text": _render_map(plain_texts, "varchar"),
    }
    return FieldSql(
        columns=(*numbers.values(), *texts.values()),
        texts={text: read_number_text(columns[numbers[name]]) for name, text in number_texts.items()}
        | {text: read_text(columns[texts[name]]) for name, text in plain_texts.items()},
        values=values,
        maps=maps,
        refusals=tuple(refusals),
    )


def _render_map(entries: dict[str, str], value_type: str) -> str:
    """Render a map without its missing values; null when none is left."""
    map_type = f"map(varchar, {value_type})"
    if not entries:
        return f"cast(null as {map_type})"
    pairs = ", ".join(f"{{'k': {literal(name)}, 'v': {value}}}" for name, value in entries.items())
    present = f"list_filter([{pairs}], lambda pair: pair.v is not null)"
    return f"cast(map_from_entries(nullif({present}, [])) as {map_type})"
