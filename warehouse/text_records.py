"""Text split into records, each with the physical line on which it begins, without a loop over rows.

DuckDB's CSV reader knows no line numbers and hides damage (a stray quote swallows what follows), so the
splitting is done here on whole blocks of bytes, and DuckDB gets the records. CSV follows RFC 4180: a
quote opens a field right behind a delimiter or a line break and closes it right before one; inside,
quotes are doubled. When a record of several lines breaks these rules or has the wrong number of columns,
only its first line is given up, and reading goes on with the next line: one missing quote costs one row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from warehouse.errors import UnreadableFileError
from warehouse.quarantine import Reason

CHUNK_BYTES: Final = 8 << 20
MAX_RECORD_BYTES: Final = 4 << 20
"""A record longer than this is damage: an unclosed quote, or no text at all."""

_AFTER_DAMAGE_BYTES: Final = 64 << 10
_GROWTH: Final = 4
_NEWLINE, _RETURN, _QUOTE, _NUL = b'\n\r"\0'

FINE: Final = 0
BLANK: Final = 1
_PROBLEMS: Final = (Reason.WRONG_QUOTES, Reason.WRONG_COLUMNS, Reason.NUL_BYTE, Reason.NOT_UTF8)
_CODES: Final = {reason: code for code, reason in enumerate(_PROBLEMS, start=2)}

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]


class Readable(Protocol):
    """What text is read from."""

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes; fewer at the end, none behind it."""


@dataclass(frozen=True)
class Found:
    """Complete records at the beginning of a block.

    Parameters
    ----------
    starts : ndarray of int64, shape (records,)
        Where each begins; it ends where the next begins.
    newlines : ndarray of int64, shape (records,)
        Line breaks in the block before each.
    problems : ndarray of int8, shape (records,)
        `FINE`, `BLANK` or the code of a reason.
    consumed : int
        Bytes that the records take.
    consumed_newlines : int
        Line breaks in those bytes.
    is_cut : bool
        Whether reading stopped behind a damaged line.
    """

    starts: Places
    newlines: Places
    problems: NDArray[np.int8]
    consumed: int
    consumed_newlines: int
    is_cut: bool = False


Scan = Callable[[Bytes, bool], Found]
"""Finds the records of a block; the flag says whether the text ends with the block."""


def scan_lines(block: Bytes, is_last: bool) -> Found:
    """Find records that are lines."""
    breaks = np.flatnonzero(block == _NEWLINE)
    ends = _add_tail(breaks, block.size, is_last=is_last)
    starts = _start_behind(ends)
    problems = _find_common_problems(block, starts, ends)
    return _assemble(starts, ends, problems, breaks, block.size)


def make_csv_scan(delimiter: str, *, columns: int) -> Scan:
    """Make the scan for CSV with so many columns."""
    separator = ord(delimiter)

    def scan(block: Bytes, is_last: bool) -> Found:
        return _scan_csv(block, is_last, separator=separator, columns=columns)

    return scan


def read_records(stream: Readable, scan: Scan, *, first_line: int = 1) -> Iterator[pa.RecordBatch]:
    """Read a stream to its end and yield its records that are not blank.

    Parameters
    ----------
    stream : binary file
        At the beginning of a line.
    scan : callable
        Finds records in a block.
    first_line : int
        Number of the first line.

    Yields
    ------
    pyarrow.RecordBatch
        `RECORD_SCHEMA`; content keeps its line break.

    Raises
    ------
    UnreadableFileError
        When a line is longer than `MAX_RECORD_BYTES`.
    """
    line, rest = first_line, b""
    while True:
        chunk = stream.read(CHUNK_BYTES)
        is_last = not chunk
        data = rest + chunk
        consumed = 0
        for found in _scan_blocks(np.frombuffer(data, dtype=np.uint8), scan, is_last=is_last):
            yield _build_batch(data, found, first=consumed, line=line)
            consumed += found.consumed
            line += found.consumed_newlines
        rest = data[consumed:]
        if is_last:
            return


