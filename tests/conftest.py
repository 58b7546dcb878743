"""What several folders of tests share: live stores on both databases, and one small world, built once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feature_repo import feast_store
from tests.support.feature_home import make_settings
from tests.support.postgres_server import PostgresServer, running_postgres
from warehouse.build.build import build
from warehouse.build.dbt import warm_dbt
from warehouse.ingest.ingest import ingest
from warehouse.live.engine import LiveEngine
from warehouse.live.store import LiveStore
from warehouse.locks import locked
from warehouse.settings import Settings
from warehouse.simulation.simulate import simulate

NewUrl = Callable[[], str]


@pytest.fixture(scope="session", autouse=True)
def one_dbt() -> Iterator[None]:
    """Keep dbt's process for all tests of a worker; the first that runs dbt starts it."""
    with warm_dbt():
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
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


@pytest.fixture(scope="session")
def copy_of_world(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Settings]:
    """Give out copies of a home of 50 days of 150 customers, built and registered; nothing is trained."""
    world = make_settings(shared_folder / "world")
    with locked(shared_folder / "world.lock"):
        if not world.published_file.exists():
            world.create_folders()
            raw = world.home.parent / "payments.parquet"
            simulate(raw, customers=150, merchants=300, days=50, seed=1)
            ingest(world, [raw]).raise_on_failure()
            build(world)

    def copied() -> Settings:
        own = make_settings(tmp_path_factory.mktemp("copy"))
        shutil.copytree(world.home, own.home, symlinks=True)
        feast_store.apply(own)  # the registry holds paths
        return own

    return copied


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder that the session's workers have in common."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent
