"""One small world, built once: whichever worker needs it first builds it for all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from feature_home import make_settings

from ml import features
from warehouse.building import build
from warehouse.file_locks import locked
from warehouse.ingest import ingest
from warehouse.settings import Settings
from warehouse.simulate import simulate


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
        features.apply(own)  # the registry holds paths
        return own

    return copied


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the folder that the session's workers have in common."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent
