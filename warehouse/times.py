"""Times as UTC microseconds and back, and the clock.

Scoring reads the clock for arrival, decision and audit times, token expiry and the refusal of future events
alone.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

DAY_US: Final = 86_400_000_000
EPOCH: Final = datetime.fromtimestamp(0, UTC)


def now_us() -> int:
    """Read the clock: UTC microseconds."""
    return time.time_ns() // 1_000


def from_us(microseconds: int) -> datetime:
    """Return the time of UTC microseconds."""
    return EPOCH + timedelta(microseconds=microseconds)


def to_us(moment: datetime) -> int:
    """Return the UTC microseconds of a time; a naive one is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - EPOCH) // timedelta(microseconds=1)


def time_text(time_us: int) -> str:
    """Return a time for reading: ISO 8601 in UTC, or the number where no calendar has it."""
    try:
        return datetime.fromtimestamp(time_us // 1_000_000, tz=UTC).isoformat(timespec="minutes")
    except (OverflowError, ValueError, OSError):
        return str(time_us)
