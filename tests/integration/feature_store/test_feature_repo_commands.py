"""Feast's own command line on our repository, as it is run from the project's root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from feast.repo_config import load_repo_config

from feature_repo import feast_store
from ml.features.online import OnlineReader
from tests.support.feature_home import DAY_US, START_US, make_settings, write_small_world
from warehouse.feature_store.registry import resolve_feast_path
from warehouse.settings import PROJECT_ROOT, Settings

pytestmark = pytest.mark.services

FEAST = Path(sys.executable).with_name("feast")

# Several commands by one process: Feast takes seconds to start.
SEVERAL = """
import json, os, sys
from feast.cli.cli import cli

root = os.getcwd()
for arguments in json.loads(sys.argv[1]):
    os.chdir(root)  # Feast works in its repository's folder, and stays there
    cli(["-c", "feature_repo", *arguments], standalone_mode=False)
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = make_settings(tmp_path)
    write_small_world(settings)
    return settings


def _run(settings: Settings, *command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CBP_HOME": str(settings.home), "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        command,
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    assert "Warning" not in done.stderr
    return done


def test_apply_and_materialize_work_from_the_projects_root(settings: Settings) -> None:
    commands = [
        ["apply"],
        ["materialize", "2018-01-01T00:00:00", "2019-01-01T00:00:00"],
        ["materialize-incremental", "2019-02-01T00:00:00"],
    ]
    done = _run(settings, sys.executable, "-c", SEVERAL, json.dumps(commands))
    assert "customer_profile" in done.stdout
    row = {"customer_id": "c1", "merchant_id": "m1", "category": "food", "event_us": START_US + 2 * DAY_US}
    (found,) = OnlineReader(feast_store.open_store(settings)).read([row])
    assert (found["profile_count"], found["merchant_risk_30d"]) == (2**53 + 1, 0.25)


def test_without_a_manifest_apply_says_what_to_run_in_one_line(tmp_path: Path) -> None:
    done = _run(make_settings(tmp_path), str(FEAST), "-c", "feature_repo", "apply", code=1)
    assert done.stderr.count("\n") == 1
    assert "run `dbt run` or `cbp build` first" in done.stderr


def test_without_a_home_in_the_environment_it_is_below_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CBP_HOME", raising=False)
    monkeypatch.chdir(PROJECT_ROOT)
    config = load_repo_config(Path("feature_repo"), Path("feature_repo/feature_store.yaml"))
    home = PROJECT_ROOT / "data" / "feast"
    assert resolve_feast_path(config.registry.path) == home / "registry.db"
    assert resolve_feast_path(config.online_store.path) == home / "online.db"
