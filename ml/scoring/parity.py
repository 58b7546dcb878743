"""Whether a bundle's runtimes are the models that were trained: step by step, and in what they decide.

The answers to compare with are those of the trained objects alone, end to end: trained detectors, a
classifier trained behind them that reads the trained scores, curves behind trained members. Each runtime is
then given what the *trained* models before it said, and must answer within its own tolerance. Scores compared
only at the end could not be held to one: a tree jumps at its splits and a steep curve multiplies, so that a
difference of 1e-9 in what they read, which is rounding, may be any difference in what they write.

Whether that matters is asked of the whole chain as it serves: a decision may differ from the trained models'
only where the threshold lies within what the tolerances of the steps let the final probability be. Curves and
means rise in each input, so the least and the greatest input give the least and the greatest output; models
behind other models are asked at both ends and at the trained score.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from ml.bundles.manifest import PARITY_FILE
from ml.bundles.store import VerifiedBundle
from ml.canonical_json import parse_bundle_json
from ml.errors import BundleError
from ml.runtimes.matrix import Float32Matrix, Float64Vector, to_float32
from ml.scoring.graph import ModelGraph

PARITY_TOLERANCE: Final = 1e-6
"""How far a runtime of trees, curves or means may be from what was trained."""
DENSE_TOLERANCE: Final = 1e-5
"""The same for dense models, which are trained in float32."""

Outputs = Mapping[str, Float64Vector]


def check_sample(graph: ModelGraph, bundle: VerifiedBundle) -> None:
    """Score a bundle's sample and compare with what the trained models said of it.

    Raises
    ------
    BundleError
        When the sample is malformed or lacks the answer of a model, a runtime is further away than its
        tolerance, or the bundle decides otherwise.
    """
    values = parse_bundle_json(bundle.files[PARITY_FILE], what=PARITY_FILE)
    try:
        inputs = np.asarray(values["inputs"], dtype=np.float64)
        trained = {name: np.asarray(column, np.float64) for name, column in values["outputs"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{PARITY_FILE} is malformed: {error}") from error
    if inputs.ndim != 2 or inputs.shape[1] != graph.n_features or not len(inputs):
        raise BundleError(f"{PARITY_FILE} does not have the bundle's features")
    check_models(graph, bundle, to_float32(inputs), trained)


def check_models(
    graph: ModelGraph, bundle: VerifiedBundle, features: Float32Matrix, trained: Outputs
) -> None:
    """Compare a bundle's models and its decisions, at the threshold to review, with the trained models'.

    Parameters
    ----------
    graph : ModelGraph
        Of `bundle`.
    bundle : VerifiedBundle
    features : ndarray of float32, shape (n, n_features)
    trained : mapping of str to ndarray of float64, shape (n,)
        What the trained objects said, by output: of every step.

    Raises
    ------
    BundleError
        See `check_steps` and `check_decisions`.
    """
    check_steps(graph, features, trained)
    manifest = bundle.manifest
    review = manifest.thresholds.review
    check_decisions(graph, features, trained, output=manifest.probability, threshold=review)


def check_steps(graph: ModelGraph, features: Float32Matrix, trained: Outputs) -> None:
    """Compare each runtime with the trained model, on what the trained models before it said.

    Parameters
    ----------
    graph, features, trained
        As in `check_models`.

    Raises
    ------
    BundleError
        When a step has no answer to compare with, or is further away than its tolerance.
    """
    absent, unknown = sorted(set(graph.outputs) - set(trained)), sorted(set(trained) - set(graph.outputs))
    if absent or unknown:
        raise BundleError(
            f"expected the trained models' answers for {list(graph.outputs)}, got none for {absent} and "
            f"some for {unknown}: train again"
        )
    shapes = {column.shape for column in trained.values()}
    if shapes != {(len(features),)}:
        raise BundleError(f"expected {len(features)} answers of each trained model, got shapes {shapes}")
    for name, found in graph.run_apart(features, trained).items():
        distance = float(np.max(np.abs(found - trained[name]), initial=0.0))
        tolerance = _tolerance(graph, name)
        if not distance <= tolerance:
            raise BundleError(
                f"expected {name} within {tolerance} of the trained model, got {distance:.3g}: "
                "check the versions of the libraries"
            )


def check_decisions(
    graph: ModelGraph, features: Float32Matrix, trained: Outputs, *, output: str, threshold: float
) -> None:
    """Compare what the whole chain decides as it serves with what the trained models decide.

    Parameters
    ----------
    graph, features, trained
        As in `check_models`.
    output : str
        The probability that decides.
    threshold : float
        From which on it does.

    Raises
    ------
    BundleError
        When a decision flips though the threshold lies beyond what the steps' tolerances allow.
    """
    served = graph.run_features(features)[output]
    flips = np.flatnonzero((served >= threshold) != (trained[output] >= threshold))
    if not len(flips):
        return
    least, greatest = _range(graph, features[flips], {name: trained[name][flips] for name in graph.outputs})
    beyond = (threshold < least[output]) | (threshold > greatest[output])
    if beyond.any():
        distance = float(np.max(np.abs(trained[output][flips] - threshold)[beyond]))
        raise BundleError(
            f"expected the trained model's decisions at {threshold:.6g}, got {int(beyond.sum())} others of "
            f"{len(features)}, up to {distance:.3g} away from it: check the versions of the libraries"
        )


def _range(graph: ModelGraph, features: Float32Matrix, trained: Outputs) -> tuple[Outputs, Outputs]:
    """Return the least and the greatest that each step may say, given the tolerances of those before it."""
    least, greatest = dict(trained), dict(trained)
    for name in graph.outputs:
        # a step reads what stands before it alone, so what stands behind may be stale
        ends = [graph.run_apart(features, outputs)[name] for outputs in (least, trained, greatest)]
        least[name] = np.min(ends, axis=0) - _tolerance(graph, name)
        greatest[name] = np.max(ends, axis=0) + _tolerance(graph, name)
    return least, greatest


def _tolerance(graph: ModelGraph, output: str) -> float:
    return DENSE_TOLERANCE if graph.is_dense(output) else PARITY_TOLERANCE
