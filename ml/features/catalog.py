"""What dbt says of features: family, type, description, unit, from its manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa

from feature_repo.dbt_manifest import read_derived_features, read_feature_models
from ml.errors import TrainingDataError
from ml.features.families import family_of
from ml.features.spec import FeatureSource, FeatureSpec
from warehouse.errors import BuildError
from warehouse.settings import DERIVED_SQL_FILE, LIVE_SQL_FILE, Settings

_SOURCES: Final[Mapping[str, FeatureSource]] = {
    "transaction_velocity": "velocity",
    "customer_profile": "profile",
    "merchant_risk": "merchant_risk",
    "category_risk": "category_risk",
    "customer_segment": "segment",
}
_LABEL_SOURCES: Final = ("merchant_risk", "category_risk")
_LABEL_PREFIXES: Final = (*_LABEL_SOURCES, "profile_fraud_", "merchant_fraud_")
ATTRIBUTE_PREFIX: Final = "attribute."
AMOUNT: Final = "amount_minor"


@dataclass(frozen=True)
class ColumnNote:
    """What dbt's manifest says of one column."""

    source: FeatureSource
    description: str
    unit: str | None


@dataclass(frozen=True)
class CompiledSql:
    """The two texts that training and scoring share."""

    live: str
    derived: str


def read_notes(settings: Settings) -> dict[str, ColumnNote]:
    """Read the notes of every feature column from dbt's manifest.

    Raises
    ------
    TrainingDataError
        When dbt has not been run, or a feature model breaks a rule of `feature_repo.dbt_manifest`.
    """
    try:
        models = read_feature_models(settings.manifest_file)
        derived = read_derived_features(settings.manifest_file)
    except BuildError as error:
        raise TrainingDataError(str(error)) from error
    notes = {column.name: ColumnNote("derived", column.description, column.unit) for column in derived}
    for model in models:
        source = _SOURCES.get(model.view, "other")
        notes |= {
            column.name: ColumnNote(source, column.description, column.unit) for column in model.features
        }
    return notes


def read_compiled_sql(settings: Settings) -> CompiledSql:
    """Read the live and derived SQL that dbt compiled.

    Raises
    ------
    TrainingDataError
        When dbt has not compiled them.
    """
    folder = settings.compiled_sql_dir
    try:
        return CompiledSql(
            live=(folder / LIVE_SQL_FILE).read_text(encoding="utf-8"),
            derived=(folder / DERIVED_SQL_FILE).read_text(encoding="utf-8"),
        )
    except OSError as error:
        raise TrainingDataError("expected the SQL that dbt compiles: run `cbp build` first") from error


def feature_specs(
    frame: pa.Table, candidates: Sequence[str], *, notes: Mapping[str, ColumnNote]
) -> list[FeatureSpec]:
    """Describe the numeric and boolean columns among `candidates`, in their order."""
    specs = []
    for name in candidates:
        dtype = _dtype(frame.schema.field(name).type)
        if dtype is None:
            continue
        note = notes.get(name)
        specs.append(
            FeatureSpec(
                name=name,
                dtype=dtype,
                source="raw" if name == AMOUNT else note.source if note else "derived",
                family=family_of(name),
                description=note.description if note else "",
                unit="minor" if name == AMOUNT else note.unit if note else None,
            )
        )
    return specs


def derived_inputs(derived_sql: str) -> dict[str, frozenset[str]]:
    """Return, by derived feature, the columns that its expression reads.

    Parameters
    ----------
    derived_sql : str
        See `CompiledSql.derived`.
    """
    with duckdb.connect() as connection:
        row = connection.execute("select json_serialize_sql($sql)", {"sql": derived_sql}).fetchone()
    (statement,) = json.loads(row[0] if row else "{}")["statements"]
    return {
        expression["alias"]: frozenset(_columns(expression))
        for expression in statement["node"]["select_list"]
        if expression["alias"]
    }


def attribute_spec(key: str) -> FeatureSpec:
    """Describe a numeric attribute."""
    name = f"{ATTRIBUTE_PREFIX}{key}"
    return FeatureSpec(
        name=name, dtype="double", source="attribute", family=name, description=f"Attribute {key}", key=key
    )


def is_label_free(spec: FeatureSpec) -> bool:
    """Return whether a feature says nothing of labels: a detector may see no other."""
    return spec.source not in _LABEL_SOURCES and not spec.name.startswith(_LABEL_PREFIXES)


def _columns(node: Any) -> Iterator[str]:
    """Walk the columns that an expression of DuckDB's syntax tree refers to."""
    if isinstance(node, dict) and node.get("class") == "COLUMN_REF":
        yield node["column_names"][-1]
    elif isinstance(node, dict | list):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _columns(child)


def _dtype(kind: pa.DataType) -> Any:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "bigint"
    return "double" if pa.types.is_floating(kind) else None
