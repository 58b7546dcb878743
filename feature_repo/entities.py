"""Entities: whose behaviour a feature describes."""

from __future__ import annotations

from collections.abc import Iterable

from feast import Entity, ValueType

from feature_repo.dbt_manifest import FeatureModel
from warehouse.errors import BuildError

_KEY_TYPES = {"varchar": ValueType.STRING, "bigint": ValueType.INT64}


def build_entities(models: Iterable[FeatureModel]) -> dict[str, Entity]:
    """One entity per name that the models use, with the join key that they agree on.

    Raises
    ------
    BuildError
        Two models give one entity different join keys, or the key is neither varchar nor bigint.
    """
    keys: dict[str, tuple[str, str]] = {}
    for model in models:
        key = (model.join_key.name, model.join_key.data_type)
        if model.join_key.data_type not in _KEY_TYPES:
            raise BuildError(
                f"model {model.name}: a join key is varchar or bigint, got {model.join_key.data_type}"
            )
        if keys.setdefault(model.entity, key) != key:
            raise BuildError(
                f"model {model.name}: expected {keys[model.entity]} as the join key of {model.entity}, "
                f"as elsewhere, got {key}"
            )
    return {
        name: Entity(name=name, join_keys=[column], value_type=_KEY_TYPES[data_type])
        for name, (column, data_type) in keys.items()
    }
