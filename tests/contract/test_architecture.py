"""Arrows point one way: api → ml → warehouse, and feature_repo → warehouse."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from warehouse.settings import PROJECT_ROOT

PACKAGES = ("api", "bench", "cbp", "feature_repo", "ml", "tests", "warehouse")
MAY_IMPORT = {
    "warehouse": set[str](),
    "feature_repo": {"warehouse"},
    "ml": {"feature_repo", "warehouse"},
    "api": {"ml", "warehouse"},
}
KNOWS_HTTP = ("flask", "flask_jwt_extended", "granian", "httpx", "werkzeug")


def imported_by(file: Path) -> set[str]:
    """Top-level names of the packages that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    for file in (PROJECT_ROOT / package).rglob("*.py"):
        wrong = imported_by(file) & set(PACKAGES) - MAY_IMPORT[package] - {package}
        assert not wrong, f"{file.relative_to(PROJECT_ROOT)} imports {wrong}"


@pytest.mark.parametrize("package", ["warehouse", "feature_repo", "ml"])
def test_nothing_below_the_api_knows_http(package: str) -> None:
    for file in (PROJECT_ROOT / package).rglob("*.py"):
        wrong = imported_by(file) & set(KNOWS_HTTP)
        assert not wrong, f"{file.relative_to(PROJECT_ROOT)} imports {wrong}"


def test_only_one_module_asks_feast_for_training_features() -> None:
    callers = [
        file.relative_to(PROJECT_ROOT).as_posix()
        for package in MAY_IMPORT
        for file in (PROJECT_ROOT / package).rglob("*.py")
        if ".get_historical_features(" in file.read_text(encoding="utf-8")
    ]
    assert callers == ["ml/features.py"]


def test_nothing_unpickles() -> None:
    for package in MAY_IMPORT:
        for file in (PROJECT_ROOT / package).rglob("*.py"):
            wrong = imported_by(file) & {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
            assert not wrong, f"{file.relative_to(PROJECT_ROOT)} imports {wrong}"
