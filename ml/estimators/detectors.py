"""Detectors by name, and several at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from ml.estimators.anomaly import (
    AnomalyDetector,
    AutoencoderDetector,
    IsolationForestDetector,
    OneClassSvmDetector,
)
from ml.estimators.base import ExportedStep, drawn_seed, seeded
from ml.estimators.foreign_detector import EstimatorDetector, check_outlier_detector
from ml.runtimes.curves import MeanRuntime
from ml.runtimes.kinds import MEAN, ExportedModel
from ml.runtimes.matrix import Float32Matrix, Float64Vector, to_float32

DETECTORS: Final[dict[str, Any]] = {
    "isolation_forest": IsolationForestDetector,
    "one_class_svm": OneClassSvmDetector,
    "autoencoder": AutoencoderDetector,
}
"""Detectors by the name that composes them."""


class MeanDetector(AnomalyDetector):
    """Several detectors at once: its score is their mean, and a classifier behind it sees each.

    Parameters
    ----------
    members : sequence of str, default=('isolation_forest', 'autoencoder')
        Names of `DETECTORS`.
    random_state : int, RandomState instance or None, default=None
        Seeds every member.

    Attributes
    ----------
    members_ : dict of str to AnomalyDetector
        Fitted.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, when ``fit`` was given any.
    """

    def __init__(
        self, members: Sequence[str] = ("isolation_forest", "autoencoder"), *, random_state: Any = None
    ) -> None:
        self.members = members
        self.random_state = random_state

    def _fit_matrix(self, X: Float32Matrix) -> None:
        unknown = sorted(set(self.members) - set(DETECTORS))
        if unknown or not self.members:
            raise ValueError(f"expected detectors among {sorted(DETECTORS)}, got {list(self.members)}")
        seed = drawn_seed(self.random_state)
        self.members_ = {name: DETECTORS[name](random_state=seed).fit(X) for name in self.members}

    def score_columns(self, X: Float32Matrix) -> npt.NDArray[np.float64]:
        """Return each member's score, shape (n, n_members)."""
        return np.column_stack([member._risk(X) for member in self.members_.values()])

    def score_names(self, output: str) -> list[str]:
        """Return the names of the members' scores."""
        return [f"{output}_{name}" for name in self.members_]

    def _risk(self, X: Float32Matrix) -> Float64Vector:
        return MeanRuntime(len(self.members_)).run(to_float32(self.score_columns(X)))

    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        return self.trained_outputs(X, "mean")["mean"]

    def export_steps(self, inputs: Sequence[str], output: str) -> list[ExportedStep]:
        """Return each member's step, and their mean."""
        names = self.score_names(output)
        steps = []
        for name, member in zip(names, self.members_.values(), strict=True):
            steps += member.export_steps(inputs, name)
        mean = ExportedModel(kind=MEAN, files=MeanRuntime(len(names)).files())
        return [*steps, ExportedStep(output, tuple(names), mean)]

    def trained_outputs(self, X: Float32Matrix, output: str) -> dict[str, Float64Vector]:
        """Return what each step writes, by the objects that were trained."""
        names = self.score_names(output)
        scores = [member._trained_risk(X) for member in self.members_.values()]
        mean = MeanRuntime(len(scores)).run(to_float32(np.column_stack(scores)))
        return {**dict(zip(names, scores, strict=True)), output: mean}


def make_detector(choice: Any, seed: int) -> AnomalyDetector:
    """Return an unfitted detector: of a name, of several names, or a clone; seeded where it is not yet.

    Raises
    ------
    TypeError
        When it is a class, or something without ``fit`` and ``score_samples``.
    ValueError
        When there is no detector of the name.
    """
    if isinstance(choice, str):
        if choice not in DETECTORS:
            raise ValueError(f"expected a detector among {sorted(DETECTORS)}, got {choice!r}")
        choice = DETECTORS[choice]()
    elif isinstance(choice, list | tuple):
        choice = MeanDetector(tuple(choice))
    elif not isinstance(choice, AnomalyDetector):
        check_outlier_detector(choice)
        choice = EstimatorDetector(choice)
    return cast(AnomalyDetector, seeded(clone(choice), seed))
