"""A log: anything that is done to it is found, and the records that it was done to are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.audit.log import (
    AuditKeys,
    BrokenLogError,
    find_damage,
    parse_record,
    read_plaintexts,
    segments,
    verify_log,
)
from warehouse.live.decisions import AuditHead

KEYS = AuditKeys([b"k" * 32])
GENESIS = b"\x07" * 32
RECORDS = 9


def chain(count: int, *, genesis: bytes = GENESIS, word: str = "a") -> list[bytes]:
    lines = []
    previous = genesis
    for number in range(1, count + 1):
        record = KEYS.seal(f'{{"{word}":{number}}}'.encode(), sequence=number, previous_hash=previous)
        lines.append(record.data)
        previous = record.record_hash
    return lines


def head_of(lines: list[bytes], *, unshipped: int = 0) -> AuditHead:
    numbered = tuple(enumerate(lines, 1))
    last_hash = parse_record(lines[-1]).record_hash if lines else GENESIS
    return AuditHead(GENESIS, len(lines), last_hash, numbered[len(lines) - unshipped :])


LINES = chain(RECORDS)
HEAD = head_of(LINES)
FOREIGN = chain(RECORDS, genesis=b"\x08" * 32, word="b")


def damage(log: Path, lines: list[bytes], head: AuditHead = HEAD) -> set[int]:
    log.write_bytes(b"".join(line + b"\n" for line in lines))
    return named(log, head)


def named(log: Path, head: AuditHead = HEAD) -> set[int]:
    findings = find_damage(log, KEYS, head)
    return {number for finding in findings for number in range(finding.first, finding.last + 1)}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "predictions.log"


def test_a_whole_log_is_whole(log: Path) -> None:
    assert damage(log, LINES) == set()
    assert verify_log(log, KEYS, HEAD) == RECORDS
    assert [*read_plaintexts(log, KEYS)] == [f'{{"a":{number}}}'.encode() for number in range(1, RECORDS + 1)]


def test_a_log_without_records_is_whole(log: Path) -> None:
    assert verify_log(log, KEYS, head_of([])) == 0


def test_every_flipped_bit_of_the_file_is_found_and_its_record_named(log: Path) -> None:
    lines = LINES[:4]
    content = b"".join(line + b"\n" for line in lines)
    head = head_of(lines)
    for bit in range(len(content) * 8):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        log.write_bytes(changed)
        number = content[: bit // 8].count(b"\n") + 1
        found = named(log, head)
        assert number in found, f"bit {bit} of record {number}: {found}"
        # A newline that comes or goes touches two records, nothing touches more.
        assert found <= {number, number + 1}, f"bit {bit} of record {number}: {found}"


@given(st.integers(1, RECORDS), st.integers(1, RECORDS))
def test_removed_records_are_named(tmp_path_factory: pytest.TempPathFactory, first: int, last: int) -> None:
    first, last = sorted((first, last))
    log = tmp_path_factory.mktemp("log") / "predictions.log"
    assert damage(log, LINES[: first - 1] + LINES[last:]) == set(range(first, last + 1))


@pytest.mark.parametrize("number", range(1, RECORDS))
def test_swapped_records_are_named(log: Path, number: int) -> None:
    lines = LINES.copy()
    lines[number - 1], lines[number] = lines[number], lines[number - 1]
    found = damage(log, lines)
    assert found & {number, number + 1}
    assert found <= {number, number + 1}


@pytest.mark.parametrize("number", range(1, RECORDS + 1))
def test_a_repeated_record_is_named(log: Path, number: int) -> None:
    found = damage(log, [*LINES[:number], LINES[number - 1], *LINES[number:]])
    assert found
    assert found <= {number, number + 1}


@pytest.mark.parametrize("number", range(1, RECORDS + 1))
@pytest.mark.parametrize("other", range(1, RECORDS + 1))
def test_a_record_of_another_chain_in_place_of_ours_is_named(log: Path, number: int, other: int) -> None:
    found = damage(log, [*LINES[: number - 1], FOREIGN[other - 1], *LINES[number:]])
    assert number in found
    assert found <= {number, number + 1}


def test_a_log_of_another_store_is_refused(log: Path) -> None:
    assert 1 in damage(log, FOREIGN)


def test_a_chain_written_anew_with_the_right_key_does_not_fit_the_head(log: Path) -> None:
    assert damage(log, chain(RECORDS)) == {RECORDS}


@pytest.mark.parametrize("line", [b"", b"garbage", b"\xff\x00", FOREIGN[3]])
@pytest.mark.parametrize("place", range(RECORDS + 1))
def test_a_line_put_in_is_found_next_to_where_it_stands(log: Path, line: bytes, place: int) -> None:
    found = damage(log, [*LINES[:place], line, *LINES[place:]])
    assert found
    assert found <= {place, place + 1}


@given(st.data())
def test_a_cut_tail_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    log = tmp_path_factory.mktemp("log") / "predictions.log"
    content = b"".join(line + b"\n" for line in LINES)
    kept = data.draw(st.integers(0, len(content) - 1))
    log.write_bytes(content[:kept])
    assert named(log) == set(range(content[:kept].count(b"\n") + 1, RECORDS + 1))


@pytest.mark.parametrize("shipped", range(RECORDS + 1))
@pytest.mark.parametrize("cleared", range(RECORDS + 1))
def test_records_in_the_outbox_are_accounted_for(log: Path, shipped: int, cleared: int) -> None:
    head = head_of(LINES, unshipped=RECORDS - cleared)
    expected = set(range(shipped + 1, cleared + 1))
    assert damage(log, LINES[:shipped], head) == expected


def test_a_write_under_way_is_no_damage_while_its_record_is_in_the_outbox(log: Path) -> None:
    content = b"".join(line + b"\n" for line in LINES[:6])
    log.write_bytes(content + LINES[6][:50])
    assert named(log, head_of(LINES, unshipped=3)) == set()
    assert named(log, head_of(LINES[:7])) == {7}


def test_a_record_that_differs_from_its_twin_in_the_outbox_is_named(log: Path) -> None:
    anew = KEYS.seal(b"{}", sequence=RECORDS, previous_hash=bytes.fromhex(LINES[-1].split()[3].decode()))
    assert damage(log, [*LINES[:-1], anew.data], head_of(LINES, unshipped=1)) == {RECORDS}


def test_records_that_came_after_the_head_was_read_are_no_damage(log: Path) -> None:
    assert damage(log, LINES, head_of(LINES[:5])) == set()


def test_segments_are_read_in_the_order_of_their_numbers(log: Path) -> None:
    lines = chain(12)
    for first, last in ((1, 2), (3, 9), (10, 11)):
        path = log.with_name(f"{log.name}.{first:012d}")
        path.write_bytes(b"".join(line + b"\n" for line in lines[first - 1 : last]))
    log.write_bytes(lines[11] + b"\n")
    assert len(segments(log)) == 4
    assert verify_log(log, KEYS, head_of(lines)) == 12
    segments(log)[1].unlink()
    assert named(log, head_of(lines)) == set(range(3, 10))


def test_the_message_names_the_records(log: Path) -> None:
    log.write_bytes(b"".join(line + b"\n" for line in LINES[:3] + LINES[4:7]))
    with pytest.raises(BrokenLogError, match=r"record 4 is missing; records 8 to 9: each is missing"):
        verify_log(log, KEYS, HEAD)
