"""One scoring home and one application for the tests that do it no harm, others for those that do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.settings import ApiSettings
from tests.support.api_client import Api, open_api
from tests.support.scoring_home import api_settings, write_scoring_home
from warehouse.settings import Settings


@pytest.fixture(scope="session")
def shared_settings(tmp_path_factory: pytest.TempPathFactory) -> ApiSettings:
    return api_settings(write_scoring_home(tmp_path_factory.mktemp("api")), MAX_BATCH="40", BATCH_SIZE="8")


@pytest.fixture(scope="session")
def api(shared_settings: ApiSettings) -> Iterator[Api]:
    """Open an application that takes 40 transactions, in chunks of 8."""
    opened = open_api(shared_settings)
    yield opened
    opened.services.close()


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Make a home of one's own, to break."""
    return write_scoring_home(tmp_path)


@pytest.fixture
def own_api(home: Settings) -> Iterator[Api]:
    """Open an application of one's own, to break."""
    opened = open_api(api_settings(home))
    yield opened
    opened.services.close()
