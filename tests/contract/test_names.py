"""A name says one thing: no two rooms of the product define the same public class, type or function."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from tests.support.rooms import modules


def public_definitions() -> Iterator[tuple[str, str]]:
    """Yield the name and the module of each public class, type and function of the product."""
    for module, file in modules().items():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, module
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
                # A type by another name: Progress = Callable[[str], None]
                yield from ((target.id, module) for target in node.targets if isinstance(target, ast.Name))


def test_no_two_things_share_a_name() -> None:
    homes = defaultdict(list)
    for name, module in public_definitions():
        # A command is named after what it runs.
        if not name.startswith("_") and not module.startswith("cbp.commands."):
            homes[name].append(module)
    assert len(homes) > 500
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}
