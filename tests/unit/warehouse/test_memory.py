"""One setting limits the memory of every DuckDB, each by its share."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest
import yaml

from feature_repo import feast_store
from tests.support.feature_home import make_settings
from warehouse.build.dbt import dbt_environment
from warehouse.errors import SettingsError
from warehouse.ingest.workspace import open_workspace
from warehouse.landing.batches import work_folder
from warehouse.memory import DEFAULT_MEMORY_LIMIT, Share, parse_memory
from warehouse.published import open_published
from warehouse.settings import PROJECT_ROOT, Settings


def small(folder: Path) -> Settings:
    """Make a home of a machine with little memory."""
    settings = Settings.from_environment({"CBP_HOME": str(folder), "CBP_MEMORY_LIMIT": "800MB"})
    settings.create_folders()
    return settings


def limit_of(connection: duckdb.DuckDBPyConnection) -> int:
    """Read the limit in mebibytes: DuckDB shows it rounded."""
    ((text,),) = connection.execute("select current_setting('memory_limit')").fetchall()
    return round(parse_memory(text) / 2**20)


def mebibytes(size: int) -> int:
    return round(size / 2**20)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4_000_000_000), ("512MiB", 512 << 20), ("1.5 gb", 1_500_000_000), ("1TiB", 1 << 40)],
)
def test_a_size_is_read_as_duckdb_writes_it(text: str, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "4", "4 gigabytes", "-4GB", "0GB", "80%", "4GB; attach 'x'"])
def test_what_is_no_size_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="CBP_MEMORY_LIMIT: expected a size such as 4GB"):
        parse_memory(text)


def test_each_duckdb_gets_its_share(tmp_path: Path) -> None:
    settings = small(tmp_path)
    assert dbt_environment(settings)["CBP_MEMORY_LIMIT"] == settings.memory_of(Share.BUILD) == "800000KB"
    work_folder(settings).mkdir(parents=True)
    with open_workspace(settings) as workspace:
        assert limit_of(workspace.connection) == mebibytes(200_000_000)
    duckdb.connect(str(settings.published_file)).close()
    with open_published(settings) as connection:
        assert limit_of(connection) == mebibytes(600_000_000)
    assert feast_store.open_store(settings).config.offline_store.memory_limit == "200000KB"


def test_plain_dbt_and_feast_have_the_same_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    profile = yaml.safe_load((PROJECT_ROOT / "profiles.yml").read_text(encoding="utf-8"))
    (output,) = profile["customer_behavior_profiling"]["outputs"].values()
    expected = f"{{{{ env_var('CBP_MEMORY_LIMIT', '{DEFAULT_MEMORY_LIMIT}') }}}}"
    assert output["config_options"]["memory_limit"] == expected
    monkeypatch.setenv("CBP_MEMORY_LIMIT", "800MB")
    own = feast_store.open_store(make_settings(tmp_path)).config.offline_store
    assert type(own)().memory_limit == "200000KB"


def test_a_home_that_names_a_limit_of_its_own_keeps_it(tmp_path: Path) -> None:
    settings = small(tmp_path)
    feast_store.keep_to_own_files(settings)
    file = settings.feast_dir / "feature_store.yaml"
    own = yaml.safe_load(file.read_text(encoding="utf-8"))
    own["offline_store"]["memory_limit"] = "1GB"
    file.write_text(yaml.safe_dump(own), encoding="utf-8")
    assert feast_store.open_store(settings).config.offline_store.memory_limit == "1GB"
