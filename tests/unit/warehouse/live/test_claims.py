"""Claims: idempotent, in order of arrival, with windows over exactly what had arrived."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.live_payments import DAY_US, LIVE_SQL, START_US, WORKER, decision_of, pay, seal, windows_of
from warehouse.errors import StoreError
from warehouse.live.claims import (
    LEASE_US,
    Claim,
    ClaimInProgressError,
    ClaimLostError,
    ConflictError,
    is_worker_alive,
    this_worker,
)
from warehouse.live.engine import LiveEngine
from warehouse.live.events import Transaction
from warehouse.live.store import LiveStore


@contextmanager
def open_store(url: str) -> Iterator[LiveStore]:
    store = LiveStore(LiveEngine(url))
    try:
        store.create_tables()
        yield store
    finally:  # Hypothesis may leave a test in the middle of a draw
        store.close()


@pytest.fixture
def store(live_store: LiveStore) -> LiveStore:
    return live_store


def claim(
    store: LiveStore, *transactions: Transaction, worker: str = WORKER, now_us: int = START_US
) -> list[Claim]:
    return store.claim(transactions, worker=worker, now_us=now_us, live_sql=LIVE_SQL)


def decide(store: LiveStore, claims: list[Claim], now_us: int = START_US) -> list[bytes]:
    return store.decide([decision_of(one) for one in claims], seal=seal, now_us=now_us)


def test_claims_rise_in_order_and_see_what_came_before(store: LiveStore) -> None:
    first, second = claim(store, pay("a"), pay("b", event_us=START_US + 1))
    (third,) = claim(store, pay("c", event_us=START_US + 2))
    assert [one.arrival_seq for one in (first, second, third)] == [1, 2, 3]
    assert [one.velocity["transaction_count_24h"] for one in (first, second, third)] == [0, 1, 2]


PAYMENTS = st.lists(
    st.builds(
        lambda customer, merchant, time, amount: (customer, merchant, time, amount),
        st.sampled_from(["c1", "c2", None]),
        st.sampled_from(["m1", "m2", None]),
        # Around the edges of the windows, to the microsecond, in any order.
        st.sampled_from([0, DAY_US, 2 * DAY_US, 7 * DAY_US]).flatmap(
            lambda edge: st.integers(edge - 1, edge + 1)
        ),
        st.integers(0, 10**12),
    ),
    min_size=1,
    max_size=12,
)


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(40))
@given(PAYMENTS, st.data())
def test_windows_equal_a_slow_oracle_whatever_the_chunks(
    new_live_url: Callable[[], str],
    drawn: list[tuple[str | None, str | None, int, int]],
    data: st.DataObject,
) -> None:
    transactions = [
        pay(
            f"t{index}",
            event_us=START_US + time,
            customer_id=customer,
            merchant_id=merchant,
            amount_minor=amount,
        )
        for index, (customer, merchant, time, amount) in enumerate(drawn)
    ]
    claims: list[Claim] = []
    with open_store(new_live_url()) as store:
        while len(claims) < len(transactions):
            size = data.draw(st.integers(1, len(transactions) - len(claims)))
            claims += claim(store, *transactions[len(claims) : len(claims) + size])
    for index, one in enumerate(claims):
        assert one.velocity == windows_of(one.transaction, transactions[:index])


def test_a_decided_transaction_gives_its_stored_answer_and_counts_once(store: LiveStore) -> None:
    (answer,) = decide(store, claim(store, pay("a")))
    (again,) = claim(store, pay("a"))
    assert (again.answer, again.arrival_seq) == (answer, 1)
    assert claim(store, pay("b", event_us=START_US + 1))[0].velocity["transaction_count_24h"] == 1


def test_a_chunk_may_repeat_an_id(store: LiveStore) -> None:
    first, other, again = claim(store, pay("a"), pay("b"), pay("a"))
    assert first is again
    assert (first.arrival_seq, other.arrival_seq) == (1, 2)


def test_a_chunk_may_mix_new_decided_and_abandoned(store: LiveStore) -> None:
    decided = claim(store, pay("a"))
    (answer,) = decide(store, decided)
    abandoned = claim(store, pay("b", event_us=START_US + 1))
    store.release(abandoned)
    claims = claim(store, pay("c", event_us=START_US + 3), pay("b", event_us=START_US + 1), pay("a"))
    assert [one.answer for one in claims] == [None, None, answer]
    assert [one.arrival_seq for one in claims] == [3, 2, 1]
    assert [dict(one.velocity).get("transaction_count_24h") for one in claims] == [2, 1, None]


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_minor": 101},
        {"customer_id": None},
        {"event_us": START_US + 1},
        {"latitude": 0.0, "longitude": 0.0},
        {"attributes_number": {"a": 1.0}},
        {"attributes_text": {"a": "1"}},
    ],
)
def test_the_same_id_with_other_content_is_a_conflict(store: LiveStore, changes: dict[str, object]) -> None:
    known = pay("a")
    other = Transaction(**{name: getattr(known, name) for name in Transaction.__slots__} | changes)
    with pytest.raises(ConflictError):
        claim(store, known, other)
    claims = claim(store, known)
    with pytest.raises(ConflictError):
        claim(store, pay("new"), other)
    assert store.find_conflict([pay("new"), other]) == "a"
    decide(store, claims)
    with pytest.raises(ConflictError):
        claim(store, pay("new"), other)
    assert store.find_conflict([other]) == "a"
    # Nothing of a refused chunk is there.
    assert claim(store, pay("new"))[0].arrival_seq == 2


def test_when_it_became_known_is_not_content(store: LiveStore) -> None:
    decide(store, claim(store, pay("a", ingested_us=1)))
    assert claim(store, pay("a", ingested_us=2))[0].answer is not None


def test_a_claim_in_progress_elsewhere_is_waited_for(store: LiveStore) -> None:
    claims = claim(store, pay("a"))
    with pytest.raises(ClaimInProgressError):
        claim(store, pay("b"), pay("a"))
    decide(store, claims)
    assert claim(store, pay("b"), pay("a"))[0].arrival_seq == 2


@pytest.mark.parametrize(
    ("worker", "later_us"),
    [(WORKER, LEASE_US), (this_worker().rsplit("/", 1)[0] + "/1.00", 1), (this_worker(), LEASE_US)],
    ids=["lease over", "process dead", "lease of a living process over"],
)
def test_an_abandoned_claim_is_taken_over_with_the_same_values(
    store: LiveStore, worker: str, later_us: int
) -> None:
    claim(store, pay("before"))
    (abandoned,) = claim(store, pay("a", event_us=START_US + 5), worker=worker)
    # What arrived since, though it happened before, was not known at its place.
    claim(store, pay("late", event_us=START_US + 1))
    (taken,) = claim(store, pay("a", event_us=START_US + 5), now_us=START_US + later_us)
    assert (taken.arrival_seq, taken.velocity) == (abandoned.arrival_seq, abandoned.velocity)
    assert taken.token != abandoned.token
    with pytest.raises(ClaimLostError):
        decide(store, [abandoned])
    assert decide(store, [taken]) == [b"answer to a as 1"]


def test_the_dead_are_told_from_the_living() -> None:
    host, pid, started = this_worker().rsplit("/", 2)
    assert is_worker_alive(this_worker())
    assert is_worker_alive(WORKER), "nobody can tell from here"
    assert not is_worker_alive(f"{host}/{pid}/{float(started) - 100:.2f}"), "the process id was used again"
    assert not is_worker_alive(f"{host}/{2**22 + 1}/{started}")


def test_released_claims_can_be_claimed_at_once(store: LiveStore) -> None:
    claims = claim(store, pay("a"), pay("b"))
    store.release(claims)
    assert [one.arrival_seq for one in claim(store, pay("a"), pay("b"))] == [1, 2]


def test_live_sql_that_loses_a_row_is_refused_and_nothing_stays(store: LiveStore) -> None:
    losing = LIVE_SQL.replace("where arriving", "where false and arriving")
    with pytest.raises(StoreError, match="0 rows for 1 events"):
        store.claim([pay("a")], worker=WORKER, now_us=START_US, live_sql=losing)
    assert store.events_after(0).num_rows == 0


def test_an_empty_chunk_is_nothing(store: LiveStore) -> None:
    assert claim(store) == []
    assert store.decide([], seal=seal, now_us=START_US) == []


def test_windows_are_read_from_an_index(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    with open_store(f"sqlite:///{path}") as store:
        claim(store, pay("a"))
    with sqlite3.connect(path) as connection:
        plan = connection.execute(
            f"explain query plan {LIVE_SQL}", {"first_seq": 1, "last_seq": 1}
        ).fetchall()
    connection.close()
    steps = [row[3] for row in plan]
    assert any("USING INTEGER PRIMARY KEY" in step for step in steps), steps
    assert (
        sum(
            "COVERING INDEX events_of_customer (customer_id=? AND event_us>? AND event_us<?)" in step
            for step in steps
        )
        == 2
    )
    assert (
        sum(
            "COVERING INDEX events_of_merchant (merchant_id=? AND event_us>? AND event_us<?)" in step
            for step in steps
        )
        == 1
    )
    assert not any(step.startswith("SCAN") and "SCALAR" not in step for step in steps), steps


def test_an_older_store_gets_the_indexes_that_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    with open_store(f"sqlite:///{path}"):
        pass
    names = "select name from sqlite_master where type = 'index' and sql is not null order by name"
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute(names).fetchall()
        connection.execute("drop index events_of_customer")
        connection.commit()
    with open_store(f"sqlite:///{path}"):
        pass
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(names).fetchall() == made
