r"""Rule book of the audit log: how a record is sealed, chained, opened and judged. Pure; touches no file.

**Record.** One line of ASCII, ended by a newline that is not part of the record::

    cbp-audit-1 <key id> <sequence> <previous hash> <nonce> <sealed>

- ``cbp-audit-1``: version of this format. Another format is another word.
- *key id*: 16 hexadecimal digits, the start of SHA-256 over ``KEY_ID_DOMAIN`` and the key: which key opens it.
- *sequence*: decimal, from 1, each one more than the last.
- *previous hash*: 64 hexadecimal digits, the hash of the record before; of record 1, the chain's genesis, which is
  drawn at random once for each live store, so that no record of another chain fits.
- *nonce*: 24 hexadecimal digits, drawn at random for each record. One key seals at most 2^32 records
  (NIST SP 800-38D, section 8.3); then a new ``AES_KEY`` is due and the old one goes to ``AES_KEY_PREVIOUS``.
- *sealed*: base64 of the ciphertext and its 16-byte tag, by AES-256-GCM (NIST SP 800-38D).

**Binding.** The associated data of the cipher is everything before the nonce: version, key id, sequence and previous
hash. Plaintext is JSON in UTF-8; numbers are written so that they read back as the same double.

**Hash.** SHA-256 over ``RECORD_DOMAIN`` and the whole record. A record has one spelling only: anything that is read
is written again and must be the same bytes.

**Judgement.** A log is whole when its records run from 1 to the head that the live store knows, each follows the hash of
the one before, each opens with a known key, and the last one's hash is the head's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from warehouse.errors import CbpError

FORMAT: Final = "cbp-audit-1"
KEY_ID_DOMAIN: Final = b"cbp audit key id v1\0"
RECORD_DOMAIN: Final = b"cbp audit record v1\0"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
HASH_BYTES: Final = 32

_RECORD: Final = re.compile(
    rb"(?P<bound>cbp-audit-1 (?P<key_id>[0-9a-f]{16}) (?P<sequence>[1-9][0-9]{0,18}) (?P<previous>[0-9a-f]{64}))"
    rb" (?P<nonce>[0-9a-f]{24}) (?P<sealed>[A-Za-z0-9+/]{24,}={0,2})"
)


class AuditError(CbpError):
    """A record is not what this rule book says."""


class Keyring:
    """The key that seals, and every key that opens.

    Parameters
    ----------
    key : bytes
        32 bytes: seals new records.
    previous : tuple of bytes
        Older keys, for reading only.
    """

    def __init__(self, key: bytes, previous: tuple[bytes, ...] = ()) -> None:
        if any(len(each) != KEY_BYTES for each in (key, *previous)):
            raise AuditError(f"expected keys of {KEY_BYTES} bytes")
        self._ciphers = {key_id(each): AESGCM(each) for each in (*previous, key)}
        self.current_id = key_id(key)

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._ciphers)})"

    def cipher(self, identity: str) -> AESGCM:
        """Cipher of a key.

        Raises
        ------
        AuditError
            When the key is not known.
        """
        try:
            return self._ciphers[identity]
        except KeyError:
            raise AuditError(f"is sealed with the unknown key {identity}") from None


def key_id(key: bytes) -> str:
    """Public name of a key: says nothing of the key itself."""
    return hashlib.sha256(KEY_ID_DOMAIN + key).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class ParsedRecord:
    """What can be read of a record without a key.

    Parameters
    ----------
    bound : bytes
        The associated data.
    key_id : str
    sequence : int
    previous_hash : bytes
    nonce : bytes
    sealed : bytes
    """

    bound: bytes
    key_id: str
    sequence: int
    previous_hash: bytes
    nonce: bytes
    sealed: bytes


def record_hash(record: bytes) -> bytes:
    """Hash that the next record follows: 32 bytes."""
    return hashlib.sha256(RECORD_DOMAIN + record).digest()


def seal_record(plaintext: bytes, *, sequence: int, previous_hash: bytes, keyring: Keyring) -> bytes:
    """Seal one record.

    Parameters
    ----------
    plaintext : bytes
        JSON in UTF-8.
    sequence : int
        Its number, from 1.
    previous_hash : bytes
        32 bytes: hash of the record before, or the genesis.
    keyring : Keyring
        Whose current key seals.

    Returns
    -------
    bytes
        The record, without the newline.
    """
    if sequence < 1 or len(previous_hash) != HASH_BYTES:
        raise AuditError("expected a sequence from 1 and a previous hash of 32 bytes")
    bound = f"{FORMAT} {keyring.current_id} {sequence} {previous_hash.hex()}".encode()
    nonce = os.urandom(NONCE_BYTES)
    sealed = keyring.cipher(keyring.current_id).encrypt(nonce, plaintext, bound)
    return b"%b %b %b" % (bound, nonce.hex().encode(), base64.b64encode(sealed))


def parse_record(record: bytes) -> ParsedRecord:
    """Take a record apart.

    Raises
    ------
    AuditError
        When it is not exactly in the form above.
    """
    match = _RECORD.fullmatch(record)
    if match is None:
        raise AuditError("is not in the form of a record")
    try:
        sealed = base64.b64decode(match["sealed"], validate=True)
    except binascii.Error:
        raise AuditError("is not in the form of a record") from None
    if base64.b64encode(sealed) != match["sealed"]:
        raise AuditError("is not in the one spelling of a record")
    return ParsedRecord(
        bound=match["bound"],
        key_id=match["key_id"].decode(),
        sequence=int(match["sequence"]),
        previous_hash=bytes.fromhex(match["previous"].decode()),
        nonce=bytes.fromhex(match["nonce"].decode()),
        sealed=sealed,
    )


def open_record(parsed: ParsedRecord, *, keyring: Keyring) -> bytes:
    """Plaintext of a record.

    Raises
    ------
    AuditError
        When the key is unknown or the record was altered.
    """
    try:
        return keyring.cipher(parsed.key_id).decrypt(parsed.nonce, parsed.sealed, parsed.bound)
    except InvalidTag:
        raise AuditError("was altered: its seal does not fit") from None


def encode_plaintext(content: Mapping[str, Any]) -> bytes:
    """Canonical JSON of a record's content: sorted keys, no spaces, no NaN."""
    return json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def decode_plaintext(plaintext: bytes) -> dict[str, Any]:
    """Content of a record, from its plaintext."""
    content = json.loads(plaintext)
    if not isinstance(content, dict):
        raise AuditError("does not hold a JSON object")
    return content


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a log.

    Parameters
    ----------
    sequence : int
        Number of the record that it is about.
    problem : str
        What is wrong, as the rest of a sentence that begins with "record 7".
    """

    sequence: int
    problem: str

    def __str__(self) -> str:
        return f"record {self.sequence} {self.problem}"


class ChainChecker:
    """Judges records one after another, in the order of the log.

    After a broken record the chain goes on from what the next good record says it follows: one altered
    record gives one finding, not one for all that follow.

    Parameters
    ----------
    genesis : bytes or None
        What record 1 must follow; None when it is not known.
    keyring : Keyring
        Opens the records.
    """

    def __init__(self, *, genesis: bytes | None, keyring: Keyring) -> None:
        self._keyring = keyring
        self._last_hash = genesis
        self.sequence = 0
        self.records = 0
        self.findings: list[Finding] = []

    @property
    def last_hash(self) -> bytes | None:
        """Hash of the last record; None after a broken one."""
        return self._last_hash

    def check(self, record: bytes) -> bytes | None:
        """Judge the next record and return its plaintext; None when it is broken."""
        self.records += 1
        expected = self.sequence + 1
        try:
            parsed = parse_record(record)
            plaintext = open_record(parsed, keyring=self._keyring)
        except AuditError as error:
            self._broken(expected, str(error))
            return None
        if parsed.sequence != expected and not self._skip_to(parsed.sequence, expected):
            return None
        if self._last_hash is not None and parsed.previous_hash != self._last_hash:
            self._broken(parsed.sequence, "does not follow the record before it")
            return None
        self.sequence = parsed.sequence
        self._last_hash = record_hash(record)
        return plaintext

    def finish(self, *, head_sequence: int, head_hash: bytes) -> None:
        """Compare the end of the chain with the head that the live store knows."""
        if self.sequence < head_sequence:
            self._missing(self.sequence + 1, head_sequence)
        elif self.sequence == head_sequence and self._last_hash not in (None, head_hash):
            self.findings.append(
                Finding(head_sequence, "is not the one that the live store knows as the last")
            )

    def _skip_to(self, sequence: int, expected: int) -> bool:
        if sequence < expected:
            self.findings.append(
                Finding(expected, f"was expected, but record {sequence} stands in its place")
            )
            return False
        self._missing(expected, sequence - 1)
        self.sequence, self._last_hash = sequence - 1, None
        return True

    def _missing(self, first: int, last: int) -> None:
        problem = "is missing" if first == last else f"and all that follow up to {last} are missing"
        self.findings.append(Finding(first, problem))

    def _broken(self, sequence: int, problem: str) -> None:
        self.findings.append(Finding(sequence, problem))
        self.sequence, self._last_hash = sequence, None
