"""Simulated payments and frauds, after the three scenarios of the Fraud Detection Handbook's simulator.

Fraud 1: an amount over 220. Fraud 2: each day merchants are compromised for 28 days: everything paid there is
fraud. Fraud 3: each day customers are compromised for 14 days: a third of their payments is fraud, with five
times the amount.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from warehouse.simulation.world import ONLINE, Customers, Integers, Merchants, Reach

DAY_SECONDS: Final = 86_400
MICROSECONDS: Final = 1_000_000

_LARGE_AMOUNT: Final = 220.0
_MERCHANT_DAYS: Final = 28
_CUSTOMER_DAYS: Final = 14
# Published: 2 of 10,000 merchants and 3 of 5,000 customers a day, from the first day on, which gives 0.84 %
# over 183 days and less over fewer. Ours are compromised before the first day as well, so that short worlds
# have the same share of fraud, and at nine tenths of the pace, which brings it to 0.8 %.
_MERCHANTS_PER_DAY: Final = 0.9 * 2 / 10_000
_CUSTOMERS_PER_DAY: Final = 0.9 * 3 / 5_000
_CHANNEL_SHARES: Final = (0.60, 0.95)  # contactless below the first, chip below the second, magstripe above


@dataclass(frozen=True)
class Payments:
    """Payments in order of time; every array has shape ``(rows,)``.

    Parameters
    ----------
    customer, merchant : ndarray of int64
        Numbers from zero.
    event_us, label_known_us : ndarray of int64
        UTC microseconds.
    amount_minor : ndarray of int64
        Minor units.
    channel : ndarray of int8
        Index into `CHANNELS`.
    scenario : ndarray of int8
        0 for an honest payment, else the number of the fraud scenario.
    """

    customer: Integers
    merchant: Integers
    event_us: Integers
    amount_minor: Integers
    channel: NDArray[np.int8]
    scenario: NDArray[np.int8]
    label_known_us: Integers

    @property
    def is_fraud(self) -> NDArray[np.bool_]:
        """Whether each payment is fraud."""
        return self.scenario > 0


def draw_payments(
    customers: Customers,
    merchants: Merchants,
    reach: Reach,
    *,
    days: int,
    start_us: int,
    label_delay_days: float,
    label_delay_spread: float,
    rng: np.random.Generator,
) -> Payments:
    """Draw every payment of the world and its label.

    Parameters
    ----------
    days : int
        Days from `start_us`.
    start_us : int
        Midnight of the first day, UTC microseconds.
    label_delay_days, label_delay_spread : float
        Median delay of a label, and the standard deviation of the delay's logarithm (0: every label after the
        same delay).
    """
    customer, second = _draw_moments(customers.payments_per_day, days=days, rng=rng)
    choice = np.floor(rng.random(customer.size) * reach.count[customer]).astype(np.int64)
    merchant = reach.merchants[reach.first[customer] + choice]
    mean = customers.mean_amount[customer]
    amount = rng.normal(mean, mean / 2)
    amount = np.where(amount < 0, rng.uniform(0, 2 * mean), amount)
    scenario, amount = _commit_frauds(
        customer, merchant, second, amount, sizes=(customers.x.size, merchants.x.size), days=days, rng=rng
    )
    drawn = rng.random(customer.size)
    channel = np.where(merchants.is_online[merchant], ONLINE, np.searchsorted(_CHANNEL_SHARES, drawn))
    delay_seconds = label_delay_days * DAY_SECONDS * np.exp(rng.normal(0, label_delay_spread, customer.size))
    event_us = start_us + second * MICROSECONDS
    return Payments(
        customer=customer,
        merchant=merchant,
        event_us=event_us,
        amount_minor=np.rint(amount * 100).astype(np.int64),
        channel=channel.astype(np.int8),
        scenario=scenario,
        label_known_us=event_us + np.rint(delay_seconds).astype(np.int64) * MICROSECONDS,
    )


def _draw_moments(
    payments_per_day: NDArray[np.float64], *, days: int, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Draw who pays when (whole seconds since the start), in order of time.

    A Poisson number a day is a Poisson number over all days, spread evenly. Times are N(noon, 20,000 s);
    those outside their day are dropped, as published.
    """
    count = rng.poisson(payments_per_day * days)
    customer = np.repeat(np.arange(count.size), count)
    day = rng.integers(0, days, customer.size)
    second = np.floor(rng.normal(DAY_SECONDS / 2, 20_000, customer.size)).astype(np.int64)
    inside = (second > 0) & (second < DAY_SECONDS)
    customer, moment = customer[inside], day[inside] * DAY_SECONDS + second[inside]
    order = np.argsort(moment, kind="stable")
    return customer[order], moment[order]


def _commit_frauds(
    customer: Integers,
    merchant: Integers,
    second: Integers,
    amount: NDArray[np.float64],
    *,
    sizes: tuple[int, int],
    days: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    customers, merchants = sizes
    day = second // DAY_SECONDS
    scenario = np.where(amount > _LARGE_AMOUNT, 1, 0).astype(np.int8)
    at_merchant = _is_compromised(
        merchant,
        day,
        population=merchants,
        per_day=_MERCHANTS_PER_DAY,
        lasts=_MERCHANT_DAYS,
        days=days,
        rng=rng,
    )
    scenario[at_merchant] = 2
    of_customer = _is_compromised(
        customer,
        day,
        population=customers,
        per_day=_CUSTOMERS_PER_DAY,
        lasts=_CUSTOMER_DAYS,
        days=days,
        rng=rng,
    )
    multiplied = of_customer & (rng.random(customer.size) < 1 / 3)
    scenario[multiplied] = 3
    return scenario, np.where(multiplied, amount * 5, amount)


def _is_compromised(
    member: Integers,
    day: Integers,
    *,
    population: int,
    per_day: float,
    lasts: int,
    days: int,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Say for each payment whether its customer or merchant is compromised on its day.

    The number of new ones a day is the step of a line with a random start, so that a share below one a day
    still gives the exact share over many days.
    """
    pace, offset = population * per_day, rng.random()
    steps = np.floor(pace * np.arange(days + lasts) + offset).astype(np.int64)
    fresh = np.diff(steps)
    first_day = np.repeat(np.arange(1 - lasts, days), fresh)
    chosen = rng.integers(0, population, first_day.size)
    covered = (first_day[:, None] + np.arange(lasts)).ravel()
    inside = (covered >= 0) & (covered < days)
    # One key per member and day; a sorted look-up costs the same for any population.
    keys = np.unique(np.repeat(chosen, lasts)[inside] * days + covered[inside])
    wanted = member * days + day
    position = np.searchsorted(keys, wanted)
    is_covered: NDArray[np.bool_] = np.append(keys, -1)[position] == wanted
    return is_covered
