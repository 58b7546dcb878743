"""Every command explains itself, and fails with one line and the right exit code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cbp import main
from warehouse.settings import PROJECT_ROOT

DOCUMENTS = [
    PROJECT_ROOT / "README.md",
    *sorted((PROJECT_ROOT / "docs").rglob("*.md")),
    PROJECT_ROOT / "CHANGELOG.md",
]


def commands(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Walk every command that does something."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands(main))


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_has_an_example(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert f"Example: cbp {' '.join(path)}" in " ".join(result.output.split())


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_is_documented(path: tuple[str, ...]) -> None:
    text = "\n".join(document.read_text(encoding="utf-8") for document in DOCUMENTS)
    assert f"cbp {' '.join(path)}" in text or f"`{path[0]}`" in text


@pytest.mark.parametrize(
    "name", ["CBP_HOME", "CBP_MODELS", "CBP_REPORTS", "CBP_LIVE_STORE", "CBP_MEMORY_LIMIT"]
)
def test_settings_are_documented(name: str) -> None:
    assert f"`{name}`" in (PROJECT_ROOT / "docs" / "guide" / "operating.md").read_text(encoding="utf-8")


def test_bad_input_exits_2_and_failed_work_exits_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CBP_HOME", str(tmp_path / "home"))
    wrong = CliRunner().invoke(main, ["simulate", str(tmp_path / "payments.xls")])
    assert wrong.exit_code == 2
    assert "Traceback" not in wrong.output
    failed = CliRunner().invoke(main, ["materialize"])
    assert failed.exit_code == 1
    assert "cbp build" in " ".join(failed.output.split())


@pytest.mark.parametrize("secret", ["JWT_SECRET", "API_KEY_SECRET", "AES_KEY"])
def test_serving_without_a_secret_says_which(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from api.settings import generate_keys

    for name, value in generate_keys().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(secret, "")
    result = CliRunner().invoke(main, ["serve"])
    assert result.exit_code == 2
    assert secret in result.output
