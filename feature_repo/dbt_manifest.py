"""Reads the feature models out of dbt's manifest: their columns, types, descriptions and Feast settings.

A model is a feature model when its ``config.meta`` has a ``feast`` entry::

    meta:
      feast: {view: customer_profile, entity: customer, ttl_days: 7, online: true}

Its contract must be enforced, so that the columns and types below are those of the Parquet file. One column
is the join key (``<entity>_id`` or ``<entity>``, or what ``feast.join_key`` names), one is
``event_timestamp`` (from when a row counts, UTC); every other column is a feature, unless its own meta says
``feature: false``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warehouse.canonical import EVENT_TIMESTAMP
from warehouse.errors import BuildError
from warehouse.settings import DERIVED_SQL_FILE

COLUMN_TYPES = ("bigint", "double", "boolean", "varchar", "timestamp")


@dataclass(frozen=True)
class Column:
    """One feature, or key: its name, contract type (one of `COLUMN_TYPES`), meaning, and unit if any."""

    name: str
    data_type: str
    description: str
    unit: str | None = None


@dataclass(frozen=True)
class FeatureModel:
    """One feature model of dbt.

    Parameters
    ----------
    name : str
        The dbt model, and the stem of its Parquet file.
    view : str
        Name of its feature view.
    entity : str
        Whose behaviour a row describes.
    join_key : Column
        Column that holds the entity's key.
    ttl_days : float
        Days for which a row may be used; 0: for ever.
    is_online : bool
        Whether the view is served online.
    description : str
        What one row is.
    features : tuple of Column
        The features, in the model's order.
    created_timestamp : str
        Column that says when a row was written, or empty.
    """

    name: str
    view: str
    entity: str
    join_key: Column
    ttl_days: float
    is_online: bool
    description: str
    features: tuple[Column, ...]
    created_timestamp: str


def read_feature_models(manifest_file: Path) -> tuple[FeatureModel, ...]:
    """Feature models of a manifest, sorted by view.

    Raises
    ------
    BuildError
        There is no manifest, it holds no feature model, or a feature model breaks a rule of this module.
    """
    nodes = _nodes(manifest_file)
    models = [
        _feature_model(node) for node in nodes if node["resource_type"] == "model" and _feast_meta(node)
    ]
    if not models:
        raise BuildError(f"expected a model with a `feast` entry in its meta, found none in {manifest_file}")
    _check_unique([model.view for model in models], "feature view")
    _check_unique([feature.name for model in models for feature in model.features], "feature")
    return tuple(sorted(models, key=lambda model: model.view))


def read_derived_features(manifest_file: Path) -> tuple[Column, ...]:
    """Features that are derived from the others, in the order of the analysis ``derived_features``.

    Raises
    ------
    BuildError
        There is no manifest, or a column's type is none of `COLUMN_TYPES`.
    """
    return tuple(
        _column(node["name"], raw)
        for node in _nodes(manifest_file)
        if node["resource_type"] == "analysis" and f"{node['name']}.sql" == DERIVED_SQL_FILE
        for raw in node["columns"].values()
        if _is_feature(raw)
    )


def _nodes(manifest_file: Path) -> list[dict[str, Any]]:
    try:
        nodes = json.loads(manifest_file.read_text(encoding="utf-8"))["nodes"]
    except (OSError, ValueError, KeyError) as error:
        raise BuildError(
            f"features are declared in dbt's manifest, and there is none at {manifest_file}: "
            "run `dbt run` or `cbp build` first"
        ) from error
    return list(nodes.values())


def _is_feature(column: Mapping[str, Any]) -> bool:
    return _meta(column).get("feature") is not False


def _meta(node: Mapping[str, Any]) -> dict[str, Any]:
    """Meta of a model or column: dbt keeps what the yml says in ``config.meta`` and, of old, in ``meta``."""
    return {**(node.get("meta") or {}), **((node.get("config") or {}).get("meta") or {})}


def _feast_meta(node: Mapping[str, Any]) -> dict[str, Any]:
    feast = _meta(node).get("feast") or {}
    if not isinstance(feast, dict):
        raise BuildError(f"model {node['name']}: expected a mapping as meta `feast`, got {feast!r}")
    return feast


def _feature_model(node: Mapping[str, Any]) -> FeatureModel:
    name, feast = node["name"], _feast_meta(node)
    missing = [key for key in ("view", "entity", "ttl_days") if key not in feast]
    if missing:
        raise BuildError(f"model {name}: its meta `feast` lacks {', '.join(missing)}")
    if not ((node.get("config") or {}).get("contract") or {}).get("enforced"):
        raise BuildError(f"model {name}: a feature model needs `contract: {{enforced: true}}`")
    columns = {raw["name"]: _column(name, raw) for raw in node["columns"].values()}
    join_key = _join_key(name, feast, columns)
    if columns.get(EVENT_TIMESTAMP, join_key).data_type != "timestamp":
        raise BuildError(f"model {name}: expected a column {EVENT_TIMESTAMP} of type timestamp")
    created = str(feast.get("created_timestamp") or "")
    if created and created not in columns:
        raise BuildError(f"model {name}: its created_timestamp {created} is not one of its columns")
    hidden = {raw["name"] for raw in node["columns"].values() if not _is_feature(raw)}
    hidden |= {join_key.name, EVENT_TIMESTAMP, created}
    return FeatureModel(
        name=name,
        view=str(feast["view"]),
        entity=str(feast["entity"]),
        join_key=join_key,
        ttl_days=float(feast["ttl_days"] or 0),
        is_online=bool(feast.get("online", True)),
        description=_one_line(node.get("description") or ""),
        features=tuple(column for column in columns.values() if column.name not in hidden),
        created_timestamp=created,
    )


def _column(model: str, raw: Mapping[str, Any]) -> Column:
    data_type = str(raw.get("data_type") or "").lower()
    if data_type not in COLUMN_TYPES:
        raise BuildError(
            f"model {model}, column {raw['name']}: expected a type of {', '.join(COLUMN_TYPES)}, "
            f"got {data_type or 'none'}"
        )
    return Column(raw["name"], data_type, _one_line(raw.get("description") or ""), _meta(raw).get("unit"))


def _join_key(model: str, feast: Mapping[str, Any], columns: Mapping[str, Column]) -> Column:
    candidates = [feast["join_key"]] if "join_key" in feast else [f"{feast['entity']}_id", feast["entity"]]
    for candidate in candidates:
        if candidate in columns:
            return columns[candidate]
    raise BuildError(f"model {model}: expected a join key column {' or '.join(candidates)}")


def _check_unique(names: Sequence[str], what: str) -> None:
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise BuildError(f"a {what} name must be unique over all models, found twice: {', '.join(repeated)}")


def _one_line(text: str) -> str:
    return " ".join(text.split())
