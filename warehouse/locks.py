"""Locks between processes and threads: files whose lock the operating system frees when a process dies."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from warehouse.errors import BusyError

_POLL_SECONDS: Final = 0.05


@contextmanager
def locked(path: Path, *, timeout_seconds: float | None = None, busy: str = "") -> Iterator[None]:
    """Hold the lock of a file, which is made, with its folder, where it is missing.

    Parameters
    ----------
    path : Path
        The file; its content means nothing.
    timeout_seconds : float, optional
        How long to wait for another holder; None: for ever.
    busy : str
        What to tell who waited in vain.

    Raises
    ------
    BusyError
        When another process or thread holds the lock for longer than that.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        if timeout_seconds is None:
            fcntl.flock(lock, fcntl.LOCK_EX)
        else:
            _poll(lock.fileno(), time.monotonic() + timeout_seconds, busy)
        yield


def _poll(descriptor: int, deadline: float, busy: str) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise BusyError(busy) from None
            time.sleep(_POLL_SECONDS)
        else:
            return
