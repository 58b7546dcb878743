"""Compiled loops over payments that are grouped by key, in order of time: what each window holds.

Every kernel works on *grouped* rows: `group_rows` gives their order, rows of one key together, in order of
time. Windows are asked for some of them, by ascending row; the others are there to be looked back on. The
window of the i-th row asked for is the slice ``lo[i]:hi[i]`` of grouped rows: strictly before it in time, at
most the window's length ago (law 1 of the design). Both ends only ever move forward: a pass costs one walk.

Integers only, so that what enters a sum leaves it without a trace (law 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

Int64s = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Bools = npt.NDArray[np.bool_]
_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


def _compiled(kernel: _Kernel) -> _Kernel:
    compiled: Any = njit(cache=True, nogil=True)(kernel)
    typed: _Kernel = compiled
    return typed


@_compiled
def group_rows(codes: Codes, groups: int) -> Int64s:
    """Order rows by key, keeping the order within a key.

    Parameters
    ----------
    codes : ndarray of int32, shape (n,)
        Key of each row, 0 to `groups` - 1; -1: no key.
    groups : int
        Number of keys.

    Returns
    -------
    ndarray of int64, shape (n,)
        Positions of the rows; those without a key last.
    """
    starts = np.zeros(groups + 2, dtype=np.int64)
    for code in codes:
        starts[(code if code >= 0 else groups) + 1] += 1
    for group in range(1, groups + 2):
        starts[group] += starts[group - 1]
    order = np.empty(len(codes), dtype=np.int64)
    for row in range(len(codes)):
        group = codes[row] if codes[row] >= 0 else groups
        order[starts[group]] = row
        starts[group] += 1
    return order


@_compiled
def window_bounds(
    starts: Int64s, known: Bools, times: Int64s, asked: Int64s, window: int
) -> tuple[Int64s, Int64s]:
    """Find the slice of grouped rows that the window of each row asked for holds.

    Parameters
    ----------
    starts, times : ndarray of int64, shape (n,)
        First row of each row's key, and time (microseconds), of the grouped rows.
    known : ndarray of bool, shape (n,)
        Whether a row has a key; without one its window is empty.
    asked : ndarray of int64, shape (m,)
        Rows whose windows are wanted, ascending.
    window : int
        Length in microseconds.

    Returns
    -------
    (ndarray of int64, ndarray of int64)
        First row inside, and first row after, each of shape (m,).
    """
    lo, hi = np.empty(len(asked), dtype=np.int64), np.empty(len(asked), dtype=np.int64)
    first, end, start = 0, 0, -1
    for index in range(len(asked)):
        row = asked[index]
        if not known[row]:
            lo[index] = hi[index] = row
            continue
        if starts[row] != start:  # what only earlier windows hold is stepped over, not walked
            start = starts[row]
            first = start + np.searchsorted(times[start:row], times[row] - window)
            end = first + np.searchsorted(times[first:row], times[row])
        while times[end] < times[row]:
            end += 1
        while times[first] < times[row] - window and first < end:
            first += 1
        lo[index], hi[index] = first, end
    return lo, hi


@_compiled
def window_max(values: Int64s, valid: Bools, lo: Int64s, hi: Int64s) -> tuple[Int64s, Bools]:
    """Find the largest valid value of each window, and whether it has one."""
    count = len(lo)
    result, present = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_)
    queue = np.empty(len(values), dtype=np.int64)  # rows whose value no later row of the window reaches
    head, tail, seen = 0, 0, 0
    for index in range(count):
        seen = max(seen, lo[index])
        while seen < hi[index]:
            if valid[seen]:
                while tail > head and values[queue[tail - 1]] <= values[seen]:
                    tail -= 1
                queue[tail] = seen
                tail += 1
            seen += 1
        while head < tail and queue[head] < lo[index]:
            head += 1
        if head < tail and hi[index] > lo[index]:
            result[index], present[index] = values[queue[head]], True
    return result, present


@_compiled
def window_distinct(values: Codes, size: int, lo: Int64s, hi: Int64s) -> Int64s:
    """Count the different values of each window; values are 0 to `size` - 1, -1 is missing."""
    count = len(lo)
    result = np.zeros(count, dtype=np.int64)
    occurrences = np.zeros(size, dtype=np.int64)
    first, end, different = 0, 0, 0
    for index in range(count):
        while first < min(lo[index], end):
            if values[first] >= 0:
                occurrences[values[first]] -= 1
                different -= occurrences[values[first]] == 0
            first += 1
        if end < lo[index]:
            first = end = lo[index]
        while end < hi[index]:
            if values[end] >= 0:
                different += occurrences[values[end]] == 0
                occurrences[values[end]] += 1
            end += 1
        result[index] = different if hi[index] > lo[index] else 0
    return result


@_compiled
def latest_valid(values: Int64s, valid: Bools, starts: Int64s, times: Int64s) -> tuple[Int64s, Int64s]:
    """Find the row of the latest valid value up to and including each row, and the largest at its time.

    The row may be of another key, or -1: whether it is in a window is for its bounds to say.
    """
    count = len(values)
    latest, best = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for row in range(count):
        previous = latest[row - 1] if row else -1
        latest[row] = row if valid[row] else previous
        if valid[row]:
            is_tie = previous >= 0 and starts[previous] == starts[row] and times[previous] == times[row]
            best[row] = max(values[row], best[row - 1]) if is_tie else values[row]
        else:
            best[row] = best[row - 1] if row else 0
    return latest, best
