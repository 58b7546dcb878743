"""Rounds of runs, ours and the peers', in the order A B B A: a drift of the machine hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

LONG_SECONDS = 60

_Run = TypeVar("_Run")


@dataclass(frozen=True)
class Pairs:
    """What some rounds measured, ours beside a peer's; what ran once is beside all of the other's."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @classmethod
    def of(cls, ours: Sequence[_Run], peer: Sequence[_Run], figure: Callable[[_Run], float]) -> Pairs:
        """Take one figure of each run."""
        return cls(tuple(map(figure, ours)), tuple(map(figure, peer)))

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as much the peer took, round by round."""
        rounds = max(len(self.ours), len(self.peer))
        ours, peer = (side * (rounds // len(side)) for side in (self.ours, self.peer))
        return tuple(theirs / own for own, theirs in zip(ours, peer, strict=True))

    def columns(self, peer_name: str) -> dict[str, float | str]:
        """Columns of a report's row: medians, and median, least and greatest ratio."""
        is_once = len(self.peer) == 1 < len(self.ours)
        return {
            "ours": statistics.median(self.ours),
            "peer_name": f"{peer_name}, once" if is_once else peer_name,
            "peer": statistics.median(self.peer),
            "ratio_median": statistics.median(self.ratios),
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
        }


def run_rounds(runs: Mapping[str, Callable[[], _Run]], *, count: int) -> dict[str, list[_Run]]:
    """Run each `count` times, in reverse order in every other round; what takes over a minute runs once."""
    results: dict[str, list[_Run]] = {name: [] for name in runs}
    long = set()
    names = list(runs)
    for number in range(count):
        for name in names[::-1] if number % 2 else names:
            if name in long:
                continue
            started = time.monotonic()
            results[name].append(runs[name]())
            if number == 0 and time.monotonic() - started > LONG_SECONDS:
                long.add(name)
    return results
