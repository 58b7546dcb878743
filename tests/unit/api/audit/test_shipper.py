"""Shipping: every record reaches the log once and in order, whatever died in between."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert

from api.audit.log import AuditKeys, BrokenLogError, parse_record, read_plaintexts, segments, verify_log
from api.audit.shipper import Shipper
from tests.support.live_payments import LIVE_SQL, START_US, WORKER, decision_of, pay
from warehouse.live.decisions import Decision, SealedDecision
from warehouse.live.engine import LiveEngine
from warehouse.live.schema import outbox
from warehouse.live.store import LiveStore

KEYS = AuditKeys([b"k" * 32])


def seal(decision: Decision, sequence: int, previous_hash: bytes) -> SealedDecision:
    record = KEYS.seal(decision.record, sequence=sequence, previous_hash=previous_hash)
    return SealedDecision(b"answer", record.data, record.record_hash)


def decide(store: LiveStore, *names: str) -> None:
    claims = store.claim([pay(name) for name in names], worker=WORKER, now_us=START_US, live_sql=LIVE_SQL)
    store.decide([decision_of(claim) for claim in claims], seal=seal, now_us=START_US)


def put_back(store: LiveStore, records: tuple[tuple[int, bytes], ...]) -> None:
    """Fill the outbox as it was before it was cleared."""
    with store.durable() as connection:
        rows = [{"sequence": number, "record": record} for number, record in records]
        connection.execute(insert(outbox).prefix_with("or ignore"), rows)


def shipped(log: Path) -> list[bytes]:
    return [plaintext.removeprefix(b"record of ") for plaintext in read_plaintexts(log, KEYS)]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'live.db'}"


@pytest.fixture
def store(url: str) -> Iterator[LiveStore]:
    opened = LiveStore(LiveEngine(url))
    opened.create_tables()
    yield opened
    opened.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "audit" / "predictions.log"


def test_records_are_shipped_once_and_in_order(store: LiveStore, log: Path) -> None:
    shipper = Shipper(store, log)
    assert shipper.ship() == 0
    decide(store, "a", "b")
    assert shipper.ship() == 2
    decide(store, "c")
    assert (shipper.ship(), shipper.ship()) == (1, 0)
    assert shipped(log) == [b"a", b"b", b"c"]
    assert store.audit_head().unshipped == ()
    assert verify_log(log, KEYS, store.audit_head()) == 3


def test_large_segments_are_finished(store: LiveStore, log: Path) -> None:
    for number in range(7):
        decide(store, f"{number}a", f"{number}b")
        Shipper(store, log, segment_bytes=600).ship()
    names = [path.name for path in segments(log)]
    assert names == [f"predictions.log.{first:012d}" for first in (1, 5, 9)] + ["predictions.log"]
    assert verify_log(log, KEYS, store.audit_head()) == 14


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_record_in_the_file_and_in_the_outbox_is_not_written_again(
    store: LiveStore, log: Path, kept: int
) -> None:
    """The process died between the file's sync and the outbox's clearing."""
    decide(store, "a", "b", "c")
    log.parent.mkdir()
    records = [data for _, data in store.audit_head().unshipped]
    log.write_bytes(b"".join(data + b"\n" for data in records[:kept]))
    assert Shipper(store, log).ship() == 3 - kept
    assert shipped(log) == [b"a", b"b", b"c"]
    assert verify_log(log, KEYS, store.audit_head()) == 3


def test_a_torn_write_is_mended_wherever_it_was_torn(store: LiveStore, log: Path) -> None:
    decide(store, "a", "b")
    Shipper(store, log).ship()
    whole = log.read_bytes()
    decide(store, "c", "d")
    records = b"".join(data + b"\n" for _, data in store.audit_head().unshipped)
    head = store.audit_head()
    for torn in [*range(0, len(records), 7), len(records)]:
        log.write_bytes(whole + records[:torn])
        put_back(store, head.unshipped)
        Shipper(store, log).ship()
        assert log.read_bytes() == whole + records, f"torn after {torn} bytes"
    assert verify_log(log, KEYS, replace(head, unshipped=())) == 4


def test_a_forged_number_hides_no_record(store: LiveStore, log: Path) -> None:
    decide(store, "a")
    Shipper(store, log).ship()
    forged = log.read_bytes().replace(b" 1 ", b" 999999 ", 1)
    log.write_bytes(log.read_bytes() + forged)
    decide(store, "b")
    assert Shipper(store, log).ship() == 1
    assert store.audit_head().unshipped == ()
    with pytest.raises(BrokenLogError, match=r"record 2 is preceded by a line that was changed"):
        verify_log(log, KEYS, store.audit_head())


def test_what_is_not_ours_at_the_end_is_left_for_verify_to_name(store: LiveStore, log: Path) -> None:
    decide(store, "a", "b")
    Shipper(store, log).ship()
    log.write_bytes(log.read_bytes()[:-40])
    decide(store, "c")
    Shipper(store, log).ship()
    with pytest.raises(BrokenLogError, match="record 2 is not in the"):
        verify_log(log, KEYS, store.audit_head())
    assert shipped_last(log) == b"c"


def shipped_last(log: Path) -> bytes:
    return KEYS.open(parse_record(log.read_bytes().splitlines()[-1])).removeprefix(b"record of ")


def test_a_log_that_can_not_be_written_loses_nothing(store: LiveStore, log: Path) -> None:
    decide(store, "a")
    log.parent.write_bytes(b"a file where the folder should be")
    with pytest.raises(OSError, match="audit"):
        Shipper(store, log).ship()
    assert len(store.audit_head().unshipped) == 1
    log.parent.unlink()
    assert Shipper(store, log).ship() == 1


def test_the_thread_ships_by_itself_and_what_is_left_when_it_stops(store: LiveStore, log: Path) -> None:
    shipper = Shipper(store, log)
    shipper.start()
    decide(store, "a")
    deadline = time.monotonic() + 20
    while store.audit_head().unshipped and time.monotonic() < deadline:
        time.sleep(0.02)
    assert shipped(log) == [b"a"]
    decide(store, "b")
    shipper.stop()
    assert shipped(log) == [b"a", b"b"]


def _work(url: str, log: Path, name: str, count: int) -> None:
    store = LiveStore(LiveEngine(url))
    shipper = Shipper(store, log, segment_bytes=2_000)
    shipper.start()
    for number in range(count):
        decide(store, f"{name}{number}")
    shipper.stop()
    # Exit without a chance to tidy up.
    os._exit(0)


def test_several_processes_ship_into_one_chain(store: LiveStore, url: str, log: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_work, args=(url, log, name, 25)) for name in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    Shipper(store, log).ship()
    assert verify_log(log, KEYS, store.audit_head()) == 50
    assert sorted(shipped(log)) == sorted(f"{name}{number}".encode() for name in "ab" for number in range(25))
