"""How simulated rows become a raw file, such as a bank would send."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Protocol

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.errors import InputError
from warehouse.ingest.reading.names import Compression, RawFormat, RawName
from warehouse.sql_text import literal


class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


def write_raw_file(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of one schema as one file, format and compression by its ending, replacing it whole.

    The bytes depend on the rows alone (no time stamp in gzip's header).

    Raises
    ------
    InputError
        When the ending is unknown, or ``.json`` (arrays are read, not written).
    """
    name = RawName.parse(path)
    if name.format is RawFormat.JSON:
        raise InputError(f"{path.name}: JSON arrays are not written, use .ndjson")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        plain = Path(folder) / "plain"
        if name.format is RawFormat.PARQUET:
            _write_parquet(plain, tables)
        else:
            _write_text(plain, tables, name.format)
        finished = plain
        if name.compression is not Compression.NONE:
            finished = Path(folder) / "compressed"
            with plain.open("rb") as source, _compress(finished, name.compression) as target:
                shutil.copyfileobj(source, target, 1 << 20)
        finished.replace(path)


def _write_parquet(path: Path, tables: Iterable[pa.Table]) -> None:
    rest = iter(tables)
    first = next(rest)
    with pq.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for table in chain([first], rest):
            writer.write_table(table)


def _write_text(path: Path, tables: Iterable[pa.Table], raw_format: RawFormat) -> None:
    rest = iter(tables)
    first = next(rest)
    batches = (batch for table in chain([first], rest) for batch in table.to_batches())
    options = "format csv, header true" if raw_format is RawFormat.CSV else "format json"
    with duckdb.connect() as connection:
        connection.register("raw_rows", pa.RecordBatchReader.from_batches(first.schema, batches))
        connection.execute(f"copy raw_rows to {literal(str(path))} ({options})")


@contextmanager
def _compress(path: Path, compression: Compression) -> Iterator[_Writable]:
    if compression is Compression.GZIP:
        with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=6, mtime=0, fileobj=raw) as stream:
            yield stream
    else:
        with pa.output_stream(str(path), compression="zstd") as stream:
            yield stream
