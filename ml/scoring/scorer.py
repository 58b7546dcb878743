"""Scores rows with a bundle: native runtimes alone, the same bits alone or in a batch.

Importing and using this module loads neither scikit-learn nor pandas nor torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ml.bundles.manifest import REFERENCE_FILE, Manifest
from ml.bundles.store import VerifiedBundle, current_promotion, verify_bundle
from ml.canonical_json import parse_bundle_json
from ml.errors import BundleError
from ml.features.spec import FeatureSpec
from ml.reasons.explainer import Explainer, Reason
from ml.reasons.reference import ReferenceStatistics
from ml.runtimes.matrix import Float32Matrix, Float64Vector, rows_to_matrix
from ml.scoring.graph import ModelGraph
from ml.scoring.parity import check_sample
from ml.scoring.thresholds import DecisionKind, Thresholds
from warehouse.settings import DERIVED_SQL_FILE, LIVE_SQL_FILE, Settings

__all__ = ["Bundle", "Explain", "Reason", "Score", "Scorer"]

Explain = Literal["all", "alerts", "none"]


@dataclass(frozen=True)
class Score:
    """What a row scored.

    Parameters
    ----------
    fraud_probability : float
        In [0, 1].
    anomaly_score : float or None
        In [0, 1]; None when the bundle has no detector.
    decision : str
        'approve', 'review' or 'decline'.
    reasons : tuple of Reason
        Strongest first; empty when not asked for.
    """

    fraud_probability: float
    anomaly_score: float | None
    decision: DecisionKind
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Bundle:
    """What a scorer says of its bundle.

    Parameters
    ----------
    name, version : str
        Of the model.
    sha256 : str
        Hash of the manifest, which holds the hashes of all else.
    features : tuple of FeatureSpec
        In the order of the model's matrix.
    live_sql, derived_sql : str
        Compiled texts.
    sql_sha256 : str
        Hash of both texts.
    thresholds : Thresholds
        Where decisions change.
    service : str
        Feast feature service.
    manifest : Manifest
        All of it.
    """

    name: str
    version: str
    sha256: str
    features: tuple[FeatureSpec, ...]
    live_sql: str
    derived_sql: str
    sql_sha256: str
    thresholds: Thresholds
    service: str
    manifest: Manifest


class Scorer:
    """Scores rows; safe to use from several threads.

    Parameters
    ----------
    bundle : VerifiedBundle
        From `ml.bundles.store.verify`.

    Raises
    ------
    BundleError
        When a model can't be loaded, or does not score the bundle's sample as it did when it was trained.

    Attributes
    ----------
    bundle : Bundle
        What the bundle says of itself.
    reference : ReferenceStatistics
        What is typical of its columns.
    """

    def __init__(self, bundle: VerifiedBundle) -> None:
        self._manifest = bundle.manifest
        self._graph = ModelGraph(bundle)
        check_sample(self._graph, bundle)
        self._plain, self._attributes = _split_features(bundle.manifest.features)
        self.reference = ReferenceStatistics.from_dict(
            parse_bundle_json(bundle.files[REFERENCE_FILE], what=REFERENCE_FILE)
        )
        self._explainer = _load_explainer(bundle.manifest, self._graph, self.reference)
        self.bundle = _describe(bundle)

    @classmethod
    def load(cls, bundle_dir: Path, *, expected_sha256: str | None = None) -> Scorer:
        """Verify a bundle, load it, and check it against its sample.

        Parameters
        ----------
        bundle_dir : Path
            Folder of the bundle.
        expected_sha256 : str, optional
            Hash that its manifest must have.

        Raises
        ------
        BundleError
            When it does not verify or does not load.
        """
        return cls(verify_bundle(bundle_dir, expected_sha256=expected_sha256))

    @classmethod
    def load_promoted(cls, settings: Settings) -> Scorer:
        """Load the promoted bundle by the hash that it was promoted with."""
        promotion = current_promotion(settings)
        return cls.load(promotion.path, expected_sha256=promotion.sha256)

    def score(self, rows: Sequence[Mapping[str, Any]], *, explain: Explain = "alerts") -> list[Score]:
        """Score rows.

        Parameters
        ----------
        rows : sequence of mapping
            Every feature of the bundle by name (int, float, bool, or None where missing); for attributes a
            mapping ``attributes_number``. Reasons also use ``currency``. Other keys are ignored.
        explain : {'all', 'alerts', 'none'}
            Which rows get reasons.

        Returns
        -------
        list of Score
            In the order of `rows`.

        Raises
        ------
        FeatureRowError
            When a row lacks a feature or holds a value that is no number.
        """
        if explain not in ("all", "alerts", "none"):
            raise ValueError(f"expected explain as 'all', 'alerts' or 'none', got {explain!r}")
        if not rows:
            return []
        full = self._matrix(rows)
        outputs = self._graph.run(full)
        probabilities = outputs[self._manifest.probability].tolist()
        anomalies = None if self._manifest.anomaly is None else outputs[self._manifest.anomaly].tolist()
        decisions = [self.bundle.thresholds.decide(probability) for probability in probabilities]
        chosen = [
            index
            for index, decision in enumerate(decisions)
            if explain == "all" or (explain == "alerts" and decision != "approve")
        ]
        reasons = self._reasons(chosen, rows, full, outputs)
        return [
            Score(
                fraud_probability=probability,
                anomaly_score=None if anomalies is None else anomalies[index],
                decision=decision,
                reasons=reasons.get(index, ()),
            )
            for index, (probability, decision) in enumerate(zip(probabilities, decisions, strict=True))
        ]

    def outputs(self, matrix: Float32Matrix) -> dict[str, Float64Vector]:
        """Run every model over a matrix of the bundle's features in order, shape (n, n_features).

        Returns
        -------
        dict of str to ndarray of float64, shape (n,)
            By output.
        """
        return self._graph.run_features(matrix)

    def _matrix(self, rows: Sequence[Mapping[str, Any]]) -> Float32Matrix:
        """Build the matrix with room for the outputs."""
        full = np.empty((len(rows), self._graph.width), dtype=np.float32)
        indices, names = self._plain
        full[:, indices] = rows_to_matrix(rows, names)
        indices, keys = self._attributes
        if len(indices):
            none: dict[str, Any] = {}
            attributes = [row.get("attributes_number") or none for row in rows]
            full[:, indices] = rows_to_matrix(
                [{key: given.get(key) for key in keys} for given in attributes], keys
            )
        return full

    def _reasons(
        self,
        chosen: Sequence[int],
        rows: Sequence[Mapping[str, Any]],
        full: Float32Matrix,
        outputs: Mapping[str, Float64Vector],
    ) -> dict[int, tuple[Reason, ...]]:
        explained = self._manifest.explained
        if not chosen:
            return {}
        if explained is None:
            return {index: self._explainer.furthest(rows[index]) for index in chosen}
        contributions = self._graph.contributions(explained, full[list(chosen)])
        earlier = self._graph.outputs_before(explained)
        return {
            index: self._explainer.reasons(
                contributions[position],
                row=rows[index],
                outputs={name: float(outputs[name][index]) for name in earlier},
            )
            for position, index in enumerate(chosen)
        }


def _load_explainer(manifest: Manifest, graph: ModelGraph, reference: ReferenceStatistics) -> Explainer:
    names = [feature.name for feature in manifest.features]
    inputs = {step.output: step.inputs for step in manifest.steps}
    if manifest.explained is not None and not graph.can_explain(manifest.explained):
        raise BundleError(f"the model {manifest.explained!r} gives no contributions to explain with")
    seen: dict[str, list[str]] = {}
    for output, columns in inputs.items():
        # the features that a model of models comes from are those of its parts, each once
        of_parts = [name for column in columns for name in seen.get(column, [column])]
        seen[output] = list(dict.fromkeys(of_parts))
    unknown = sorted(set(names) - set(reference.columns))
    if unknown:
        raise BundleError(f"{REFERENCE_FILE} says nothing of {unknown[:3]}")
    explained = manifest.explained
    return Explainer(
        names if explained is None else inputs[explained],
        features=manifest.features,
        reference=reference,
        seen=seen,
    )


def _split_features(
    features: Sequence[FeatureSpec],
) -> tuple[tuple[npt.NDArray[np.intp], list[str]], tuple[npt.NDArray[np.intp], list[str]]]:
    """Return positions and names of the row's own features, then positions and keys of the attributes."""
    plain = [(index, feature.name) for index, feature in enumerate(features) if feature.key is None]
    attributes = [(index, feature.key) for index, feature in enumerate(features) if feature.key is not None]
    return (
        (np.asarray([index for index, _ in plain], dtype=np.intp), [name for _, name in plain]),
        (np.asarray([index for index, _ in attributes], dtype=np.intp), [key for _, key in attributes]),
    )


def _describe(bundle: VerifiedBundle) -> Bundle:
    manifest = bundle.manifest
    live, derived = bundle.files[LIVE_SQL_FILE], bundle.files[DERIVED_SQL_FILE]
    try:
        live_sql, derived_sql = live.decode(), derived.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"the bundle's SQL is no UTF-8: {error}") from error
    return Bundle(
        name=manifest.name,
        version=manifest.version,
        sha256=bundle.sha256,
        features=tuple(manifest.features),
        live_sql=live_sql,
        derived_sql=derived_sql,
        sql_sha256=hashlib.sha256(
            hashlib.sha256(live).digest() + hashlib.sha256(derived).digest()
        ).hexdigest(),
        thresholds=Thresholds(**manifest.thresholds.model_dump()),
        service=manifest.service,
        manifest=manifest,
    )
