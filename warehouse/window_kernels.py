"""Compiled loops over payments that are grouped by key, in order of time: what each window holds.

Every kernel works on *grouped* rows: `group_rows` gives their order, rows of one key together, in order of
time. A window of row i is the slice ``lo[i]:hi[i]`` of grouped rows: strictly before it in time, at most the
window's length ago (law 1 of the design). Both ends only ever move forward: each pass costs one walk.

Integers only, so that what enters a sum leaves it without a trace (law 2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


def _compiled(kernel: _Kernel) -> _Kernel:
    compiled: Any = njit(cache=True, nogil=True)(kernel)
    typed: _Kernel = compiled
    return typed


@_compiled
def group_rows(codes: Int64s, groups: int) -> Int64s:
    """Order rows by key, keeping the order within a key.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
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
def window_bounds(codes: Int64s, times: Int64s, window: int) -> tuple[Int64s, Int64s]:
    """Find the slice of grouped rows that the window of each row holds.

    Parameters
    ----------
    codes, times : ndarray of int64, shape (n,)
        Key and time (microseconds) of the grouped rows; key -1: the row's window is empty.
    window : int
        Length in microseconds.

    Returns
    -------
    (ndarray of int64, ndarray of int64)
        First row inside, and first row after, each of shape (n,).
    """
    count = len(codes)
    lo, hi = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    first, end = 0, 0
    for row in range(count):
        if codes[row] < 0:
            lo[row] = hi[row] = row
            continue
        if row == 0 or codes[row] != codes[row - 1]:
            first = end = row
        while times[end] < times[row]:
            end += 1
        while times[first] < times[row] - window and first < end:
            first += 1
        lo[row], hi[row] = first, end
    return lo, hi


@_compiled
def window_total(values: Int64s, lo: Int64s, hi: Int64s) -> Int64s:
    """Sum the values of each window."""
    result = np.zeros(len(values), dtype=np.int64)
    first, end, total = 0, 0, 0
    for row in range(len(values)):
        while end < hi[row]:
            total += values[end]
            end += 1
        while first < lo[row]:
            total -= values[first]
            first += 1
        result[row] = total if hi[row] > lo[row] else 0
    return result


@_compiled
def window_max(values: Int64s, valid: Bools, lo: Int64s, hi: Int64s) -> tuple[Int64s, Bools]:
    """Find the largest valid value of each window, and whether it has one."""
    count = len(values)
    result, present = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.bool_)
    queue = np.empty(count, dtype=np.int64)  # rows whose value no later row of the window reaches
    head, tail, seen = 0, 0, 0
    for row in range(count):
        while seen < hi[row]:
            if valid[seen]:
                while tail > head and values[queue[tail - 1]] <= values[seen]:
                    tail -= 1
                queue[tail] = seen
                tail += 1
            seen += 1
        while head < tail and queue[head] < lo[row]:
            head += 1
        if head < tail and hi[row] > lo[row]:
            result[row], present[row] = values[queue[head]], True
    return result, present


@_compiled
def window_distinct(values: Int64s, size: int, lo: Int64s, hi: Int64s) -> Int64s:
    """Count the different values of each window; values are 0 to `size` - 1, -1 is missing."""
    count = len(values)
    result = np.zeros(count, dtype=np.int64)
    occurrences = np.zeros(size, dtype=np.int64)
    first, end, different = 0, 0, 0
    for row in range(count):
        while end < hi[row]:
            if values[end] >= 0:
                different += occurrences[values[end]] == 0
                occurrences[values[end]] += 1
            end += 1
        while first < lo[row]:
            if values[first] >= 0:
                occurrences[values[first]] -= 1
                different -= occurrences[values[first]] == 0
            first += 1
        result[row] = different if hi[row] > lo[row] else 0
    return result


@_compiled
def window_last(
    values: Int64s, valid: Bools, codes: Int64s, times: Int64s, lo: Int64s, hi: Int64s
) -> tuple[Int64s, Int64s, Bools]:
    """Find the latest valid value of each window (the larger at a tie), its time, whether there is one."""
    count = len(values)
    latest = np.empty(count, dtype=np.int64)  # row of the latest valid value up to and including each row
    best = np.empty(count, dtype=np.int64)  # the largest valid value at the time of that row
    for row in range(count):
        previous = latest[row - 1] if row else -1
        latest[row] = row if valid[row] else previous
        if valid[row]:
            is_tie = previous >= 0 and codes[previous] == codes[row] and times[previous] == times[row]
            best[row] = max(values[row], best[row - 1]) if is_tie else values[row]
        else:
            best[row] = best[row - 1] if row else 0
    result, result_times = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    present = np.zeros(count, dtype=np.bool_)
    for row in range(count):
        if hi[row] > lo[row] and latest[hi[row] - 1] >= lo[row]:
            result[row], present[row] = best[hi[row] - 1], True
            result_times[row] = times[latest[hi[row] - 1]]
    return result, result_times, present
