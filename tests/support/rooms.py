"""The rooms of the code, from two tables, and what their files say: sentences, imports and references."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from warehouse.settings import PROJECT_ROOT

SQL_ROOT: Final = PROJECT_ROOT / "dbt_project"

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

SQL_ROOMS: Final[dict[str, tuple[str, ...]]] = {
    "macros": ("models/intermediate",),
    "analyses": (),
    "models/staging": (),
    "models/intermediate": ("models/staging",),
    "models/marts": ("models/intermediate", "models/staging"),
    "models/features": ("models/intermediate", "models/staging"),
}
"""Each room of the dbt project, and the others whose models it may refer to."""

SQL_ARROW_BACK: Final = ("int_frauds__explained", "feat_customer_profile")
"""The one model that refers to a model above it: which frauds an amount explains is told by the profile."""

_REFERENCE: Final = re.compile(r"""\bref\(\s*['"](\w+)""")


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


def sql_room_of(file: Path) -> str:
    """Return the room of the dbt project that a file stands in."""
    path = file.relative_to(SQL_ROOT).as_posix()
    return next(room for room in SQL_ROOMS if path.startswith(f"{room}/"))


def sql_references() -> set[tuple[Path, Path]]:
    """Pairs of files of the dbt project: one that refers to a model, and the model."""
    models = {file.stem: file for file in (SQL_ROOT / "models").rglob("*.sql")}
    return {
        (file, models[name])
        for room in SQL_ROOMS
        for file in (SQL_ROOT / room).rglob("*.sql")
        for name in _REFERENCE.findall(file.read_text(encoding="utf-8"))
    }


def folders() -> list[str]:
    """Return the rooms that are folders, as the table has them."""
    return [room for room in ROOMS if f"{room}.__init__" in modules()]


def sentence_of(room: str) -> str:
    """Return the one sentence that a room's ``__init__`` says of it."""
    tree = ast.parse(modules()[f"{room}.__init__"].read_text(encoding="utf-8"))
    return " ".join((ast.get_docstring(tree) or "").split("\n\n")[0].split())
