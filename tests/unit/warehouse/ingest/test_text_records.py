"""Records and their physical lines, against a slow splitter that looks at one character after the other."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from warehouse.errors import UnreadableFileError
from warehouse.ingest.reading.csv_records import make_csv_scan
from warehouse.ingest.reading.text_records import MAX_RECORD_BYTES, BlockSizes, read_records, scan_lines
from warehouse.quarantine import Problem

Record = tuple[int, str, str | None]


def read(data: bytes, *, columns: int | None = None, delimiter: str = ",", **sizes: int) -> list[Record]:
    scan = scan_lines if columns is None else make_csv_scan(delimiter, columns=columns)
    return [
        (row["line"], row["content"].rstrip("\r\n"), row["problem"])
        for batch in read_records(io.BytesIO(data), scan, sizes=BlockSizes(**sizes))
        for row in batch.to_pylist()
    ]


def end_of_quoted(text: str, place: int) -> int | None:
    """Return the place behind the quote that closes the field at `place`, None when nothing does."""
    place += 1
    while (close := text.find('"', place)) >= 0:
        if text[close + 1 : close + 2] != '"':
            return close + 1
        place = close + 2
    return None


def parse_record(text: str, start: int) -> tuple[int, int | None]:
    """Walk over one record: where it ends and how many columns it has, None when its quotes are wrong."""
    place, columns = start, 1
    while True:
        if text[place : place + 1] == '"':
            end = end_of_quoted(text, place)
            if end is None:
                return len(text), None
            place = end
            if not (text[place : place + 1] in ("", ",", "\n") or text[place : place + 2] in ("\r", "\r\n")):
                break
        while text[place : place + 1] not in ("", ",", "\n", '"'):
            place += 1
        if text[place : place + 1] == '"':
            break
        if text[place : place + 1] != ",":
            return place, columns
        place, columns = place + 1, columns + 1
    # The quotes are wrong. Whoever believes them reads on to the first line break outside.
    while place < len(text) and not (text[place] == "\n" and text.count('"', start, place) % 2 == 0):
        place += 1
    return place, None


def split_slowly(text: str, *, columns: int) -> list[Record]:
    """Split like `make_csv_scan`, in the plainest way."""
    records: list[Record] = []
    start = 0
    while start < len(text):
        line = text.count("\n", 0, start) + 1
        end, found = parse_record(text, start)
        if "\n" in text[start:end] and found != columns:
            end, found = text.index("\n", start), None
        content = text[start:end].rstrip("\r")
        problem = (
            Problem.WRONG_QUOTES if found is None else None if found == columns else Problem.WRONG_COLUMNS
        )
        records.append((line, content, problem))
        start = end + 1
    return records


@settings(max_examples=examples(1500), deadline=None)
@given(
    text=st.text(alphabet='ab,"\n', max_size=60) | st.text(alphabet='a,"\r\n', max_size=40),
    chunk=st.sampled_from([7, 16, 64, 1 << 20]),
    block=st.sampled_from([1, 8, 64]),
)
@example(text='"a\nb",c\nd,e', chunk=7, block=1)
@example(text='x,"a\ny,b\nz,c', chunk=16, block=8)
@example(text='"a""b",c\n"",""\n', chunk=7, block=1)
def test_records_equal_those_of_the_slow_splitter(text: str, chunk: int, block: int) -> None:
    expected = split_slowly(text, columns=2)
    found = read(text.encode(), columns=2, chunk=chunk, after_damage=block)
    assert [record for record in found if record[1]] == [record for record in expected if record[1]]


@settings(max_examples=examples(300), deadline=None)
@given(
    rows=st.lists(
        st.lists(st.text(alphabet='aé,"\n|;', max_size=6), min_size=3, max_size=3).filter(any), max_size=20
    ),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_what_a_csv_writer_wrote_is_never_malformed(
    rows: list[list[str]], quoting: int, newline: str
) -> None:
    buffer, lines, line = io.StringIO(newline=""), [], 1
    writer = csv.writer(buffer, quoting=quoting, lineterminator=newline)  # type: ignore[arg-type]
    for row in rows:
        writer.writerow(row)
        lines.append(line)
        line = buffer.getvalue().count("\n") + 1
    found = read(buffer.getvalue().encode(), columns=3)
    assert [record[0] for record in found] == lines
    assert [record[2] for record in found] == [None] * len(rows)
    assert [next(csv.reader(io.StringIO(record[1], newline=""))) for record in found] == rows


def test_one_missing_quote_costs_one_row() -> None:
    rows = [f"{number},ok" for number in range(20_000)]
    rows[500] = '500,"not closed'
    rows[12_000] = '12000,"two\nlines"'
    rows[19_999] = '19999,"open to the end'
    found = read("\n".join(rows).encode(), columns=2)
    problems = {record[0]: record[2] for record in found if record[2]}
    assert problems == {501: Problem.WRONG_QUOTES, 20_001: Problem.WRONG_QUOTES}
    assert len(found) == 20_000
    assert found[12_001][0] == 12_003


def test_a_quote_that_never_closes_is_given_up_after_the_longest_record() -> None:
    data = ('1,"never closed\n' + "2,fine\n" * 5_000).encode()
    found = read(data, columns=2, chunk=1 << 10, longest_record=4 << 10)
    assert [record[2] for record in found] == [Problem.WRONG_QUOTES] + [None] * 5_000


def test_bytes_that_are_not_utf8_cost_their_row_alone() -> None:
    found = read("1,a\n2,é\n".encode() + b"3,\xff\n4,b\n5,\0\n", columns=2)
    assert [(line, problem) for line, _, problem in found] == [
        (1, None),
        (2, None),
        (3, Problem.NOT_UTF8),
        (4, None),
        (5, Problem.NUL_BYTE),
    ]
    assert found[2][1] == "3,\N{REPLACEMENT CHARACTER}"


def test_blank_lines_are_no_rows_but_count_as_lines() -> None:
    assert read(b"\n1,a\r\n\r\n\n2,b", columns=2) == [(2, "1,a", None), (5, "2,b", None)]


def test_lines_know_no_quotes() -> None:
    assert read(b'{"a": 1}\n"\n\n{}') == [(1, '{"a": 1}', None), (2, '"', None), (4, "{}", None)]


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(UnreadableFileError, match="a line is longer than"):
        read(b"x" * (MAX_RECORD_BYTES + 1), columns=2)
