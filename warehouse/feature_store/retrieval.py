"""Feast retrieval job whose result is an Arrow table, or a stream of record batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import OnDemandFeatureView
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.saved_dataset import SavedDatasetStorage

from warehouse.durable import write_whole
from warehouse.errors import InputError
from warehouse.feature_store.registry import resolve_feast_path


class ArrowRetrievalJob(RetrievalJob):
    """A retrieval that is done when its result is asked for.

    Parameters
    ----------
    evaluate : callable
        Returns the result as an Arrow table.
    stream : callable, optional
        Takes a number of rows and returns the result as record batches of at most that many.
    on_demand_feature_views, full_feature_names, metadata
        As Feast has them.
    """

    def __init__(
        self,
        evaluate: Callable[[], pa.Table],
        *,
        stream: Callable[[int], Iterator[pa.RecordBatch]] | None = None,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        full_feature_names: bool = False,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._evaluate = evaluate
        self._stream = stream
        self._on_demand_feature_views = on_demand_feature_views or []
        self._full_feature_names = full_feature_names
        self._metadata = metadata

    @property
    def full_feature_names(self) -> bool:
        """Whether columns are named ``view__feature``."""
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        """On-demand views that Feast computes over the result."""
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        """What was asked for."""
        return self._metadata

    def to_batches(self, max_rows: int) -> Iterator[pa.RecordBatch]:
        """Return the result as record batches of at most `max_rows` rows, not all held if that can be."""
        if self._stream is None:
            return iter(self._evaluate().to_batches(max_chunksize=max_rows))
        return self._stream(max_rows)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._evaluate()

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._evaluate().to_pandas()
        return frame

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None
    ) -> None:
        """Write the result to a Parquet file, replaced as a whole."""
        if not isinstance(storage, SavedDatasetFileStorage):
            raise InputError(f"expected file storage for a saved dataset, got {type(storage).__name__}")
        path = resolve_feast_path(storage.file_options.uri)
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda incoming: pq.write_table(self.to_arrow(), incoming), is_durable=False)
