"""Feature models as folders of Parquet files, replaced at once however many files change.

Layout below ``CBP_HOME/features``::

    feat_x                        symlink to the version that counts, replaced by one rename
    .versions/feat_x/000007/      a version, never changed once it is there
        2024-03-07-<digest>.parquet   the rows of the week that begins then

A file's name tells its content, so that a day's build writes the weeks that it changed and links the others.
A reader that resolved the symlink keeps its version through one more build.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Set
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import duckdb

from warehouse.durable import sync
from warehouse.sql_text import literal
from warehouse.times import DAY_US

VERSIONS: Final = ".versions"
_FORMAT: Final = 2
"""Part of each file's name: raised when the same rows are written in another way."""
_WEEK_US: Final = 7 * DAY_US
_ROW_GROUP: Final = 20_480
"""Rows that one thread writes: a week of the published size is a few."""
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True)
class _Week:
    """Rows of one week: its number since 1970-01-01, and the name of the file that holds them."""

    number: int
    file: str


def publish_files(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    published: Path,
    *,
    changed_from_us: int | None = None,
) -> Path:
    """Show the rows of a feature model as files in place of those that are there.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Where `relation` can be read.
    relation : str
        A feature model, quoted as SQL wants it; it has a column event_timestamp.
    published : Path
        What readers know: it becomes a symlink to a folder.
    changed_from_us : int, optional
        UTC microseconds: rows of earlier weeks are those that are published, and aren't read. None: any row
        may have changed.

    Returns
    -------
    Path
        The version that counts now.
    """
    versions = published.parent / VERSIONS / published.name
    current = published.resolve() if published.is_symlink() else None
    files = {file.name for file in current.iterdir()} if current else set()
    weeks = _weeks(connection, relation, files, None if current is None else changed_from_us)
    if current is not None and files == {week.file for week in weeks}:
        return current
    incoming = versions / ".incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    incoming.mkdir(parents=True)
    for week in weeks:
        _write_week(connection, relation, week, incoming, current)
    sync(incoming)
    version = versions / f"{max(map(int, _numbers(versions)), default=0) + 1:06d}"
    incoming.rename(version)
    _point(published, version)
    # A version that a killed build left, which nobody has read, doesn't push out the one that readers know.
    known = {version.name, current.name if current else ""}
    for number in _numbers(versions):
        if number not in known:
            shutil.rmtree(versions / number)
    return version


def _weeks(
    connection: duckdb.DuckDBPyConnection, relation: str, files: Set[str], changed_from_us: int | None
) -> list[_Week]:
    """Name the file of each week after its rows; a model without rows has one file, for its columns."""
    columns = connection.execute(f"describe select * from {relation}").fetchall()  # noqa: S608 - dbt's name
    schema = [str((name, kind)) for name, kind, *_ in columns]
    empty = _named(schema, 0, 0, 0, 0)
    first = None if changed_from_us is None else changed_from_us // _WEEK_US
    kept = [] if first is None else [_Week(_number(file), file) for file in files - {empty.file}]
    changed = "" if first is None else f" where event_timestamp >= make_timestamp({first * _WEEK_US})"
    found = connection.execute(
        f"select epoch_us(event_timestamp) // {_WEEK_US}, count(*), sum(hash(feature)),"  # noqa: S608 - dbt's name
        f" bit_xor(hash(feature)) from {relation} as feature{changed} group by 1 order by 1"
    ).fetchall()
    weeks = [week for week in kept if first is not None and week.number < first]
    return [*weeks, *(_named(schema, week, *content) for week, *content in found)] or [empty]


def _named(schema: list[str], number: int, *content: int) -> _Week:
    text = "\n".join([str(_FORMAT), *schema, *map(str, content)])
    first_day = _EPOCH + timedelta(microseconds=number * _WEEK_US)
    return _Week(number, f"{first_day:%Y-%m-%d}-{hashlib.sha256(text.encode()).hexdigest()[:20]}.parquet")


def _number(file: str) -> int:
    return (date.fromisoformat(file[:10]) - _EPOCH) // timedelta(microseconds=_WEEK_US)


def _write_week(
    connection: duckdb.DuckDBPyConnection, relation: str, week: _Week, incoming: Path, current: Path | None
) -> None:
    target = incoming / week.file
    if current is not None and (current / week.file).is_file():
        target.hardlink_to(current / week.file)
        return
    first, after = week.number * _WEEK_US, (week.number + 1) * _WEEK_US
    connection.execute(
        f"copy (select * from {relation}"  # noqa: S608 - dbt's name, numbers of ours
        f" where event_timestamp >= make_timestamp({first}) and event_timestamp < make_timestamp({after})"
        f" order by event_timestamp) to {literal(str(target))}"
        f" (format parquet, compression zstd, row_group_size {_ROW_GROUP})"
    )
    sync(target)


def _numbers(versions: Path) -> list[str]:
    return sorted(path.name for path in versions.iterdir() if path.name.isdigit())


def _point(published: Path, version: Path) -> None:
    link = published.parent / VERSIONS / f".{published.name}.link"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(VERSIONS) / published.name / version.name, target_is_directory=True)
    link.replace(published)
    sync(published.parent)
