"""Names and texts as SQL writes them: for what a statement can't bind."""

from __future__ import annotations


def literal(text: str) -> str:
    """Write `text` as a string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """Write `name` as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'
