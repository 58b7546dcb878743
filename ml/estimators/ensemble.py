"""Classifiers made of classifiers: one calibrated, and several averaged by rank; both served as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import clone

from ml.estimators.base import BinaryClassifier, ExportedStep, drawn_seed, seeded
from ml.estimators.calibration import fit_calibration, fit_ranks, through
from ml.estimators.classifier_base import Labels
from ml.estimators.linear_and_neural import CLASSIFIERS
from ml.runtimes.curves import MeanRuntime
from ml.runtimes.kinds import CURVE, MEAN, ExportedModel
from ml.runtimes.matrix import Float32Matrix, Float64Vector, to_float32

_FEWEST_HELD_OUT = 50


class CalibratedClassifier(BinaryClassifier):
    """A classifier whose output is a probability that can be taken at its word.

    The curve is learned on the last `held_out_share` of the rows (give them in order of time), scored by a
    classifier fitted on those before them; the one that serves is then fitted on all rows.

    Parameters
    ----------
    classifier : str or RiskScorer, default='random_forest'
        A name of `ml.estimators.linear_and_neural.CLASSIFIERS`, or an estimator, which is cloned.
    method : {'isotonic', 'sigmoid'}, default='isotonic'
        See `ml.estimators.calibration`.
    held_out_share : float, default=0.2
    random_state : int, RandomState instance or None, default=None
        Seeds the classifier where it has a ``random_state`` of None.

    Attributes
    ----------
    classifier_ : RiskScorer
        Fitted on all rows.
    curve_ : CurveRuntime
    classes_, n_features_in_, feature_names_in_
        As scikit-learn has them.
    """

    def __init__(
        self,
        classifier: Any = "random_forest",
        method: str = "isotonic",
        *,
        held_out_share: float = 0.2,
        random_state: Any = None,
    ) -> None:
        self.classifier = classifier
        self.method = method
        self.held_out_share = held_out_share
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> CalibratedClassifier:
        """Fit the curve and the classifier; see `FraudClassifier.fit` for `X` and `y`."""
        matrix, codes = self._validate_fit(X, y)
        member = make_classifier(self.classifier, drawn_seed(self.random_state))
        scores, labels = held_out_scores(member, matrix, codes, share=self.held_out_share)
        self.curve_ = fit_calibration(scores, labels, method=self.method)
        self.classifier_ = clone(member).fit(matrix, codes)
        return self

    def _risk(self, X: Float32Matrix) -> Float64Vector:
        return through(self.curve_, self.classifier_._risk(X))

    def export_steps(self, inputs: Sequence[str], output: str) -> list[ExportedStep]:
        """Return the classifier's steps, and the curve behind them."""
        raw = f"{output}_raw"
        curve = ExportedModel(kind=CURVE, files=self.curve_.files())
        return [*self.classifier_.export_steps(inputs, raw), ExportedStep(output, (raw,), curve)]

    def trained_outputs(self, X: Float32Matrix, output: str) -> dict[str, Float64Vector]:
        """Return what each step writes, by the objects that were trained."""
        raw = f"{output}_raw"
        outputs: dict[str, Float64Vector] = self.classifier_.trained_outputs(X, raw)
        return {**outputs, output: through(self.curve_, outputs[raw])}


