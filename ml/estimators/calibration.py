"""Curves from scores to probabilities and to ranks, learned on rows that the scoring model has not seen."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ml.runtimes.curves import CurveRuntime
from ml.runtimes.dense import sigmoid
from ml.runtimes.matrix import Float64Vector, to_float32

CALIBRATION_METHODS: Final = ("isotonic", "sigmoid")
_LOGIT_LIMIT: Final = 16.0
_SIGMOID_KNOTS: Final = 321
# How far a level of isotonic regression leans towards its neighbours: scores within it keep their order.
_LEAN: Final = 1e-3
# Finer towards 1, where decisions are made.
_RANK_LEVELS: Final = np.concatenate([np.arange(0.0, 0.9, 0.02), 1.0 - np.geomspace(0.1, 1e-4, 120)])


def through(curve: CurveRuntime, scores: Float64Vector) -> Float64Vector:
    """Return the curve's values at scores, which become float32 first, as between the steps of a bundle."""
    return curve.run(to_float32(scores)[:, None])


def fit_calibration(scores: npt.ArrayLike, labels: npt.ArrayLike, *, method: str) -> CurveRuntime:
    """Fit the curve from scores in [0, 1] to probabilities.

    Parameters
    ----------
    scores : array-like of float, shape (n,)
        Of held-out rows.
    labels : array-like of bool, shape (n,)
        True is fraud; with one class alone nothing can be learned, and the curve changes nothing.
    method : {'isotonic', 'sigmoid'}
        Isotonic regression, its levels leaning slightly so that no two scores become equal, or Platt's
        logistic curve [1]_.

    References
    ----------
    .. [1] Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    if method not in CALIBRATION_METHODS:
        raise ValueError(f"expected a method among {CALIBRATION_METHODS}, got {method!r}")
    risk = to_float32(np.asarray(scores, dtype=np.float64)).astype(np.float64)
    fraud = np.asarray(labels, dtype=np.float64)
    if len(np.unique(fraud)) < 2:
        return CurveRuntime([0.0, 1.0], [0.0, 1.0])
    return _isotonic(risk, fraud) if method == "isotonic" else _sigmoid(risk, fraud)


def fit_ranks(scores: npt.ArrayLike) -> CurveRuntime:
    """Fit the curve from scores in [0, 1] to the share of these scores that is lower.

    Ends stand at (0, 0) and (1, 1), so that scores beyond all that were seen keep their order.
    """
    values = np.quantile(to_float32(np.asarray(scores, dtype=np.float64)).astype(np.float64), _RANK_LEVELS)
    return _rising(values, _RANK_LEVELS)


def _isotonic(risk: Float64Vector, fraud: Float64Vector) -> CurveRuntime:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit_transform(risk, fraud)
    _, level = np.unique(fitted, return_inverse=True)
    # a level of nothing but frauds is not certain: each counts one row more, of the usual kind
    rates = (np.bincount(level, weights=fraud) + fraud.mean()) / (np.bincount(level) + 1)
    low, high = np.full(len(rates), np.inf), np.zeros(len(rates))
    np.minimum.at(low, level, risk)
    np.maximum.at(high, level, risk)
    steps = np.diff(rates, prepend=0.0, append=1.0) * _LEAN
    ends = np.column_stack([rates - steps[:-1], rates + steps[1:]])
    return _rising(np.column_stack([low, high]).ravel(), ends.ravel())


def _sigmoid(risk: Float64Vector, fraud: Float64Vector) -> CurveRuntime:
    from sklearn.linear_model import LogisticRegression

    # fit_transform of the log odds, within what float32 tells from 0 and 1
    fitted: Any = LogisticRegression(C=1e6, max_iter=1000).fit(_logit(risk)[:, None], fraud)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0:
        return CurveRuntime([0.0], [float(fraud.mean())])
    margins = np.linspace(-_LOGIT_LIMIT, _LOGIT_LIMIT, _SIGMOID_KNOTS)
    return _rising(sigmoid(margins), sigmoid(slope * margins + intercept))


def _logit(risk: Float64Vector) -> Float64Vector:
    edge = float(sigmoid(np.asarray([-_LOGIT_LIMIT]))[0])
    inside = np.clip(risk, edge, 1.0 - edge)
    out: Float64Vector = np.log(inside) - np.log1p(-inside)
    return out


def _rising(x: Float64Vector, y: Float64Vector) -> CurveRuntime:
    """Draw the line from (0, 0) through the knots to (1, 1), leaving out those that would not let it rise."""
    knots = [(0.0, 0.0)]
    for at, value in zip(x.tolist(), y.tolist(), strict=True):
        if knots[-1][0] < at < 1.0 and knots[-1][1] < value < 1.0:
            knots.append((at, value))
    knots.append((1.0, 1.0))
    return CurveRuntime(*zip(*knots, strict=True))
