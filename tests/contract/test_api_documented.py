"""Every route, code and setting of the API is in its guide."""

from __future__ import annotations

import ast
import re

import pytest
from flask import Flask

from api.access.clients import ROLES
from api.resources import health, labels, predict, token
from api.schemas import LabelBody, TransactionBody
from warehouse.settings import PROJECT_ROOT

GUIDE = (PROJECT_ROOT / "docs" / "guide" / "api.md").read_text(encoding="utf-8")
OPERATING = (PROJECT_ROOT / "docs" / "guide" / "operating.md").read_text(encoding="utf-8")


def routes() -> list[str]:
    app = Flask("api", static_folder=None)
    for module in (health, labels, predict, token):
        app.register_blueprint(module.blueprint)
    return [
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
    ]


@pytest.mark.parametrize("route", routes())
def test_every_route_is_documented(route: str) -> None:
    assert f"`{route}`" in GUIDE


@pytest.mark.parametrize("field", [*TransactionBody.model_fields, *LabelBody.model_fields])
def test_every_field_of_a_body_is_documented(field: str) -> None:
    assert f"`{field}`" in GUIDE


def settings_read() -> list[str]:
    tree = ast.parse((PROJECT_ROOT / "api" / "settings.py").read_text(encoding="utf-8"))
    words = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return sorted(word for word in words if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", word))


@pytest.mark.parametrize("name", settings_read())
def test_every_setting_is_documented(name: str) -> None:
    assert f"`{name}`" in GUIDE + OPERATING


def codes() -> list[str]:
    """Texts of the calls that make an error: the code is the argument after the status."""
    found = {"not_found", "method_not_allowed", "request_entity_too_large"}
    for file in (PROJECT_ROOT / "api").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        found |= set(re.findall(r'HTTPStatus\.[A-Z_]+,\s+"([a-z_]+)"', text))
        found |= set(re.findall(r'_refused\("([a-z_]+)"', text))
        found |= {f"too_many_{field}" for field in re.findall(r'_limited\(parse_body\(body\), "(\w+)"', text)}
    return sorted(found)


@pytest.mark.parametrize("code", codes())
def test_every_error_code_is_documented(code: str) -> None:
    assert f"`{code}`" in GUIDE


def test_every_role_is_documented() -> None:
    assert all(f"`{role}`" in GUIDE for role in ROLES)
