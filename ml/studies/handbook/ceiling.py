"""What an observer could know of the handbook's payments who knows how they were simulated.

A ceiling to tell figures by, never a model: it reads how frauds were simulated and each customer's true mean
amount. Of labels it knows what everybody knows, those of the days up to the label delay ago. After the
simulator of Le Borgne et al., "Reproducible Machine Learning for Credit Card Fraud Detection", chapter 3:

1. every payment above 220 is a fraud;
2. each day 2 terminals are drawn: all their payments of 28 days are frauds;
3. each day 3 customers are drawn: a third of their payments of 14 days are frauds, of 5 times the amount.

Each terminal and customer is thought to be compromised at most once within reach of a payment, and each label
is explained by itself: the ceiling is approximate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ml.errors import TrainingDataError
from ml.runtimes.matrix import Float64Vector

SURE_ABOVE: Final = 220.0
TERMINALS_A_DAY: Final = 2
TERMINAL_DAYS: Final = 28
CUSTOMERS_A_DAY: Final = 3
CUSTOMER_DAYS: Final = 14
ALTERED_SHARE: Final = 1 / 3
TIMES: Final = 5.0
# Of normal amounts whose deviation is half their mean: they are drawn anew, evenly.
_NEGATIVE_SHARE: Final = 0.02275013194817921
_LOG_NEVER: Final = -700.0
_Int64s = npt.NDArray[np.int64]
_Evidence = Callable[[_Int64s, _Int64s], npt.NDArray[np.float64]]
_ROWS: Final = """
select
    cast(TRANSACTION_ID as varchar) as id,
    epoch_us(cast(TX_DATETIME as timestamp)) // 86400000000 as day,
    dense_rank() over (order by CUSTOMER_ID) - 1 as customer,
    dense_rank() over (order by TERMINAL_ID) - 1 as terminal,
    cast(TX_AMOUNT as double) as amount,
    cast(TX_FRAUD_SCENARIO as bigint) as scenario
