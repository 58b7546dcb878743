"""The loops behind velocity's parts: each looks at a column once, then answers for windows of any length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from warehouse.velocity import kernels
from warehouse.velocity.history import History
from warehouse.velocity.kernels import Bools, Codes, Int64s

_LIMB: Final = 20
_LOW_MASK: Final = (1 << _LIMB) - 1


class Grouped:
    """Rows that an entity's windows can see, grouped by key.

    Parameters
    ----------
    history : History
    keys : sequence of str
        Columns of the key.
    first : int
        The first row of the history that any of the windows can see.
    from_us : int
        Windows are asked for from this instant on, UTC microseconds.

    Attributes
    ----------
    known : ndarray of bool, shape (n,)
        Whether a row has a key.
    times, starts : ndarray of int64, shape (n,)
        Time of each row, and the first row of its key.
    asked : ndarray of int64, shape (m,)
        Rows whose windows are asked for, ascending.
    places : ndarray of int64, shape (m,)
        Where each of them stands in order of time.
    """

    def __init__(self, history: History, keys: Sequence[str], first: int, from_us: int) -> None:
        self._history, self._first = history, first
        times = history.times[first:]
        self.known: Bools = np.ones(len(times), np.bool_)
        order: Int64s = np.arange(len(times))
        for key in reversed(keys):  # by the last key first: grouping keeps the order within a group
            codes = history.codes(key, first)
            self.known &= codes >= 0
            order = order[kernels.group_rows(codes[order], history.size(key))]
        is_first = np.ones(len(times), np.bool_)
        if len(times):
            is_first[1:] = np.any([np.diff(history.codes(key, first)[order]) != 0 for key in keys], axis=0)
        self.order, self.known, self.times = order, self.known[order], times[order]
        self.starts: Int64s = np.maximum.accumulate(np.where(is_first, np.arange(len(times)), 0))
        kept = int(np.searchsorted(times, from_us))
        self.asked = np.flatnonzero(order >= kept)
        self.places = order[self.asked] - kept

    def codes(self, column: str) -> tuple[Codes, int]:
        """Return the number of each value, -1 where missing, and how many there are."""
        return self._history.codes(column, self._first)[self.order], self._history.size(column)

    def values(self, column: str) -> Int64s:
        """Return a column's integers, 0 where missing."""
        return self._history.values(column, self._first)[self.order]

    def valid(self, column: str) -> Bools:
        """Return where a column has a value."""
        return self._history.valid(column, self._first)[self.order]


Answer = Callable[[Int64s, Int64s], tuple[Int64s, Bools | None]]
"""Values of a part in windows with the bounds ``lo`` and ``hi``, and where it has one; None: everywhere."""

Loop = Callable[[Grouped, str], Answer]
"""Looks at a column once, for all windows."""


def _running(values: npt.NDArray[Any]) -> Int64s:
    """Return the sums of all values before each place: exact in differences even where they wrap around."""
    running = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=running[1:])
    return running


def _count(rows: Grouped, column: str) -> Answer:
    running = _running(rows.valid(column))
    return lambda lo, hi: (running[hi] - running[lo], None)


def _summed(limb: Callable[[Int64s], Int64s]) -> Loop:
    def loop(rows: Grouped, column: str) -> Answer:
        running = _running(limb(rows.values(column)))  # a missing value is 0, and so are its limbs
        counted = _running(rows.valid(column))
        return lambda lo, hi: (running[hi] - running[lo], counted[hi] > counted[lo])

    return loop


def _max(rows: Grouped, column: str) -> Answer:
    values, valid = rows.values(column), rows.valid(column)
    return lambda lo, hi: kernels.window_max(values, valid, lo, hi)


def _distinct(rows: Grouped, column: str) -> Answer:
    codes, size = rows.codes(column)
    return lambda lo, hi: (kernels.window_distinct(codes, size, lo, hi), None)


def _last(rows: Grouped, column: str) -> Answer:
    return _latest(rows, column, lambda latest, best: best)


def _last_us(rows: Grouped, column: str) -> Answer:
    return _latest(rows, column, lambda latest, best: rows.times[latest])


def _latest(rows: Grouped, column: str, told: Callable[[Int64s, Int64s], Int64s]) -> Answer:
    """Answer with what is told of the latest valid value of each window (the larger at a tie)."""
    latest, best = kernels.latest_valid(rows.values(column), rows.valid(column), rows.starts, rows.times)

    def answer(lo: Int64s, hi: Int64s) -> tuple[Int64s, Bools]:
        row = latest[hi - 1]
        return told(row, best[hi - 1]), (hi > lo) & (row >= lo)

    return answer


LOOPS: Final[Mapping[str, Loop]] = {
    "count": _count,
    "sum": _summed(lambda values: values),
    "max": _max,
    "distinct": _distinct,
    "squares_high": _summed(lambda values: (values >> _LIMB) * (values >> _LIMB)),
    "squares_middle": _summed(lambda values: (values >> _LIMB) * (values & _LOW_MASK)),
    "squares_low": _summed(lambda values: (values & _LOW_MASK) * (values & _LOW_MASK)),
    "last": _last,
    "last_us": _last_us,
}
"""Loops by the part that they compute."""
