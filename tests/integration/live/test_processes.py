"""Several processes on one live store: places in commit order, exact windows, nothing decided twice."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import select

from tests.support.live_payments import DAY_US, LIVE_SQL, START_US, decision_of, pay, seal, windows_of
from warehouse.canonical import TRANSACTION_SCHEMA
from warehouse.live.claims import Claim, ClaimInProgressError, ClaimLostError, this_worker
from warehouse.live.engine import LiveEngine, run_text
from warehouse.live.events import Transaction
from warehouse.live.schema import claims as claims_table
from warehouse.live.schema import decisions, events
from warehouse.live.store import LiveStore

pytestmark = pytest.mark.services

PROCESSES = 3
CONTEXT = multiprocessing.get_context("spawn")


@pytest.fixture
def url(live_url: str) -> str:
    return live_url


def open_store(url: str) -> LiveStore:
    store = LiveStore(LiveEngine(url))
    store.create_tables()
    return store


def chance_of(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - a test's choice


def claim_one(store: LiveStore, transaction: Transaction) -> Claim:
    (claim,) = store.claim([transaction], worker=this_worker(), now_us=START_US, live_sql=LIVE_SQL)
    return claim


def random_payments(seed: int, count: int) -> list[Transaction]:
    """Make payments of few customers at few merchants, out of order and with ties."""
    chance = chance_of(seed)
    return [
        pay(
            f"{seed}-{number}",
            event_us=START_US + chance.randrange(20) * DAY_US // 4,
            customer_id=f"c{chance.randrange(3)}",
            merchant_id=f"m{chance.randrange(2)}",
            amount_minor=chance.randrange(1000),
        )
        for number in range(count)
    ]


def run(target: Any, arguments: Sequence[tuple[Any, ...]]) -> list[SpawnProcess]:
    processes = [CONTEXT.Process(target=target, args=each) for each in arguments]
    for process in processes:
        process.start()
    return processes


def finish(processes: list[SpawnProcess]) -> None:
    for process in processes:
        process.join(120)
        assert process.exitcode == 0


def claim_in_chunks(url: str, seed: int, results: Any) -> None:
    store = open_store(url)
    chance = chance_of(seed)
    left = random_payments(seed, 60)
    found = []
    while left:
        size = chance.randint(1, 5)
        chunk, left = left[:size], left[size:]
        claims = store.claim(chunk, worker=this_worker(), now_us=START_US, live_sql=LIVE_SQL)
        found += [(one.arrival_seq, one.transaction, dict(one.velocity)) for one in claims]
    store.close()
    results.put(found)


def test_claims_of_several_processes_are_in_commit_order_with_exact_windows(url: str) -> None:
    results = CONTEXT.Queue()
    processes = run(claim_in_chunks, [(url, seed, results) for seed in range(PROCESSES)])
    each = [results.get(timeout=120) for _ in processes]
    finish(processes)
    for found in each:
        places = [place for place, _, _ in found]
        assert places == sorted(places), "a later claim has a later place"
    ordered = sorted((row for found in each for row in found), key=lambda row: row[0])
    assert [place for place, _, _ in ordered] == [*range(1, PROCESSES * 60 + 1)]
    arrived: list[Transaction] = []
    for _, transaction, velocity in ordered:
        assert velocity == windows_of(transaction, arrived)
        arrived.append(transaction)


def race(url: str, seed: int, results: Any) -> None:
    """Score the same transactions as the other processes, in an order of one's own."""
    store = open_store(url)
    transactions = random_payments(99, 40)
    chance_of(seed).shuffle(transactions)
    answers = {}
    for transaction in transactions:
        while True:
            try:
                (claim,) = store.claim(
                    [transaction], worker=this_worker(), now_us=START_US, live_sql=LIVE_SQL
                )
                answer = claim.answer
                if answer is None:
                    (answer,) = store.decide([decision_of(claim)], seal=seal, now_us=START_US)
                break
            except (ClaimInProgressError, ClaimLostError):
                time.sleep(0.001)
        answers[transaction.transaction_id] = answer
    store.close()
    results.put(answers)