from read_parquet($file)
order by TX_DATETIME, TRANSACTION_ID
"""


@dataclass(frozen=True, eq=False)
class SimulatedPayments:
    """The raw payments, in order of time.

    Parameters
    ----------
    ids : pyarrow.StringArray, shape (n,)
    days, customers, terminals : ndarray of int64, shape (n,)
        Days from the first one on; customers and terminals as numbers from 0 on.
    amounts : ndarray of float64, shape (n,)
    scenarios : ndarray of int64, shape (n,)
        How a fraud was simulated; 0: genuine.
    """

    ids: pa.Array
    days: _Int64s
    customers: _Int64s
    terminals: _Int64s
    amounts: Float64Vector
    scenarios: _Int64s

    @classmethod
    def read(cls, raw_file: Path) -> SimulatedPayments:
        """Read the raw Parquet file.

        Raises
        ------
        TrainingDataError
            When it has not the columns of the handbook's data.
        """
        try:
            table = duckdb.execute(_ROWS, {"file": str(raw_file)}).to_arrow_table()
        except duckdb.Error as error:
            raise TrainingDataError(f"expected the handbook's columns in {raw_file.name}: {error}") from error
        days, customers, terminals, amounts, scenarios = (
            table.column(name).to_numpy() for name in ("day", "customer", "terminal", "amount", "scenario")
        )
        first = days.min() if len(days) else 0
        return cls(
            table.column("id").combine_chunks(), days - first, customers, terminals, amounts, scenarios
        )


def ideal_scores(
    payments: SimulatedPayments, wanted: pa.Array, *, delay_days: int | None, chunk: int = 50_000
) -> Float64Vector:
    """Return how probable the observer holds it that each payment is a fraud.

    Parameters
    ----------
    payments : SimulatedPayments
    wanted : pyarrow.StringArray, shape (m,)
        Ids of the payments to score.
    delay_days : int or None
        Labels of the payments of so many days ago, and before, are known; None: none ever is.
    chunk : int
        Payments worked at a time.

    Returns
    -------
    ndarray of float64, shape (m,)

    Raises
    ------
    TrainingDataError
        When a payment is not among the simulated ones.
    """
    places = pc.index_in(wanted, payments.ids)
    if places.null_count:
        raise TrainingDataError(
            f"expected every payment among the simulated ones, {places.null_count} aren't"
        )
    never = int(payments.days.max()) + 2
    observer = _Observer(payments, never if delay_days is None else delay_days)
    rows = places.to_numpy().astype(np.intp)
    parts = [observer.scores(rows[start : start + chunk]) for start in range(0, len(rows), chunk)]
    return np.concatenate(parts) if parts else np.empty(0)


class _Observer:
    """What the labels and amounts of each day say of each terminal and customer, summed over days."""

    def __init__(self, payments: SimulatedPayments, delay_days: int) -> None:
        self._payments, self._delay = payments, delay_days
        fraud, sure = payments.scenarios > 0, payments.amounts > SURE_ABOVE
        self._times_as_likely = _log_ratio(payments)
        # How likely a payment is in a customer's compromised time, against an own one: logarithms.
        altered = self._times_as_likely + np.log(ALTERED_SHARE)
        own = np.log1p(-ALTERED_SHARE)
        either = np.logaddexp(own, altered)
        terminals, customers = payments.terminals.max() + 1, payments.customers.max() + 1
        self._terminal_start = TERMINALS_A_DAY / terminals
        self._customer_start = CUSTOMERS_A_DAY / customers
        of_terminals = np.log(self._terminal_start * TERMINAL_DAYS)
        of_customers = np.log(self._customer_start * CUSTOMER_DAYS)
        # A fraud that no amount explains: of the terminal for sure, else of its customer.
        unexplained = -np.minimum(of_customers + altered, 0.0)
        by_terminal = np.select([~fraud, sure], [_LOG_NEVER, 0.0], unexplained)
        by_label = np.select([~fraud, sure], [own, either], np.logaddexp(own, altered - of_terminals))
        self._terminals = self._daily(payments.terminals, by_terminal)
        self._labelled = self._daily(payments.customers, by_label)
        self._unlabelled = self._daily(payments.customers, either)
        self._today = _earlier_today(payments, either)

    def _daily(self, keys: _Int64s, values: Float64Vector) -> npt.NDArray[np.float64]:
        """Sum values by key and day, over all days before each: shape (keys, days + 1)."""
        sums = np.zeros((keys.max() + 1, self._payments.days.max() + 2))
        np.add.at(sums, (keys, self._payments.days + 1), values)
        return np.cumsum(sums, axis=1)

    def scores(self, rows: npt.NDArray[np.intp]) -> Float64Vector:
        """Return the probabilities of some payments."""
        payments = self._payments
        terminals, customers = payments.terminals[rows], payments.customers[rows]
        days, today = payments.days[rows][:, None], self._today[rows][:, None]
        known = days - self._delay + 1

        def by_terminal(first: _Int64s, end: _Int64s) -> npt.NDArray[np.float64]:
            return _between(self._terminals, terminals, first, np.minimum(end, known))

        def by_customer(first: _Int64s, end: _Int64s) -> npt.NDArray[np.float64]:
            labels = _between(self._labelled, customers, first, np.minimum(end, known))
            since = np.maximum(first, known)
            amounts = _between(self._unlabelled, customers, since, np.minimum(end, days))
            return np.asarray(labels + amounts + np.where(end > days, today, 0.0))

        of_terminal = _active(days, TERMINAL_DAYS, self._terminal_start, by_terminal)
        compromised = _active(days, CUSTOMER_DAYS, self._customer_start, by_customer)
        altered = compromised * ALTERED_SHARE * np.exp(np.clip(self._times_as_likely[rows], -700, 700))
        own = compromised * (1 - ALTERED_SHARE) + 1 - compromised
        of_amount = altered / (altered + own)
        probable = 1 - (1 - of_terminal) * (1 - of_amount)
        return np.where(payments.amounts[rows] > SURE_ABOVE, 1.0, probable)


def _active(days: _Int64s, length: int, start: float, evidence: _Evidence) -> Float64Vector:
    """Return how probable it is that a time of `length` days, begun once at most, is on.

    Each day begins one with the probability `start`. What is known is so many times as likely with one from
    `first` to before `end`: `evidence(first, end)` is the logarithm of it. Shapes: `days` (m, 1), the
    others (m, starts).
    """
    first = days - np.arange(2 * length - 1)
    weights = start * np.exp(np.clip(evidence(first, first + length), _LOG_NEVER, 700.0))
    weights[first < 0] = 0.0
    on = weights[:, :length].sum(axis=1)
    return np.asarray(on / (1.0 + weights.sum(axis=1)))


def _between(
    sums: npt.NDArray[np.float64],
    keys: _Int64s,
    first: _Int64s,
    end: _Int64s,
) -> npt.NDArray[np.float64]:
    """Sum each key's values from a day to before another; 0 where there is none between."""
    last = sums.shape[1] - 1
    low = np.clip(first, 0, last)
    high = np.clip(np.maximum(end, first), 0, last)
    return np.asarray(sums[keys[:, None], high] - sums[keys[:, None], low])


def _log_ratio(payments: SimulatedPayments) -> Float64Vector:
    """Return how many times as likely each amount is as one of 5 times an own amount: the logarithm."""
    own = np.where(payments.scenarios == 3, payments.amounts / TIMES, payments.amounts)
    counts = np.bincount(payments.customers)
    means = (np.bincount(payments.customers, own) / np.maximum(counts, 1))[payments.customers]
    as_times = _log_density(payments.amounts / TIMES, means) - np.log(TIMES)
    return np.asarray(as_times - _log_density(payments.amounts, means))


def _log_density(amounts: Float64Vector, means: Float64Vector) -> Float64Vector:
    """Return the density of own amounts: normal with half the mean as its deviation, none negative."""
    deviations = means / 2
    normal = -0.5 * ((amounts - means) / deviations) ** 2 - np.log(deviations) - 0.5 * np.log(2 * np.pi)
    even = np.where(amounts <= 2 * means, np.log(_NEGATIVE_SHARE) - np.log(2 * means), -np.inf)
    return np.asarray(np.logaddexp(normal, even))


def _earlier_today(payments: SimulatedPayments, values: Float64Vector) -> Float64Vector:
    """Sum the values of a customer's earlier payments of the same day."""
    keys = payments.customers * (payments.days.max() + 1) + payments.days
    order = np.argsort(keys, kind="stable")
    running = np.cumsum(values[order]) - values[order]
    is_first = np.diff(keys[order], prepend=-1) != 0
    base = running[np.maximum.accumulate(np.where(is_first, np.arange(len(order)), 0))]
    earlier = np.empty_like(values)
    earlier[order] = running - base
    return earlier
