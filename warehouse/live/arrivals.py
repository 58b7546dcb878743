"""The one counter of arrival: whoever takes numbers from it does so one after another, on every database."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from warehouse.live.engine import change, fetch
from warehouse.live.schema import Head, heads

# Built once: putting a statement together costs more than SQLite needs to run it.
_LOCK: Final = select(heads.c.value).where(heads.c.name == Head.ARRIVAL).with_for_update()
_MOVE: Final = update(heads).where(heads.c.name == Head.ARRIVAL).values(value=bindparam("last"))


def lock_arrivals(connection: Connection) -> int:
    """Keep others from taking numbers until the transaction ends; returns the last one given out."""
    last: int = fetch(connection, _LOCK, {})[0][0]
    return last


def move_arrivals(connection: Connection, last: int) -> None:
    """Say which number is the last one given out; the counter must be locked."""
    change(connection, _MOVE, [{"last": last}])


def take_arrivals(connection: Connection, count: int) -> int:
    """Take so many numbers; returns the first."""
    last = lock_arrivals(connection)
    move_arrivals(connection, last + count)
    return last + 1
