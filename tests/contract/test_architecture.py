"""The rooms of the code: each has its one sentence, and arrows between them lead one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

from warehouse.settings import PROJECT_ROOT

PACKAGES: Final[dict[str, tuple[str, ...]]] = {
    "warehouse": (),
    "feature_repo": ("warehouse",),
    "ml": ("feature_repo", "warehouse"),
    "api": ("ml", "feature_repo", "warehouse"),
    "cbp": ("api", "ml", "feature_repo", "warehouse"),
}
"""Each package, and the packages whose every room it may import."""

ROOMS: Final[dict[str, tuple[str, ...]]] = {
    "warehouse": (),
    "warehouse.feature_store": ("warehouse",),
    "warehouse.landing": ("warehouse",),
    "warehouse.live": ("warehouse", "warehouse.landing"),
    "warehouse.velocity": ("warehouse",),
    "warehouse.ingest.mapping": ("warehouse",),
    "warehouse.ingest.reading": ("warehouse", "warehouse.ingest.mapping"),
    "warehouse.ingest": (
        "warehouse",
        "warehouse.ingest.mapping",
        "warehouse.ingest.reading",
        "warehouse.landing",
        "warehouse.live",
    ),
    "warehouse.build": ("warehouse", "warehouse.landing", "warehouse.live", "warehouse.velocity"),
    "warehouse.simulation": ("warehouse", "warehouse.ingest.reading"),
    "warehouse.__init__": ("warehouse.feature_store",),
    "feature_repo": (),
    "ml": (),
    "ml.features": ("ml",),
    "ml.runtimes": ("ml",),
    "ml.reports": (),
    "ml.bundles": ("ml", "ml.features"),
    "ml.rows": ("ml", "ml.features", "ml.runtimes"),
    "ml.reasons": ("ml", "ml.features", "ml.runtimes"),
    "ml.scoring": ("ml", "ml.bundles", "ml.features", "ml.reasons", "ml.runtimes"),
    "ml.estimators": ("ml", "ml.runtimes"),
    "ml.customers": ("ml", "ml.reports", "ml.runtimes"),
    "ml.evaluation": ("ml", "ml.bundles", "ml.reports", "ml.rows", "ml.runtimes", "ml.scoring"),
    "ml.training": (
        "ml",
        "ml.bundles",
        "ml.estimators",
        "ml.evaluation",
        "ml.features",
        "ml.reasons",
        "ml.reports",
        "ml.rows",
        "ml.runtimes",
        "ml.scoring",
    ),
    "ml.studies": (
        "ml",
        "ml.bundles",
        "ml.estimators",
        "ml.evaluation",
        "ml.features",
        "ml.reasons",
        "ml.reports",
        "ml.rows",
        "ml.runtimes",
        "ml.scoring",
        "ml.training",
    ),
    "ml.studies.handbook": (
        "ml",
        "ml.estimators",
        "ml.evaluation",
        "ml.features",
        "ml.reports",
        "ml.rows",
        "ml.runtimes",
    ),
    "api": (),
    "api.access": ("api",),
    "api.audit": (),
    "api.serving": ("api", "api.audit"),
    "api.resources": ("api", "api.access", "api.serving"),
    "api.__init__": ("api", "api.access", "api.resources", "api.serving"),
    "api.server": ("api", "api.__init__", "api.audit"),
    "cbp": (),
    "cbp.proof.traffic": (),
    "cbp.proof.comparison": ("cbp.proof.traffic",),
    "cbp.proof": ("cbp.proof.comparison", "cbp.proof.traffic"),
    "cbp.commands": ("cbp", "cbp.proof"),
    "cbp.main": ("cbp", "cbp.commands"),
    "cbp.__init__": ("cbp.main",),
}
"""Each room from the bottom up, and the rooms of its own package that it may import.

The files at a package's root are a room as well: what its other rooms stand on. Those that put the package
together stand on top of it, each a room of its own.
"""

KNOWS_HTTP = ("flask", "flask_jwt_extended", "granian", "httpx", "werkzeug")
UNPICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


@cache
def modules() -> dict[str, Path]:
    """Files of the product by the name of their module; a package's own is ``package.__init__``."""
    return {
        ".".join(file.relative_to(PROJECT_ROOT).with_suffix("").parts): file
        for package in PACKAGES
        for file in sorted((PROJECT_ROOT / package).rglob("*.py"))
    }


def room_of(module: str) -> str:
    return module if module in ROOMS else module.rpartition(".")[0]


@cache
def imported_by(file: Path) -> frozenset[str]:
    """Names that a file imports, wherever in it: modules, and what is taken from them."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def modules_imported_by(file: Path) -> Iterator[str]:
    """Yield the product's own modules that a file imports."""
    for name in imported_by(file):
        for candidate in (
            name,
            f"{name}.__init__",
            name.rpartition(".")[0],
            f"{name.rpartition('.')[0]}.__init__",
        ):
            if candidate in modules():
                yield candidate
                break


def arrows() -> dict[str, set[str]]:
    """Room by room, the others that its files import."""
    found: dict[str, set[str]] = {room: set() for room in ROOMS}
    for module, file in modules().items():
        room = room_of(module)
        found.setdefault(room, set()).update(map(room_of, modules_imported_by(file)))
        found[room].discard(room)
    return found


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
        tree = ast.parse(modules()[f"{room}.__init__"].read_text(encoding="utf-8"))
        first = (ast.get_docstring(tree) or "").split("\n\n")[0]
        assert first.endswith("."), room
        assert room in ROOMS, room


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
