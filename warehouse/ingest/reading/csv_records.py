"""CSV records, found on whole blocks of bytes.

CSV follows RFC 4180: a quote opens a field right behind a delimiter or a line break and closes it right
before one; inside, quotes are doubled. When a record of several lines breaks these rules or has the wrong
number of columns, only its first line is given up, and reading goes on with the next: one missing quote
costs one row.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from warehouse.ingest.reading.text_records import (
    CODES,
    FINE,
    NEWLINE,
    RETURN,
    Bytes,
    Found,
    Places,
    Scan,
    SplitBlock,
    add_tail,
)
from warehouse.quarantine import Problem

_QUOTE: Final = ord('"')


def make_csv_scan(delimiter: str, *, columns: int) -> Scan:
    """Make the scan for CSV with so many columns."""
    separator = ord(delimiter)

    def scan(block: Bytes, is_last: bool) -> Found:
        return _scan_csv(block, is_last, separator=separator, columns=columns)

    return scan


def _scan_csv(block: Bytes, is_last: bool, *, separator: int, columns: int) -> Found:
    breaks = np.flatnonzero(block == NEWLINE)
    quotes = np.flatnonzero(block == _QUOTE)
    separators = np.flatnonzero(block == separator)
    outer_breaks, inner_separators = breaks, separators[:0]
    if quotes.size:
        is_outside = np.searchsorted(quotes, separators) % 2 == 0
        separators, inner_separators = separators[is_outside], separators[~is_outside]
        outer_breaks = breaks[np.searchsorted(quotes, breaks) % 2 == 0]
    split = SplitBlock(block, breaks, add_tail(outer_breaks, block.size, is_last=is_last))

    problems = split.find_common_problems()
    found_columns = np.diff(np.searchsorted(separators, split.ends), prepend=0) + 1
    problems[(problems == FINE) & (found_columns != columns)] = CODES[Problem.WRONG_COLUMNS]
    misplaced = _find_misplaced_quotes(block, quotes, separator=separator, is_last=is_last)
    problems[split.find_owners(misplaced)] = CODES[Problem.WRONG_QUOTES]

    has_lines = np.searchsorted(breaks, split.ends) > np.searchsorted(breaks, split.starts)
    needs_quotes = has_lines.copy()
    needs_quotes[split.find_owners(np.concatenate([inner_separators, _find_doubled_quotes(quotes)]))] = True
    damaged = np.flatnonzero((problems != FINE) & has_lines)
    if damaged.size:
        return split.cut_behind_line(int(damaged[0]), problems, needs_quotes)
    return split.take_all(problems, needs_quotes)


def _find_doubled_quotes(quotes: Places) -> Places:
    """Find closing quotes with an opening one right behind: together they stand for a quote."""
    closing, opening = quotes[1:-1:2], quotes[2::2]
    doubled: Places = closing[opening - closing == 1]
    return doubled


def _find_misplaced_quotes(block: Bytes, quotes: Places, *, separator: int, is_last: bool) -> Places:
    """Find quotes that open or close where none may; an unclosed last one counts."""
    opening, closing = quotes[0::2], quotes[1::2]
    before = np.where(opening > 0, block[opening - 1], NEWLINE)
    # A quote right behind a closing one makes a doubled pair: the field goes on.
    may_open = (before == separator) | (before == NEWLINE) | (before == _QUOTE)
    at_end = closing + 1 >= block.size
    after = np.where(at_end, NEWLINE, block[np.minimum(closing + 1, block.size - 1)])
    after_return = block[np.minimum(closing + 2, block.size - 1)]
    returns = (after == RETURN) & ((after_return == NEWLINE) | (closing + 2 >= block.size))
    may_close = (after == separator) | (after == NEWLINE) | (after == _QUOTE) | returns
    unclosed = quotes[-1:] if is_last and quotes.size % 2 else quotes[:0]
    return np.concatenate([opening[~may_open], closing[~may_close], unclosed])
