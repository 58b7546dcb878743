"""The rooms of the code: each has its one sentence, and arrows between them lead one way."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import pytest

from tests.support.rooms import (
    PACKAGES,
    ROOMS,
    SQL_ARROW_BACK,
    SQL_ROOMS,
    arrows,
    imported_by,
    modules,
    sentence_of,
    sql_references,
    sql_room_of,
)
from warehouse.settings import PROJECT_ROOT

KNOWS_HTTP = ("flask", "flask_jwt_extended", "granian", "httpx", "werkzeug")
UNPICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    for file in (PROJECT_ROOT / package).rglob("*.py"):
        wrong = {name.split(".")[0] for name in imported_by(file)} & {*PACKAGES, "bench", "tests"}
        wrong -= {package, *PACKAGES[package]}
        assert not wrong, f"{file.relative_to(PROJECT_ROOT)} imports {wrong}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_the_table_allows(room: str) -> None:
    package = room.split(".")[0]
    within = {other for other in arrows()[room] if other.split(".")[0] == package}
    # The file of a package that is run before any of its rooms is nothing that they ask for.
    assert within <= set(ROOMS[room]), f"{room} imports {sorted(within - set(ROOMS[room]))}"


@pytest.mark.parametrize("room", ROOMS)
def test_the_table_allows_no_arrow_that_is_not_there(room: str) -> None:
    assert set(ROOMS[room]) <= arrows()[room]


def test_arrows_lead_one_way() -> None:
    try:
        order = list(TopologicalSorter(arrows()).static_order())
    except CycleError as error:
        pytest.fail(f"rooms import each other in a circle: {' -> '.join(error.args[1])}")
    assert set(order) == set(ROOMS), "each room stands in the table"


def test_every_room_says_in_one_sentence_what_it_is() -> None:
    for room in {module.removesuffix(".__init__") for module in modules() if module.endswith("__init__")}:
        assert sentence_of(room).endswith("."), room
        assert room in ROOMS, room


def test_models_refer_only_to_what_the_table_allows() -> None:
    found: dict[str, set[str]] = {room: set() for room in SQL_ROOMS}
    back = set()
    for file, model in sql_references():
        room, other = sql_room_of(file), sql_room_of(model)
        if room == other:
            continue
        if other in SQL_ROOMS[room]:
            found[room].add(other)
        else:
            back.add((file.stem, model.stem))
    assert back == {SQL_ARROW_BACK}
    assert found == {room: set(others) for room, others in SQL_ROOMS.items()}, "each arrow is used"


@pytest.mark.parametrize("package", ["warehouse", "feature_repo", "ml"])
def test_nothing_below_the_api_knows_http(package: str) -> None:
    for file in (PROJECT_ROOT / package).rglob("*.py"):
        wrong = {name.split(".")[0] for name in imported_by(file)} & set(KNOWS_HTTP)
        assert not wrong, f"{file.relative_to(PROJECT_ROOT)} imports {wrong}"


def test_only_one_module_asks_feast_for_training_features() -> None:
    callers = [
        module
        for module, file in modules().items()
        if ".get_historical_features(" in file.read_text(encoding="utf-8")
    ]
    assert callers == ["ml.features.training_frame"]


def test_nothing_unpickles() -> None:
    for module, file in modules().items():
        wrong = {name.split(".")[0] for name in imported_by(file)} & UNPICKLES
        assert not wrong, f"{module} imports {wrong}"
