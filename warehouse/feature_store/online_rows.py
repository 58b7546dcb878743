"""One SQLite table per feature view, one row per entity: its SQL and how values are kept.

A table has the join keys (primary key), ``__event_us`` and ``__created_us`` (int64 microseconds) and a
column per feature. Columns have no type, so SQLite keeps each value as it comes: int64 and float64 to the
last bit, text, bytes, null; a boolean as 0 or 1; any other Feast type as its serialised protobuf. NaN
becomes null, as everywhere here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

import pyarrow as pa
from feast import FeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.type_map import feast_value_type_to_python_type, python_values_to_proto_values
from feast.types import (
    Bool,
    Bytes,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
)

from warehouse.errors import InputError
from warehouse.sql_text import identifier
from warehouse.times import from_us

EVENT_US = "__event_us"
CREATED_US = "__created_us"

SqlValue = int | float | str | bytes | None
OnlineValue = Any
"""A feature in Python: int, float, bool, str, bytes, None; of another Feast type, what Feast makes of it."""

ProtoRow = tuple[EntityKeyProto, dict[str, ValueProto], datetime, datetime | None]
"""Entity key, values, event time and created time of one row, as Feast's online stores take it."""

_SCALARS: dict[FeastType, tuple[str, pa.DataType]] = {
    Int32: ("int32_val", pa.int32()),
    Int64: ("int64_val", pa.int64()),
    Float32: ("float_val", pa.float32()),
    Float64: ("double_val", pa.float64()),
    Bool: ("bool_val", pa.bool_()),
    String: ("string_val", pa.string()),
    Bytes: ("bytes_val", pa.binary()),
}
"""Types that SQLite keeps as they are: their field of Feast's protobuf, and their Arrow type."""


