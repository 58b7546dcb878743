"""How soon a decision's effect is visible to the next one of the same customer.

Measured at the caller: from the acknowledgement of a customer's first payment to that of the second, sent at
once, whose recorded windows count the first. It holds the second's whole round trip, so it is an upper bound.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cbp.proof.traffic.client import ScoringClient
from warehouse.errors import OperationError

PROBES: Final = 200
_STEP_US: Final = 1_000_000


class FreshnessProbe:
    """Pairs of payments of customers that nobody else knows.

    Parameters
    ----------
    client : ScoringClient
        Who may score.
    event_us : int
        When the payments happen, UTC microseconds.

    Attributes
    ----------
    prefix : str
        What the ids of the transactions and customers begin with.
    milliseconds : dict of str to float
        What was measured, by the id of a pair's second transaction.
    """

    def __init__(self, client: ScoringClient, *, event_us: int) -> None:
        self._client = client
        self._event_us = event_us
        self.prefix = f"freshness-{uuid.uuid4().hex}-"
        self.milliseconds: dict[str, float] = {}

    def measure(self, pairs: int = PROBES) -> None:
        """Send pairs of payments."""
        for number in range(pairs):
            customer = f"{self.prefix}{number}"
            self._client.predict([self._payment(customer, 1)])
            acknowledged = time.perf_counter()
            second = self._payment(customer, 2)
            self._client.predict([second])
            self.milliseconds[second["transaction_id"]] = (time.perf_counter() - acknowledged) * 1e3

    def check(self, recorded: Mapping[str, Mapping[str, Any]], *, counts: Sequence[str]) -> None:
        """Raise an error unless each second payment's windows counted the first.

        Parameters
        ----------
        recorded : Mapping of str to Mapping
            By transaction id the features that its decision used.
        counts : sequence of str
            Features that count the customer's payments.

        Raises
        ------
        OperationError
            When one did not.
        """
        for name in self.milliseconds:
            found = {recorded[name][count] for count in counts if count in recorded[name]}
            if found != {1}:
                raise OperationError(f"{name} came after one payment, but its windows count {found}")

    def _payment(self, customer: str, number: int) -> dict[str, Any]:
        return {
            "transaction_id": f"{customer}-{number}",
            "customer_id": customer,
            "event_us": self._event_us + number * _STEP_US,
            "amount_minor": 1_000,
        }
