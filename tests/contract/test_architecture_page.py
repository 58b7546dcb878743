"""Pages say what is true: rooms and their sentences, paths, Python names, pictures as the code draws them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.draw_architecture import FOLDER, STEPS, pictures
from tests.support.rooms import PACKAGES, SQL_ROOT, folders, modules, sentence_of
from warehouse.settings import PROJECT_ROOT

PAGE = (PROJECT_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PAGES = [PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").rglob("*.md"))]
TOP_LEVEL = {path.name for path in PROJECT_ROOT.iterdir() if path.is_dir()} - {"data", "models", "reports"}
NAMED_PATH = re.compile(r"`((?:\w[\w.-]*/)+[\w.-]*)`")
TESTS = PROJECT_ROOT / "tests"
SQL_FOLDERS = {file.parent.relative_to(SQL_ROOT).as_posix() for file in SQL_ROOT.rglob("*.sql")}
TEST_FOLDERS = {file.relative_to(TESTS).parts[0] for file in TESTS.rglob("*/*.py")}
DOTTED_NAME = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)`")
IMPORT = re.compile(rf"^from ((?:{'|'.join(PACKAGES)})[\w.]*) import ([\w, ]+)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)|(?:src|srcset)=\"([^\"]+)\"")


@pytest.mark.parametrize("room", folders())
def test_each_room_stands_on_the_page_with_its_sentence(room: str) -> None:
    path = f"`{room.replace('.', '/')}/`"
    expected = (
        f"### {path}\n\n{sentence_of(room)}\n" if room in PACKAGES else f"| {path} | {sentence_of(room)} |"
    )
    assert expected in PAGE


def test_each_folder_of_sql_and_tests_stands_on_the_page() -> None:
    named = {f"dbt_project/{path}" for path in SQL_FOLDERS} | {f"tests/{name}" for name in TEST_FOLDERS}
    assert {path for path in named if f"| `{path}/` | " not in PAGE} == set()


def test_each_step_of_a_payment_names_the_file_of_its_picture() -> None:
    for number, step in enumerate(STEPS, start=1):
        assert f"{number}. **{step.title}** (`{step.file}`)." in PAGE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_ROOT)))
def test_paths_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {path for path in NAMED_PATH.findall(text) if path.split("/")[0] in TOP_LEVEL}
    assert {path for path in named if not (PROJECT_ROOT / path).exists()} == set()
    linked = {first or second for first, second in LINK.findall(text)}
    assert {path for path in linked if not (page.parent / path).exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT_ROOT)))
def test_python_names_that_a_page_gives_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = {name for name in DOTTED_NAME.findall(text) if not name.endswith(".py")}
    named |= {f"{module}.{name}" for module, names in IMPORT.findall(text) for name in names.split(", ")}
    assert {name for name in named if not is_defined(name)} == set()


def is_defined(name: str) -> bool:
    """Say whether a dotted name is a module, or the last part stands in one."""
    module, _, last = name.rpartition(".")
    if {name, f"{name}.__init__"} & modules().keys():
        return True
    file = modules().get(module) or modules().get(f"{module}.__init__")
    return file is not None and re.search(rf"\b{last}\b", file.read_text(encoding="utf-8")) is not None


@pytest.mark.parametrize("name", sorted(pictures()))
def test_pictures_are_those_that_the_code_draws(name: str) -> None:
    drawn = (FOLDER / name).read_text(encoding="utf-8")
    assert drawn == pictures()[name], "run `make pictures`"
