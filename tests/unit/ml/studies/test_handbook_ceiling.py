"""The ideal observer beside a slow one that goes through every start and every payment, one by one."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ml.errors import TrainingDataError
from ml.studies.handbook.ceiling import SimulatedPayments, ideal_scores

CUSTOMERS, TERMINALS, DAYS, DELAY = 25, 30, 75, 7
STARTS_T, STARTS_C = 2 / TERMINALS, 3 / CUSTOMERS


def world(seed: int) -> SimulatedPayments:
    draw = random.Random(seed)  # noqa: S311 - no secret
    means = [draw.uniform(5, 100) for _ in range(CUSTOMERS)]
    rows = []
    for day in range(DAYS):
        for _ in range(draw.randrange(4, 16)):
            customer = draw.randrange(CUSTOMERS)
            amount = max(draw.gauss(means[customer], means[customer] / 2), 0.0)
            scenario = 1 if amount > 220 else draw.choices([0, 2, 3], [20, 1, 1])[0]
            terminal = draw.randrange(TERMINALS)
            rows.append((day, customer, terminal, amount * 5 if scenario == 3 else amount, scenario))
    days, customers, terminals, amounts, scenarios = (np.array(column) for column in zip(*rows, strict=True))
    ids = pa.array([str(number) for number in range(len(rows))])
    return SimulatedPayments(ids, days, customers, terminals, amounts, scenarios)


def density(amount: float, mean: float) -> float:
    normal = math.exp(-0.5 * ((amount - mean) / (mean / 2)) ** 2) / (mean / 2 * math.sqrt(2 * math.pi))
    redrawn = 0.5 * math.erfc(2 / math.sqrt(2))  # of what falls below zero
    return normal + (redrawn / (2 * mean) if amount <= 2 * mean else 0.0)


class SlowObserver:
    """One payment at a time."""

    def __init__(self, payments: SimulatedPayments, delay: int) -> None:
        columns = (
            payments.days,
            payments.customers,
            payments.terminals,
            payments.amounts,
            payments.scenarios,
        )
        self.rows = list(zip(*(column.tolist() for column in columns), strict=True))
        self.delay = delay
        own: dict[int, list[float]] = {}
        for _, customer, _, amount, scenario in self.rows:
            own.setdefault(customer, []).append(amount / 5 if scenario == 3 else amount)
        self.means = {customer: sum(found) / len(found) for customer, found in own.items()}

    def _ratio(self, row: int) -> float:
        _, customer, _, amount, _ = self.rows[row]
        mean = self.means[customer]
        return density(amount / 5, mean) / 5 / density(amount, mean)

    def score(self, row: int) -> float:
        """Say how probable it is that a payment is a fraud."""
        day, _, _, amount, _ = self.rows[row]
        if amount > 220:
            return 1.0
        terminal = self._on(day, 28, STARTS_T, lambda first: self._of_terminal(row, first))
        customer = self._on(day, 14, STARTS_C, lambda first: self._of_customer(row, first))
        altered = customer / 3 * self._ratio(row)
        by_customer = altered / (altered + customer * 2 / 3 + 1 - customer)
        return 1 - (1 - terminal) * (1 - by_customer)

    @staticmethod
    def _on(day: int, length: int, start: float, likely: Callable[[int], float]) -> float:
        weights = {first: start * likely(first) for first in range(max(day - 2 * length + 2, 0), day + 1)}
        on = sum(weight for first, weight in weights.items() if first > day - length)
        return on / (1 + sum(weights.values()))

    def _of_terminal(self, row: int, first: int) -> float:
        day, _, terminal, _, _ = self.rows[row]
        found = 1.0
        for other, (when, _, where, amount, scenario) in enumerate(self.rows):
            if where == terminal and first <= when < first + 28 and when <= day - self.delay:
                if not scenario:
                    return 0.0
                if amount <= 220:
                    found /= min(STARTS_C * 14 / 3 * self._ratio(other), 1.0)
        return found

    def _of_customer(self, row: int, first: int) -> float:
        day, customer, _, _, _ = self.rows[row]
        found = 1.0
        for other, (when, who, _, amount, scenario) in enumerate(self.rows[:row]):
            if who != customer or not first <= when < first + 14:
                continue
            known, altered = when <= day - self.delay, self._ratio(other) / 3
            if known and not scenario:
                found *= 2 / 3
            elif known and amount <= 220:
                found *= 2 / 3 + altered / (STARTS_T * 28)
            else:
                found *= 2 / 3 + altered
        return found


@pytest.mark.parametrize(("seed", "delay"), [(1, DELAY), (2, 1), (3, None)])
def test_it_holds_for_probable_what_the_slow_one_does(seed: int, delay: int | None) -> None:
    payments = world(seed)
    slow = SlowObserver(payments, DAYS + 1 if delay is None else delay)
    found = ideal_scores(payments, payments.ids, delay_days=delay, chunk=100)
    assert found == pytest.approx([slow.score(row) for row in range(len(payments.ids))], rel=1e-6, abs=1e-12)


def test_it_sees_no_label_before_it_is_known() -> None:
    payments = world(4)
    later = payments.days > 40 - DELAY
    # A payment's own amount stays what it is; 2 for 1 and 0 for 2 change labels, and no customer's mean.
    changed = np.where(later & (payments.scenarios < 3), (payments.scenarios == 0) * 2, payments.scenarios)
    early = payments.ids.filter(pa.array(payments.days <= 40))
    found = ideal_scores(payments, early, delay_days=DELAY)
    assert np.array_equal(found, ideal_scores(replace(payments, scenarios=changed), early, delay_days=DELAY))


def test_other_files_and_payments_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"TRANSACTION_ID": ["x"]}), path)
    with pytest.raises(TrainingDataError, match=r"columns in other\.parquet"):
        SimulatedPayments.read(path)
    with pytest.raises(TrainingDataError, match="1 aren't"):
        ideal_scores(world(5), pa.array(["x"]), delay_days=DELAY)
