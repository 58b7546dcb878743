"""Pairs of runs, ours and a peer's, in the order A B B A, so that a drift of the machine hits both alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

_Ours = TypeVar("_Ours")
_Peers = TypeVar("_Peers")
_Run = TypeVar("_Run")


@dataclass(frozen=True)
class Pairs:
    """What some pairs of runs measured, ours and the peer's side by side."""

    ours: tuple[float, ...]
    peer: tuple[float, ...]

    @classmethod
    def of(cls, pairs: Sequence[tuple[_Run, _Run]], figure: Callable[[_Run], float]) -> Pairs:
        """Take one figure of each run."""
        return cls(tuple(figure(ours) for ours, _ in pairs), tuple(figure(peer) for _, peer in pairs))

    @property
    def ratios(self) -> tuple[float, ...]:
        """How many times as much the peer took, pair by pair."""
        return tuple(peer / ours for ours, peer in zip(self.ours, self.peer, strict=True))

    def columns(self, peer_name: str) -> dict[str, float | str]:
        """Columns of a report's row: medians, and median, least and greatest ratio."""
        return {
            "ours": statistics.median(self.ours),
            "peer_name": peer_name,
            "peer": statistics.median(self.peer),
            "ratio_median": statistics.median(self.ratios),
            "ratio_min": min(self.ratios),
            "ratio_max": max(self.ratios),
        }


def run_pairs(
    ours: Callable[[], _Ours], peer: Callable[[], _Peers], *, count: int
) -> Sequence[tuple[_Ours, _Peers]]:
    """Run both `count` times, each first in every other pair; returns (ours, peer) of each pair."""
    results = []
    for number in range(count):
        if number % 2:
            of_peer = peer()
            results.append((ours(), of_peer))
        else:
            of_ours = ours()
            results.append((of_ours, peer()))
    return results
