"""JSON of bundles: bytes that depend on the values alone, read without ambiguity."""

from __future__ import annotations

import json
from typing import Any

from ml.errors import BundleError
from warehouse.strict_json import parse_strict_json


def canonical_json(values: Any) -> bytes:
    """Return `values` as JSON whose bytes depend on the values alone."""
    return (json.dumps(values, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=True) + "\n").encode()


def parse_bundle_json(content: bytes, *, what: str) -> Any:
    """Parse JSON without NaN, infinities and repeated keys.

    Raises
    ------
    BundleError
        When it can't be parsed.
    """
    try:
        return parse_strict_json(content)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{what} is no valid JSON: {error}") from error
