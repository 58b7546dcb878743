"""A mapping rendered to one SQL statement: raw rows in, canonical rows with the reason of refusal out.

The statement reads the relation ``raw_rows`` (line bigint, content varchar, problem varchar, and whatever the
columns' expressions name) and returns ``line``, ``content``, ``reason`` and `MAPPED_COLUMNS`.
"""
# ruff: noqa: S608 (SQL is composed here; what comes from a mapping is an escaped literal, never a name)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from warehouse.canonical import TRANSACTION_SCHEMA
from warehouse.errors import MappingError
from warehouse.ingest.mapping.fields import (
    FieldSql,
    Raw,
    render_amount,
    render_attributes,
    render_event,
    render_ingested,
    render_kind,
    render_label,
    render_place,
    render_text,
    show_names,
)
from warehouse.ingest.mapping.rules import MappingRules
from warehouse.quarantine import Problem
from warehouse.sql_text import literal

TEXT_FIELDS: Final = (
    "transaction_id",
    "customer_id",
    "merchant_id",
    "currency",
    "category",
    "channel",
    "country",
)
MAPPED_COLUMNS: Final = (
    *(name for name in TRANSACTION_SCHEMA.names if name not in ("source", "source_order")),
    "is_fraud",
    "known_us",
)


@dataclass(frozen=True)
class Statement:
    """A rendered mapping.

    Parameters
    ----------
    sql : str
        The statement.
    unknown_columns : tuple of str
        Columns of the file that the mapping names nowhere.
    """

    sql: str
    unknown_columns: tuple[str, ...]


def render_mapping(mapping: MappingRules, columns: Raw, *, content: str, content_sha256: str) -> Statement:
    """Render a mapping for a file's columns.

    Parameters
    ----------
    mapping : MappingRules
        What becomes what.
    columns : mapping of str to RawColumn
        The file's columns by name, in order.
    content : str
        SQL that shows a refused row's content.
    content_sha256 : str
        Names the file in generated ids.

    Raises
    ------
    MappingError
        When the file lacks a column, or has one that the mapping refuses.
    InputError
        When a column has a type that can't become the field.
    """
    fields = mapping.fields
    parts = [
        *(render_text(name, fields, columns, content_sha256=content_sha256) for name in TEXT_FIELDS),
        render_event(fields, columns),
        render_amount(fields, columns),
        render_place("latitude", fields.latitude, columns, limit=90),
        render_place("longitude", fields.longitude, columns, limit=180),
        render_ingested(fields, columns),
        render_kind(mapping, columns),
        render_label(mapping, columns),
        render_attributes(mapping, columns),
    ]
    used = {name for part in parts for name in part.columns}
    unknown = tuple(name for name in columns if name not in used and name not in mapping.drop)
    if unknown and mapping.other_columns == "refuse":
        raise MappingError(
            f"mapping {mapping.name} does not know the columns {show_names(unknown)}: add or drop them"
        )
    return Statement(sql=_join_parts(parts, content=content), unknown_columns=unknown)


def _join_parts(parts: Sequence[FieldSql], *, content: str) -> str:
    texts = {name: sql for part in parts for name, sql in part.texts.items()}
    values = {name: sql for part in parts for name, sql in part.values.items()}
    maps = {name: sql for part in parts for name, sql in part.maps.items()}
    order = {reason: place for place, reason in enumerate(Problem)}
    refusals = sorted(
        (refusal for part in parts for refusal in part.refusals), key=lambda item: order[item[0]]
    )
    cases = "".join(f"\n    when {condition} then {literal(reason)}" for reason, condition in refusals)
    reason = f"case\n    when problem is not null then problem{cases}\nend as reason"
    return (
        f"with texts as (select *{_list_columns(texts)}\nfrom raw_rows),\n"
        f"parsed as (select *{_list_columns(values)}\nfrom texts),\n"
        f"judged as (select *, {reason} from parsed)\n"
        f"select line, case when reason is not null then {content} end as content, reason, "
        f"{', '.join(_name(column, maps) for column in MAPPED_COLUMNS)}\nfrom judged"
    )


def _name(column: str, maps: dict[str, str]) -> str:
    return f"{maps[column]} as {column}" if column in maps else column


def _list_columns(columns: dict[str, str]) -> str:
    return "".join(f",\n    {expression} as {name}" for name, expression in columns.items())