class RankAverageClassifier(BinaryClassifier):
    """The average of several classifiers' ranks, calibrated.

    Classifiers differ in the scale of their scores, so each score becomes the share of past scores below it,
    by a fixed curve; the mean of these is ranked better than any of them where they err apart, and becomes a
    probability by one more curve. All curves are learned on the last `held_out_share` of the rows (give them
    in order of time), scored by classifiers fitted on those before them; those that serve are then fitted on
    all rows.

    Parameters
    ----------
    members : sequence of str or of (str, RiskScorer), default=('lightgbm', 'xgboost', 'random_forest')
        Names of `CLASSIFIERS`, or names and estimators, which are cloned. The first whose
        contributions are exact explains the average.
    method : {'isotonic', 'sigmoid'}, default='isotonic'
        Of calibration.
    held_out_share : float, default=0.2
    random_state : int, RandomState instance or None, default=None
        Seeds members that have a ``random_state`` of None.

    Attributes
    ----------
    members_ : dict of str to RiskScorer
        Fitted on all rows.
    ranks_ : dict of str to CurveRuntime
    curve_ : CurveRuntime
        From the mean rank to a probability.
    classes_, n_features_in_, feature_names_in_
        As scikit-learn has them.
    """

    def __init__(
        self,
        members: Sequence[Any] = ("lightgbm", "xgboost", "random_forest"),
        method: str = "isotonic",
        *,
        held_out_share: float = 0.2,
        random_state: Any = None,
    ) -> None:
        self.members = members
        self.method = method
        self.held_out_share = held_out_share
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> RankAverageClassifier:
        """Fit members and curves; see `FraudClassifier.fit` for `X` and `y`."""
        matrix, codes = self._validate_fit(X, y)
        seed = drawn_seed(self.random_state)
        self.members_: dict[str, Any] = {}
        self.ranks_ = {}
        ranked, labels = [], np.zeros(0, dtype=np.int64)
        for entry in self.members:
            name, choice = (entry, entry) if isinstance(entry, str) else entry
            member = make_classifier(choice, seed)
            scores, labels = held_out_scores(member, matrix, codes, share=self.held_out_share)
            self.ranks_[name] = fit_ranks(scores)
            ranked.append(through(self.ranks_[name], scores))
            self.members_[name] = clone(member).fit(matrix, codes)
        if not self.members_:
            raise ValueError("expected members to average, got none")
        self.curve_ = fit_calibration(_mean(ranked), labels, method=self.method)
        return self

    def _risk(self, X: Float32Matrix) -> Float64Vector:
        ranked = [through(self.ranks_[name], member._risk(X)) for name, member in self.members_.items()]
        return through(self.curve_, _mean(ranked))

    def export_steps(self, inputs: Sequence[str], output: str) -> list[ExportedStep]:
        """Return each member's steps and its curve, their mean, and the curve of the mean."""
        steps, ranks = [], tuple(f"{output}_{name}_rank" for name in self.members_)
        for rank, (name, member) in zip(ranks, self.members_.items(), strict=True):
            raw = f"{output}_{name}"
            steps += member.export_steps(inputs, raw)
            files = self.ranks_[name].files()
            steps.append(ExportedStep(rank, (raw,), ExportedModel(kind=CURVE, files=files)))
        mean = ExportedModel(kind=MEAN, files=MeanRuntime(len(ranks)).files())
        curve = ExportedModel(kind=CURVE, files=self.curve_.files())
        mean_name = f"{output}_mean"
        return [*steps, ExportedStep(mean_name, ranks, mean), ExportedStep(output, (mean_name,), curve)]

    def trained_outputs(self, X: Float32Matrix, output: str) -> dict[str, Float64Vector]:
        """Return what each step writes, by the objects that were trained, and by curves of what these say."""
        outputs: dict[str, Float64Vector] = {}
        ranked = []
        for name, member in self.members_.items():
            raw = f"{output}_{name}"
            outputs |= member.trained_outputs(X, raw)
            ranked.append(through(self.ranks_[name], outputs[raw]))
            outputs[f"{raw}_rank"] = ranked[-1]
        mean = _mean(ranked)
        return {**outputs, f"{output}_mean": mean, output: through(self.curve_, mean)}


def make_classifier(choice: Any, seed: int) -> Any:
    """Return an unfitted classifier: of a name, or a clone of an estimator; seeded where it is not yet."""
    if isinstance(choice, str):
        if choice not in CLASSIFIERS:
            raise ValueError(f"expected a classifier among {sorted(CLASSIFIERS)}, got {choice!r}")
        choice = CLASSIFIERS[choice]()
    return seeded(clone(choice), seed)


def held_out_scores(
    classifier: Any, X: Float32Matrix, y: Labels, *, share: float
) -> tuple[Float64Vector, Labels]:
    """Score the last `share` of the rows by a classifier fitted on those before them.

    Where the rows are too few for that, or those before them are of one class, the classifier is fitted on
    all rows, and their scores are returned.
    """
    cut = len(X) - int(len(X) * share)
    if len(X) - cut < _FEWEST_HELD_OUT or len(np.unique(y[:cut])) < 2:
        return clone(classifier).fit(X, y).risk_score(X), y
    return clone(classifier).fit(X[:cut], y[:cut]).risk_score(X[cut:]), y[cut:]


def _mean(columns: Sequence[Float64Vector]) -> Float64Vector:
    return MeanRuntime(len(columns)).run(np.column_stack([to_float32(column) for column in columns]))
