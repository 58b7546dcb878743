"""The one number that leaves this package: ``risk_score(X)`` in [0, 1], higher is riskier."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from ml.runtimes.kinds import ExportedModel, load_runtime
from ml.runtimes.matrix import Float32Matrix, Float64Vector

_SEED_LIMIT: Final = 2**31 - 1


@dataclass(frozen=True)
class ExportedStep:
    """One model of a scorer as a step of a bundle.

    Parameters
    ----------
    output : str
        Name of what it writes.
    inputs : tuple of str
        Columns that it reads, in order: features, or outputs of steps before it.
    model : ExportedModel
        Kind and files.
    """

    output: str
    inputs: tuple[str, ...]
    model: ExportedModel


class RiskScorer(BaseEstimator):  # type: ignore[misc]
    """Base of everything that scores risk: validates, then calls the subclass's one underscored method.

    A subclass writes ``_risk``; NaN means missing and every subclass has its own way with it. One that can be
    put into a bundle writes ``export_steps`` and ``trained_outputs`` too, or is a `Served`.
    """

    def __sklearn_tags__(self) -> Any:
        """Declare that NaN is welcome: missing values are handled inside each scorer."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def risk_score(self, X: Any) -> Float64Vector:
        """Score rows.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            The features of ``fit``; the columns of a DataFrame may come in any order.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In [0, 1], higher is riskier.

        Raises
        ------
        ValueError
            When a feature is missing or unknown.
        """
        check_is_fitted(self)
        matrix = validate_matrix(self, ordered_as_fitted(self, X))
        return np.clip(self._risk(matrix), 0.0, 1.0)

    @abstractmethod
    def _risk(self, X: Float32Matrix) -> Float64Vector:
        """Score a validated matrix."""


class Served:
    """Part of a scorer that is one model: it scores through the runtime that will serve it.

    A subclass ends its fitting with ``_serve``, and writes ``_trained_risk``.

    Attributes
    ----------
    exported_ : ExportedModel
        The model as a bundle stores it.
    """

    exported_: ExportedModel

    def export(self) -> ExportedModel:
        """Return the model as a bundle stores it: no row of the training data is in it."""
        return self.exported_

    def export_steps(self, inputs: Sequence[str], output: str) -> list[ExportedStep]:
        """Return the one step that the model is, reading `inputs` and writing `output`."""
        return [ExportedStep(output, tuple(inputs), self.export())]

    def trained_outputs(self, X: Float32Matrix, output: str) -> dict[str, Float64Vector]:
        """Return what each step writes, by the objects that were trained."""
        return {output: self._trained_risk(X)}

    @abstractmethod
    def _trained_risk(self, X: Float32Matrix) -> Float64Vector:
        """Score with the object that was trained, to check the runtime that serves against."""

    def _serve(self, model: ExportedModel) -> None:
        self.exported_ = model
        self._runtime = load_runtime(model.kind, model.files)

    def _risk(self, X: Float32Matrix) -> Float64Vector:
        score: Float64Vector = self._runtime.run(X)
        return score

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[call-overload]
        state.pop("_runtime", None)  # a handle of another library: loaded again from what is exported
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        if "exported_" in state:
            self._serve(state["exported_"])


class BinaryClassifier(ClassifierMixin, RiskScorer):  # type: ignore[misc]
    """Base of what is fitted on fraud and not, and whose risk score is the probability of fraud.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        The labels; the second is fraud.
    """

    def __sklearn_tags__(self) -> Any:
        """Declare two classes only."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the probability of each class, shape (n_samples, 2); the second column is fraud's."""
        check_is_fitted(self)
        probabilities = np.clip(self._risk(validate_matrix(self, X)), 0.0, 1.0)
        return np.column_stack([1.0 - probabilities, probabilities])

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the likelier class of each row; decisions take a threshold from the bundle instead."""
        probabilities = self.predict_proba(X)[:, 1]
        labels: npt.NDArray[Any] = self.classes_[(probabilities >= 0.5).astype(int)]
        return labels

    def _validate_fit(self, X: Any, y: Any) -> tuple[Float32Matrix, npt.NDArray[np.int64]]:
        """Return the matrix and the labels as 0 and 1."""
        matrix, target = validate_matrix(self, X, y=y, reset=True, ensure_min_samples=2)
        return matrix, self._encode(target)

    def _encode(self, y: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        check_classification_targets(y)
        if type_of_target(y) != "binary":
            raise ValueError(
                f"Only binary classification is supported. The type of the target is {type_of_target(y)}."
            )
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) != 2:
            raise ValueError(f"expected two classes, fraud and not, got 1 class: {self.classes_[0]!r}")
        return codes


def drawn_seed(random_state: Any) -> int:
    """Return one number for libraries that take a seed, drawn as scikit-learn draws."""
    return int(check_random_state(random_state).randint(_SEED_LIMIT))


def seeded(estimator: Any, seed: int) -> Any:
    """Give an estimator a seed when it has a ``random_state`` of None."""
    if "random_state" in estimator.get_params() and estimator.get_params()["random_state"] is None:
        estimator.set_params(random_state=seed)
    return estimator


def ordered_as_fitted(estimator: RiskScorer, X: Any) -> Any:
    """Return `X` with its named columns in the order of ``fit``; unnamed input is left as it is."""
    fitted = getattr(estimator, "feature_names_in_", None)
    columns = getattr(X, "columns", None)
    if fitted is None or columns is None:
        return X
    same_names = len(columns) == len(fitted) and set(columns) == set(fitted)
    return X[list(fitted)] if same_names else X


def validate_matrix(estimator: RiskScorer, X: Any, **options: Any) -> Any:
    """Validate `X` (and ``y`` when given) as scikit-learn does, into a C-ordered float32 matrix."""
    options.setdefault("reset", False)
    return validate_data(estimator, X, dtype=np.float32, order="C", ensure_all_finite="allow-nan", **options)
