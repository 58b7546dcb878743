"""Announces the stages of a proof and measures them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Announce = Callable[[str], None]
"""Called with the name of each stage as it begins."""


class Stages:
    """Stages, one after another.

    Parameters
    ----------
    announce : callable
        See `Announce`.

    Attributes
    ----------
    seconds : dict of str to float
        Time spent by stage.
    """

    def __init__(self, announce: Announce) -> None:
        self._announce = announce
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Announce a stage; measure the block."""
        self._announce(name)
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 2)
