"""Feature files: a version is whole, changed weeks are written, the others are the same files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from warehouse.build.feature_files import publish_files


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("""
            create table feature as
            select number as id, timestamp '2024-02-28' + to_days(cast(number as integer)) as event_timestamp
            from range(30) as days (number)
        """)
        yield opened


def inodes(version: Path) -> dict[str, int]:
    return {file.name[:10]: file.stat().st_ino for file in version.iterdir()}


def test_readers_find_all_rows_in_order(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    publish_files(connection, "feature", tmp_path / "feat_x")
    files = sorted((tmp_path / "feat_x").iterdir())
    ids = [number for file in files for number in pq.read_table(file)["id"].to_pylist()]
    assert ids == list(range(30))
    assert pq.read_table(tmp_path / "feat_x").num_rows == 30


def test_only_changed_weeks_are_written(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    before = inodes(publish_files(connection, "feature", tmp_path / "feat_x"))
    connection.execute("update feature set id = -1 where id = 29")
    after = inodes(publish_files(connection, "feature", tmp_path / "feat_x"))
    assert before.keys() == after.keys()
    assert [week for week in before if before[week] != after[week]] == [max(before)]


def test_weeks_before_a_change_are_not_read(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """The week of the instant is read whole; an earlier row, altered against the promise, stays as it was."""
    publish_files(connection, "feature", tmp_path / "feat_x")
    connection.execute("update feature set id = -1 where id in (0, 20, 29)")
    (changed_from_us,) = connection.sql("select epoch_us(timestamp '2024-03-20')").fetchone() or (0,)
    publish_files(connection, "feature", tmp_path / "feat_x", changed_from_us=changed_from_us)
    ids = pq.read_table(tmp_path / "feat_x").sort_by("event_timestamp")["id"].to_pylist()
    assert [number for number in range(30) if ids[number] == -1] == [20, 29]


def test_the_first_rows_take_the_place_of_the_columns_alone(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    connection.execute("create table empty as from feature limit 0")
    publish_files(connection, "empty", tmp_path / "feat_x")
    connection.execute("insert into empty from feature")
    (changed_from_us,) = connection.sql("select epoch_us(timestamp '2024-02-28')").fetchone() or (0,)
    partly = publish_files(connection, "empty", tmp_path / "feat_x", changed_from_us=changed_from_us)
    whole = publish_files(connection, "feature", tmp_path / "feat_y", changed_from_us=changed_from_us)
    assert {file.name for file in partly.iterdir()} == {file.name for file in whole.iterdir()}


def test_nothing_new_keeps_the_version(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    first = publish_files(connection, "feature", tmp_path / "feat_x")
    assert publish_files(connection, "feature", tmp_path / "feat_x") == first


def test_another_column_is_another_version(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    publish_files(connection, "feature", tmp_path / "feat_x")
    connection.execute("alter table feature rename id to number")
    publish_files(connection, "feature", tmp_path / "feat_x")
    assert pq.read_table(tmp_path / "feat_x").column_names == ["number", "event_timestamp"]


def test_a_version_stays_through_one_more_build(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    versions = []
    for number in range(3):
        connection.execute("update feature set id = -1 where id = ?", [number])
        versions.append(publish_files(connection, "feature", tmp_path / "feat_x"))
    assert [version.is_dir() for version in versions] == [False, True, True]


def test_what_a_killed_build_left_pushes_no_version_out(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    known = publish_files(connection, "feature", tmp_path / "feat_x")
    shutil.copytree(known, known.with_name("000002"))  # it died before it pointed there
    connection.execute("update feature set id = -1 where id = 1")
    version = publish_files(connection, "feature", tmp_path / "feat_x")
    assert known.is_dir()
    assert {path.name for path in known.parent.iterdir()} == {known.name, version.name}


def test_a_model_without_rows_shows_its_columns(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    connection.execute("delete from feature")
    publish_files(connection, "feature", tmp_path / "feat_x")
    assert pq.read_table(tmp_path / "feat_x").num_rows == 0
    assert pq.read_table(tmp_path / "feat_x").column_names == ["id", "event_timestamp"]


def test_what_a_dead_run_left_is_no_version(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    junk = tmp_path / ".versions" / "feat_x" / ".incoming"
    junk.mkdir(parents=True)
    (junk / "half.parquet").write_bytes(b"PAR1")
    version = publish_files(connection, "feature", tmp_path / "feat_x")
    assert "half.parquet" not in {file.name for file in version.iterdir()}
