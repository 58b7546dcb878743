"""The clock: for arrival, decision and audit times, token expiry and the refusal of future events alone."""

from __future__ import annotations

import time


def now_us() -> int:
    """Read the clock: UTC microseconds."""
    return time.time_ns() // 1_000
