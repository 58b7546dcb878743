"""How Feast's feature views join entity rows, by `warehouse.feature_store.asof_join`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, FileSource
from feast.feature_view import DUMMY_ENTITY_ID
from feast.repo_config import RepoConfig

from warehouse.canonical import EVENT_TIMESTAMP
from warehouse.engine import EngineLimits, open_engine
from warehouse.errors import InputError, OperationError
from warehouse.feature_store.asof_join import SourceFiles, match_rows
from warehouse.feature_store.source_files import (
    column_in_file,
    existing_files,
    file_source,
    fingerprints,
    take_columns,
)

READ_ATTEMPTS = 3


@dataclass(frozen=True)
class ViewJoin:
    """How one requested view joins the entity rows."""

    source: FileSource
    keys: tuple[str, ...]
    entity_keys: tuple[str, ...]
    ttl: timedelta
    columns: dict[str, str]
    """Name in the result by name in the file."""


def features_as_of(
    entity_rows: pa.Table,
    join: ViewJoin,
    config: RepoConfig,
    *,
    time_column: str,
    by_created: bool,
    found: Callable[[], None] = lambda: None,
) -> list[tuple[str, pa.ChunkedArray]]:
    """Find features of one view for every entity row.

    Parameters
    ----------
    entity_rows : pyarrow.Table
    join : ViewJoin
    config : feast.repo_config.RepoConfig
    time_column : str
        Of the entity rows.
    by_created : bool
        Whether a row counts from its created time on.
    found : callable, optional
        Called when rows are found and their values are about to be fetched.

    Returns
    -------
    list of (str, pyarrow.ChunkedArray)
        Name and values of each column.

    Raises
    ------
    OperationError
        When the files were replaced during each of several reads.
    """
    for _ in range(READ_ATTEMPTS):
        files = existing_files(join.source, config)
        before = fingerprints(files)
        # Rows are found, then fetched by number: right only if no build replaced the files in between.
        try:
            source = _source_files(join, files)
            matched = _match(
                entity_rows, source, join, config, time_column=time_column, by_created=by_created
            )
            found()
            columns = take_columns(source.files, source.row_counts, join.columns, matched)
        except (pa.ArrowException, duckdb.IOException, LookupError, OSError):
            if before and fingerprints(files) == before:
                raise
            continue
        if fingerprints(files) == before:
            return columns
    raise OperationError(
        f"{join.source.path} was replaced during each of {READ_ATTEMPTS} reads: try again later"
    )


def _source_files(join: ViewJoin, files: Sequence[Path]) -> SourceFiles:
    return SourceFiles(
        files=tuple(files),
        row_counts=tuple(pq.read_metadata(file).num_rows for file in files),
        keys=join.keys,
        event_time=column_in_file(join.source, join.source.timestamp_field),
        created_time=column_in_file(join.source, join.source.created_timestamp_column or ""),
    )


def _match(
    entity_rows: pa.Table,
    source: SourceFiles,
    join: ViewJoin,
    config: RepoConfig,
    *,
    time_column: str,
    by_created: bool,
) -> pa.ChunkedArray:
    with open_engine(config.offline_store.limits()) as connection:
        return match_rows(
            connection,
            entity_rows,
            source,
            entity_keys=join.entity_keys,
            entity_time=time_column,
            ttl_us=join.ttl // timedelta(microseconds=1),
            known_by_created_time=by_created,
        )


def view_join(view: FeatureView, feature_refs: Sequence[str], full_feature_names: bool) -> ViewJoin:
    """Work out how a view joins, and which of its features are asked for."""
    source = file_source(view.batch_source)
    join_key_map = view.projection.join_key_map
    keys = [field.name for field in view.entity_columns if field.name != DUMMY_ENTITY_ID]
    prefix = view.projection.name_to_use()  # type: ignore[no-untyped-call]
    requested = [ref.split(":", 1)[1] for ref in feature_refs if ref.split(":", 1)[0] == prefix]
    label = f"{view.projection.name_alias or view.name}__" if full_feature_names else ""
    return ViewJoin(
        source=source,
        keys=tuple(column_in_file(source, key) for key in keys),
        entity_keys=tuple(join_key_map.get(key, key) for key in keys),
        ttl=view.ttl or timedelta(0),
        columns={column_in_file(source, feature): f"{label}{feature}" for feature in requested},
    )


def entity_table(entity_df: pd.DataFrame | pa.Table | str, limits: EngineLimits) -> pa.Table:
    """Entity rows as Arrow.

    Raises
    ------
    InputError
        They are neither pandas nor Arrow nor SQL text.
    """
    if isinstance(entity_df, pa.Table):
        return entity_df
    if isinstance(entity_df, pd.DataFrame):
        return pa.Table.from_pandas(entity_df, preserve_index=False).replace_schema_metadata()
    if isinstance(entity_df, str):
        with open_engine(limits) as connection:
            return connection.sql(entity_df).to_arrow_table()
    raise InputError(f"expected entity rows as pandas, Arrow or SQL text, got {type(entity_df).__name__}")


def find_time_column(entity_rows: pa.Table) -> str:
    """Name of the entity rows' time column: ``event_timestamp``, or the only timestamp.

    Raises
    ------
    InputError
        There is none, or several.
    """
    times = [field.name for field in entity_rows.schema if pa.types.is_timestamp(field.type)]
    if EVENT_TIMESTAMP in times:
        return EVENT_TIMESTAMP
    if len(times) == 1:
        return str(times[0])
    raise InputError(
        f"expected one timestamp column or one named {EVENT_TIMESTAMP} in the entity rows, got {times}"
    )


def in_utc(entity_rows: pa.Table, time_column: str) -> pa.Table:
    """Entity rows whose time column has the zone UTC; a naive time is UTC."""
    times = entity_rows[time_column]
    position = entity_rows.column_names.index(time_column)
    return entity_rows.set_column(position, time_column, times.cast(pa.timestamp(times.type.unit, "UTC")))
