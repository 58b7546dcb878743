"""One small world, built once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
from feature_home import make_settings

from ml import features
from warehouse.building import build
from warehouse.ingest import ingest
from warehouse.settings import Settings
from warehouse.simulate import simulate


@pytest.fixture(scope="session")
def copy_of_world(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Settings]:
    """Give out copies of a home of 50 days of 150 customers, built and registered; nothing is trained."""
    world = make_settings(tmp_path_factory.mktemp("world"))
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
