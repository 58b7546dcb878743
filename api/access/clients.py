"""API clients: who may ask for a token. A key is shown once; the store keeps its keyed hash."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from typing import Final

from sqlalchemy import insert, select, update

from warehouse.errors import InputError
from warehouse.live.schema import api_clients
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


@dataclass(frozen=True)
class Client:
    """A client that may ask for tokens."""

    client_id: str
    name: str
    role: str
    created_us: int
    revoked_us: int | None


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
    with store.durable() as connection:
        connection.execute(
            insert(api_clients).values(
                client_id=client_id, name=name, role=role, key_hash=_hash(secret, key), created_us=now_us
            )
        )
    return key


def authenticate(store: LiveStore, secret: bytes, key: str) -> Client | None:
    """Find the client of a key; None when there is none, for whatever reason, in about the same time."""
    _, _, rest = key.partition("_")
    client_id = rest[:16] if _CLIENT_ID.match(rest) else ""
    with store.reading() as connection:
        row = connection.execute(select(api_clients).where(api_clients.c.client_id == client_id)).first()
    stored = bytes(row.key_hash) if row is not None else _NOBODY
    if not hmac.compare_digest(stored, _hash(secret, key)) or row is None or row.revoked_us is not None:
        return None
    return Client(row.client_id, row.name, row.role, row.created_us, row.revoked_us)


def is_active(store: LiveStore, client_id: str) -> bool:
    """Say whether a client exists and is not revoked."""
    query = select(api_clients.c.client_id).where(
        api_clients.c.client_id == client_id, api_clients.c.revoked_us.is_(None)
    )
    with store.reading() as connection:
        return connection.execute(query).first() is not None


def list_clients(store: LiveStore) -> list[Client]:
    """All clients, oldest first."""
    with store.reading() as connection:
        rows = connection.execute(select(api_clients).order_by(api_clients.c.created_us)).all()
    return [Client(row.client_id, row.name, row.role, row.created_us, row.revoked_us) for row in rows]


def revoke(store: LiveStore, client_id: str, *, now_us: int) -> None:
    """Give a client no more tokens; those that it has are refused within seconds.

    Raises
    ------
    InputError
        When there is no such client, or it was revoked before.
    """
    with store.durable() as connection:
        revoked = connection.execute(
            update(api_clients)
            .where(api_clients.c.client_id == client_id, api_clients.c.revoked_us.is_(None))
            .values(revoked_us=now_us)
        ).rowcount
    if not revoked:
        raise InputError(f"there is no active client {client_id!r}: see `cbp apikeys list`")


def _hash(secret: bytes, key: str) -> bytes:
    return hmac.digest(secret, key.encode(), "sha256")
