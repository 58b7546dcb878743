"""Why a row scored as it did: exact contributions, one reason a family of features, each a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.manifest import FeatureSpec
from ml.phrases import Phrase, Phrasebook
from ml.reference import ReferenceStatistics

MAX_REASONS: Final = 4
# Log odds: a smaller push is told to nobody.
_SMALLEST: Final = 0.01


@dataclass(frozen=True)
class Reason:
    """One reason for a risk.

    Parameters
    ----------
    text : str
        A sentence that names the value, the normal and the window.
    feature : str
        The feature of the family that raised the risk most.
    value : int, float or None
        What the sentence is about: the feature's value, or the amount where the feature is a ratio to it.
    normal : int, float or None
        What the sentence compares the value with.
    contribution : float
        Sum over the family of exact contributions to the log odds, above 0.
    """

    text: str
    feature: str
    value: float | int | None
    normal: float | int | None
    contribution: float


class Explainer:
    """Turns contributions into reasons.

    Parameters
    ----------
    inputs : sequence of str
        Columns of the explained model, in order: features, and outputs of earlier models.
    features : sequence of FeatureSpec
        All features.
    reference : ReferenceStatistics
        What is typical.
    """

    def __init__(
        self, inputs: Sequence[str], *, features: Sequence[FeatureSpec], reference: ReferenceStatistics
    ) -> None:
        self._inputs = list(inputs)
        self._book = Phrasebook(features, reference.medians())
        self._reference = reference
        self._outputs = set(inputs) - {feature.name for feature in features}
        by_feature = {feature.name: feature.family for feature in features}
        families = [by_feature.get(name, name) for name in inputs]
        # Families side by side, so that one reduceat sums them; a stable sort keeps the order of the inputs.
        self._order = np.asarray(sorted(range(len(families)), key=families.__getitem__), dtype=np.intp)
        ordered = [families[index] for index in self._order]
        starts = [i for i, family in enumerate(ordered) if i == 0 or family != ordered[i - 1]]
        self._starts = np.asarray(starts, dtype=np.intp)
        self._ends = np.asarray([*starts[1:], len(ordered)], dtype=np.intp)

    def reasons(
        self, contributions: npt.NDArray[np.float64], *, row: Mapping[str, Any], outputs: Mapping[str, float]
    ) -> tuple[Reason, ...]:
        """Return what raised the risk of one row, the strongest first.

        Parameters
        ----------
        contributions : ndarray of float64, shape (n_inputs + 1,)
            To the log odds; the last is the base value.
        row : mapping
            The row as it was scored.
        outputs : mapping of str to float
            Outputs of earlier models for the row.

        Returns
        -------
        tuple of Reason
            At most `MAX_REASONS`; empty when nothing raised the risk.
        """
        # One row at a time: sums over a matrix may add in another order than sums of one row.
        ordered = contributions[:-1][self._order]
        sums = np.add.reduceat(ordered, self._starts)
        strongest = np.argsort(-sums, kind="stable")[:MAX_REASONS]
        reasons = []
        for family in strongest:
            if sums[family] < _SMALLEST:
                break
            start, end = self._starts[family], self._ends[family]
            name = self._inputs[self._order[start + int(np.argmax(ordered[start:end]))]]
            phrase = self._phrase(name, row, outputs)
            reasons.append(
                Reason(
                    text=phrase.text,
                    feature=name,
                    value=phrase.value,
                    normal=phrase.normal,
                    contribution=float(sums[family]),
                )
            )
        return tuple(reasons)

    def _phrase(self, name: str, row: Mapping[str, Any], outputs: Mapping[str, float]) -> Phrase:
        if name not in self._outputs:
            return self._book.say(name, row)
        value = outputs[name]
        below = self._reference.share_below(name, value)
        title = name.replace("_", " ")
        if below is None:
            return Phrase(f"Unusual as a whole: {title} {value:.2f}", value, None)
        text = f"Unusual as a whole: {title} {value:.2f}, above {below:.0%} of past transactions"
        return Phrase(text, value, self._reference.medians().get(name))
