"""API clients: a key is shown once, told from every other, and taken back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.access.clients import ROLES, authenticate, create_api_key, may
from warehouse.errors import InputError
from warehouse.live.clients import is_active, list_clients, revoke_client
from warehouse.live.engine import LiveEngine
from warehouse.live.store import LiveStore

SECRET = b"s" * 48


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LiveStore]:
    opened = LiveStore(LiveEngine(f"sqlite:///{tmp_path / 'live.db'}"))
    opened.create_tables()
    yield opened
    opened.close()


def test_a_key_is_its_client_and_no_other(store: LiveStore) -> None:
    first, second = (
        create_api_key(store, SECRET, name="same", role="scorer", now_us=time) for time in (1, 2)
    )
    assert first != second
    clients = list_clients(store)
    assert [(client.name, client.role, client.created_us) for client in clients] == [
        ("same", "scorer", 1),
        ("same", "scorer", 2),
    ]
    assert authenticate(store, SECRET, first) == clients[0]
    assert authenticate(store, SECRET, second) == clients[1]
    assert authenticate(store, b"t" * 48, first) is None
    mixed = "_".join([*first.split("_", 2)[:2], second.split("_", 2)[2]])
    assert authenticate(store, SECRET, mixed) is None


@pytest.mark.parametrize("key", ["", "_", "__", "cbp__", "cbp_x_y", "cbp_\0_y", "é", "a" * 10_000])
def test_what_is_no_key_is_nobody(store: LiveStore, key: str) -> None:
    assert authenticate(store, SECRET, key) is None


def test_a_revoked_client_is_nobody(store: LiveStore) -> None:
    key = create_api_key(store, SECRET, name="a", role="scorer", now_us=1)
    (client,) = list_clients(store)
    assert is_active(store, client.client_id)
    revoke_client(store, client.client_id, now_us=2)
    assert authenticate(store, SECRET, key) is None
    assert not is_active(store, client.client_id)
    assert list_clients(store)[0].revoked_us == 2
    for client_id in (client.client_id, "unknown"):
        with pytest.raises(InputError, match="no active client"):
            revoke_client(store, client_id, now_us=3)


@pytest.mark.parametrize(("name", "role"), [("", "scorer"), ("x" * 101, "scorer"), ("a", "king")])
def test_a_name_and_a_known_role_are_needed(store: LiveStore, name: str, role: str) -> None:
    with pytest.raises(InputError):
        create_api_key(store, SECRET, name=name, role=role, now_us=1)
    assert list_clients(store) == []


def test_a_role_allows_its_actions_only() -> None:
    assert all(may(role, action) for role, actions in ROLES.items() for action in actions)
    assert not may("scorer", "anything")
    assert not any(may(role, "predict") for role in (None, "", "king", ["scorer"], 1))
