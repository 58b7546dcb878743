r"""One record of the audit log: how it is sealed, spelled, hashed and opened.

A record is one line of ASCII; the newline that ends it is not part of it::

    cbp-audit-1 <key id> <sequence> <previous hash> <nonce> <sealed>

- ``cbp-audit-1``: version of the format. Another format is another word.
- *key id*: 16 hexadecimal digits, the start of SHA-256 over ``KEY_ID_DOMAIN`` and the key.
- *sequence*: decimal, from 1.
- *previous hash*: 64 hexadecimal digits: hash of the record before or, for record 1, the chain's genesis.
- *nonce*: 24 hexadecimal digits, drawn at random. One key seals at most 2^32 records (NIST SP 800-38D,
  section 8.3); then ``AES_KEY`` is due for a change and the old one goes to ``AES_KEY_PREVIOUS``.
- *sealed*: base64 of ciphertext and 16-byte tag of AES-256-GCM (NIST SP 800-38D) over the plaintext; its
  associated data is everything before the nonce, so that no part of a record can be changed or moved.

A record has one spelling: what decodes to the same bytes but is written otherwise is no record. Its hash is
SHA-256 over ``RECORD_DOMAIN`` and the whole line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from warehouse.errors import OperationError

FORMAT: Final = "cbp-audit-1"
KEY_ID_DOMAIN: Final = b"cbp audit key id v1\0"
RECORD_DOMAIN: Final = b"cbp audit record v1\0"
KEY_BYTES: Final = 32
HASH_BYTES: Final = 32
_NONCE_BYTES: Final = 12

_RECORD: Final = re.compile(
    rb"(?P<bound>cbp-audit-1 (?P<key_id>[0-9a-f]{16}) (?P<sequence>[1-9][0-9]{0,17}) "
    rb"(?P<previous>[0-9a-f]{64}))"
    rb" (?P<nonce>[0-9a-f]{24}) (?P<sealed>[A-Za-z0-9+/]{22,}={0,2})"
)


class AuditError(OperationError):
    """The audit log is not what was written."""


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """A record as it stands in a file.

    Parameters
    ----------
    sequence : int
        Its number, from 1.
    key_id : str
        Which key sealed it.
    previous_hash : bytes
        Hash of the record before.
    nonce : bytes
    sealed : bytes
        Ciphertext and tag.
    bound : bytes
        Associated data.
    data : bytes
        The whole line, without its newline.
    """

    sequence: int
    key_id: str
    previous_hash: bytes
    nonce: bytes
    sealed: bytes
    bound: bytes
    data: bytes

    @property
    def record_hash(self) -> bytes:
        """Hash that the next record holds: 32 bytes."""
        return hashlib.sha256(RECORD_DOMAIN + self.data).digest()


class AuditKeys:
    """Seals with the first key, opens with any.

    Parameters
    ----------
    keys : sequence of bytes
        32 bytes each.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise AuditError(f"expected one or more keys of {KEY_BYTES} bytes")
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._sealing_id = key_id(keys[0])

    def __repr__(self) -> str:
        return f"AuditKeys({', '.join(self._ciphers)})"

    def seal(self, plaintext: bytes, *, sequence: int, previous_hash: bytes) -> SealedRecord:
        """Make the record of a plaintext.

        Parameters
        ----------
        plaintext : bytes
        sequence : int
            Its number, from 1.
        previous_hash : bytes
            32 bytes: hash of the record before, or the genesis.
        """
        if sequence < 1 or len(previous_hash) != HASH_BYTES:
            raise AuditError(f"expected a sequence from 1 and a previous hash of {HASH_BYTES} bytes")
        bound = f"{FORMAT} {self._sealing_id} {sequence} {previous_hash.hex()}".encode()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._sealing_id].encrypt(nonce, plaintext, bound)
        data = b" ".join((bound, nonce.hex().encode(), base64.b64encode(sealed)))
        return SealedRecord(sequence, self._sealing_id, previous_hash, nonce, sealed, bound, data)

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
                f"was sealed with the unknown key {record.key_id}, or its key id was changed: "
                "AES_KEY and AES_KEY_PREVIOUS must hold the key of that time"
            )
        try:
            return cipher.decrypt(record.nonce, record.sealed, record.bound)
        except InvalidTag:
            raise AuditError("was changed: its seal does not fit") from None


def key_id(key: bytes) -> str:
    """Public name of a key; says nothing of the key itself."""
    return hashlib.sha256(KEY_ID_DOMAIN + key).hexdigest()[:16]


def parse_record(line: bytes) -> SealedRecord:
    """Take a line, without its newline, apart.

    Raises
    ------
    AuditError
        When it is not in the one spelling of a record.
    """
    match = _RECORD.fullmatch(line)
    if match is None:
        raise AuditError("is not in the form of a record")
    try:
        sealed = base64.b64decode(match["sealed"], validate=True)
    except binascii.Error:
        raise AuditError("is not in the form of a record") from None
    if base64.b64encode(sealed) != match["sealed"]:
        raise AuditError("is not in the one spelling of a record")
    return SealedRecord(
        sequence=int(match["sequence"]),
        key_id=match["key_id"].decode(),
        previous_hash=bytes.fromhex(match["previous"].decode()),
        nonce=bytes.fromhex(match["nonce"].decode()),
        sealed=sealed,
        bound=match["bound"],
        data=line,
    )
