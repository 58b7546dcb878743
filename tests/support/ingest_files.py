"""Raw files for tests of ingest, and what landed from them."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.ingest.ingest import FileReport, ingest
from warehouse.ingest.mapping.rules import MappingRules
from warehouse.landing.batches import list_batches
from warehouse.settings import Settings

Row = dict[str, Any]

PAYMENT: Row = {
    "transaction_id": "t1",
    "customer_id": "c1",
    "merchant_id": "m1",
    "event_time": "2024-03-01T10:00:00Z",
    "amount_minor": "1250",
    "currency": "EUR",
}
PAYMENT_US = 1_709_287_200_000_000


def make_payments(count: int, **changed: object) -> list[Row]:
    """Make payments t1, t2, … that differ in their id alone."""
    return [{**PAYMENT, "transaction_id": f"t{number}", **changed} for number in range(1, count + 1)]


def write_csv(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write rows as CSV (``.gz`` when the name says so); the first row names the columns."""
    buffer = io.StringIO(newline="")
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_bytes(path, buffer.getvalue().encode())


def write_ndjson(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Write rows as NDJSON."""
    return write_bytes(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def write_parquet(path: Path, columns: Mapping[str, Any]) -> Path:
    """Write columns as Parquet."""
    pq.write_table(pa.table(dict(columns)), path)
    return path


def write_bytes(path: Path, content: bytes) -> Path:
    """Write bytes, compressed as the ending says."""
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(content))
    elif path.suffix == ".zst":
        with pa.output_stream(str(path), compression="zstd") as stream:
            stream.write(content)
    else:
        path.write_bytes(content)
    return path


def ingest_one(settings: Settings, path: Path, *, mapping: str | MappingRules | None = None) -> FileReport:
    """Ingest one file that must land."""
    report = ingest(settings, [path], mapping=mapping)
    report.raise_on_failure()
    return report.files[0]


def read_landed(settings: Settings, file: str) -> list[Row]:
    """Read the rows of all batches in order of landing."""
    tables = [
        pq.read_table(batch.path / file) for batch in list_batches(settings) if (batch.path / file).exists()
    ]
    return [row for table in tables for row in table.to_pylist()]


def read_transactions(settings: Settings) -> list[Row]:
    """Read what was accepted."""
    return read_landed(settings, "transactions.parquet")


def read_labels(settings: Settings) -> list[Row]:
    """Read the labels."""
    return read_landed(settings, "labels.parquet")


def read_quarantine(settings: Settings) -> list[tuple[int, str]]:
    """Read line and reason of what was refused."""
    return [(row["line"], row["reason"]) for row in read_landed(settings, "quarantine.parquet")]