RECORD_SCHEMA: Final = pa.schema(
    [("line", pa.int64()), ("content", pa.string()), ("problem", pa.dictionary(pa.int8(), pa.string()))]
)
"""Records: physical line on which it begins (from 1), text, and why it is malformed (null: it is not)."""


def _scan_blocks(data: Bytes, scan: Scan, *, is_last: bool) -> Iterator[Found]:
    """Scan data block by block: one block unless it is damaged, then small ones that grow again."""
    position, size = 0, data.size
    while position < data.size:
        end = min(position + size, data.size)
        found = scan(data[position:end], is_last and end == data.size)
        if found.consumed:
            yield found
            position += found.consumed
            size = _AFTER_DAMAGE_BYTES if found.is_cut else size * _GROWTH
        elif end < data.size:
            size *= _GROWTH
        elif end - position > MAX_RECORD_BYTES:
            given_up = _give_up_first_line(data[position:end])
            yield given_up
            position += given_up.consumed
            size = _AFTER_DAMAGE_BYTES
        else:
            return


def _scan_csv(block: Bytes, is_last: bool, *, separator: int, columns: int) -> Found:
    breaks = np.flatnonzero(block == _NEWLINE)
    quotes = np.flatnonzero(block == _QUOTE)
    separators = np.flatnonzero(block == separator)
    if quotes.size:
        outside = np.searchsorted(quotes, breaks) % 2 == 0
        separators = separators[np.searchsorted(quotes, separators) % 2 == 0]
        ends = _add_tail(breaks[outside], block.size, is_last=is_last)
    else:
        ends = _add_tail(breaks, block.size, is_last=is_last)
    starts = _start_behind(ends)
    problems = _find_common_problems(block, starts, ends)
    found_columns = np.diff(np.searchsorted(separators, ends), prepend=0) + 1
    problems[(problems == FINE) & (found_columns != columns)] = _CODES[Reason.WRONG_COLUMNS]
    misplaced = _find_misplaced_quotes(block, quotes, separator=separator, is_last=is_last)
    owner = np.searchsorted(ends, misplaced)
    problems[owner[owner < ends.size]] = _CODES[Reason.WRONG_QUOTES]
    lines = np.searchsorted(breaks, ends) - np.searchsorted(breaks, starts)
    damaged = np.flatnonzero((problems != FINE) & (lines > 0))
    if damaged.size:
        return _cut_behind_line(int(damaged[0]), starts, problems, breaks)
    return _assemble(starts, ends, problems, breaks, block.size)


def _add_tail(ends: Places, size: int, *, is_last: bool) -> Places:
    """End the last record where the text ends, line break or not."""
    has_tail = is_last and size > (ends[-1] + 1 if ends.size else 0)
    return np.append(ends, size) if has_tail else ends


def _start_behind(ends: Places) -> Places:
    return np.concatenate([np.zeros(min(ends.size, 1), dtype=np.int64), ends[:-1] + 1])


def _find_common_problems(block: Bytes, starts: Places, ends: Places) -> NDArray[np.int8]:
    """Find blank records and those with a NUL byte."""
    problems = np.zeros(ends.size, dtype=np.int8)
    length = ends - starts
    problems[(length == 0) | ((length == 1) & (block[np.minimum(starts, block.size - 1)] == _RETURN))] = BLANK
    nuls = np.flatnonzero(block == _NUL)
    owner = np.searchsorted(ends, nuls)
    problems[owner[owner < ends.size]] = _CODES[Reason.NUL_BYTE]
    return problems


