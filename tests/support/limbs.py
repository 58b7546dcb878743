"""The deviation of whole numbers as law 2 of the design has it: squares in limbs of 20 bits, then doubles."""

from __future__ import annotations

import math
from collections.abc import Sequence


def deviation(values: Sequence[int]) -> float:
    """Return the population's standard deviation of some values, one operation after the other."""
    limbs = [(value >> 20, value & 1_048_575) for value in values]
    squares = float(sum(high * high for high, _ in limbs)) * 2.0**40
    squares += float(sum(high * low for high, low in limbs)) * 2.0**21
    squares += float(sum(low * low for _, low in limbs))
    total, count = float(sum(values)), float(len(values))
    return math.sqrt(max((squares - total * total / count) / count, 0.0))
