"""The hybrid: anomaly scores, out of fold, and segments beside the supervised features of one classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_is_fitted

from ml.errors import BundleError
from ml.estimators.anomaly import AnomalyDetector
from ml.estimators.base import BinaryClassifier, ExportedStep, drawn_seed, seeded, validate_matrix
from ml.estimators.detectors import DETECTORS, make_detector
from ml.estimators.ensemble import make_classifier
from ml.estimators.foreign_detector import called_scores
from ml.estimators.segmenter import Segmenter
from ml.estimators.trees import export_classifier
from ml.runtimes.matrix import Float32Matrix, Float64Vector, to_float32

ANOMALY_SCORE: Final = "anomaly_score"
SEGMENT_NUMBER: Final = "segment"
Columns = npt.NDArray[np.float64]


class HybridFraudPipeline(BinaryClassifier):
    """Classifier over the given features, anomaly scores and a segment, composed by arguments.

    The classifier must not learn from anomaly scores of rows that the detector has seen: rows are cut into
    `n_splits` consecutive blocks (give them in order of time), and each block is scored by a detector fitted
    on the others. A last detector, fitted on the latest rows, scores whatever comes later.

    Parameters
    ----------
    anomaly_detector : str, sequence of str, estimator, callable or None, default='isolation_forest'
        A name of `DETECTORS`, or several: the classifier then sees the score of each. An
        `AnomalyDetector` is cloned and fitted, and so is any estimator with ``fit`` and ``score_samples``
        (see `EstimatorDetector`; it can't be published). A callable takes the float32
        matrix and returns scores in [0, 1] (it has been fitted elsewhere, on other rows); None: no score.
    classifier : str or estimator, default='lightgbm'
        A name of `CLASSIFIERS`, or an estimator with ``fit`` and ``predict_proba``, which is
        cloned. It gets NaN where a value is missing.
    segmenter : 'kmeans', Segmenter or None, default=None
        Appends the number of each row's segment; sees what the detector sees.
    anomaly_features : sequence of int or str, optional
        What detector and segmenter see, by position or name; by default every feature.
    passthrough : bool, default=True
        Whether the classifier sees the features; without them it turns anomaly scores into probabilities.
    n_splits : int, default=5
        Blocks for the out-of-fold scores.
    recent_rows : int or None, default=200_000
        How many of the latest rows a detector is fitted on, at most; None: all.
    random_state : int, RandomState instance or None, default=None
        Seeds the parts where they have a ``random_state`` of None.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        The labels; the second is fraud.
    classifier_ : estimator
        Fitted on the features and, last, anomaly scores and segment.
    detector_ : AnomalyDetector, callable or None
        Fitted on the latest rows.
    segmenter_ : Segmenter or None
        Fitted on the latest rows.
    anomaly_indices_ : ndarray of int
        Columns that the detector sees.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Their names, when ``fit`` was given any.

    Examples
    --------
    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> X = generator.normal(size=(2000, 4)).astype(np.float32)
    >>> y = X[:, 0] + generator.normal(scale=0.3, size=2000) > 1.5
    >>> pipeline = HybridFraudPipeline(random_state=0).fit(X, y)
    >>> pipeline.predict_proba(X[:2]).shape
    (2, 2)
    """

    def __init__(
        self,
        anomaly_detector: Any = "isolation_forest",
        classifier: Any = "lightgbm",
        *,
        segmenter: Any = None,
        anomaly_features: Sequence[int | str] | None = None,
        passthrough: bool = True,
        n_splits: int = 5,
        recent_rows: int | None = 200_000,
        random_state: Any = None,
    ) -> None:
        self.anomaly_detector = anomaly_detector
        self.classifier = classifier
        self.segmenter = segmenter
        self.anomaly_features = anomaly_features
        self.passthrough = passthrough
        self.n_splits = n_splits
        self.recent_rows = recent_rows
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> HybridFraudPipeline:
        """Fit detector, segmenter and classifier.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Features in order of time; NaN is missing.
        y : array-like, shape (n_samples,)
            Two classes; the one that sorts last is fraud.

        Returns
        -------
        HybridFraudPipeline
            Itself.

        Raises
        ------
        ValueError
            When there are not exactly two classes, or a callable's scores are none.
        TypeError
            When `anomaly_detector` is none of what it may be.
        """
        matrix, codes = self._validate_fit(X, y)
        seed = drawn_seed(self.random_state)
        self.anomaly_indices_ = self._anomaly_indices()
        seen = matrix[:, self.anomaly_indices_]
        latest = seen if self.recent_rows is None else seen[-self.recent_rows :]
        detector = _detector(self.anomaly_detector, seed)
        scores = out_of_fold_scores(detector, seen, n_splits=self.n_splits, recent_rows=self.recent_rows)
        self.detector_ = clone(detector).fit(latest) if isinstance(detector, AnomalyDetector) else detector
        self.segmenter_ = None
        if self.segmenter is not None:
            segmenter = Segmenter() if self.segmenter == "kmeans" else clone(self.segmenter)
            self.segmenter_ = seeded(segmenter, seed).fit(latest)
        self.classifier_ = make_classifier(self.classifier, seed)
        self.classifier_.fit(self._appended(matrix, scores, self._segments(seen)), codes)
        return self

    def anomaly_score(self, X: Any) -> Float64Vector | None:
        """Return the fitted detector's score of each row, None when the pipeline has no detector."""
        check_is_fitted(self)
        seen = validate_matrix(self, X)[:, self.anomaly_indices_]
        if self.detector_ is None:
            return None
        if isinstance(self.detector_, AnomalyDetector):
            return self.detector_._risk(seen)
        return called_scores(self.detector_, seen)

    def export_steps(self, inputs: Sequence[str], output: str) -> list[ExportedStep]:
        """Return the steps of detector, segmenter and classifier, reading `inputs` and writing `output`.

        Raises
        ------
        BundleError
            When a part can't be served.
        """
        seen = [inputs[index] for index in self.anomaly_indices_]
        steps, columns = [], list(inputs) if self.passthrough else []
        if self.detector_ is not None:
            if not hasattr(self.detector_, "export_steps"):
                kind = type(getattr(self.detector_, "estimator", self.detector_)).__name__
                raise BundleError(
                    f"expected a detector that a runtime serves, got {kind}: publish with one of "
                    f"{', '.join(DETECTORS)}"
                )
            steps += self.detector_.export_steps(seen, ANOMALY_SCORE)
            columns += self.detector_.score_names(ANOMALY_SCORE)
        if self.segmenter_ is not None:
            steps += self.segmenter_.export_steps(seen, SEGMENT_NUMBER)
            columns.append(SEGMENT_NUMBER)
        if not hasattr(self.classifier_, "export_steps"):
            return [*steps, ExportedStep(output, tuple(columns), export_classifier(self.classifier_))]
        return [*steps, *self.classifier_.export_steps(columns, output)]

    def trained_outputs(self, X: Float32Matrix, output: str) -> dict[str, Float64Vector]:
        """Return what each step writes, by the objects that were trained, each reading what these said."""
        seen = X[:, self.anomaly_indices_]
        outputs: dict[str, Float64Vector] = {}
        scores = None if isinstance(self.detector_, AnomalyDetector) else _score_columns(self.detector_, seen)
        if isinstance(self.detector_, AnomalyDetector):
            outputs |= self.detector_.trained_outputs(seen, ANOMALY_SCORE)
            scores = np.column_stack([outputs[name] for name in self.detector_.score_names(ANOMALY_SCORE)])
        segments = None
        if self.segmenter_ is not None:
            outputs |= self.segmenter_.trained_outputs(seen, SEGMENT_NUMBER)
            segments = outputs[SEGMENT_NUMBER]
        appended = self._appended(X, scores, segments)
        if not hasattr(self.classifier_, "trained_outputs"):
            return {**outputs, output: _probability(self.classifier_, appended)}
        return {**outputs, **self.classifier_.trained_outputs(appended, output)}

    def _risk(self, X: Float32Matrix) -> Float64Vector:
        seen = X[:, self.anomaly_indices_]
        appended = self._appended(X, _score_columns(self.detector_, seen), self._segments(seen))
        return _probability(self.classifier_, appended)

    def _segments(self, seen: Float32Matrix) -> Float64Vector | None:
        return None if self.segmenter_ is None else self.segmenter_._risk(seen)

    def _appended(
        self, X: Float32Matrix, scores: Columns | None, segments: Float64Vector | None
    ) -> Float32Matrix:
        parts = [X] if self.passthrough else []
        if scores is not None:
            parts.append(to_float32(scores))
        if segments is not None:
            parts.append(to_float32(segments)[:, None])
        if not parts:
            raise ValueError("expected a detector or segmenter where passthrough is False, got neither")
        return np.ascontiguousarray(np.hstack(parts))

    def _anomaly_indices(self) -> npt.NDArray[np.intp]:
        if self.anomaly_features is None:
            return np.arange(self.n_features_in_)
        names = [str(name) for name in getattr(self, "feature_names_in_", ())]
        positions = [
            names.index(entry) if isinstance(entry, str) else entry for entry in self.anomaly_features
        ]
        return np.asarray(positions, dtype=np.intp)


def out_of_fold_scores(
    detector: Any, X: Float32Matrix, *, n_splits: int = 5, recent_rows: int | None = None
) -> Columns | None:
    """Score each consecutive block of rows by a detector fitted on the other blocks.

    Parameters
    ----------
    detector : AnomalyDetector, callable or None
        An unfitted detector is cloned for each block; a callable scores all rows as it is.
    X : ndarray of float32, shape (n_samples, n_features)
        Rows in order of time.
    n_splits : int, default=5
        Number of blocks, at most half the rows.
    recent_rows : int, optional
        Fit on so many of the latest of the other rows only.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_scores), or None
        None when there is no detector.
    """
    if not isinstance(detector, AnomalyDetector):
        return _score_columns(detector, X)
    blocks = min(n_splits, len(X) // 2)
    if blocks < 2:
        fitted: AnomalyDetector = clone(detector).fit(X)
        return fitted.score_columns(X)
    parts = []
    for others, block in KFold(blocks).split(X):
        chosen = others if recent_rows is None else others[-recent_rows:]
        parts.append(clone(detector).fit(X[chosen]).score_columns(X[block]))
    return np.concatenate(parts)


def _detector(choice: Any, seed: int) -> Any:
    is_called = callable(choice) and not isinstance(choice, type) and not hasattr(choice, "score_samples")
    return choice if choice is None or is_called else make_detector(choice, seed)


def _score_columns(detector: Any, X: Float32Matrix) -> Columns | None:
    if detector is None:
        return None
    if isinstance(detector, AnomalyDetector):
        columns: Columns = detector.score_columns(X)
        return columns
    return called_scores(detector, X)[:, None]


def _probability(classifier: Any, X: Float32Matrix) -> Float64Vector:
    if isinstance(classifier, BinaryClassifier):
        return classifier._risk(X)
    return np.asarray(classifier.predict_proba(X)[:, 1], dtype=np.float64)