@dataclass(frozen=True)
class RowTable:
    """Table of one feature view.

    Parameters
    ----------
    name : str
        Table name.
    keys : tuple of str
        Join key columns, sorted.
    features : tuple of (str, FeastType)
        Feature columns and their declared types.
    """

    name: str
    keys: tuple[str, ...]
    features: tuple[tuple[str, FeastType], ...]

    @classmethod
    def of(cls, view: FeatureView, project: str) -> RowTable:
        """Table of a view; a view without an entity has Feast's dummy key."""
        keys = tuple(sorted(field.name for field in view.entity_columns)) or (DUMMY_ENTITY_ID,)
        return cls(
            f"{project}_{view.name}", keys, tuple((field.name, field.dtype) for field in view.features)
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns in order: keys, times, features."""
        return (*self.keys, EVENT_US, CREATED_US, *(name for name, _ in self.features))

    @property
    def schema(self) -> str:
        """Names and types as one text, to see a change."""
        return repr((self.keys, [(name, str(dtype)) for name, dtype in self.features]))

    def create_sql(self) -> str:
        """DDL of the table."""
        keys = ", ".join(map(identifier, self.keys))
        return (
            f"create table if not exists {identifier(self.name)} "
            f"({', '.join(map(identifier, self.columns))}, primary key ({keys})) without rowid"
        )

    def upsert_sql(self, features: Sequence[str]) -> str:
        """Statement that writes some features of a row, unless the row there is newer."""
        return _upsert_sql(self.name, self.keys, tuple(features))

    def select_sql(self, features: Sequence[str], key_count: int) -> str:
        """Statement that reads keys, event time and some features of the rows of `key_count` keys."""
        return _select_sql(self.name, self.keys, tuple(features), key_count)


@lru_cache(maxsize=256)
def _upsert_sql(name: str, keys: tuple[str, ...], features: tuple[str, ...]) -> str:
    columns = [identifier(column) for column in (*keys, EVENT_US, CREATED_US, *features)]
    updates = ", ".join(f"{column} = excluded.{column}" for column in columns[len(keys) :])
    return (
        f"insert into {identifier(name)} ({', '.join(columns)}) "  # noqa: S608 - names are quoted
        f"values ({', '.join('?' * len(columns))}) "
        f"on conflict ({', '.join(columns[: len(keys)])}) do update set {updates} "
        f"where excluded.{EVENT_US} >= {identifier(name)}.{EVENT_US}"
    )


@lru_cache(maxsize=256)
def _select_sql(name: str, keys: tuple[str, ...], features: tuple[str, ...], key_count: int) -> str:
    columns = ", ".join(map(identifier, (*keys, EVENT_US, *features)))
    if len(keys) == 1:
        condition = f"{identifier(keys[0])} in ({', '.join('?' * key_count)})"
    else:
        one = f"({', '.join('?' * len(keys))})"
        condition = f"({', '.join(map(identifier, keys))}) in (values {', '.join([one] * key_count)})"
    return f"select {columns} from {identifier(name)} where {condition}"  # noqa: S608 - names are quoted


def to_sql_value(value: ValueProto, dtype: FeastType) -> SqlValue:
    """Feast's protobuf as it is kept."""
    kind = value.WhichOneof("val")
    if kind is None or kind == "null_val":
        return None
    if dtype in _SCALARS:
        scalar: SqlValue = getattr(value, kind)
        return scalar
    serialized: bytes = value.SerializeToString()
    return serialized


def to_proto(value: SqlValue, dtype: FeastType) -> ValueProto:
    """Feast's protobuf of a kept value."""
    if value is None:
        return ValueProto()
    proto = ValueProto()
    if dtype not in _SCALARS:
        proto.ParseFromString(value)
        return proto
    field, _ = _SCALARS[dtype]
    setattr(proto, field, bool(value) if field == "bool_val" else value)
    return proto


def python_decoder(dtype: FeastType) -> Callable[[SqlValue], OnlineValue] | None:
    """Make a Python value of a kept value that isn't null; None: it is one already."""
    if dtype == Bool:
        return bool
    if dtype in _SCALARS:
        return None
    return lambda value: feast_value_type_to_python_type(ValueProto.FromString(value))


def column_to_sql_values(column: pa.Array, dtype: FeastType) -> list[SqlValue]:
    """Whole column as it is kept, without a protobuf per value for the plain types.

    Raises
    ------
    pyarrow.ArrowInvalid
        A value doesn't fit the declared type.
    """
    if dtype not in _SCALARS:
        # Only what is there goes through Feast, which makes a number of a null time.
        present = column.drop_null().to_numpy(zero_copy_only=False)
        protos = iter(python_values_to_proto_values(present, dtype.to_value_type()))
        return [
            to_sql_value(next(protos), dtype) if is_there else None
            for is_there in column.is_valid().to_pylist()
        ]
    typed = column.cast(_SCALARS[dtype][1])
    if not (pa.types.is_integer(typed.type) or pa.types.is_floating(typed.type)):
        values: list[SqlValue] = typed.to_pylist()
        return values
    # Several times as fast as to_pylist, and as exact: null cells are put back one by one.
    numbers: list[SqlValue] = typed.fill_null(0).to_numpy(zero_copy_only=False).tolist()
    if typed.null_count:
        for index in typed.is_null().to_numpy(zero_copy_only=False).nonzero()[0].tolist():
            numbers[index] = None
    return numbers


def arrow_to_sql_columns(batch: pa.RecordBatch, view: FeatureView, table: RowTable) -> list[list[SqlValue]]:
    """Columns of a record batch as they are kept, in the order of ``table.columns``.

    Raises
    ------
    InputError
        A key or an event time is null.
    """
    source = view.batch_source
    if source is None:
        raise InputError(f"feature view {view.name} has no batch source to materialize from")
    key_types = {field.name: field.dtype for field in view.entity_columns}
    keys = [
        column_to_sql_values(batch[key], key_types[key]) if key in key_types else batch[key].to_pylist()
        for key in table.keys
    ]
    event_us = _column_to_us(batch[source.timestamp_field])
    if any(None in values for values in (*keys, event_us)):
        raise InputError(
            f"feature view {view.name}: a join key or {source.timestamp_field} in its source is null"
        )
    created = source.created_timestamp_column
    created_us: list[SqlValue] = _column_to_us(batch[created]) if created else [None] * batch.num_rows
    features = [column_to_sql_values(batch[name], dtype) for name, dtype in table.features]
    return [*keys, event_us, created_us, *features]


def arrow_to_protos(batch: pa.RecordBatch, view: FeatureView) -> list[ProtoRow]:
    """Rows of a record batch as Feast's stores take them.

    Feast's own conversion takes int64 columns with a null through float64, so numbers above 2^53 change.

    Raises
    ------
    InputError
        A key or an event time is null.
    """
    table = RowTable.of(view, "")
    key_types = {field.name: field.dtype for field in view.entity_columns}
    width = len(table.keys)
    rows = []
    for row in zip(*arrow_to_sql_columns(batch, view, table), strict=True):
        keys = [
            to_proto(value, key_types.get(name, String))
            for name, value in zip(table.keys, row[:width], strict=True)
        ]
        values = {
            name: to_proto(value, dtype)
            for (name, dtype), value in zip(table.features, row[width + 2 :], strict=True)
        }
        event_us, created_us = row[width : width + 2]
        created = None if created_us is None else from_us(created_us)
        rows.append(
            (EntityKeyProto(join_keys=table.keys, entity_values=keys), values, from_us(event_us), created)
        )
    return rows


def _column_to_us(times: pa.Array) -> list[SqlValue]:
    in_us = times.cast(pa.timestamp("us", times.type.tz), safe=False)
    microseconds: list[SqlValue] = in_us.cast(pa.int64()).to_pylist()
    return microseconds
