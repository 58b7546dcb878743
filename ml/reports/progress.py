"""How long work tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

StageProgress = Callable[[str, int, int], None]
"""Called with what begins, how many stages are done, and how many there are."""


class StageCounter:
    """Counts stages for `StageProgress`."""

    def __init__(self, progress: StageProgress | None, *, total: int) -> None:
        self._progress = progress
        self._begun = 0
        self._total = total

    def begin(self, what: str) -> None:
        """Tell that a stage begins."""
        self._begun += 1
        self.tell(what)

    def tell(self, what: str) -> None:
        """Tell what goes on within a stage."""
        if self._progress is not None:
            self._progress(what, self._begun - 1, self._total)

    def end(self) -> None:
        """Tell that all is done."""
        if self._progress is not None:
            self._progress("trained", self._total, self._total)