def test_processes_that_race_for_the_same_transactions_get_the_same_answers(url: str) -> None:
    results = CONTEXT.Queue()
    processes = run(race, [(url, seed, results) for seed in range(PROCESSES)])
    first, *others = [results.get(timeout=120) for _ in processes]
    finish(processes)
    assert len(first) == 40
    assert all(answers == first for answers in others)
    store = open_store(url)
    assert store.audit_head().sequence == 40
    store.close()


def score_until_killed(url: str, seed: int, acknowledged: Path) -> None:
    store = open_store(url)
    with acknowledged.open("ab", buffering=0) as file:
        for transaction in random_payments(seed, 10_000):
            claim = claim_one(store, transaction)
            if claim.answer is None:
                store.decide([decision_of(claim)], seal=seal, now_us=START_US)
            file.write(transaction.transaction_id.encode() + b"\n")


@pytest.mark.parametrize("seed", range(4))
def test_kill_9_loses_nothing_that_was_acknowledged_and_leaves_nothing_stuck(
    url: str, tmp_path: Path, seed: int
) -> None:
    acknowledged = tmp_path / "acknowledged"
    acknowledged.touch()
    (process,) = run(score_until_killed, [(url, seed, acknowledged)])
    while acknowledged.stat().st_size < 200:
        time.sleep(0.01)
    time.sleep(chance_of(seed).random() * 0.05)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()

    store = open_store(url)
    names = acknowledged.read_bytes().decode().split()
    transactions = {one.transaction_id: one for one in random_payments(seed, 10_000)}
    with store.reading() as connection:
        decided = set(connection.execute(select(decisions.c.transaction_id)).scalars())
        arrived = list(
            connection.execute(select(events.c.transaction_id).order_by(events.c.arrival_seq)).scalars()
        )
        open_claims = set(connection.execute(select(claims_table.c.transaction_id)).scalars())
    assert set(names) <= decided
    assert set(arrived) - decided == open_claims
    assert store.audit_head().sequence == len(decided) == len(store.audit_head().unshipped)
    # Everything that arrived can be asked for again at once, at its old place and with its old values.
    for place, name in enumerate(arrived, 1):
        claim = claim_one(store, transactions[name])
        assert claim.arrival_seq == place
        assert (claim.answer is not None) == (name in decided)
        if claim.answer is None:
            before = [transactions[other] for other in arrived[: place - 1]]
            assert claim.velocity == windows_of(transactions[name], before)
    store.close()


def test_a_look_up_is_far_below_a_millisecond_with_much_history(url: str) -> None:
    """Not a benchmark: two orders of magnitude are left for a slow machine."""
    count = 50_000
    times = [START_US + number * 1_000_000 for number in range(count)]
    columns: dict[str, Any] = {
        "transaction_id": [f"t{number}" for number in range(count)],
        "customer_id": [f"c{number % 500}" for number in range(count)],
        "merchant_id": [f"m{number % 1000}" for number in range(count)],
        "event_us": times,
        "amount_minor": [number % 1000 for number in range(count)],
        "ingested_us": times,
        "source": ["file"] * count,
        "source_order": [*range(count)],
    }
    for field in TRANSACTION_SCHEMA:
        columns.setdefault(field.name, pa.nulls(count, field.type))
    store = open_store(url)
    assert store.backfill(pa.table(columns, schema=TRANSACTION_SCHEMA)) == count
    seconds = []
    with store.reading() as connection:
        for place in range(count - 200, count):
            started = time.perf_counter()
            run_text(connection, LIVE_SQL, {"first_seq": place, "last_seq": place})
            seconds.append(time.perf_counter() - started)
    store.close()
    assert sorted(seconds)[len(seconds) // 2] < 0.01
