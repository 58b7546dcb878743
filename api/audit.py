"""The audit log: sealed records in one chain, checked without trusting whoever keeps the file.

Rules
-----
1. A record is ``magic (4) | version (1) | key id (8) | sequence (8) | previous hash (32) | nonce (12) |
   length (4)``, big-endian, then `length` bytes of AES-256-GCM ciphertext with its tag (NIST SP 800-38D).
2. The 69 header bytes are the additional authenticated data: no part of a record can be changed or moved.
3. Sequences rise by one. The hash of a record is SHA-256 over a domain name and the whole record; each record
   holds the hash of the one before, the first one holds the chain's genesis.
4. The live store holds genesis and head, so that a cut tail is found. Its outbox is not in a file yet.
5. Nonces are random: one key seals at most 2^32 records (SP 800-38D, section 8.3).
6. Segments are ``<log>.<first sequence>``, then the active one, ``<log>``.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from warehouse.errors import OperationError
from warehouse.live_decisions import AuditHead

MAGIC: Final = b"CBPA"
VERSION: Final = 1
MAX_RECORD_BYTES: Final = 16 * 2**20
_HEADER: Final = struct.Struct(">4sB8sQ32s12sI")
_RECORD_DOMAIN: Final = b"cbp audit record v1\0"
_KEY_DOMAIN: Final = b"cbp audit key id v1\0"
_TAG_BYTES: Final = 16


class AuditError(OperationError):
    """The audit log is not what was written."""


@dataclass(frozen=True)
class SealedRecord:
    """A record as it stands in a file.

    Parameters
    ----------
    sequence : int
        Its number, from 1.
    key_id : bytes
        Which key sealed it.
    previous_hash : bytes
        Hash of the record before.
    data : bytes
        All its bytes.
    """

    sequence: int
    key_id: bytes
    previous_hash: bytes
    data: bytes

    @property
    def record_hash(self) -> bytes:
        """Hash that the next record holds."""
        return hashlib.sha256(_RECORD_DOMAIN + self.data).digest()


class AuditKeys:
    """Seals with the first key, opens with any.

    Parameters
    ----------
    keys : sequence of bytes
        32 bytes each.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._sealing_id = _key_id(keys[0])

    def seal(self, plaintext: bytes, *, sequence: int, previous_hash: bytes) -> SealedRecord:
        """Make the record of a plaintext."""
        nonce = secrets.token_bytes(12)
        header = _HEADER.pack(
            MAGIC, VERSION, self._sealing_id, sequence, previous_hash, nonce, len(plaintext) + _TAG_BYTES
        )
        ciphertext = self._ciphers[self._sealing_id].encrypt(nonce, plaintext, header)
        return SealedRecord(sequence, self._sealing_id, previous_hash, header + ciphertext)

    def open(self, record: SealedRecord) -> bytes:
        """Return the plaintext of a record.

        Raises
        ------
        AuditError
            When no key is its own, or a bit of it was changed.
        """
        cipher = self._ciphers.get(record.key_id)
        if cipher is None:
            raise AuditError(
                f"record {record.sequence} was sealed with another key, or its key id was changed: "
                "set AES_KEY or AES_KEY_PREVIOUS to the key of that time"
            )
        header, ciphertext = record.data[: _HEADER.size], record.data[_HEADER.size :]
        nonce = header[53:65]
        try:
            return cipher.decrypt(nonce, ciphertext, header)
        except InvalidTag:
            raise AuditError(f"record {record.sequence} was changed: its seal does not fit") from None


def verify(log: Path, keys: AuditKeys, head: AuditHead) -> int:
    """Check every record of every segment against the rules above; returns how many there are.

    Raises
    ------
    AuditError
        Names the first record that is not as it was written.
    """
    sequence, previous_hash = 0, head.genesis
    unshipped = dict(head.unshipped)
    for record in iterate_records(log):
        if record.sequence > head.sequence:
            # Written after the head was read: the next run looks at it.
            break
        _check_link(record, sequence + 1, previous_hash)
        keys.open(record)
        sequence, previous_hash = record.sequence, record.record_hash
        if unshipped.pop(sequence, record.data) != record.data:
            raise AuditError(f"record {sequence} differs from the one in the outbox")
    for number, data in sorted(unshipped.items()):
        record = parse_record(data)
        if record.sequence != number:
            raise AuditError(f"record {number} of the outbox calls itself {record.sequence}")
        _check_link(record, sequence + 1, previous_hash)
        keys.open(record)
        sequence, previous_hash = number, record.record_hash
    if sequence != head.sequence:
        raise AuditError(f"records {sequence + 1} to {head.sequence} are missing at the end of the log")
    if previous_hash != head.record_hash:
        raise AuditError(f"record {sequence} is not the one that the live store knows as the last")
    return sequence


def read_plaintexts(log: Path, keys: AuditKeys) -> Iterator[bytes]:
    """Yield the plaintext of every shipped record, in order; does not check the chain (see `verify`)."""
    for record in iterate_records(log):
        yield keys.open(record)


def segments(log: Path) -> list[Path]:
    """Files of a log in order: finished segments, then the active one, as far as they are there."""
    finished = [path for path in log.parent.glob(f"{log.name}.*") if path.suffix[1:].isdigit()]
    return [*sorted(finished, key=lambda path: int(path.suffix[1:])), *([log] if log.is_file() else [])]


def iterate_records(log: Path) -> Iterator[SealedRecord]:
    """Yield the records of all segments in order.

    Raises
    ------
    AuditError
        When a segment holds something that is not a record, or ends within one.
    """
    number = 0
    for segment in segments(log):
        with segment.open("rb") as file:
            while True:
                record = read_record(file, after=number, name=segment.name)
                if record is None:
                    break
                number = record.sequence
                yield record


def read_record(file: BinaryIO, *, after: int, name: str) -> SealedRecord | None:
    """Read the next record of a segment; None at its end. `after` and `name` say where, if it is not one."""
    header = file.read(_HEADER.size)
    if not header:
        return None
    where = f"{name}: what follows record {after}"
    if len(header) < _HEADER.size:
        raise AuditError(f"{where} is cut short")
    magic, version, _, _, _, _, length = _HEADER.unpack(header)
    if magic != MAGIC or version != VERSION or not _TAG_BYTES <= length <= MAX_RECORD_BYTES:
        raise AuditError(f"{where} is not a record of version {VERSION}")
    ciphertext = file.read(length)
    if len(ciphertext) < length:
        raise AuditError(f"{where} is cut short")
    return parse_record(header + ciphertext)


def parse_record(data: bytes) -> SealedRecord:
    """Parse the bytes of one record."""
    if len(data) < _HEADER.size or not data.startswith(MAGIC):
        raise AuditError("expected a sealed record, got something else")
    _, _, key_id, sequence, previous_hash, _, _ = _HEADER.unpack(data[: _HEADER.size])
    return SealedRecord(sequence, key_id, previous_hash, data)


def _check_link(record: SealedRecord, expected: int, previous_hash: bytes) -> None:
    if record.sequence != expected:
        raise AuditError(f"expected record {expected}, found record {record.sequence}")
    if record.previous_hash != previous_hash:
        raise AuditError(f"record {expected} does not follow the record before it: one of them was changed")


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(_KEY_DOMAIN + key).digest()[:8]
