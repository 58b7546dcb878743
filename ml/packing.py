"""From a fitted pipeline to the manifest and files of a bundle."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Final

import numpy as np

from ml.anomaly import AnomalyDetector
from ml.catalog import CompiledSql
from ml.errors import BundleError
from ml.hybrid import HybridFraudPipeline
from ml.manifest import (
    DERIVED_SQL_FILE,
    LIVE_SQL_FILE,
    PARITY_FILE,
    REFERENCE_FILE,
    FeatureSpec,
    TrainingSpec,
    canonical_json,
)
from ml.matrix import Float32Matrix
from ml.reference import ReferenceStatistics, draw_sample
from ml.runtimes import ExportedModel
from ml.supervised import export_classifier
from ml.thresholds import Thresholds
from warehouse.settings import PROJECT_ROOT

ANOMALY_SCORE: Final = "anomaly_score"
FRAUD_PROBABILITY: Final = "fraud_probability"
_LIBRARIES: Final = (
    "dbt-core",
    "duckdb",
    "feast",
    "lightgbm",
    "numpy",
    "pyarrow",
    "scikit-learn",
    "treelite",
)
_SUFFIXES: Final = {"trees": {"isolation_forest": ".treelite", "lightgbm": ".txt"}}
_GIT_SECONDS: Final = 10


@dataclass(frozen=True)
class Packed:
    """What `ml.bundles.publish` takes."""

    manifest: dict[str, Any]
    files: dict[str, bytes]


def pack(
    pipeline: HybridFraudPipeline,
    *,
    name: str,
    service: str,
    features: Sequence[FeatureSpec],
    sql: CompiledSql,
    thresholds: Thresholds,
    training: TrainingSpec,
    metrics: Mapping[str, Any],
    reference: ReferenceStatistics,
) -> Packed:
    """Make the manifest and files of a fitted pipeline.

    Parameters
    ----------
    pipeline : HybridFraudPipeline
        Fitted on `features`, in their order.
    name, service : str
        Of the model, and of the feature service.
    features : sequence of FeatureSpec
        Columns of the matrix.
    sql : CompiledSql
        What the features are computed with.
    thresholds : Thresholds
        Where decisions change.
    training : TrainingSpec
        Provenance.
    metrics : mapping
        JSON values.
    reference : ReferenceStatistics
        Of the features and outputs.

    Raises
    ------
    BundleError
        When a part of the pipeline can't be served.
    """
    columns = [feature.name for feature in features]
    models: list[tuple[str, list[str], ExportedModel]] = []
    inputs = list(columns)
    if pipeline.detector_ is not None:
        seen = [columns[index] for index in pipeline.anomaly_indices_]
        models.append((ANOMALY_SCORE, seen, _exported_detector(pipeline)))
        inputs.append(ANOMALY_SCORE)
    models.append((FRAUD_PROBABILITY, inputs, export_classifier(pipeline.classifier_)))
    steps, files = _steps(models)
    sample = draw_sample(reference, columns, seed=training.seed)
    files |= {
        LIVE_SQL_FILE: sql.live.encode(),
        DERIVED_SQL_FILE: sql.derived.encode(),
        REFERENCE_FILE: canonical_json(reference.as_dict()),
        PARITY_FILE: canonical_json(_parity(pipeline, sample)),
    }
    manifest = {
        "name": name,
        "service": service,
        "features": [feature.model_dump() for feature in features],
        "steps": steps,
        "probability": FRAUD_PROBABILITY,
        "anomaly": ANOMALY_SCORE if pipeline.detector_ is not None else None,
        "explained": FRAUD_PROBABILITY,
        "thresholds": asdict(thresholds),
        "training": training.model_dump(),
        "metrics": json.loads(json.dumps(metrics)),
        "libraries": library_versions(),
        "git_commit": git_commit(),
    }
    return Packed(manifest=manifest, files=files)


def library_versions() -> dict[str, str]:
    """Return the versions that training depends on."""
    versions = {library: metadata.version(library) for library in _LIBRARIES}
    return {**versions, "python": platform.python_version()}


def git_commit() -> str | None:
    """Return the commit of the project's code; None outside a repository."""
    git = shutil.which("git")
    if git is None or not (PROJECT_ROOT / ".git").exists():
        return None
    try:
        # a program found on the path, with arguments of ours
        found = subprocess.run(  # noqa: S603
            [git, "-C", str(PROJECT_ROOT), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _exported_detector(pipeline: HybridFraudPipeline) -> ExportedModel:
    if not isinstance(pipeline.detector_, AnomalyDetector):
        raise BundleError("expected an anomaly detector of ml.anomaly: a callable can't be put into a bundle")
    return pipeline.detector_.export()


def _steps(
    models: Sequence[tuple[str, list[str], ExportedModel]],
) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    steps: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for output, inputs, model in models:
        names = {
            role: f"{output}_{role}{_SUFFIXES.get(role, {}).get(model.kind, '.json')}" for role in model.files
        }
        steps.append({"kind": model.kind, "inputs": inputs, "output": output, "files": names})
        files |= {names[role]: content for role, content in model.files.items()}
    return steps, files


def _parity(pipeline: HybridFraudPipeline, sample: Float32Matrix) -> dict[str, Any]:
    """Score rows that nobody ever was by the trained objects, not by the runtimes."""
    named = _named(pipeline, sample)
    outputs = {FRAUD_PROBABILITY: pipeline.predict_proba(named)[:, 1].tolist()}
    if isinstance(pipeline.detector_, AnomalyDetector):
        seen = sample[:, pipeline.anomaly_indices_]
        outputs[ANOMALY_SCORE] = pipeline.detector_.trained_risk_score(seen).tolist()
    values = np.asarray(sample, dtype=np.float64)
    inputs = [[None if np.isnan(value) else float(value) for value in row] for row in values]
    return {"inputs": inputs, "outputs": outputs}


def _named(pipeline: HybridFraudPipeline, sample: Float32Matrix) -> Any:
    names = getattr(pipeline, "feature_names_in_", None)
    if names is None:
        return sample
    import pandas as pd

    return pd.DataFrame(sample, columns=list(names))
