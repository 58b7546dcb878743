"""Feast offline store over Parquet files: point-in-time joins by DuckDB's ``ASOF JOIN``.

Feast's own DuckDB store joins by inequality and ranks afterwards, so its cost grows with the square of a
key's events. This one sorts once. It takes entity rows as pandas, Arrow or SQL text, keeps their order and
repetitions, and spills to disk when memory is short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureView, OnDemandFeatureView
from feast.data_source import DataSource
from feast.feature_view import DUMMY_ENTITY_ID, DUMMY_ENTITY_VAL
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from pydantic import Field

from warehouse.engine import EngineLimits, open_engine
from warehouse.errors import InputError
from warehouse.feature_store.asof_join import latest_rows_sql, microseconds_sql
from warehouse.feature_store.entity_join import (
    entity_table,
    features_as_of,
    find_time_column,
    in_utc,
    view_join,
)
from warehouse.feature_store.registry import resolve_feast_path
from warehouse.feature_store.retrieval import ArrowRetrievalJob
from warehouse.feature_store.source_files import column_in_file, existing_files, file_source, files_of
from warehouse.memory import Share
from warehouse.settings import Settings
from warehouse.sql_text import identifier, literal
from warehouse.times import from_us, to_us


class AsofOfflineStoreConfig(FeastConfigBaseModel):
    """Settings of `AsofOfflineStore` in ``feature_store.yaml``."""

    type: Literal["warehouse.feature_store.offline_store.AsofOfflineStore"] = (
        "warehouse.feature_store.offline_store.AsofOfflineStore"
    )
    memory_limit: str = Field(default_factory=lambda: Settings.from_environment().memory_of(Share.FEATURES))
    """DuckDB's memory limit for a query, by default a share of ``CBP_MEMORY_LIMIT``; beyond it it spills."""

    temp_directory: str = "spill"
    """Where it spills; a relative path is below the home's Feast folder."""

    threads: int | None = None
    """Threads of a query; by default as many as there are cores."""

    def limits(self) -> EngineLimits:
        """Limits for `warehouse.feature_store.asof_join.open_engine`."""
        return EngineLimits(self.memory_limit, resolve_feast_path(self.temp_directory), self.threads)


