"""JSON without what its readers disagree about: repeated keys, NaN and infinities."""

from __future__ import annotations

import json
from typing import Any


def parse_strict_json(content: bytes | str) -> Any:
    """Parse JSON that means one thing.

    Raises
    ------
    ValueError
        When it is no JSON, repeats a key, or holds NaN or an infinity.
    RecursionError
        When it is nested too deeply.
    """
    return json.loads(content, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)


def _refuse_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number of JSON")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return values
