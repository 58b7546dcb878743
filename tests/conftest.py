"""Live stores for tests: on SQLite always, on PostgreSQL with ``-m postgres`` (``make test-services``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from postgres_server import PostgresServer, running_postgres

from warehouse.live_engine import LiveEngine
from warehouse.live_store import LiveStore

NewUrl = Callable[[], str]


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def new_live_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewUrl:
    """Make URLs of live stores that nobody has opened yet."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('live') / 'live.db'}"
    server: PostgresServer = request.getfixturevalue("postgres_server")
    return server.new_url


@pytest.fixture
def live_url(new_live_url: NewUrl) -> str:
    return new_live_url()


@pytest.fixture
def live_store(live_url: str) -> Iterator[LiveStore]:
    """Open a live store with empty tables."""
    opened = LiveStore(LiveEngine(live_url))
    opened.create_tables()
    yield opened
    opened.close()
