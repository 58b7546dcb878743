"""Ships sealed records from the live store's outbox to the log file, in order, exactly once.

A record is cleared from the outbox only after the file is synced. Whoever holds the lock file ships; a torn
write of a process that died is cut off, because its record is still in the outbox.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from api.audit import AuditError, parse_record, read_record, segments
from warehouse.errors import CbpError
from warehouse.live_store import LiveStore

_RECORDS_PER_SHIPMENT: Final = 1_000
_IDLE_SECONDS: Final = 0.5
_SEGMENT_BYTES: Final = 256 * 2**20

logger = logging.getLogger("cbp.audit")


class Shipper:
    """Moves records from one live store to one log.

    Parameters
    ----------
    store : LiveStore
        Whose outbox is shipped.
    log : Path
        Active segment.
    segment_bytes : int
        A segment larger than this is finished.
    """

    def __init__(self, store: LiveStore, log: Path, *, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self._store = store
        self._log = log
        self._segment_bytes = segment_bytes
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-shipper", daemon=True)

    def start(self) -> None:
        """Ship what is left, and from now on what comes, on a thread of its own."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something to ship."""
        self._wake.set()

    def stop(self) -> None:
        """Ship what is there and end."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10.0)

    def ship(self) -> int:
        """Ship everything in the outbox now; returns how many records were written.

        Raises
        ------
        AuditError
            When the log's end is not a record and can't be mended from the outbox.
        """
        written = 0
        if not self._store.unshipped_records(limit=1):
            return written
        with self._locked():
            while records := self._store.unshipped_records(limit=_RECORDS_PER_SHIPMENT):
                written += self._append(records)
                self._store.clear_shipped(through=records[-1][0])
        return written

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(_IDLE_SECONDS)
            self._wake.clear()
            try:
                self.ship()
            except (CbpError, OSError):
                # Records stay in the outbox; the next round tries again.
                logger.exception("audit records could not be shipped")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.with_name(f"{self._log.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _append(self, records: tuple[tuple[int, bytes], ...]) -> int:
        self._finish_large_segment()
        with self._log.open("a+b") as file:
            last, end = self._last_record(file, first_unshipped=records[0][0])
            file.truncate(end)
            fresh = [data for number, data in records if number > last]
            if fresh and parse_record(fresh[0]).sequence != last + 1:
                raise AuditError(f"record {last + 1} is neither in {self._log.name} nor in the outbox")
            file.write(b"".join(fresh))
            file.flush()
            os.fsync(file.fileno())
        return len(fresh)

    def _last_record(self, file: BinaryIO, *, first_unshipped: int) -> tuple[int, int]:
        """Find the log's last whole record: its number, and where it ends in the active segment."""
        last = self._last_of_finished()
        file.seek(0)
        end = 0
        while True:
            try:
                record = read_record(file, after=last, name=self._log.name)
            except AuditError:
                # Only a write that was never acknowledged may be cut off: its record is still in the outbox.
                if last + 1 >= first_unshipped:
                    return last, end
                raise
            if record is None:
                return last, end
            last, end = record.sequence, file.tell()

    def _last_of_finished(self) -> int:
        finished = [segment for segment in segments(self._log) if segment != self._log]
        if not finished:
            return 0
        last = 0
        with finished[-1].open("rb") as file:
            while record := read_record(file, after=last, name=finished[-1].name):
                last = record.sequence
        return last

    def _finish_large_segment(self) -> None:
        if not self._log.is_file() or self._log.stat().st_size < self._segment_bytes:
            return
        with self._log.open("rb") as file:
            first = read_record(file, after=0, name=self._log.name)
        if first is not None:
            self._log.rename(self._log.with_name(f"{self._log.name}.{first.sequence:012d}"))
