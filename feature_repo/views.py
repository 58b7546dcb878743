"""Feature views: one per feature model, with the columns, types and meanings of its contract."""

from __future__ import annotations

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource
from feast.types import Bool, Float64, Int64, PrimitiveFeastType, String, UnixTimestamp

from feature_repo.dbt_manifest import Column, FeatureModel

FEAST_TYPES: dict[str, PrimitiveFeastType] = {
    "bigint": Int64,
    "double": Float64,
    "boolean": Bool,
    "varchar": String,
    "timestamp": UnixTimestamp,
}


def build_view(model: FeatureModel, *, entity: Entity, source: FileSource) -> FeatureView:
    """Feature view of one feature model."""
    return FeatureView(
        name=model.view,
        entities=[entity],
        ttl=timedelta(days=model.ttl_days),
        schema=[_field(column) for column in (model.join_key, *model.features)],
        source=source,
        online=model.is_online,
        description=model.description,
        tags={"dbt_model": model.name},
    )


def _field(column: Column) -> Field:
    return Field(name=column.name, dtype=FEAST_TYPES[column.data_type], description=column.description)
