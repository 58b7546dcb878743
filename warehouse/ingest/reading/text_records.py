"""Text split into records, each with the physical line on which it begins, without a loop over rows.

DuckDB's CSV reader knows no line numbers and hides damage (a stray quote swallows what follows), so the
splitting is done here on whole blocks of bytes, and DuckDB gets the records. What ends a record is up to the
scan: a line break for NDJSON (`scan_lines`), `warehouse.ingest.reading.csv_records` for CSV.
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
from warehouse.quarantine import Problem

CHUNK_BYTES: Final = 8 << 20
MAX_RECORD_BYTES: Final = 4 << 20
"""A record longer than this is damage: an unclosed quote, or no text at all."""

AFTER_DAMAGE_BYTES: Final = 64 << 10
_GROWTH: Final = 4
NEWLINE, RETURN, _NUL = b"\n\r\0"

FINE: Final = 0
BLANK: Final = 1
_PROBLEMS: Final = (Problem.WRONG_QUOTES, Problem.WRONG_COLUMNS, Problem.NUL_BYTE, Problem.NOT_UTF8)
CODES: Final = {reason: code for code, reason in enumerate(_PROBLEMS, start=2)}

Bytes = NDArray[np.uint8]
Places = NDArray[np.int64]


class Readable(Protocol):
    """What text is read from."""

    def read(self, size: int, /) -> bytes:
        """Return the next `size` bytes; fewer at the end, none behind it."""


@dataclass(frozen=True)
class Found:
    """Complete records at the beginning of a block; every array has shape ``(records,)``.

    Parameters
    ----------
    starts : ndarray of int64
        Where each begins; it ends where the next begins.
    problems : ndarray of int8
        `FINE`, `BLANK` or the code of a reason.
    needs_quotes : ndarray of bool
        Whether a field holds a delimiter, a quote or a line break: without any, quotes can be dropped.
    newlines : ndarray of int64
        Line breaks in the block before each.
    consumed, consumed_newlines : int
        Bytes that the records take, and the line breaks in them.
    is_cut : bool
        Whether reading stopped behind a damaged line.
    """

    starts: Places
    problems: NDArray[np.int8]
    needs_quotes: NDArray[np.bool_]
    newlines: Places
    consumed: int
    consumed_newlines: int
    is_cut: bool = False


@dataclass(frozen=True)
class SplitBlock:
    """A block split into records.

    Parameters
    ----------
    block : ndarray of uint8
        The bytes.
    breaks : ndarray of int64
        Where line breaks are, also those inside of records.
    ends : ndarray of int64, shape (records,)
        Where each record ends, before its line break.
    """

    block: Bytes
    breaks: Places
    ends: Places

    @property
    def starts(self) -> Places:
        """Where each record begins."""
        return np.concatenate([np.zeros(min(self.ends.size, 1), dtype=np.int64), self.ends[:-1] + 1])

    def find_owners(self, places: Places) -> Places:
        """Find the records in which places of the block lie; places behind the last are left out."""
        owners = np.searchsorted(self.ends, places)
        return owners[owners < self.ends.size]

    def find_common_problems(self) -> NDArray[np.int8]:
        """Find blank records and those with a NUL byte."""
        problems = np.zeros(self.ends.size, dtype=np.int8)
        length = self.ends - self.starts
        first = self.block[np.minimum(self.starts, self.block.size - 1)]
        problems[(length == 0) | ((length == 1) & (first == RETURN))] = BLANK
        problems[self.find_owners(np.flatnonzero(self.block == _NUL))] = CODES[Problem.NUL_BYTE]
        return problems

    def take_all(self, problems: NDArray[np.int8], needs_quotes: NDArray[np.bool_]) -> Found:
        """Take all records."""
        consumed = min(int(self.ends[-1]) + 1, self.block.size) if self.ends.size else 0
        return Found(
            starts=self.starts,
            problems=problems,
            needs_quotes=needs_quotes,
            newlines=np.searchsorted(self.breaks, self.starts),
            consumed=consumed,
            consumed_newlines=int(np.searchsorted(self.breaks, consumed)),
        )

    def cut_behind_line(
        self, damaged: int, problems: NDArray[np.int8], needs_quotes: NDArray[np.bool_]
    ) -> Found:
        """Take the records before a damaged one and its first line, which is given up."""
        starts = self.starts[: damaged + 1]
        newlines = np.searchsorted(self.breaks, starts)
        lost = int(newlines[-1])
        return Found(
            starts=starts,
            problems=np.append(problems[:damaged], np.int8(CODES[Problem.WRONG_QUOTES])),
            needs_quotes=needs_quotes[: damaged + 1],
            newlines=newlines,
            consumed=int(self.breaks[lost]) + 1,
            consumed_newlines=lost + 1,
            is_cut=True,
        )


Scan = Callable[[Bytes, bool], Found]
"""Finds the records of a block; the flag says whether the text ends with the block."""


def scan_lines(block: Bytes, is_last: bool) -> Found:
    """Find records that are lines."""
    breaks = np.flatnonzero(block == NEWLINE)
    split = SplitBlock(block, breaks, add_tail(breaks, block.size, is_last=is_last))
    return split.take_all(split.find_common_problems(), np.zeros(split.ends.size, dtype=np.bool_))


def add_tail(ends: Places, size: int, *, is_last: bool) -> Places:
    """End the last record where the text ends, line break or not."""
    has_tail = is_last and size > (ends[-1] + 1 if ends.size else 0)
    return np.append(ends, size) if has_tail else ends


@dataclass(frozen=True)
class BlockSizes:
    """How much text is read and scanned at a time, in bytes.

    Parameters
    ----------
    chunk : int
        Read at a time.
    after_damage : int
        Scanned first behind a damaged line.
    longest_record : int
        A record longer than this is damage.
    """

    chunk: int = CHUNK_BYTES
    after_damage: int = AFTER_DAMAGE_BYTES
    longest_record: int = MAX_RECORD_BYTES


def read_records(
    stream: Readable, scan: Scan, *, first_line: int = 1, sizes: BlockSizes = BlockSizes()
) -> Iterator[pa.RecordBatch]:
    """Read a stream to its end and yield its records that are not blank.

    Parameters
    ----------
    stream : binary file
        At the beginning of a line.
    scan : callable
        Finds records in a block.
    first_line : int
        Number of the first line.
    sizes : BlockSizes, optional

    Yields
    ------
    pyarrow.RecordBatch
        `RECORD_SCHEMA`; content keeps its line break.

    Raises
    ------
    UnreadableFileError
        When a line is longer than the longest record.
    """
    line, rest = first_line, b""
    while True:
        chunk = stream.read(sizes.chunk)
        is_last = not chunk
        data = rest + chunk
        consumed = 0
        for found in _scan_blocks(np.frombuffer(data, dtype=np.uint8), scan, sizes, is_last=is_last):
            yield _build_batch(data, found, first=consumed, line=line)
            consumed += found.consumed
            line += found.consumed_newlines
        rest = data[consumed:]
        if is_last:
            return


RECORD_SCHEMA: Final = pa.schema(
    [
        ("line", pa.int64()),
        ("content", pa.string()),
        ("problem", pa.dictionary(pa.int8(), pa.string())),
        ("needs_quotes", pa.bool_()),
    ]
)
"""Records: physical line on which it begins (from 1), text, why it is malformed (null: it is not)."""


def _scan_blocks(data: Bytes, scan: Scan, sizes: BlockSizes, *, is_last: bool) -> Iterator[Found]:
    """Scan data block by block: one block unless it is damaged, then small ones that grow again."""
    position, size = 0, data.size
    while position < data.size:
        end = min(position + size, data.size)
        found = scan(data[position:end], is_last and end == data.size)
        if found.consumed:
            yield found
            position += found.consumed
            size = sizes.after_damage if found.is_cut else size * _GROWTH
        elif end < data.size:
            size *= _GROWTH
        elif end - position > sizes.longest_record:
            given_up = _give_up_first_line(data[position:end], sizes)
            yield given_up
            position += given_up.consumed
            size = sizes.after_damage
        else:
            return


def _give_up_first_line(block: Bytes, sizes: BlockSizes) -> Found:
    breaks = np.flatnonzero(block == NEWLINE)
    if not breaks.size:
        raise UnreadableFileError(
            f"a line is longer than {sizes.longest_record:,} bytes: expected text with one row a line"
        )
    split = SplitBlock(block, breaks, breaks[:1])
    return split.cut_behind_line(0, np.zeros(1, dtype=np.int8), np.zeros(1, dtype=np.bool_))


def _build_batch(data: bytes, found: Found, *, first: int, line: int) -> pa.RecordBatch:
    offsets = np.append(found.starts, found.consumed).astype(np.int32)
    text = pa.py_buffer(data).slice(first, found.consumed)
    content = pa.Array.from_buffers(pa.binary(), found.starts.size, [None, pa.py_buffer(offsets), text])
    problems = found.problems.copy()
    wrong = _find_invalid_utf8(content)
    if wrong:
        problems[wrong] = CODES[Problem.NOT_UTF8]
        content = _replace_invalid(content, wrong)
    names = pa.array([reason.value for reason in _PROBLEMS], pa.string())
    indices = pa.array(problems - 2, pa.int8(), mask=problems < 2)
    columns = [
        pa.array(line + found.newlines, pa.int64()),
        content.cast(pa.string()),
        pa.DictionaryArray.from_arrays(indices, names),
        pa.array(found.needs_quotes),
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
