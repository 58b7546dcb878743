"""How good scores are: AUC ROC, average precision, card precision at k, and figures at a threshold."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from ml.errors import TrainingDataError


@dataclass(frozen=True)
class ThresholdMetrics:
    """What happens at one threshold: a row is an alert when its score is at least `threshold`.

    Parameters
    ----------
    threshold : float
        On the scores' scale.
    alerts : int
        Rows at or above it.
    precision : float or None
        Share of the alerts that are fraud; None without alerts.
    recall : float
        Share of the frauds that are alerts.
    f1 : float
        Harmonic mean of precision and recall; 0 without a caught fraud.
    accuracy : float
        Share of the rows that are alerts and fraud, or neither: of rare fraud it says little.
    value_detected : float or None
        Share of the frauds' amount that lies in alerts; None where no amounts were given or they are 0.
    """

    threshold: float
    alerts: int
    precision: float | None
    recall: float
    f1: float
    accuracy: float
    value_detected: float | None


@dataclass(frozen=True)
class Evaluation:
    """Figures of one set of scored rows.

    Parameters
    ----------
    rows, frauds : int
        Size of the set.
    auc_roc, average_precision : float
        Over all rows.
    card_precision : float or None
        Card precision at `card_precision_k`, mean over days; None where no row has a customer.
    card_precision_k : int
        Customers a day.
    at_threshold : ThresholdMetrics or None
        At the decision threshold, when one was given.
    """

    rows: int
    frauds: int
    auc_roc: float
    average_precision: float
    card_precision: float | None
    card_precision_k: int
    at_threshold: ThresholdMetrics | None

    @property
    def card_precision_at_100(self) -> float | None:
        """Card precision at 100; None where it was measured at another k or there are no customers."""
        return self.card_precision if self.card_precision_k == 100 else None

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values; card precision is named after its k (card_precision_at_100)."""
        figures = asdict(self)
        k = figures.pop("card_precision_k")
        figures[card_precision_name(k)] = figures.pop("card_precision")
        return figures


