"""Feast online store in one SQLite file: one row per entity and view, never replaced by an older one.

Feast's own SQLite store writes a row per feature, without a write-ahead log; this one a row per entity, in
one transaction per call, so that readers neither wait for ``materialize`` nor see half of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
from feast import Entity, FeatureView
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from warehouse.errors import InputError
from warehouse.feature_store.online_file import OnlineFile, drop_table, ensure_table, note_complete
from warehouse.feature_store.online_reader import RowReader
from warehouse.feature_store.online_rows import (
    ProtoRow,
    RowTable,
    SqlValue,
    arrow_to_sql_columns,
    to_proto,
    to_sql_value,
)
from warehouse.feature_store.registry import resolve_feast_path
from warehouse.times import from_us, to_us


class RowOnlineStoreConfig(FeastConfigBaseModel):
    """Settings of `RowOnlineStore` in ``feature_store.yaml``."""

    type: Literal["warehouse.feature_store.online_store.RowOnlineStore"] = (
        "warehouse.feature_store.online_store.RowOnlineStore"
    )

    path: str = "online.db"
    """The SQLite file; a relative path is below the home's Feast folder."""

    busy_timeout_seconds: float = 30.0
    """How long a writer waits for another."""


class RowOnlineStore(OnlineStore):
    """Online store in SQLite; see the module."""

    def __init__(self) -> None:
        self._file: OnlineFile | None = None

    def online_write_batch(
        self,
        config: RepoConfig,
        table: FeatureView,
        data: list[ProtoRow],
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Write rows in one transaction; a row that is older than the one there is left out.

        Parameters
        ----------
        config, table, progress
            As Feast has them.
        data : list
            Entity key, values, event time and created time of each row; a naive time is UTC. A feature
            without a value here keeps the one it has.

        Raises
        ------
        InputError
            A key is null or isn't the view's.
        """
        rows = RowTable.of(table, config.project)
        types = dict(rows.features)
        groups: dict[tuple[str, ...], list[tuple[SqlValue, ...]]] = {}
        for entity_key, values, event_time, created_time in data:
            names = tuple(name for name in values if name in types)
            groups.setdefault(names, []).append(
                (
                    *_key_of(entity_key, rows),
                    to_us(event_time),
                    None if created_time is None else to_us(created_time),
                    *(to_sql_value(values[name], types[name]) for name in names),
                )
            )
        with self._open(config).writing() as connection:
            ensure_table(connection, rows)
            for names, group in groups.items():
                connection.executemany(rows.upsert_sql(names), group)
        if progress:
            progress(len(data))

    def write_arrow(
        self,
        config: RepoConfig,
        table: FeatureView,
        batches: Iterable[pa.RecordBatch],
        *,
        complete_until: datetime | None = None,
        progress: Callable[[int], Any] | None = None,
    ) -> int:
        """Write record batches in one transaction, with the rules of `online_write_batch`.

        Parameters
        ----------
        config, table
            As Feast has them.
        batches : iterable of pyarrow.RecordBatch
            Columns named as in the view: join keys, features, and the times of its batch source.
        complete_until : datetime, optional
            Note, in the same transaction, that the view is complete up to this time.
        progress : callable, optional
            Called with the number of rows of each batch.

        Returns
        -------
        int
            Rows given, those left out as older included.

        Raises
        ------
        InputError
            A key or an event time is null.
        """
        rows = RowTable.of(table, config.project)
        statement = rows.upsert_sql([name for name, _ in rows.features])
        total = 0
        file = self._open(config)
        with file.writing() as connection:
            ensure_table(connection, rows)
            for batch in batches:
                connection.executemany(statement, zip(*arrow_to_sql_columns(batch, table, rows), strict=True))
                total += batch.num_rows
                if progress:
                    progress(batch.num_rows)
            if complete_until is not None:
                note_complete(connection, rows, to_us(complete_until))
        file.shrink_log()
        return total

    def complete_until(self, config: RepoConfig, table: FeatureView) -> datetime | None:
        """Time up to which a view was materialized into the file; None: never, or not with these columns."""
        until_us = self._open(config).complete_until_us(RowTable.of(table, config.project))
        return None if until_us is None else from_us(until_us)

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKeyProto],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, ValueProto] | None]]:
        """Read rows as Feast's protobufs; ``(None, None)`` for a key without a row.

        Raises
        ------
        StoreError
            The file or the view's table isn't there, or can't be read.
        """
        rows = RowTable.of(table, config.project)
        types = dict(rows.features)
        names = [name for name in requested_features or types if name in types]
        result: list[tuple[datetime | None, dict[str, ValueProto] | None]] = []
        reader = RowReader(self._open(config), rows, tuple(names))
        for record in reader.read_kept([_key_of(key, rows) for key in entity_keys]):
            if record is None:
                result.append((None, None))
                continue
            event_us, values = record
            protos = {name: to_proto(value, types[name]) for name, value in zip(names, values, strict=True)}
            result.append((from_us(event_us), protos))
        return result

    def values_reader(self, config: RepoConfig, table: FeatureView, features: Sequence[str]) -> RowReader:
        """Make a reader of some features of a view, as Python values, with nothing left to resolve.

        Raises
        ------
        InputError
            The view has no such feature.
        """
        return RowReader(self._open(config), RowTable.of(table, config.project), tuple(features))

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Make the tables of views with all their columns, and drop the tables of deleted views."""
        with self._open(config).writing() as connection:
            for view in tables_to_keep:
                ensure_table(connection, RowTable.of(view, config.project))
            for view in tables_to_delete:
                drop_table(connection, RowTable.of(view, config.project).name)

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove the file."""
        self._open(config).remove()

    def _open(self, config: RepoConfig) -> OnlineFile:
        path = resolve_feast_path(config.online_store.path)
        if self._file is None or self._file.path != path:
            self._file = OnlineFile(path, config.online_store.busy_timeout_seconds)
        return self._file


def _key_of(entity_key: EntityKeyProto, rows: RowTable) -> tuple[SqlValue, ...]:
    given = dict(zip(entity_key.join_keys, entity_key.entity_values, strict=True))
    kinds = [given[key].WhichOneof("val") if key in given else None for key in rows.keys]
    if None in kinds or "null_val" in kinds or len(given) != len(rows.keys):
        raise InputError(f"{rows.name}: expected a key of {rows.keys} without nulls, got {given}")
    return tuple(getattr(given[key], kind) for key, kind in zip(rows.keys, kinds, strict=True) if kind)
