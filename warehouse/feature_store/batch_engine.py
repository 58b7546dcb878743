"""Feast compute engine that materializes from record batches, without a protobuf per value.

Feast's local engine pulls every row of the interval, holds all, and converts each value to a protobuf
before the online store sees it. This one pulls the latest row of each key and streams it. A store other
than ours (Redis) still gets Feast's protobufs, batch by batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
from feast import Entity, FeatureView, OnDemandFeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.common.materialization_job import (
    MaterializationJob,
    MaterializationJobStatus,
    MaterializationTask,
)
from feast.infra.compute_engines.base import ComputeEngine
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import FeastConfigBaseModel

from warehouse.errors import InputError
from warehouse.feature_store.online_rows import arrow_to_protos
from warehouse.feature_store.online_store import RowOnlineStore
from warehouse.feature_store.retrieval import ArrowRetrievalJob

ROWS_PER_BATCH = 5_000
_BEGINNING = datetime.fromtimestamp(0, UTC)
_log = logging.getLogger(__name__)


class ArrowComputeEngineConfig(FeastConfigBaseModel):
    """Settings of `ArrowComputeEngine` in ``feature_store.yaml``."""

    type: Literal["warehouse.feature_store.batch_engine.ArrowComputeEngine"] = (
        "warehouse.feature_store.batch_engine.ArrowComputeEngine"
    )


class ArrowComputeEngine(ComputeEngine):
    """Materializes the latest row of each key; see the module."""

    def update(
        self,
        project: str,
        views_to_delete: Sequence[FeatureView],
        views_to_keep: Sequence[FeatureView | OnDemandFeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
    ) -> None:
        """Do nothing: there is nothing to prepare."""

    def teardown_infra(self, project: str, fvs: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Do nothing: there is nothing to remove."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> MaterializationJob:
        view = task.feature_view
        bar = task.tqdm_builder(0) if task.tqdm_builder else None
        progress = bar.update if bar else _no_progress
        batches = self._latest_rows(view, self._start(view, task.start_time), task.end_time)
        store = self.online_store
        if isinstance(store, RowOnlineStore):
            store.write_arrow(
                self.repo_config, view, batches, complete_until=task.end_time, progress=progress
            )
        else:
            self._write_protos(view, batches, progress)
        if bar:
            bar.close()
        return LocalMaterializationJob(
            job_id=f"{view.name}-{task.start_time}-{task.end_time}", status=MaterializationJobStatus.SUCCEEDED
        )

    def _start(self, view: FeatureView, start: datetime) -> datetime:
        """Find from when on to load: from the beginning when the file lost what the registry says it has."""
        store = self.online_store
        if (
            isinstance(store, RowOnlineStore)
            and view.materialization_intervals
            and store.complete_until(self.repo_config, view) is None
        ):
            _log.info("%s: the online store has no complete copy, loading all of it", view.name)
            return _BEGINNING
        return start

    def _latest_rows(self, view: FeatureView, start: datetime, end: datetime) -> Iterator[pa.RecordBatch]:
        source = view.batch_source
        if source is None:
            raise InputError(f"feature view {view.name} has no batch source to materialize from")
        mapping = source.field_mapping or {}
        in_file = {new: old for old, new in mapping.items()}
        job = self.offline_store.pull_latest_from_table_or_query(
            config=self.repo_config,
            data_source=source,
            join_key_columns=[
                in_file.get(field.name, field.name)
                for field in view.entity_columns
                if field.name != DUMMY_ENTITY_ID
            ],
            feature_name_columns=[in_file.get(field.name, field.name) for field in view.features],
            timestamp_field=in_file.get(source.timestamp_field, source.timestamp_field),
            created_timestamp_column=in_file.get(
                source.created_timestamp_column or "", source.created_timestamp_column
            )
            or None,
            start_date=start,
            end_date=end,
        )
        batches = (
            job.to_batches(ROWS_PER_BATCH)
            if isinstance(job, ArrowRetrievalJob)
            else iter(job.to_arrow().to_batches(max_chunksize=ROWS_PER_BATCH))
        )
        for batch in batches:
            yield batch.rename_columns([mapping.get(name, name) for name in batch.schema.names])

    def _write_protos(
        self, view: FeatureView, batches: Iterator[pa.RecordBatch], progress: Callable[[int], Any]
    ) -> None:
        for batch in batches:
            self.online_store.online_write_batch(self.repo_config, view, arrow_to_protos(batch, view), None)
            progress(batch.num_rows)


def _no_progress(count: int) -> None:
    pass
