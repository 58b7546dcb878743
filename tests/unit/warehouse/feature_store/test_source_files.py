"""Columns that are taken by row number from the files of a source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.feature_store.source_files import take_columns


def written(folder: Path, counts: Sequence[int]) -> list[Path]:
    """Files of so many rows each, their values counted through."""
    files, first = [], 0
    for number, count in enumerate(counts):
        values = pa.array(range(first, first + count), pa.int64())
        files.append(folder / f"{number}.parquet")
        pq.write_table(pa.table({"value": values}), files[-1])
        first += count
    return files


@st.composite
def counts_and_rows(draw: st.DrawFn) -> tuple[list[int], list[int | None]]:
    counts = draw(st.lists(st.integers(0, 5), min_size=1, max_size=6))
    row = st.none() if not sum(counts) else st.none() | st.integers(0, sum(counts) - 1)
    return counts, draw(st.lists(row, max_size=8))


@given(counts_and_rows())
def test_a_row_is_taken_from_the_file_that_holds_it(case: tuple[list[int], list[int | None]]) -> None:
    counts, rows = case
    with TemporaryDirectory() as folder:
        files = written(Path(folder), counts)
        ((name, taken),) = take_columns(files, counts, {"value": "renamed"}, numbers(rows))
    assert name == "renamed"
    assert taken.to_pylist() == rows


def test_files_that_hold_no_row_are_not_read(tmp_path: Path) -> None:
    files = written(tmp_path, [3, 3, 3])
    for file in (files[0], files[2]):
        content = file.read_bytes()
        file.write_bytes(content[:4] + bytes(60) + content[64:])  # values gone, footer left
    assert values_of(files, [4, None, 3]) == [4, None, 3]
    with pytest.raises(OSError, match="deserialize"):
        values_of(files, [0])


def values_of(files: Sequence[Path], rows: Sequence[int | None]) -> list[int | None]:
    ((_, values),) = take_columns(files, [3, 3, 3], {"value": "value"}, numbers(rows))
    return list(values.to_pylist())


def numbers(rows: Sequence[int | None]) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(rows, pa.int64())])
