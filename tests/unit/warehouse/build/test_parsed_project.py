"""What dbt parsed is kept by what decides it, and nothing else is ever given for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from warehouse.build import parsed_project
from warehouse.build.parsed_project import keep_parsed, load_parsed, parse_key
from warehouse.settings import PROJECT_ROOT


class Parsed:
    """Stands for dbt's manifest where only its bytes matter."""

    def to_msgpack(self, encoder: object) -> bytes:
        """Return its bytes."""
        return b"parsed"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Copy what dbt reads of the project."""
    folder = tmp_path / "project"
    shutil.copytree(PROJECT_ROOT / "dbt_project", folder / "dbt_project")
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(PROJECT_ROOT / name, folder / name)
    return folder


def test_the_key_is_of_files_and_variables_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = parse_key(["run", "--vars", "{a: 1, b: 2}"], project=project)
    assert parse_key(["build", "--select", "x", "--vars", '{"b": 2, "a": 1}'], project=project) == key
    monkeypatch.setenv("CBP_HOME", "elsewhere")
    assert parse_key(["run", "--vars", "{a: 1, b: 2}"], project=project) == key
    assert parse_key(["run", "--vars", "{a: 1, b: 3}"], project=project) != key
    assert parse_key(["run"], project=project) != key


@pytest.mark.parametrize(
    "file",
    [
        "dbt_project.yml",
        "profiles.yml",
        "dbt_project/models/marts/fct_transactions.sql",
        "dbt_project/models/marts/fct_transactions.yml",
        "dbt_project/macros/state/landing.sql",
        "dbt_project/tests/assert_features_use_no_future_rows.sql",
    ],
)
def test_another_key_when_a_file_changes(project: Path, file: str) -> None:
    before = parse_key(["run"], project=project)
    path = project / file
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert parse_key(["run"], project=project) != before


def test_another_key_when_a_file_comes_or_goes(project: Path) -> None:
    before = parse_key(["run"], project=project)
    model = project / "dbt_project" / "models" / "marts" / "another.sql"
    model.write_text("select 1", encoding="utf-8")
    assert parse_key(["run"], project=project) != before
    model.unlink()
    assert parse_key(["run"], project=project) == before


def test_another_key_when_a_variable_of_the_environment_is_read(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = project / "dbt_project" / "models" / "marts" / "another.sql"
    model.write_text("select {{ env_var('PLACE', '1') }}", encoding="utf-8")
    before = parse_key(["run"], project=project)
    monkeypatch.setenv("PLACE", "2")
    assert parse_key(["run"], project=project) != before


def test_what_is_damaged_counts_as_not_kept(tmp_path: Path) -> None:
    assert load_parsed("key", tmp_path / "target", folder=tmp_path) is None
    (tmp_path / "key.msgpack").write_bytes(b"half of a file")
    (tmp_path / "key.json").write_text("{}")
    assert load_parsed("key", tmp_path / "target", folder=tmp_path) is None
    assert not (tmp_path / "target" / "manifest.json").exists()


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "manifest.json").write_text("{}")
    folder = tmp_path / "kept"
    for number in range(parsed_project.MOST_KEPT + 3):
        keep_parsed(f"key-{number:03}", Parsed(), target, folder=folder)  # type: ignore[arg-type]
    assert len(list(folder.glob("*.msgpack"))) == len(list(folder.glob("*.json"))) == parsed_project.MOST_KEPT
    assert (folder / f"key-{parsed_project.MOST_KEPT + 2:03}.msgpack").is_file()


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "file").write_text("no folder")
    keep_parsed("key", Parsed(), tmp_path, folder=tmp_path / "file")  # type: ignore[arg-type]
    assert (tmp_path / "file").read_text() == "no folder"
