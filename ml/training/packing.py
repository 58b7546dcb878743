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

from ml.bundles.manifest import PARITY_FILE, REFERENCE_FILE, TrainingSpec
from ml.canonical_json import canonical_json
from ml.estimators.base import ExportedStep
from ml.estimators.hybrid import ANOMALY_SCORE, HybridFraudPipeline
from ml.features.catalog import CompiledSql
from ml.features.spec import FeatureSpec
from ml.reasons.reference import ReferenceStatistics, draw_sample
from ml.runtimes.kinds import DENSE_KINDS, EXPLAINED_KINDS, TREE_KINDS
from ml.runtimes.matrix import Float32Matrix
from ml.scoring.thresholds import Thresholds
from warehouse.settings import DERIVED_SQL_FILE, LIVE_SQL_FILE, PROJECT_ROOT

FRAUD_PROBABILITY: Final = "fraud_probability"
_LIBRARIES: Final = (
    "dbt-core",
    "duckdb",
    "feast",
    "lightgbm",
    "numpy",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "torch",
    "xgboost-cpu",
)
_SUFFIXES: Final = {
    **{("trees", kind): ".txt" for kind in TREE_KINDS},
    **{("weights", kind): ".safetensors" for kind in DENSE_KINDS},
}
_GIT_SECONDS: Final = 10


@dataclass(frozen=True)
class Packed:
    """What `ml.bundles.store.publish` takes."""

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
    exported = pipeline.export_steps(columns, FRAUD_PROBABILITY)
    steps, files = _steps(exported)
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
        "explained": _explained(exported),
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


def _explained(steps: Sequence[ExportedStep]) -> str | None:
    """Return the first step towards the probability that gives exact contributions, if there is one."""
    outputs = [step.output for step in steps if step.model.kind in EXPLAINED_KINDS]
    return outputs[0] if outputs else None


def _steps(exported: Sequence[ExportedStep]) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    steps: list[dict[str, Any]] = []
    files: dict[str, bytes] = {}
    for step in exported:
        model, output = step.model, step.output
        names = {role: f"{output}_{role}{_SUFFIXES.get((role, model.kind), '.json')}" for role in model.files}
        steps.append({"kind": model.kind, "inputs": list(step.inputs), "output": output, "files": names})
        files |= {names[role]: content for role, content in model.files.items()}
    return steps, files


def _parity(pipeline: HybridFraudPipeline, sample: Float32Matrix) -> dict[str, Any]:
    """Score rows that nobody ever was by the trained objects, not by the runtimes."""
    trained = pipeline.trained_outputs(sample, FRAUD_PROBABILITY)
    outputs = {name: column.tolist() for name, column in trained.items()}
    values = np.asarray(sample, dtype=np.float64)
    inputs = [[None if np.isnan(value) else float(value) for value in row] for row in values]
    return {"inputs": inputs, "outputs": outputs}
