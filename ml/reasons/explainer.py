"""Why a row scored as it did: exact contributions, one reason a family of features, each a sentence.

An anomaly score is explained by the features furthest from what is usual, and so is a model that gives no
contributions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.features.spec import FeatureSpec
from ml.reasons.phrases import Phrasebook
from ml.reasons.reference import ReferenceStatistics
from ml.reasons.wording import Phrase

MAX_REASONS: Final = 4
_MAX_FURTHEST: Final = 2
# Share of past transactions below a score from which on it is called unusual.
_UNUSUAL: Final = 0.9
# A smaller push is told to nobody.
_SMALLEST: Final = 0.01


@dataclass(frozen=True)
class Reason:
    """One reason for a risk.

    Parameters
    ----------
    text : str
        A sentence that names the value, the normal and the window.
    feature : str
        The feature of the family that raised the risk most among those whose values are not as usual; the one
        that raised it most where all are.
    value : int, float or None
        What the sentence is about: the feature's value, or the amount where the feature is a ratio to it.
    normal : int, float or None
        What the sentence compares the value with.
    contribution : float
        Sum over the family of exact contributions, above 0: to the log odds, or to a forest's probability.
        Of a model that gives none: how far the value is from the middle of past ones (see
        `ReferenceStatistics.deviation`).
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
    seen : mapping of str to sequence of str
        Features that each output of an earlier model comes from.
    """

    def __init__(
        self,
        inputs: Sequence[str],
        *,
        features: Sequence[FeatureSpec],
        reference: ReferenceStatistics,
        seen: Mapping[str, Sequence[str]],
    ) -> None:
        self._inputs = list(inputs)
        self._seen = seen
        self._keys = {feature.name: feature.key for feature in features}
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
            ranked = start + np.argsort(-ordered[start:end], kind="stable")
            names = [
                self._inputs[self._order[i]] for i in ranked if ordered[i] >= _SMALLEST or i == ranked[0]
            ]
            name, phrase = self._most_telling(names, row, outputs)
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

    def furthest(self, row: Mapping[str, Any]) -> tuple[Reason, ...]:
        """Return reasons of a model without contributions: the values furthest from those of the past."""
        reasons = []
        for name, deviation in self._furthest([name for name in self._inputs if name in self._keys], row):
            phrase = self._book.say(name, row)
            reasons.append(Reason(phrase.text, name, phrase.value, phrase.normal, deviation))
        return tuple(reasons[:MAX_REASONS])

    def _furthest(self, names: Sequence[str], row: Mapping[str, Any]) -> list[tuple[str, float]]:
        """Return features whose values lie outside nine tenths of the past ones, the furthest first."""
        found = []
        for name in names:
            key = self._keys[name]
            value = (row.get("attributes_number") or {}).get(key) if key else row.get(name)
            if value is not None and not self._reference.is_usual(name, float(value)):
                found.append((name, self._reference.deviation(name, float(value))))
        return sorted(found, key=lambda pair: -pair[1])

    def _most_telling(
        self, names: Sequence[str], row: Mapping[str, Any], outputs: Mapping[str, float]
    ) -> tuple[str, Phrase]:
        """Return the first feature, the strongest first, whose value is not as usual; else the first."""
        said = ((name, self._phrase(name, row, outputs)) for name in names)
        first = next(said)
        return next((pair for pair in (first, *said) if not pair[1].is_usual), first)

    def _phrase(self, name: str, row: Mapping[str, Any], outputs: Mapping[str, float]) -> Phrase:
        if name not in self._outputs:
            return self._book.say(name, row)
        value = outputs[name]
        below = self._reference.share_below(name, value)
        title = name.replace("_", " ")
        if below is None:
            return Phrase(f"As a whole: {title} {value:.2f}", value, None)
        judged = "Unusual as a whole" if below >= _UNUSUAL else "As a whole"
        text = f"{judged}: {title} {value:.2f}, above {below:.0%} of past transactions"
        furthest = self._furthest(self._seen.get(name, ()), row)[:_MAX_FURTHEST]
        if furthest:
            text += "; furthest from usual: " + "; ".join(
                self._book.say(far, row).text for far, _ in furthest
            )
        return Phrase(text, value, self._reference.medians().get(name))
