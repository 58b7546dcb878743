"""Random point-in-time joins: sources, views and entity rows with ties, TTL edges, nulls and several views.

Times are microseconds after a start, from a small range, so that they often meet each other and the edges
of the TTL.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.repo_config import RepoConfig
from feast.types import Float64, Int64, String

START = datetime(2024, 2, 28, 23, 59, 59, tzinfo=UTC)
FIRST = Entity(name="first", join_keys=["first_id"], value_type=ValueType.STRING)
SECOND = Entity(name="second", join_keys=["second_id"], value_type=ValueType.INT64)


@dataclass(frozen=True)
class SourceRow:
    """One row of a source; times in microseconds after `START`, a created time may be unknown."""

    keys: tuple[Any, ...]
    event: int | None
    created: int | None
    values: tuple[int | None, float | None, str | None]


@dataclass(frozen=True)
class Case:
    """One join: views over Parquet files, what each holds, and entity rows."""

    views: tuple[FeatureView, ...]
    rows: tuple[tuple[SourceRow, ...], ...]
    entity_rows: pa.Table
    by_created: bool
    full_names: bool

    @property
    def refs(self) -> list[str]:
        """All features of all views, as Feast's references."""
        return [
            f"{view.projection.name_to_use()}:{field.name}" for view in self.views for field in view.features
        ]


def repo_config(folder: Path, offline_store: dict[str, Any]) -> RepoConfig:
    """Build a Feast configuration whose files are all in `folder`."""
    return RepoConfig(
        project="random",
        provider="local",
        registry=str(folder / "registry.db"),
        offline_store=offline_store,
        online_store={"type": "sqlite", "path": str(folder / "peer.db")},
        entity_key_serialization_version=3,
    )


def random_case(seed: int, folder: Path) -> Case:
    """Build a case; its Parquet files go into `folder`."""
    chance = random.Random(seed)  # noqa: S311 - a test's choice
    views, rows = [], []
    for number in range(chance.randint(1, 3)):
        has_created = chance.random() < 0.5
        entities = chance.choice([[FIRST], [SECOND], [FIRST, SECOND]])
        held = _source_rows(chance, entities, has_created=has_created)
        path = folder / f"source_{number}.parquet"
        mapping = {"raw_integer": f"integer_{number}"} if chance.random() < 0.3 else {}
        pq.write_table(_source_table(held, entities, number, mapping=mapping, chance=chance), path)
        view = FeatureView(
            name=f"view_{number}",
            entities=entities,
            ttl=timedelta(microseconds=chance.choice([0, 0, 1, 3, 10])),
            schema=[
                *(
                    Field(name=entity.join_key, dtype=String if entity is FIRST else Int64)
                    for entity in entities
                ),
                Field(name=f"integer_{number}", dtype=Int64),
                Field(name=f"real_{number}", dtype=Float64),
                Field(name=f"text_{number}", dtype=String),
            ],
            source=FileSource(
                name=f"source_{number}",
                path=str(path),
                timestamp_field="happened",
                created_timestamp_column="made" if has_created else "",
                field_mapping=mapping,
            ),
        )
        if FIRST in entities and chance.random() < 0.3:
            # An entity's key may stand in another column of the entity rows. Feast's DuckDB store takes a map
            # that doesn't name every key for the whole key, so it names them all.
            keys = {field.name: field.name for field in view.entity_columns}
            view = view.with_join_key_map({**keys, "first_id": "other_id"})
        views.append(view)
        rows.append(held)
    return Case(tuple(views), tuple(rows), _entity_rows(chance), chance.random() < 0.3, chance.random() < 0.3)


def expected_rows(case: Case) -> list[dict[str, Any]]:
    """Find the features of each entity row the slow and obvious way."""
    result = []
    for entity in case.entity_rows.to_pylist():
        expected: dict[str, Any] = {}
        for view, held in zip(case.views, case.rows, strict=True):
            found = _valid_row(case, view, held, entity)
            prefix = f"{view.name}__" if case.full_names else ""
            values = found.values if found else (None, None, None)
            fields = sorted((field.name for field in view.features), key=_kind)
            expected |= {f"{prefix}{name}": value for name, value in zip(fields, values, strict=True)}
        result.append(expected)
    return result


