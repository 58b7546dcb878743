"""Claiming: one short write transaction that gives transactions their place in the order of arrival.

A claim is a promise to decide soon. Its row names a worker; when that worker is dead, or the lease has run
out, the next who asks takes the claim over: same `arrival_seq`, hence same windows, hence same values.

Errors::

    InputError
    └── ConflictError           the id is known with other content
    BusyError
    └── ClaimInProgressError    another worker is scoring it now: try again
    StoreError
    └── ClaimLostError          another worker has taken the claim over
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import psutil
from sqlalchemy import BindParameter, Connection, bindparam, delete, insert, select

from warehouse.canonical import SOURCE_API
from warehouse.errors import BusyError, InputError, StoreError
from warehouse.live.arrivals import lock_arrivals, move_arrivals
from warehouse.live.engine import change, fetch_by_ids, run_text
from warehouse.live.events import Transaction, event_row, stored_content_hash
from warehouse.live.schema import claims, decisions, events

LEASE_US: Final = 60_000_000
"""A claim older than this may be taken over even when its worker seems alive."""

# Built once: putting a statement together costs more than SQLite needs to run it.
_IDS: Final[BindParameter[str]] = bindparam("ids", expanding=True)
_FIND_ANSWERS: Final = select(
    decisions.c.transaction_id, decisions.c.arrival_seq, decisions.c.content_hash, decisions.c.answer
).where(decisions.c.transaction_id.in_(_IDS))
_FIND_EVENTS: Final = (
    select(events, claims.c.worker, claims.c.claimed_us)
    .join_from(events, claims, events.c.transaction_id == claims.c.transaction_id, isouter=True)
    .where(events.c.transaction_id.in_(_IDS))
)
_FOUND: Final = tuple(_FIND_EVENTS.selected_columns.keys())
_FIND_HASHES: Final = select(decisions.c.transaction_id, decisions.c.content_hash).where(
    decisions.c.transaction_id.in_(_IDS)
)
_INSERT_EVENTS: Final = insert(events)
_INSERT_CLAIMS: Final = insert(claims)
_DELETE_CLAIM: Final = delete(claims).where(claims.c.transaction_id == bindparam("id"))


class ConflictError(InputError):
    """A transaction id is known with other content."""


class ClaimInProgressError(BusyError):
    """Another worker is scoring the transaction now."""


class ClaimLostError(StoreError):
    """Another worker has taken the claim over."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A transaction's place in the order of arrival, and what was known at that place.

    Parameters
    ----------
    transaction : Transaction
    content_hash : bytes
        SHA-256 of the transaction's content.
    arrival_seq : int
        Rising in commit order over all processes.
    velocity : Mapping of str to int, float or None
        Live features; empty when already decided.
    token : str
        Proves whose claim it is.
    answer : bytes or None
        The stored answer when it was decided before.
    """

    transaction: Transaction
    content_hash: bytes
    arrival_seq: int
    velocity: Mapping[str, Any]
    token: str
    answer: bytes | None = None


@lru_cache(maxsize=4)
def _worker_of(pid: int) -> str:
    return f"{socket.gethostname()}/{pid}/{psutil.Process(pid).create_time():.2f}"


def this_worker() -> str:
    """Name of this process: host, process id and start time, so that a reused id is not taken for it."""
    return _worker_of(os.getpid())


def is_worker_alive(worker: str) -> bool:
    """Say whether a worker may still be running; True for one on another host, where nobody can tell."""
    host, pid, started = worker.rsplit("/", 2)
    if host != socket.gethostname():
        return True
    try:
        process = psutil.Process(int(pid))
        is_same = f"{process.create_time():.2f}" == started
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def distinct_transactions(transactions: Iterable[Transaction]) -> dict[str, Transaction]:
    """Drop exact repeats, keeping order.

    Raises
    ------
    ConflictError
        When an id comes twice with different content.
    """
    distinct: dict[str, Transaction] = {}
    for transaction in transactions:
        first = distinct.setdefault(transaction.transaction_id, transaction)
        if first is not transaction and first.content_hash() != transaction.content_hash():
            raise conflict_of(transaction.transaction_id)
    return distinct


def find_conflict(connection: Connection, transactions: Sequence[Transaction]) -> str | None:
    """Id of a transaction that is known with other content, if there is one."""
    known = _known_hashes(connection, [transaction.transaction_id for transaction in transactions])
    for transaction in transactions:
        stored = known.get(transaction.transaction_id)
        if stored is not None and stored != transaction.content_hash():
            return transaction.transaction_id
    return None


def claim(
    connection: Connection, transactions: Sequence[Transaction], *, worker: str, now_us: int, live_sql: str
) -> list[Claim]:
    """Claim transactions inside a write transaction; see `LiveStore.claim`."""
    distinct = distinct_transactions(transactions)
    hashes = {name: transaction.content_hash() for name, transaction in distinct.items()}
    # Taking the counter's row first makes claims one after another on every database.
    last_seq = lock_arrivals(connection)
    # Events before answers: a decision takes its claim away and leaves its answer in one commit, so a claim
    # that is gone here has its answer below, even where each statement has its own snapshot (PostgreSQL).
    known = _known_events(connection, hashes)
    answers = _stored_answers(connection, hashes)
    undecided = [row for row in known if row["transaction_id"] not in answers]
    places = _free_places(undecided, hashes, now_us=now_us)
    _take_over(connection, [row for row in undecided if row["worker"] is not None])
    token = uuid.uuid4().hex
    fresh = [name for name in distinct if name not in answers and name not in places]
    if fresh:
        _insert_events(
            connection, [distinct[name] for name in fresh], hashes, first_seq=last_seq + 1, now_us=now_us
        )
    _write_claims(connection, places=places, fresh=fresh, token=token, worker=worker, now_us=now_us)
    velocities = _velocities(connection, live_sql, first_seq=last_seq + 1, count=len(fresh), known=places)
    places |= {name: last_seq + 1 + offset for offset, name in enumerate(fresh)}
    claimed = {
        name: Claim(
            transaction,
            hashes[name],
            answers[name][0] if name in answers else places[name],
            {} if name in answers else velocities[places[name]],
            token,
            answers[name][1] if name in answers else None,
        )
        for name, transaction in distinct.items()
    }
    return [claimed[transaction.transaction_id] for transaction in transactions]


def release(connection: Connection, claimed: Sequence[Claim]) -> None:
    """Give claims back undecided, so that a retry need not wait for the lease."""
    for token in {item.token for item in claimed}:
        connection.execute(delete(claims).where(claims.c.token == token))


def conflict_of(transaction_id: str) -> ConflictError:
    """Error of an id that is known with other content."""
    return ConflictError(
        f"transaction {transaction_id!r} is already known with other content; "
        "send the same content to repeat it, or another transaction_id"
    )


def _stored_answers(connection: Connection, hashes: Mapping[str, bytes]) -> dict[str, tuple[int, bytes]]:
    answers = {}
    for transaction_id, arrival_seq, content_hash, answer in fetch_by_ids(
        connection, _FIND_ANSWERS, list(hashes)
    ):
        if bytes(content_hash) != hashes[transaction_id]:
            raise conflict_of(transaction_id)
        answers[transaction_id] = (arrival_seq, bytes(answer))
    return answers


def _known_events(connection: Connection, names: Iterable[str]) -> list[dict[str, Any]]:
    """Events that are known by their ids, with the claims on them."""
    found = fetch_by_ids(connection, _FIND_EVENTS, list(names))
    return [dict(zip(_FOUND, values, strict=True)) for values in found]


def _free_places(
    undecided: Iterable[Mapping[str, Any]], hashes: Mapping[str, bytes], *, now_us: int
) -> dict[str, int]:
    """`arrival_seq` of undecided transactions, all of them free to be claimed."""
    places = {}
    for row in undecided:
        transaction_id = row["transaction_id"]
        if stored_content_hash(row) != hashes[transaction_id]:
            raise conflict_of(transaction_id)
        worker = row["worker"]
        if worker is not None and now_us - row["claimed_us"] < LEASE_US and is_worker_alive(worker):
            raise _in_progress(transaction_id)
        places[transaction_id] = row["arrival_seq"]
    return places


def _take_over(connection: Connection, abandoned: Sequence[Mapping[str, Any]]) -> None:
    """Remove claims of dead or slow workers; a slow one may be deciding at this moment after all."""
    for row in abandoned:
        if not change(connection, _DELETE_CLAIM, [{"id": row["transaction_id"]}]):
            raise _in_progress(row["transaction_id"])


def _in_progress(transaction_id: str) -> ClaimInProgressError:
    return ClaimInProgressError(f"transaction {transaction_id!r} is being scored now; try again shortly")


def _known_hashes(connection: Connection, names: Sequence[str]) -> dict[str, bytes]:
    events_known = _known_events(connection, names)
    decided = fetch_by_ids(connection, _FIND_HASHES, names)
    return {
        **{row["transaction_id"]: stored_content_hash(row) for row in events_known},
        **{name: bytes(content_hash) for name, content_hash in decided},
    }


def _insert_events(
    connection: Connection,
    transactions: Sequence[Transaction],
    hashes: Mapping[str, bytes],
    *,
    first_seq: int,
    now_us: int,
) -> None:
    move_arrivals(connection, first_seq + len(transactions) - 1)
    change(
        connection,
        _INSERT_EVENTS,
        [
            event_row(
                transaction,
                arrival_seq=first_seq + offset,
                now_us=now_us,
                source=SOURCE_API,
                content_hash=hashes[transaction.transaction_id],
            )
            for offset, transaction in enumerate(transactions)
        ],
    )


def _write_claims(
    connection: Connection,
    *,
    places: Mapping[str, int],
    fresh: Sequence[str],
    token: str,
    worker: str,
    now_us: int,
) -> None:
    rows = [
        {"transaction_id": name, "token": token, "worker": worker, "claimed_us": now_us}
        for name in (*places, *fresh)
    ]
    if rows:
        change(connection, _INSERT_CLAIMS, rows)


def _velocities(
    connection: Connection, live_sql: str, *, first_seq: int, count: int, known: Mapping[str, int]
) -> dict[int, dict[str, Any]]:
    """Live features by `arrival_seq`, for the fresh range and for each known place."""
    ranges = [(seq, seq) for seq in known.values()]
    if count:
        ranges.append((first_seq, first_seq + count - 1))
    velocities: dict[int, dict[str, Any]] = {}
    for first, last in ranges:
        names, rows = run_text(connection, live_sql, {"first_seq": first, "last_seq": last})
        for row in rows:
            velocity = dict(zip(names, row, strict=True))
            velocities[velocity.pop("arrival_seq")] = velocity
        if len(rows) != last - first + 1:
            raise StoreError(f"the live SQL gave {len(rows)} rows for {last - first + 1} events")
    return velocities
