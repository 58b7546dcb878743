"""Homes of a replay: one replay at a time may make them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from api.replay.homes import only_replay
from cbp import main
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
