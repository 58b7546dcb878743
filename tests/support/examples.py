"""How many examples Hypothesis tries: all in CI, a fifth of them while one works."""

from __future__ import annotations

import os
from typing import Final

_LEAST: Final = 10


def examples(count: int) -> int:
    """Return how many examples to try of the `count` that CI tries."""
    return count if os.environ.get("CI") else max(_LEAST, count // 5)