def _find_misplaced_quotes(block: Bytes, quotes: Places, *, separator: int, is_last: bool) -> Places:
    """Find quotes that open or close where none may; an unclosed last one counts."""
    opening, closing = quotes[0::2], quotes[1::2]
    before = np.where(opening > 0, block[opening - 1], _NEWLINE)
    # A quote right behind a closing one makes a doubled pair: the field goes on.
    may_open = (before == separator) | (before == _NEWLINE) | (before == _QUOTE)
    at_end = closing + 1 >= block.size
    after = np.where(at_end, _NEWLINE, block[np.minimum(closing + 1, block.size - 1)])
    after_return = block[np.minimum(closing + 2, block.size - 1)]
    returns = (after == _RETURN) & ((after_return == _NEWLINE) | (closing + 2 >= block.size))
    may_close = (after == separator) | (after == _NEWLINE) | (after == _QUOTE) | returns
    unclosed = quotes[-1:] if is_last and quotes.size % 2 else quotes[:0]
    return np.concatenate([opening[~may_open], closing[~may_close], unclosed])


def _assemble(starts: Places, ends: Places, problems: NDArray[np.int8], breaks: Places, size: int) -> Found:
    consumed = min(int(ends[-1]) + 1, size) if ends.size else 0
    return Found(
        starts=starts,
        newlines=np.searchsorted(breaks, starts),
        problems=problems,
        consumed=consumed,
        consumed_newlines=int(np.searchsorted(breaks, consumed)),
    )


def _cut_behind_line(damaged: int, starts: Places, problems: NDArray[np.int8], breaks: Places) -> Found:
    """Keep the records before a damaged one and its first line, which is given up."""
    before = int(np.searchsorted(breaks, starts[damaged]))
    problems[damaged] = _CODES[Reason.WRONG_QUOTES]
    return Found(
        starts=starts[: damaged + 1],
        newlines=np.searchsorted(breaks, starts[: damaged + 1]),
        problems=problems[: damaged + 1],
        consumed=int(breaks[before]) + 1,
        consumed_newlines=before + 1,
        is_cut=True,
    )


def _give_up_first_line(block: Bytes) -> Found:
    breaks = np.flatnonzero(block == _NEWLINE)
    if not breaks.size:
        raise UnreadableFileError(
            f"a line is longer than {MAX_RECORD_BYTES:,} bytes: expected text with one row a line"
        )
    return _cut_behind_line(0, np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int8), breaks)


def _build_batch(data: bytes, found: Found, *, first: int, line: int) -> pa.RecordBatch:
    offsets = np.append(found.starts, found.consumed).astype(np.int32)
    text = pa.py_buffer(data).slice(first, found.consumed)
    content = pa.Array.from_buffers(pa.binary(), found.starts.size, [None, pa.py_buffer(offsets), text])
    problems = found.problems.copy()
    wrong = _find_invalid_utf8(content)
    if wrong:
        problems[wrong] = _CODES[Reason.NOT_UTF8]
        content = _replace_invalid(content, wrong)
    names = pa.array([reason.value for reason in _PROBLEMS], pa.string())
    indices = pa.array(problems - 2, pa.int8(), mask=problems < 2)
    columns = [
        pa.array(line + found.newlines, pa.int64()),
        content.cast(pa.string()),
        pa.DictionaryArray.from_arrays(indices, names),
    ]
    batch = pa.record_batch(columns, schema=RECORD_SCHEMA)
    is_blank = problems == BLANK
    return batch.filter(pa.array(~is_blank)) if is_blank.any() else batch


def _find_invalid_utf8(content: pa.Array) -> list[int]:
    """Find values that are not UTF-8, by halves: a whole chunk costs one check."""
    invalid, pending = [], [(0, len(content))]
    while pending:
        first, size = pending.pop()
        try:
            content.slice(first, size).cast(pa.string())
        except pa.ArrowInvalid:
            if size == 1:
                invalid.append(first)
            else:
                half = size // 2
                pending += [(first, half), (first + half, size - half)]
    return sorted(invalid)


def _replace_invalid(content: pa.Array, invalid: list[int]) -> pa.Array:
    """Put the replacement character where bytes are not UTF-8: content must be text."""
    mask = np.zeros(len(content), dtype=np.bool_)
    mask[invalid] = True
    readable = [content[place].as_py().decode("utf-8", errors="replace").encode() for place in invalid]
    return pc.replace_with_mask(content, pa.array(mask), pa.array(readable, pa.binary()))
