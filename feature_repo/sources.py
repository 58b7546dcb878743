"""Sources: the folder of Parquet files in which each feature model lands."""

from __future__ import annotations

from pathlib import Path

from feast import FileSource
from feast.data_format import ParquetFormat

from feature_repo.dbt_manifest import FeatureModel
from warehouse.canonical import EVENT_TIMESTAMP


def build_source(model: FeatureModel, features_dir: Path) -> FileSource:
    """Source of one feature model: ``<features_dir>/<model>/``."""
    return FileSource(
        name=model.name,
        path=str(features_dir / model.name),
        file_format=ParquetFormat(),
        timestamp_field=EVENT_TIMESTAMP,
        created_timestamp_column=model.created_timestamp,
        description=model.description,
    )
