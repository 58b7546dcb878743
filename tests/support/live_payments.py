"""Payments for tests of the live store, and what its windows must hold, computed slowly and obviously."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from warehouse.live.claims import Claim
from warehouse.live.decisions import Decision, SealedDecision
from warehouse.live.events import Transaction

DAY_US = 86_400_000_000
START_US = 1_700_000_000_000_000
LIVE_SQL = """
select
    arriving.arrival_seq,
    (
        select count(*)
        from events as earlier
        where earlier.customer_id = arriving.customer_id
            and earlier.event_us >= arriving.event_us - 86400000000
            and earlier.event_us < arriving.event_us
            and earlier.arrival_seq < arriving.arrival_seq
    ) as transaction_count_24h,
    (
        select sum(earlier.amount_minor)
        from events as earlier
        where earlier.customer_id = arriving.customer_id
            and earlier.event_us >= arriving.event_us - 604800000000
            and earlier.event_us < arriving.event_us
            and earlier.arrival_seq < arriving.arrival_seq
    ) as amount_sum_7d,
    (
        select count(*)
        from events as earlier
        where earlier.merchant_id = arriving.merchant_id
            and earlier.event_us >= arriving.event_us - 86400000000
            and earlier.event_us < arriving.event_us
            and earlier.arrival_seq < arriving.arrival_seq
    ) as merchant_transaction_count_24h
from events as arriving
where arriving.arrival_seq between :first_seq and :last_seq
order by arriving.arrival_seq
"""

WORKER = "elsewhere.example/1/1.00"


def pay(name: str, *, event_us: int = START_US, **fields: Any) -> Transaction:
    """Make a payment of customer c1 at merchant m1."""
    values: dict[str, Any] = {"customer_id": "c1", "merchant_id": "m1", "amount_minor": 100, **fields}
    return Transaction(transaction_id=name, event_us=event_us, **values)


def windows_of(transaction: Transaction, arrived: Sequence[Transaction]) -> dict[str, int | None]:
    """Return the features of `LIVE_SQL`, over what had arrived before."""

    def earlier(key: str, window_us: int) -> list[Transaction]:
        value = getattr(transaction, key)
        return [
            other
            for other in arrived
            if value is not None
            and getattr(other, key) == value
            and transaction.event_us - window_us <= other.event_us < transaction.event_us
        ]

    amounts = [other.amount_minor for other in earlier("customer_id", 7 * DAY_US)]
    return {
        "transaction_count_24h": len(earlier("customer_id", DAY_US)),
        "amount_sum_7d": sum(amounts) if amounts else None,
        "merchant_transaction_count_24h": len(earlier("merchant_id", DAY_US)),
    }


def decision_of(claim: Claim) -> Decision:
    """Make a decision about a claim."""
    return Decision(
        claim=claim,
        decision="approve",
        fraud_probability=0.25,
        anomaly_score=None,
        model_name="fraud",
        model_version="1",
        answer=b"answer to " + claim.transaction.transaction_id.encode(),
        record=b"record of " + claim.transaction.transaction_id.encode(),
    )


def seal(decision: Decision, sequence: int, previous_hash: bytes) -> SealedDecision:
    """Seal without a key: number, hash of the record before, plaintext."""
    record = b"%d %b %b" % (sequence, previous_hash.hex().encode(), decision.record)
    return SealedDecision(
        answer=b"%b as %d" % (decision.answer, sequence),
        record=record,
        record_hash=hashlib.sha256(record).digest(),
    )