def as_labels(values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which rows are frauds.

    Parameters
    ----------
    values : array-like, shape (n,)
        Truth: booleans, or numbers that are 0 or 1.

    Raises
    ------
    TrainingDataError
        When there is anything else, a missing label say: leave such rows out, or name the fraud class 1.
    """
    told = np.asarray(values)
    is_told = told.dtype.kind in "biuf" and told.ndim == 1
    if not is_told or not np.isin(told, (0, 1)).all():
        got = told[~np.isin(told, (0, 1))][:3].tolist() if is_told else f"dtype {told.dtype}"
        raise TrainingDataError(
            f"expected labels that are booleans, or 0 and 1 (fraud), in one dimension, got {got}: leave out "
            "rows without a label, and name fraud 1"
        )
    return told.astype(bool)


def evaluate_scores(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    customers: npt.ArrayLike | None = None,
    days: npt.ArrayLike | None = None,
    k: int = 100,
    threshold: float | None = None,
    amounts: npt.ArrayLike | None = None,
) -> Evaluation:
    """Compute the figures of scored rows.

    Parameters
    ----------
    scores : array-like of float, shape (n,)
        Higher is riskier.
    labels : array-like of bool, shape (n,)
        True is fraud; both classes must be there.
    customers : array-like, shape (n,), optional
        Customer of each row; None where there is none.
    days : array-like of int, shape (n,), optional
        Day of each row.
    k : int, default=100
        Customers a day for card precision.
    threshold : float, optional
        Where to measure precision and recall.
    amounts : array-like of float, shape (n,), optional
        Amount of each row, in one currency's minor units.

    Returns
    -------
    Evaluation
    """
    risk = np.asarray(scores, dtype=np.float64)
    fraud = np.asarray(labels, dtype=bool)
    card_precision = None
    if customers is not None and days is not None:
        card_precision = card_precision_at_k(risk, fraud, customers=customers, days=days, k=k)
    return Evaluation(
        rows=len(risk),
        frauds=int(fraud.sum()),
        auc_roc=float(roc_auc_score(fraud, risk)),
        average_precision=float(average_precision_score(fraud, risk)),
        card_precision=card_precision,
        card_precision_k=k,
        at_threshold=None
        if threshold is None
        else metrics_at_threshold(risk, fraud, threshold=threshold, amounts=amounts),
    )


def metrics_at_threshold(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    threshold: float,
    amounts: npt.ArrayLike | None = None,
) -> ThresholdMetrics:
    """Return the figures where a row is an alert when its score is at least `threshold`."""
    alert = np.asarray(scores, dtype=np.float64) >= threshold
    fraud = np.asarray(labels, dtype=bool)
    hits, alerts, frauds = int((alert & fraud).sum()), int(alert.sum()), int(fraud.sum())
    return ThresholdMetrics(
        threshold=float(threshold),
        alerts=alerts,
        precision=hits / alerts if alerts else None,
        recall=hits / frauds if frauds else 0.0,
        f1=2 * hits / (alerts + frauds) if hits else 0.0,
        accuracy=float(np.mean(alert == fraud)) if len(fraud) else 0.0,
        value_detected=None if amounts is None else _value_detected(alert, fraud, amounts),
    )


def card_precision_name(k: int) -> str:
    """Return what card precision at k is called in figures."""
    return f"card_precision_at_{k}"


def card_precision_at_k(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    customers: npt.ArrayLike,
    days: npt.ArrayLike,
    k: int = 100,
) -> float | None:
    """Return the mean over days of the share of the k riskiest customers who are compromised.

    Each day customers are ranked by their highest score of the day; a customer is compromised on a day with a
    fraud of theirs. Compromised customers among the first k are detected and dropped from the days after. The
    share is of k also on a day with fewer customers. Equal scores rank by the order of first appearance in
    the rows. Rows without a customer (None) are left out.

    Parameters
    ----------
    scores : array-like of float, shape (n,)
    labels : array-like of bool, shape (n,)
    customers : array-like, shape (n,)
        Customer of each row.
    days : array-like of int, shape (n,)
        Day of each row; only days that occur count.
    k : int, default=100
        Customers that can be looked at in a day.

    Returns
    -------
    float or None
        None when no row has a customer.

    References
    ----------
    Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection", chapter 4.4 (precision
    top-k).
    """
    code = _customer_codes(customers)
    known = code >= 0
    if not known.any():
        return None
    risk = np.asarray(scores, dtype=np.float64)[known]
    fraud = np.asarray(labels, dtype=bool)[known]
    day = np.asarray(days)[known]
    code = code[known]
    detected = np.zeros(int(code.max()) + 1, dtype=bool)
    shares = []
    for today in np.unique(day):
        rows = np.flatnonzero((day == today) & ~detected[code])
        highest = np.full(len(detected), -np.inf)
        np.maximum.at(highest, code[rows], risk[rows])
        compromised = np.zeros(len(detected), dtype=bool)
        compromised[code[rows[fraud[rows]]]] = True
        present = np.unique(code[rows])
        first = present[np.argsort(-highest[present], kind="stable")[:k]]
        hits = first[compromised[first]]
        detected[hits] = True
        shares.append(len(hits) / k)
    return float(np.mean(shares))


def _value_detected(
    alert: npt.NDArray[np.bool_], fraud: npt.NDArray[np.bool_], amounts: npt.ArrayLike
) -> float | None:
    value = np.asarray(amounts, dtype=np.float64)
    lost = float(value[fraud].sum())
    return float(value[alert & fraud].sum()) / lost if lost else None


def _customer_codes(customers: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Give each customer a number, in order of first appearance; -1 is none."""
    numbers: dict[Any, int] = {}
    values = customers.tolist() if isinstance(customers, np.ndarray) else list(customers)  # type: ignore[arg-type]
    codes = (
        -1 if value is None or value != value else numbers.setdefault(value, len(numbers)) for value in values
    )
    return np.fromiter(codes, dtype=np.int64, count=len(values))
