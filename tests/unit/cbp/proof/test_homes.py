"""Homes of a replay: one replay at a time may make them, and they keep to themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from cbp import main
from cbp.proof.homes import fresh_home, only_replay
from feature_repo import feast_store
from tests.support.feature_home import DAY_US, START_US, make_settings, write_small_world
from warehouse.settings import Settings


def test_a_second_replay_of_a_home_is_refused_and_erases_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CBP_HOME", str(tmp_path))
    settings = Settings.from_environment()
    made = settings.home / "replay" / "served" / "live.db"
    made.parent.mkdir(parents=True)
    made.touch()
    with only_replay(settings):
        refused = CliRunner().invoke(main, ["replay", "--from", "2024-02-29"])
    assert refused.exit_code != 0
    assert "another replay" in refused.output
    assert made.is_file()
    with only_replay(settings):
        pass


def test_a_home_keeps_to_its_own_files_where_the_project_names_a_store_for_all(tmp_path: Path) -> None:
    project = make_settings(tmp_path)
    shared = (project.feature_repo_dir / "feature_store.yaml").read_text(encoding="utf-8")
    of_the_file = "type: warehouse.feature_store.online_store.RowOnlineStore\n  path: online.db\n"
    assert of_the_file in shared
    for_all = f"type: sqlite\n  path: {tmp_path / 'production.db'}\n"
    (tmp_path / "feature_store.yaml").write_text(shared.replace(of_the_file, for_all), encoding="utf-8")
    settings = replace(project, feature_repo_dir=tmp_path)
    assert feast_store.open_store(settings).config.online_store.type == "sqlite"
    home = fresh_home(settings, tmp_path / "replay" / "served")
    write_small_world(home)
    feast_store.apply(home)
    assert feast_store.materialize(home, until_us=START_US + DAY_US)["customer_profile"] == 2
    assert (home.feast_dir / "online.db").is_file()
    assert not (tmp_path / "production.db").exists()
    assert Path(feast_store.open_store(home).config.registry.path).is_relative_to(home.home)