def _kind(name: str) -> int:
    return ["integer", "real", "text"].index(name.split("_", 1)[0])


def _valid_row(
    case: Case, view: FeatureView, held: tuple[SourceRow, ...], entity: dict[str, Any]
) -> SourceRow | None:
    keys = tuple(
        entity[view.projection.join_key_map.get(field.name, field.name)]
        for field in sorted(view.entity_columns, key=lambda field: field.name)
    )
    at = (
        (entity["event_timestamp"] - START) // timedelta(microseconds=1)
        if entity["event_timestamp"]
        else None
    )
    ttl = (view.ttl or timedelta(0)) // timedelta(microseconds=1)
    has_created = bool(view.batch_source and view.batch_source.created_timestamp_column)
    valid = [
        row
        for row in held
        if None not in keys
        and row.keys == keys
        and at is not None
        and row.event is not None
        and row.event <= at
        and (not ttl or at <= row.event + ttl)
        and not (case.by_created and has_created and (row.created is None or row.created > at))
    ]
    before_all = -(10**9)
    return max(
        valid, key=lambda row: (row.event, before_all if row.created is None else row.created), default=None
    )


def _source_rows(
    chance: random.Random, entities: list[Entity], *, has_created: bool
) -> tuple[SourceRow, ...]:
    rows: dict[tuple[Any, ...], SourceRow] = {}
    for _ in range(chance.randint(0, 30)):
        keys = tuple(
            chance.choice(["a", "b", "é", None]) if entity is FIRST else chance.choice([1, 2, None])
            for entity in sorted(entities, key=lambda entity: str(entity.join_key))
        )
        event = chance.choice([*range(12), None])
        created = chance.choice([*range(12), None]) if has_created else None
        values = (
            chance.choice([None, 0, -1, 2**53 + 1]),
            chance.choice([None, 0.1, -0.0, 1e300]),
            chance.choice([None, "", "x"]),
        )
        # Rows that nothing tells apart have no right order.
        rows.setdefault((keys, event, created), SourceRow(keys, event, created, values))
    return tuple(rows.values())


def _source_table(
    rows: tuple[SourceRow, ...],
    entities: list[Entity],
    number: int,
    *,
    mapping: dict[str, str],
    chance: random.Random,
) -> pa.Table:
    names = sorted(str(entity.join_key) for entity in entities)
    key_types = {"first_id": pa.string(), "second_id": pa.int64()}
    # Time zones and units differ between writers; a naive time is UTC.
    time_type = pa.timestamp(chance.choice(["us", "ns"]), chance.choice([None, "UTC"]))
    columns = {name: pa.array([row.keys[i] for row in rows], key_types[name]) for i, name in enumerate(names)}
    integer = next(iter(mapping), f"integer_{number}")
    columns[integer] = pa.array([row.values[0] for row in rows], pa.int64())
    columns[f"real_{number}"] = pa.array([row.values[1] for row in rows], pa.float64())
    columns[f"text_{number}"] = pa.array([row.values[2] for row in rows], pa.string())
    columns["happened"] = pa.array([_moment(row.event) for row in rows], time_type)
    columns["made"] = pa.array([_moment(row.created) for row in rows], time_type)
    return pa.table(columns)


def _entity_rows(chance: random.Random) -> pa.Table:
    count = chance.randint(1, 20)
    times = [_moment(chance.choice(range(-1, 25))) for _ in range(count)]
    return pa.table(
        {
            "first_id": pa.array(
                [chance.choice(["a", "b", "é", "new", None]) for _ in range(count)], pa.string()
            ),
            "other_id": pa.array([chance.choice(["a", "b"]) for _ in range(count)], pa.string()),
            "second_id": pa.array([chance.choice([1, 2, 3, None]) for _ in range(count)], pa.int64()),
            "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
            "position": pa.array(range(count), pa.int64()),
        }
    )


def _moment(after: int | None) -> datetime | None:
    return None if after is None else START + timedelta(microseconds=after)
