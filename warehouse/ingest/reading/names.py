"""Which format and compression a raw file's name says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from warehouse.errors import InputError


class RawFormat(StrEnum):
    """Formats of raw files."""

    CSV = "csv"
    NDJSON = "ndjson"
    JSON = "json"
    PARQUET = "parquet"


class Compression(StrEnum):
    """Compressions of raw text files."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


_FORMATS: Final = {
    ".csv": RawFormat.CSV,
    ".tsv": RawFormat.CSV,
    ".ndjson": RawFormat.NDJSON,
    ".jsonl": RawFormat.NDJSON,
    ".json": RawFormat.JSON,
    ".parquet": RawFormat.PARQUET,
    ".pq": RawFormat.PARQUET,
}
_COMPRESSIONS: Final = {".gz": Compression.GZIP, ".zst": Compression.ZSTD}


@dataclass(frozen=True)
class RawName:
    """What a file's name says of its content."""

    format: RawFormat
    compression: Compression

    @classmethod
    def parse(cls, path: Path) -> RawName:
        """Read format and compression off the file's endings.

        Raises
        ------
        InputError
            When the ending is none of those that can be read.
        """
        endings = [ending.lower() for ending in path.suffixes]
        compression = _COMPRESSIONS.get(endings[-1]) if endings else None
        if compression:
            endings.pop()
        raw_format = _FORMATS.get(endings[-1]) if endings else None
        if raw_format is None or (compression and raw_format is RawFormat.PARQUET):
            raise InputError(
                f"{path.name}: the ending must be .csv, .tsv, .ndjson, .jsonl or .json (then .gz or .zst if "
                "compressed) or .parquet: rename the file"
            )
        return cls(raw_format, compression or Compression.NONE)
