"""What training reads from a home: a warehouse that isn't there, or is of an earlier version."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from ml.errors import TrainingDataError
from ml.rows.training_data import open_published
from warehouse.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.from_environment({"CBP_HOME": str(tmp_path)})
    settings.create_folders()
    return settings


def test_without_a_published_warehouse_one_is_to_be_built(settings: Settings) -> None:
    with pytest.raises(TrainingDataError, match="found none: run `cbp build`"), open_published(settings):
        pass


def test_a_warehouse_of_an_earlier_version_is_to_be_built_again(settings: Settings) -> None:
    duckdb.connect(str(settings.published_file)).close()
    with (
        pytest.raises(TrainingDataError, match=r"fct_superseded_labels.*run `cbp build`"),
        open_published(settings) as connection,
    ):
        connection.execute("from fct_superseded_labels")