class AsofOfflineStore(OfflineStore):
    """Offline store for `FileSource` over local Parquet files; see the module."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | pa.Table | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Join features to entity rows as of each row's time.

        Parameters
        ----------
        config, feature_views, feature_refs, registry, project, full_feature_names,
        filter_by_created_timestamp
            As Feast has them.
        entity_df : pandas.DataFrame or pyarrow.Table or str
            Entity rows: join keys, one timestamp column (naive is UTC) and any others; text is SQL for
            DuckDB, say ``select … from 'entities.parquet'``.
        **kwargs
            Not supported: retrieval by a range of times without entity rows.

        Returns
        -------
        RetrievalJob
            Its table has the entity columns, then the features, in the order of the entity rows.

        Raises
        ------
        InputError
            The entity rows, a source or a column isn't as it must be.
        """
        if entity_df is None:
            raise InputError("expected entity rows (pandas, Arrow or SQL text), got none")
        limits = config.offline_store.limits()
        entity_rows = entity_table(entity_df, limits)
        time_column = find_time_column(entity_rows)
        entity_rows = in_utc(entity_rows, time_column)
        joins = [view_join(view, feature_refs, full_feature_names) for view in feature_views]
        for view, join in zip(feature_views, joins, strict=True):
            missing = sorted(set(join.entity_keys) - set(entity_rows.column_names))
            if missing:
                raise InputError(
                    f"feature view {view.name} needs entity columns {missing}, got {entity_rows.column_names}"
                )

        def evaluate() -> pa.Table:
            result = entity_rows
            for join in joins:
                for name, column in features_as_of(
                    entity_rows, join, config, time_column=time_column, by_created=filter_by_created_timestamp
                ):
                    result = result.append_column(name, column)
            return result

        times = pc.min_max(entity_rows[time_column]).as_py()
        return ArrowRetrievalJob(
            evaluate,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            full_feature_names=full_feature_names,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[name for name in entity_rows.column_names if name != time_column],
                min_event_timestamp=times["min"],
                max_event_timestamp=times["max"],
            ),
        )

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> ArrowRetrievalJob:
        """Latest row of each key with a time in ``[start_date, end_date]``; of those, the latest created."""
        columns = _pulled_columns(
            join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column
        )
        sql = latest_rows_sql(
            _rows_between(data_source, config, timestamp_field, start_date, end_date),
            keys=join_key_columns,
            event_time=timestamp_field,
            created_time=created_timestamp_column or "",
            columns=columns,
        )
        return _sql_job(sql, config, is_keyed=bool(join_key_columns))

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> ArrowRetrievalJob:
        """All rows whose time is in ``[start_date, end_date]``."""
        columns = _pulled_columns(
            join_key_columns, feature_name_columns, timestamp_field, created_timestamp_column
        )
        rows = _rows_between(data_source, config, timestamp_field, start_date, end_date)
        sql = f"select {', '.join(map(identifier, columns))} from {rows}"  # noqa: S608 - names are quoted
        return _sql_job(sql, config, is_keyed=bool(join_key_columns))

    @staticmethod
    def get_monitoring_max_timestamp(
        config: RepoConfig, data_source: DataSource, timestamp_field: str
    ) -> datetime | None:
        """Newest time in a source; None: it has no rows."""
        column = column_in_file(file_source(data_source), timestamp_field)
        rows = _rows_between(data_source, config, column, None, None)
        with open_engine(config.offline_store.limits()) as connection:
            sql = f"select max({microseconds_sql(column)}) from {rows}"  # noqa: S608 - names are quoted
            found = connection.execute(sql).fetchone()
        return None if found is None or found[0] is None else from_us(found[0])

    @staticmethod
    def offline_write_batch(
        config: RepoConfig,
        feature_view: FeatureView,
        table: pa.Table,
        progress: Callable[[int], Any] | None,
    ) -> None:
        """Refuse: only dbt writes feature files.

        Raises
        ------
        InputError
            Always.
        """
        raise InputError(
            f"can't push to the offline source of {feature_view.name}: dbt alone writes feature files"
        )

    def validate_data_source(self, config: RepoConfig, data_source: DataSource) -> None:
        """Check that the source's file, if there is one already, has its time column.

        Raises
        ------
        InputError
            The file lacks the time column.
        """
        source = file_source(data_source)
        for file in files_of(source, config):
            names = pq.read_schema(file).names
            if source.timestamp_field not in names:
                raise InputError(f"{file}: expected a column {source.timestamp_field}, got {names}")


def _pulled_columns(
    keys: list[str], features: list[str], event_time: str, created_time: str | None
) -> list[str]:
    return list(dict.fromkeys([*keys, *features, event_time, *([created_time] if created_time else [])]))


def _rows_between(
    source: DataSource, config: RepoConfig, event_time: str, start: datetime | None, end: datetime | None
) -> str:
    """Table expression of a source's rows in a closed range of times; a naive bound is UTC."""
    files = ", ".join(literal(str(file)) for file in existing_files(file_source(source), config))
    time = microseconds_sql(event_time)
    bounds = [f"{time} {sign} {to_us(bound)}" for sign, bound in ((">=", start), ("<=", end)) if bound]
    where = f" where {' and '.join(bounds)}" if bounds else ""
    return f"(select * from read_parquet([{files}]){where})"  # noqa: S608 - names are quoted


def _sql_job(sql: str, config: RepoConfig, *, is_keyed: bool) -> ArrowRetrievalJob:
    limits = config.offline_store.limits()
    if not is_keyed:
        sql = f"select *, {literal(DUMMY_ENTITY_VAL)} as {DUMMY_ENTITY_ID} from ({sql})"  # noqa: S608 - a constant

    def evaluate() -> pa.Table:
        with open_engine(limits) as connection:
            return connection.sql(sql).to_arrow_table()

    def stream(max_rows: int) -> Iterator[pa.RecordBatch]:
        with open_engine(limits) as connection:
            yield from connection.sql(sql).to_arrow_reader(max_rows)

    return ArrowRetrievalJob(evaluate, stream=stream)
