"""Deciding: decision, answer, sealed audit record and chain head in one durable commit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from warehouse.errors import StoreError
from warehouse.live.claims import Claim, ClaimLostError
from warehouse.live.engine import change, fetch
from warehouse.live.schema import Head, claims, decisions, heads, outbox

# Built once: putting a statement together costs more than SQLite needs to run it.
_LOCK_HEAD: Final = select(heads.c.value, heads.c.hash).where(heads.c.name == Head.AUDIT).with_for_update()
_MOVE_HEAD: Final = (
    update(heads)
    .where(heads.c.name == Head.AUDIT)
    .values(value=bindparam("sequence"), hash=bindparam("record_hash"))
)
_GIVE_UP: Final = delete(claims).where(
    claims.c.token == bindparam("its_token"), claims.c.transaction_id == bindparam("id")
)
_INSERT_DECISIONS: Final = insert(decisions)
_INSERT_RECORDS: Final = insert(outbox)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided about one claim.

    Parameters
    ----------
    claim : Claim
    decision : str
        approve, review or decline.
    fraud_probability, anomaly_score : float
        In [0, 1].
    model_name, model_version : str
        The bundle that scored it.
    answer : bytes
        What the caller gets, but for the number of its audit record.
    record : bytes
        Plaintext of its audit record.
    """

    claim: Claim
    decision: str
    fraud_probability: float
    anomaly_score: float | None
    model_name: str
    model_version: str
    answer: bytes
    record: bytes


@dataclass(frozen=True, slots=True)
class SealedDecision:
    """Final answer, sealed record, and the hash that the next record follows."""

    answer: bytes
    record: bytes
    record_hash: bytes


Seal = Callable[[Decision, int, bytes], SealedDecision]
"""Seals a decision, given its record's number and the hash of the record before."""


def decide(connection: Connection, made: Sequence[Decision], *, seal: Seal, now_us: int) -> list[bytes]:
    """Record decisions inside a durable transaction; see `LiveStore.decide`."""
    ((sequence, previous_hash),) = fetch(connection, _LOCK_HEAD, {})
    _give_up_claims(connection, made)
    answers: list[bytes] = []
    decision_rows: list[dict[str, object]] = []
    outbox_rows: list[dict[str, object]] = []
    for decision in made:
        sequence += 1
        sealed = seal(decision, sequence, previous_hash)
        previous_hash = sealed.record_hash
        answers.append(sealed.answer)
        outbox_rows.append({"sequence": sequence, "record": sealed.record})
        decision_rows.append(
            {
                "transaction_id": decision.claim.transaction.transaction_id,
                "arrival_seq": decision.claim.arrival_seq,
                "decided_us": now_us,
                "decision": decision.decision,
                "fraud_probability": decision.fraud_probability,
                "anomaly_score": decision.anomaly_score,
                "model_name": decision.model_name,
                "model_version": decision.model_version,
                "content_hash": decision.claim.content_hash,
                "answer": sealed.answer,
                "record_sequence": sequence,
            }
        )
    change(connection, _INSERT_DECISIONS, decision_rows)
    change(connection, _INSERT_RECORDS, outbox_rows)
    change(connection, _MOVE_HEAD, [{"sequence": sequence, "record_hash": previous_hash}])
    return answers


def _give_up_claims(connection: Connection, made: Sequence[Decision]) -> None:
    held = [
        {"its_token": decision.claim.token, "id": decision.claim.transaction.transaction_id}
        for decision in made
    ]
    if change(connection, _GIVE_UP, held) != len(held):
        raise ClaimLostError("another worker has taken over a claim that was being decided; try again")


@dataclass(frozen=True)
class AuditHead:
    """End of the audit chain as the live store knows it, with the records that are not yet shipped.

    Parameters
    ----------
    genesis : bytes
        Hash that record 1 follows.
    sequence : int
        Number of the last record; 0 before the first.
    record_hash : bytes
        Hash of the last record.
    unshipped : tuple of (int, bytes)
        Number and sealed bytes of each record in the outbox, in order.
    """

    genesis: bytes
    sequence: int
    record_hash: bytes
    unshipped: tuple[tuple[int, bytes], ...]


def audit_head(connection: Connection) -> AuditHead:
    """Read the chain's end and the outbox in one snapshot."""
    names = (Head.AUDIT, Head.AUDIT_GENESIS)
    found = {row.name: row for row in connection.execute(select(heads).where(heads.c.name.in_(names)))}
    if len(found) != len(names):
        raise StoreError("the live store has no audit chain; run `cbp materialize` or start the API first")
    last, genesis = found[Head.AUDIT], found[Head.AUDIT_GENESIS]
    return AuditHead(bytes(genesis.hash), int(last.value), bytes(last.hash), unshipped_records(connection))


def unshipped_records(connection: Connection, *, limit: int | None = None) -> tuple[tuple[int, bytes], ...]:
    """Read number and sealed bytes of the records in the outbox, in order."""
    rows = connection.execute(
        select(outbox.c.sequence, outbox.c.record).order_by(outbox.c.sequence).limit(limit)
    )
    return tuple((int(row.sequence), bytes(row.record)) for row in rows)


def clear_shipped(connection: Connection, *, through: int) -> None:
    """Remove records up to and including number `through` from the outbox."""
    connection.execute(delete(outbox).where(outbox.c.sequence <= through))


def count_decisions(connection: Connection) -> int:
    """Count decided transactions."""
    return int(connection.execute(select(func.count()).select_from(decisions)).scalar_one())
