"""Clients of the API: who they are, and the keyed hash of each one's key."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Row, insert, select, update

from warehouse.errors import InputError
from warehouse.live.schema import api_clients
from warehouse.live.store import LiveStore


@dataclass(frozen=True)
class Client:
    """A client that may ask for tokens.

    Parameters
    ----------
    client_id, name, role : str
    created_us : int
        UTC microseconds.
    revoked_us : int or None
        UTC microseconds; None: it is active.
    """

    client_id: str
    name: str
    role: str
    created_us: int
    revoked_us: int | None


def add_client(store: LiveStore, client: Client, *, key_hash: bytes) -> None:
    """Record a new client."""
    with store.durable() as connection:
        connection.execute(
            insert(api_clients).values(
                client_id=client.client_id,
                name=client.name,
                role=client.role,
                key_hash=key_hash,
                created_us=client.created_us,
            )
        )


def find_client(store: LiveStore, client_id: str) -> tuple[Client, bytes] | None:
    """Find a client, active or not, and the hash of its key; None: there is none."""
    with store.reading() as connection:
        row = connection.execute(select(api_clients).where(api_clients.c.client_id == client_id)).first()
    return None if row is None else (_client(row), bytes(row.key_hash))


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
    return [_client(row) for row in rows]


def revoke_client(store: LiveStore, client_id: str, *, now_us: int) -> None:
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


def _client(row: Row[tuple[object, ...]]) -> Client:
    return Client(row.client_id, row.name, row.role, row.created_us, row.revoked_us)
