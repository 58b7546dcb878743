"""The Parquet files behind a Feast `FileSource`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FileSource
from feast.data_format import ParquetFormat
from feast.data_source import DataSource
from feast.repo_config import RepoConfig

from warehouse.errors import InputError, OperationError

COLUMNS_AT_A_TIME = 8


def file_source(source: DataSource | None) -> FileSource:
    """Check that a source is Parquet in files.

    Raises
    ------
    InputError
        It is another kind of source.
    """
    if not isinstance(source, FileSource) or not isinstance(
        source.file_format or ParquetFormat(), ParquetFormat
    ):
        raise InputError(f"expected a FileSource of Parquet, got {type(source).__name__}")
    return source


def files_of(source: FileSource, config: RepoConfig) -> list[Path]:
    """Files of a source: the file itself, or all of a folder, sorted by path; none when it isn't there.

    A symlink is resolved once: all files are of one version (see `warehouse.build.feature_files`).
    """
    path = Path(FileSource.get_uri_for_file_path(config.repo_path, source.path)).resolve()
    return sorted(path.glob("**/*.parquet")) if path.is_dir() else [path] if path.is_file() else []


def existing_files(source: FileSource, config: RepoConfig) -> list[Path]:
    """Files of a source, at least one.

    Raises
    ------
    OperationError
        There is none.
    """
    files = files_of(source, config)
    if not files:
        raise OperationError(f"feature file {source.path} isn't there: run `dbt run` or `cbp build` first")
    return files


def fingerprints(files: Sequence[Path]) -> list[tuple[int, int, int]]:
    """Return what changes when a file is replaced: inode, time (ns) and size; nothing once one is gone."""
    try:
        found = [file.stat() for file in files]
    except FileNotFoundError:
        return []
    return [(status.st_ino, status.st_mtime_ns, status.st_size) for status in found]


def column_in_file(source: FileSource, name: str) -> str:
    """Name of a column in the file, which the source's field mapping may have renamed."""
    return {new: old for old, new in (source.field_mapping or {}).items()}.get(name, name)


def take_columns(
    files: Sequence[Path], row_counts: Sequence[int], columns: dict[str, str], rows: pa.ChunkedArray
) -> list[tuple[str, pa.ChunkedArray]]:
    """Take columns by row number, a few at a time: the peak is the result and those few.

    Files that hold none of the rows aren't read.
    """
    holding, indices = _files_that_hold(rows.combine_chunks(), files, np.array(row_counts))
    taken = []
    names = list(columns)
    for first in range(0, len(names), COLUMNS_AT_A_TIME):
        some = names[first : first + COLUMNS_AT_A_TIME]
        wide = pa.concat_tables([pq.read_table(file, columns=some, partitioning=None) for file in holding])
        taken += [(columns[name], wide[name].combine_chunks().take(indices)) for name in some]
    return taken


def _files_that_hold(
    rows: pa.Array, files: Sequence[Path], row_counts: npt.NDArray[np.int64]
) -> tuple[list[Path], pa.Array]:
    """Choose the files, at least one, that hold some of the rows; number these over the chosen."""
    places = np.searchsorted(np.cumsum(row_counts), rows.fill_null(0).to_numpy(), side="right")
    is_holding = np.isin(np.arange(len(files)), places[rows.is_valid().to_numpy(zero_copy_only=False)])
    if not is_holding.any():
        is_holding[0] = True
    left_out = np.cumsum(np.where(is_holding, 0, row_counts))
    holding = [file for file, holds in zip(files, is_holding, strict=True) if holds]
    # Of a null the place may be behind the last file.
    return holding, pc.subtract(rows, left_out.take(places, mode="clip"))
