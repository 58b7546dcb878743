"""API keys and roles: who may ask for a token, and what for. A key is shown once; its keyed hash is kept."""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Final

from warehouse.errors import InputError
from warehouse.live.clients import Client, add_client, find_client
from warehouse.live.store import LiveStore

ROLES: Final = {
    "scorer": frozenset({"predict"}),
    "analyst": frozenset({"label"}),
    "label_source": frozenset({"label", "date_labels"}),
}
"""What a client may do, by role.

A scorer may call ``POST /predict``; an analyst ``POST /labels``, for verdicts that count from now; a source
of labels (chargebacks, an issuer's file) may say besides when each became known.
"""

_PREFIX: Final = "cbp"
_CLIENT_ID: Final = re.compile("[0-9a-f]{16}_")
_NOBODY: Final = b"\0" * 32


def may(role: object, action: str) -> bool:
    """Say whether a role allows an action."""
    return isinstance(role, str) and action in ROLES.get(role, frozenset())


def create_api_key(store: LiveStore, secret: bytes, *, name: str, role: str, now_us: int) -> str:
    """Create a client; returns its key, which can't be shown again.

    Raises
    ------
    InputError
        When the name is empty or too long, or the role is unknown.
    """
    if not 1 <= len(name) <= 100:
        raise InputError(f"a client's name must have 1 to 100 characters, got {len(name)}")
    if role not in ROLES:
        raise InputError(f"expected a role of {', '.join(ROLES)}, got {role!r}")
    client_id = secrets.token_hex(8)
    key = f"{_PREFIX}_{client_id}_{secrets.token_urlsafe(32)}"
    client = Client(client_id, name, role, created_us=now_us, revoked_us=None)
    add_client(store, client, key_hash=_hash(secret, key))
    return key


def authenticate(store: LiveStore, secret: bytes, key: str) -> Client | None:
    """Find the client of a key; None when there is none, for whatever reason, in about the same time."""
    _, _, rest = key.partition("_")
    client_id = rest[:16] if _CLIENT_ID.match(rest) else ""
    client, key_hash = find_client(store, client_id) or (None, _NOBODY)
    is_key = hmac.compare_digest(key_hash, _hash(secret, key))
    return client if is_key and client is not None and client.revoked_us is None else None


def _hash(secret: bytes, key: str) -> bytes:
    return hmac.digest(secret, key.encode(), "sha256")
