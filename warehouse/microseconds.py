"""Times as UTC microseconds and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

DAY_US: Final = 86_400_000_000
_EPOCH = datetime.fromtimestamp(0, UTC)


def from_us(microseconds: int) -> datetime:
    """Return the time of UTC microseconds."""
    return _EPOCH + timedelta(microseconds=microseconds)


def to_us(moment: datetime) -> int:
    """Return the UTC microseconds of a time; a naive one is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1)
