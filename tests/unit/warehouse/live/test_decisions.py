"""Decisions: answer, record and chain head in one commit, in one chain."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.support.live_payments import LIVE_SQL, START_US, WORKER, decision_of, pay, seal
from warehouse.errors import StoreError
from warehouse.live.claims import Claim, ClaimLostError
from warehouse.live.decisions import Decision, SealedDecision
from warehouse.live.engine import LiveEngine, driver_connection
from warehouse.live.schema import Head
from warehouse.live.store import LiveStore


@pytest.fixture
def store(live_store: LiveStore) -> LiveStore:
    return live_store


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[LiveStore]:
    opened = LiveStore(LiveEngine(f"sqlite:///{tmp_path / 'live.db'}"))
    opened.create_tables()
    yield opened
    opened.close()


def claims_of(store: LiveStore, *names: str) -> list[Claim]:
    return store.claim([pay(name) for name in names], worker=WORKER, now_us=START_US, live_sql=LIVE_SQL)


def test_records_are_chained_and_wait_in_the_outbox(store: LiveStore) -> None:
    genesis = store.audit_head().genesis
    assert (store.audit_head().sequence, store.audit_head().record_hash) == (0, genesis)
    previous = genesis
    for names in (("a", "b"), ("c",)):
        claims = claims_of(store, *names)
        answers = store.decide([decision_of(claim) for claim in claims], seal=seal, now_us=START_US)
        assert all(b" as " in answer for answer in answers)
    head = store.audit_head()
    assert head.sequence == 3
    assert [number for number, _ in head.unshipped] == [1, 2, 3]
    for (number, record), name in zip(head.unshipped, "abc", strict=True):
        sealed = seal(decision_of(claims_of(store, name)[0]), number, previous)
        assert record == sealed.record
        previous = sealed.record_hash
    assert head.record_hash == previous
    assert store.unshipped_records(limit=2) == head.unshipped[:2]
    store.clear_shipped(through=2)
    assert store.audit_head().unshipped == head.unshipped[2:]


def test_each_store_has_a_genesis_of_its_own(store: LiveStore, new_live_url: Callable[[], str]) -> None:
    other = LiveStore(LiveEngine(new_live_url()))
    other.create_tables()
    assert other.audit_head().genesis != store.audit_head().genesis
    other.close()
    genesis = store.audit_head().genesis
    store.create_tables()
    assert store.audit_head().genesis == genesis


def test_a_decision_is_made_once(store: LiveStore) -> None:
    claims = claims_of(store, "a", "b")
    decisions = [decision_of(claim) for claim in claims]
    store.decide(decisions[:1], seal=seal, now_us=START_US)
    with pytest.raises(ClaimLostError):
        store.decide(decisions, seal=seal, now_us=START_US)
    assert store.audit_head().sequence == 1


def test_nothing_is_recorded_when_sealing_fails(store: LiveStore) -> None:
    claims = claims_of(store, "a", "b")

    def fail(decision: Decision, sequence: int, previous_hash: bytes) -> SealedDecision:
        if sequence == 2:
            raise ValueError("no")
        return seal(decision, sequence, previous_hash)

    with pytest.raises(ValueError, match="no"):
        store.decide([decision_of(claim) for claim in claims], seal=fail, now_us=START_US)
    assert (store.audit_head().sequence, store.audit_head().unshipped) == (0, ())
    assert len(store.decide([decision_of(claim) for claim in claims], seal=seal, now_us=START_US)) == 2


def test_a_store_that_can_not_be_written_says_so(store: LiveStore) -> None:
    claims = claims_of(store, "a")
    with store.durable() as connection:
        connection.execute(text("drop table outbox"))
    with pytest.raises(StoreError, match="can't be written"):
        store.decide([decision_of(claim) for claim in claims], seal=seal, now_us=START_US)


def test_an_acknowledged_decision_is_on_the_disk(sqlite_store: LiveStore) -> None:
    """SQLite syncs its log at commit when synchronous is FULL (2); claims leave that to the decision."""
    levels = {}
    for name, open_ in (
        ("read", sqlite_store.reading),
        ("durable", sqlite_store.durable),
        ("again", sqlite_store.reading),
    ):
        with open_() as connection:
            raw = driver_connection(connection)
            assert raw is not None
            levels[name] = raw.execute("PRAGMA synchronous").fetchone()[0]
            assert raw.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert levels == {"read": 1, "durable": 2, "again": 1}


def test_what_is_about_to_land_is_on_the_disk(tmp_path: Path) -> None:
    """SQLite syncs its log at a commit that writes a page to it, and at no other."""
    engine = LiveEngine(f"sqlite:///{tmp_path / 'live.db'}")
    with closing(LiveStore(engine)) as store:
        store.create_tables()
        claims_of(store, "a")
        log = tmp_path / "live.db-wal"
        before = log.stat().st_size
        assert engine.durable_head(Head.ARRIVAL) == 1
        assert log.stat().st_size > before


def test_a_reader_is_not_held_up_by_a_writer(store: LiveStore) -> None:
    with store.durable():
        store.check()
        assert store.audit_head().sequence == 0


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "amount": st.one_of(st.none(), st.integers(-(2**53), 2**53)),
            "mean": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False)),
            "word": st.one_of(st.none(), st.text(max_size=5)),
        }
    ),
    max_size=4,
)


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStore]:
    opened = LiveStore(LiveEngine(f"sqlite:///{tmp_path_factory.mktemp('live') / 'live.db'}"))
    yield opened
    opened.close()


@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS)
def test_derived_features_are_computed_row_by_row(
    empty_store: LiveStore, rows: list[dict[str, object]]
) -> None:
    sql = (
        "select row_index, cast(amount as double) / nullif(mean, 0) as ratio, sqrt(amount * amount) as root, "
        "word as same from feature_row"
    )
    derived = empty_store.derive(sql, rows)
    for row, found in zip(rows, derived, strict=True):
        amount, mean = row["amount"], row["mean"]
        ratio = None
        if isinstance(amount, int) and isinstance(mean, float) and mean != 0:
            ratio = float(amount) / mean
        if ratio is not None and not math.isfinite(ratio):
            assert found["ratio"] is None or math.isinf(found["ratio"])
        else:
            assert found["ratio"] == ratio
        assert found["same"] == row["word"]
        assert list(found) == ["ratio", "root", "same"]


def test_a_connection_that_calculates_serves_one_at_a_time_and_again(tmp_path: Path) -> None:
    engine = LiveEngine(f"sqlite:///{tmp_path / 'live.db'}")
    with engine.calculating() as one, engine.calculating() as other:
        assert one is not other
    with engine.calculating() as again:
        assert again in (one, other)
    engine.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        one.execute("select 1")


def test_threads_that_calculate_at_once_disturb_nobody(empty_store: LiveStore) -> None:
    sql = "select row_index, number * number as square from feature_row"

    def squares(start: int) -> list[int]:
        found = [empty_store.derive(sql, [{"number": number}]) for number in range(start, start + 300)]
        return [row["square"] for (row,) in found]

    with ThreadPoolExecutor(8) as pool:
        for start, found in enumerate(pool.map(squares, range(16))):
            assert found == [number * number for number in range(start, start + 300)]
