"""Simulated dirt through ingest: what must be refused is refused at its line; the rest is the clean file."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.support.ingest_files import ingest_one, read_labels, read_landed, read_transactions, write_bytes
from warehouse.ingest.reading.names import RawFormat, RawName
from warehouse.settings import Settings
from warehouse.simulation.simulate import SimulationResult, simulate

WORLD = {"customers": 80, "merchants": 150, "days": 20, "seed": 11}
FORMATS = ["parquet", "csv", "csv.gz", "csv.zst", "ndjson", "jsonl.gz", "ndjson.zst", "json", "json.gz"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"CBP_HOME": str(tmp_path / "home")})


def simulate_as(path: Path, *, dirt: float) -> SimulationResult:
    """Simulate in any format that can be read; an array is made of lines."""
    name = RawName.parse(path)
    if name.format is not RawFormat.JSON:
        return simulate(path, dirt=dirt, **WORLD)
    lines = simulate(path.with_name("lines.ndjson"), dirt=dirt, **WORLD)
    rows = [json.loads(line) for line in lines.path.read_text().splitlines()]
    write_bytes(path, json.dumps(rows, indent=1).encode())
    return SimulationResult(path, lines.rows, lines.payments, lines.frauds, lines.dirt, lines.dirty_rows)


def expect_lines(result: SimulationResult) -> dict[int, int]:
    """Say on which line each dirty row begins: a note holds one line break."""
    is_csv = RawName.parse(result.path).format is RawFormat.CSV
    lines, notes = {}, 0
    for dirty in result.dirty_rows.to_pylist():
        lines[dirty["row"]] = dirty["row"] + 1 + notes if is_csv else dirty["row"]
        notes += dirty["kind"] == "unknown_column"
    return lines


@pytest.mark.parametrize("ending", FORMATS)
def test_dirt_is_quarantined_row_for_row(settings: Settings, tmp_path: Path, ending: str) -> None:
    dirty = simulate_as(tmp_path / f"dirty.{ending}", dirt=0.3)
    report = ingest_one(settings, dirty.path)
    assert (report.accepted, report.duplicates, report.quarantined) == (
        dirty.payments,
        dirty.duplicates,
        dirty.quarantined,
    )
    assert report.unknown_columns == ("note",)
    lines = expect_lines(dirty)
    refused = [row for row in dirty.dirty_rows.to_pylist() if row["reason"]]
    quarantine = read_landed(settings, "quarantine.parquet")
    assert [(row["line"], row["reason"]) for row in quarantine] == [
        (lines[row["row"]], row["reason"]) for row in refused
    ]
    assert {row["file"] for row in quarantine} == {dirty.path.name}
    for row, expected in zip(quarantine, refused, strict=True):
        assert expected["transaction_id"] is None or expected["transaction_id"] in row["content"]


@pytest.mark.parametrize("ending", ["parquet", "csv", "ndjson"])
def test_what_is_accepted_of_a_dirty_file_is_the_clean_file(
    settings: Settings, tmp_path: Path, ending: str
) -> None:
    ingest_one(settings, simulate(tmp_path / f"dirty.{ending}", dirt=0.3, **WORLD).path)
    clean = pq.read_table(simulate(tmp_path / "clean.parquet", **WORLD).path).to_pylist()
    landed = {row["transaction_id"]: row for row in read_transactions(settings)}
    labels = {row["transaction_id"]: row for row in read_labels(settings)}
    assert len(landed) == len(labels) == len(clean)
    late = 0
    for row in clean:
        found, label = landed[row["transaction_id"]], labels[row["transaction_id"]]
        for field in (
            "customer_id", "merchant_id", "event_us", "amount_minor", "currency", "category", "channel",
            "country", "latitude", "longitude",
        ):  # fmt: skip
            assert found[field] == row[field]
        assert (label["is_fraud"], label["known_us"]) == (row["is_fraud"], row["label_known_us"])
        assert found["ingested_us"] >= row["ingested_us"]
        late += found["ingested_us"] > row["ingested_us"]
    assert late > 0


def test_rows_land_in_the_order_of_the_file(settings: Settings, tmp_path: Path) -> None:
    dirty = simulate(tmp_path / "dirty.parquet", dirt=0.3, **WORLD)
    ingest_one(settings, dirty.path)
    file = [row["transaction_id"] for row in pq.read_table(dirty.path).to_pylist()]
    landed = read_transactions(settings)
    assert [row["source_order"] for row in landed] == sorted(row["source_order"] for row in landed)
    assert all(file[row["source_order"] - 1] == row["transaction_id"] for row in landed)


def test_a_dirty_file_after_the_clean_one_brings_nothing_new(settings: Settings, tmp_path: Path) -> None:
    clean = simulate(tmp_path / "clean.csv", **WORLD)
    dirty = simulate(tmp_path / "dirty.ndjson.gz", dirt=0.3, **WORLD)
    ingest_one(settings, clean.path)
    report = ingest_one(settings, dirty.path)
    assert (report.accepted, report.labels) == (0, 0)
    assert report.duplicates == dirty.payments + dirty.duplicates
    assert report.quarantined == dirty.quarantined
