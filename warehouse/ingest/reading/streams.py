"""Raw files read to their end before anything is taken from them.

DuckDB reads a truncated gzip, a gzip with a wrong checksum or a truncated JSON array as if nothing were
missing, so a file is read through once for its hash and for damage; `sources` then reads its
rows.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from warehouse.errors import InputError, StoreError, UnreadableFileError
from warehouse.ingest.reading.names import Compression, RawFormat, RawName
from warehouse.ingest.reading.text_records import Readable

_BLOCK_BYTES: Final = 1 << 20
_EDGE_BYTES: Final = 64 << 10
BOM: Final = b"\xef\xbb\xbf"
WHITESPACE: Final = b" \t\r\n"


@dataclass(frozen=True)
class RawFile:
    """A file that was read to its end.

    Parameters
    ----------
    path : Path
        Where it is.
    name : RawName
        Format and compression. A ``.json`` file whose first character is no bracket is NDJSON.
    content_sha256 : str
        Hash (hex) of the content, uncompressed.
    head, tail : bytes
        Its first and last 64 KiB, uncompressed.
    stamp : tuple of int
        Size and time of change when it was read: other values later mean another file.
    """

    path: Path
    name: RawName
    content_sha256: str
    head: bytes
    tail: bytes
    stamp: tuple[int, int]


def read_through(path: Path) -> RawFile:
    """Read a file to its end.

    Raises
    ------
    InputError
        When there is no such file, its ending is unknown, or it is empty.
    UnreadableFileError
        When it is truncated or damaged.
    """
    name = RawName.parse(path)
    stamp = _stamp(path)
    digest, head, tail, size = hashlib.sha256(), b"", b"", 0
    with open_stream(path, name.compression) as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
            head = head if len(head) >= _EDGE_BYTES else (head + block)[:_EDGE_BYTES]
            tail = (tail + block)[-_EDGE_BYTES:]
            size += len(block)
    if not size:
        raise InputError(f"{path.name} is empty: expected a header or rows")
    if name.format is RawFormat.JSON:
        name = _tell_json(path, name, head, tail)
    if name.format is not RawFormat.PARQUET:
        _check_text(path, head)
    return RawFile(path, name, digest.hexdigest(), head, tail, stamp)


def check_unchanged(file: RawFile) -> None:
    """Check that a file is still the one that was read through.

    Raises
    ------
    InputError
        When it was written to meanwhile.
    """
    if _stamp(file.path) != file.stamp:
        raise InputError(f"{file.path.name} changed while it was read: retry when it is complete")


@contextmanager
def open_stream(path: Path, compression: Compression) -> Iterator[Readable]:
    """Open a file's content, uncompressed; what can't be uncompressed is an `UnreadableFileError`."""
    try:
        if compression is Compression.GZIP:
            with gzip.open(path, "rb") as packed:
                yield packed
        elif compression is Compression.ZSTD:
            with pa.input_stream(str(path), compression="zstd") as stream:
                yield stream
        else:
            with path.open("rb") as plain:
                yield plain
    except (EOFError, OSError, zlib.error) as error:
        raise UnreadableFileError(
            f"{path.name} can't be read to its end ({error}): nothing of it was taken, get it again"
        ) from error


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn what DuckDB and Arrow say of a broken file into an `UnreadableFileError`."""
    try:
        yield
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException):
        raise  # a fault of ours
    except duckdb.OutOfMemoryException as error:
        raise StoreError(f"{path.name} needs more memory, or disk below CBP_HOME: {error}") from error
    except (pa.ArrowInvalid, duckdb.Error) as error:
        reason = " ".join(str(error).split())[:300]
        raise UnreadableFileError(
            f"{path.name} can't be read to its end ({reason}): nothing of it was taken, get it again"
        ) from error


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}: name a file that can be read") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is not a file: name a file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read: ask for the right to")
    return status.st_size, status.st_mtime_ns


def _check_text(path: Path, head: bytes) -> None:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path.name} is UTF-16: save it as UTF-8")
    first = head.split(b"\n", 1)[0]
    if b"\0" in first or head.startswith((b"PAR1", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")):
        raise UnreadableFileError(f"{path.name} is not text: correct its ending, or get it again")


def _tell_json(path: Path, name: RawName, head: bytes, tail: bytes) -> RawName:
    """Tell an array from NDJSON; DuckDB takes a truncated array for a whole one."""
    if not head.removeprefix(BOM).lstrip(WHITESPACE).startswith(b"["):
        return RawName(RawFormat.NDJSON, name.compression)
    if not tail.rstrip(WHITESPACE).endswith(b"]"):
        raise UnreadableFileError(
            f"{path.name}: the JSON array does not end: nothing of it was taken, get it again"
        )
    return name
