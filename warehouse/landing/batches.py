"""Landing: where accepted data lies, one folder per batch, each appearing by a single rename.

Layout below ``CBP_HOME/landing``::

    .lock                     flock of whoever lands; nobody else writes here
    .incoming/                work in progress; whoever takes the lock clears it of a dead run's junk
    000000-schema/            empty files with the exact schema, so that globs always match
    000001-<name>/            a batch: Parquet files (any may be absent) and report.json

A batch's number rises with each landing: where two batches hold the same transaction id, the lower number
wins. Readers need no lock: a folder is either absent or whole.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from warehouse.canonical import (
    LABELS_FILE,
    LANDED_SCHEMAS,
    QUARANTINE_FILE,
    REPORT_FILE,
    TRANSACTIONS_FILE,
)
from warehouse.durable import sync, sync_tree
from warehouse.errors import InputError, StoreError
from warehouse.locks import locked
from warehouse.settings import Settings

SCHEMA_BATCH: Final = "000000-schema"
_BATCH_NAME = re.compile(r"(\d{6,})-(.+)", re.ASCII)
_ALLOWED_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}", re.ASCII)

# flock belongs to an open file: a thread that holds it would wait for itself, so it counts its depth instead.
_held = threading.local()


@dataclass(frozen=True)
class Batch:
    """A landed batch.

    Parameters
    ----------
    number : int
        Rising order of landing.
    name : str
        The name it was published under, without the number.
    path : Path
        Its folder.
    report : Mapping of str to Any
        Content of ``report.json``; empty when the batch has none.
    """

    number: int
    name: str
    path: Path
    report: Mapping[str, Any]

    @property
    def transactions_path(self) -> Path:
        """Where its transactions are (may be absent)."""
        return self.path / TRANSACTIONS_FILE

    @property
    def labels_path(self) -> Path:
        """Where its labels are (may be absent)."""
        return self.path / LABELS_FILE

    @property
    def quarantine_path(self) -> Path:
        """Where its refused rows are (may be absent)."""
        return self.path / QUARANTINE_FILE

    @property
    def protocol(self) -> Mapping[str, Any] | None:
        """The mapping's protocol (``{"name": …, parameters}``), or None when its mapping carries none."""
        protocol = self.report.get("protocol")
        return protocol if isinstance(protocol, dict) else None


def ensure_landing(settings: Settings) -> None:
    """Create the landing folder and the empty schema batch; does nothing when they are there and current."""
    work_folder(settings).mkdir(parents=True, exist_ok=True)
    if not _is_schema_batch_current(settings):
        with landing_lock(settings):
            _write_schema_batch(settings)


@contextmanager
def landing_lock(settings: Settings, *, timeout_seconds: float = 600.0) -> Iterator[None]:
    """Hold the exclusive right to land, and clear what dead runs left in ``.incoming``.

    The same thread may enter again. The operating system frees the lock when the process dies.

    Raises
    ------
    BusyError
        When another process or thread holds the lock for longer than `timeout_seconds`.
    """
    key = str(settings.landing_dir)
    depths: dict[str, int] = _held.__dict__.setdefault("depths", {})
    if depths.get(key):
        depths[key] += 1
        try:
            yield
        finally:
            depths[key] -= 1
        return
    work_folder(settings).mkdir(parents=True, exist_ok=True)
    busy = f"{key} has been locked by another run for {timeout_seconds:g} s: retry when it ended"
    with locked(settings.landing_dir / ".lock", timeout_seconds=timeout_seconds, busy=busy):
        depths[key] = 1
        try:
            _clear_work_folder(settings)
            yield
        finally:
            depths.pop(key)


def publish_batch(settings: Settings, name: str, *, write: Callable[[Path], None]) -> str | None:
    """Land one batch: fill a private folder, make it durable, show it by one rename.

    Parameters
    ----------
    settings : Settings
        Names the landing folder.
    name : str
        Identifies the content (letters, digits, ``_.-``): a name that has landed once never lands again.
    write : callable
        Gets the empty private folder and writes the batch's files there. When it raises, nothing appears.

    Returns
    -------
    str or None
        The batch's folder name; None when a batch of that name is there or `write` left no file.

    Raises
    ------
    BusyError
        When the landing lock can't be had.
    StoreError
        When `write` left a Parquet file without the canonical schema.
    """
    if not _ALLOWED_NAME.fullmatch(name):
        raise InputError(f"a batch name must be 1 to 120 letters, digits or _.-, got {name!r}")
    with landing_lock(settings):
        ensure_landing(settings)
        taken = _batch_folders(settings)
        if any(landed == name for _, landed, _ in taken):
            return None
        number = max((number for number, _, _ in taken), default=0) + 1
        batch = f"{number:06d}-{name}"
        staging = work_folder(settings) / batch
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            write(staging)
            if not any(staging.iterdir()):
                return None
            _check_schemas(staging)
            sync_tree(staging)
            staging.rename(settings.landing_dir / batch)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        sync(settings.landing_dir)
        return batch


def list_batches(settings: Settings) -> list[Batch]:
    """List the landed batches in order of landing (the empty schema batch is not one)."""
    return [
        Batch(number=number, name=name, path=path, report=_read_report(path))
        for number, name, path in sorted(_batch_folders(settings))
        if path.name != SCHEMA_BATCH
    ]


def work_folder(settings: Settings) -> Path:
    """Return the folder for work in progress: only the holder of the lock writes there, and clears it."""
    return settings.landing_dir / ".incoming"


def _batch_folders(settings: Settings) -> list[tuple[int, str, Path]]:
    if not settings.landing_dir.is_dir():
        return []
    matched = ((_BATCH_NAME.fullmatch(path.name), path) for path in settings.landing_dir.iterdir())
    return [(int(match[1]), match[2], path) for match, path in matched if match and path.is_dir()]


def _read_report(batch: Path) -> dict[str, Any]:
    try:
        report = json.loads((batch / REPORT_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise StoreError(f"{batch.name}/{REPORT_FILE} is not JSON ({error}): restore that batch") from error
    if not isinstance(report, dict):
        raise StoreError(f"{batch.name}/{REPORT_FILE} must hold a JSON object: restore that batch")
    return report


def _clear_work_folder(settings: Settings) -> None:
    """Remove what is left of runs that died: only the holder of the lock ever writes there."""
    for path in work_folder(settings).iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _is_schema_batch_current(settings: Settings) -> bool:
    folder = settings.landing_dir / SCHEMA_BATCH
    return all(
        (folder / file).is_file() and pq.read_schema(folder / file).equals(schema)
        for file, schema in LANDED_SCHEMAS.items()
    )


def _write_schema_batch(settings: Settings) -> None:
    folder = settings.landing_dir / SCHEMA_BATCH
    folder.mkdir(exist_ok=True)
    for file, schema in LANDED_SCHEMAS.items():
        # A reader may be looking: each file is replaced whole.
        staged = work_folder(settings) / f"schema-{file}"
        pq.write_table(schema.empty_table(), staged)
        staged.replace(folder / file)
    sync_tree(folder)
    sync(settings.landing_dir)


def _check_schemas(folder: Path) -> None:
    for file, schema in LANDED_SCHEMAS.items():
        path = folder / file
        if not path.exists():
            continue
        expected = {field.name: field.type for field in schema}
        got = {field.name: field.type for field in pq.read_schema(path)}
        if got != expected:
            raise StoreError(f"{file} of batch {folder.name} must have the columns {expected}, got {got}")
