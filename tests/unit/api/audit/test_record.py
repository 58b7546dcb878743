"""One record: sealed, spelled, hashed, opened."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.audit.record import AuditError, AuditKeys, key_id, parse_record

KEY = bytes(range(32))
GENESIS = b"\x07" * 32
KEYS = AuditKeys([KEY])


@given(st.binary(max_size=200), st.integers(1, 10**18 - 1), st.binary(min_size=32, max_size=32))
def test_what_is_sealed_opens_as_it_was(plaintext: bytes, sequence: int, previous_hash: bytes) -> None:
    sealed = KEYS.seal(plaintext, sequence=sequence, previous_hash=previous_hash)
    parsed = parse_record(sealed.data)
    assert parsed == sealed
    assert KEYS.open(parsed) == plaintext


def test_every_flipped_bit_of_a_record_is_found() -> None:
    record = KEYS.seal(b'{"a":1.5}', sequence=12, previous_hash=GENESIS).data
    for bit in range(len(record) * 8):
        changed = bytearray(record)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AuditError):
            KEYS.open(parse_record(bytes(changed)))


def test_the_same_plaintext_never_gives_the_same_record() -> None:
    first, second = (KEYS.seal(b"{}", sequence=1, previous_hash=GENESIS) for _ in range(2))
    assert first.sealed != second.sealed
    assert first.record_hash != second.record_hash


def test_a_record_of_an_older_key_opens_while_that_key_is_known() -> None:
    old = KEYS.seal(b"{}", sequence=1, previous_hash=GENESIS)
    rotated = AuditKeys([b"\1" * 32, KEY])
    assert rotated.open(old) == b"{}"
    assert rotated.seal(b"{}", sequence=2, previous_hash=old.record_hash).key_id == key_id(b"\1" * 32)
    with pytest.raises(AuditError, match="unknown key"):
        AuditKeys([b"\1" * 32]).open(old)


def test_a_record_has_one_spelling() -> None:
    record = KEYS.seal(b"{ }", sequence=1, previous_hash=GENESIS).data
    head, _, sealed = record.rpartition(b" ")
    assert sealed.endswith(b"=")
    # The last digit before the padding holds bits that decoding ignores.
    digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    body = sealed.rstrip(b"=")
    other = digits[digits.index(body[-1:]) ^ 1 :][:1]
    for line in (head + b" " + body[:-1] + other + sealed[len(body) :], record + b"\r", b" " + record):
        with pytest.raises(AuditError):
            KEYS.open(parse_record(line))


def test_no_key_is_shown() -> None:
    assert KEY.hex() not in repr(KEYS)
    assert key_id(KEY) in repr(KEYS)


@pytest.mark.parametrize("keys", [[], [b"short"], [KEY, b"short"]])
def test_keys_must_have_32_bytes(keys: list[bytes]) -> None:
    with pytest.raises(AuditError, match="32 bytes"):
        AuditKeys(keys)
