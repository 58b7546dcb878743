"""What is known of scored rows beside their features and label."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from warehouse.times import DAY_US

NEW_CUSTOMER_TRANSACTIONS = 10
"""A customer with fewer transactions before a row is new to us at that row."""


@dataclass(frozen=True)
class RowFacts:
    """Facts of rows, aligned with them; what is not known is None, and what needs it is not measured.

    Parameters
    ----------
    customers : ndarray of object, shape (n,), optional
        Customer of each row, None where there is none: for card precision, and to resample customers whole.
    event_us : ndarray of int64, shape (n,), optional
        When it happened, UTC microseconds: for days and for folds over time.
    label_known_us : ndarray of int64, shape (n,), optional
        When its label became known: what may train a fold (law 5 of the design).
    amounts : ndarray of float64, shape (n,), optional
        In one currency's minor units: for the value detected and for cost.
    earlier_transactions : ndarray of int64, shape (n,), optional
        How many transactions its customer had before: below `NEW_CUSTOMER_TRANSACTIONS` the customer is new.

    Raises
    ------
    ValueError
        When two of them differ in length.
    """

    customers: npt.NDArray[Any] | None = None
    event_us: npt.NDArray[np.int64] | None = None
    label_known_us: npt.NDArray[np.int64] | None = None
    amounts: npt.NDArray[np.float64] | None = None
    earlier_transactions: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in self._given().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"expected facts of the same rows, got lengths {lengths}")

    def take(self, chosen: npt.NDArray[Any]) -> RowFacts:
        """Return the facts of chosen rows (a mask or positions)."""
        return replace(self, **{name: values[chosen] for name, values in self._given().items()})

    def days(self) -> npt.NDArray[np.int64] | None:
        """Return the UTC day of each row, counted since 1970."""
        return None if self.event_us is None else self.event_us // DAY_US

    def is_new_customer(self) -> npt.NDArray[np.bool_] | None:
        """Return which rows are of a customer with few transactions before; no customer is not a new one."""
        if self.earlier_transactions is None or self.customers is None:
            return None
        known = np.fromiter((customer is not None for customer in self.customers), dtype=bool)
        return known & (self.earlier_transactions < NEW_CUSTOMER_TRANSACTIONS)

    def _given(self) -> dict[str, npt.NDArray[Any]]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: array for name, array in values.items() if array is not None}
