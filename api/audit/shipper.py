"""Ships sealed records from the live store's outbox to the log, in order, each once.

A record is cleared from the outbox only when the file is on the disk. Whoever holds the log's lock ships: one
at a time over all processes. After a crash, records may be in the file and still in the outbox: they are
known by their bytes (the file is not trusted: a forged number hides nothing) and not written again. A torn
last line is cut off when its record is still in the outbox; anything else stays, for
`api.audit.log.verify_log`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

from api.audit.log import locked_log, sequence_of
from warehouse.durable import sync
from warehouse.errors import CbpError
from warehouse.live.store import LiveStore

_RECORDS_PER_SHIPMENT: Final = 1_000
_PAUSE_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 10.0
_SEGMENT_BYTES: Final = 256 * 2**20
_TAIL_BYTES: Final = 2**20

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
        A segment larger than this is finished: renamed after the number of its first record.
    """

    def __init__(self, store: LiveStore, log: Path, *, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self._store = store
        self._log = log
        self._segment_bytes = segment_bytes
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="audit-shipper", daemon=True)

    def start(self) -> None:
        """Ship what is left, and from now on what comes, on a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Ship what is there and end."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_STOP_SECONDS)

    def ship(self) -> int:
        """Ship everything that is in the outbox now; returns how many records were written.

        Raises
        ------
        StoreError, OSError
            The outbox can't be read or the log not be written; what is not shipped stays in the outbox.
        """
        written = 0
        if not self._store.unshipped_records(limit=1):
            return written
        with locked_log(self._log):
            while records := self._store.unshipped_records(limit=_RECORDS_PER_SHIPMENT):
                written += self._append(records)
                self._store.clear_shipped(through=records[-1][0])
                self._finish_large_segment()  # after clearing: what is in both is always in the active one
        return written

    def _run(self) -> None:
        is_last = False
        while not is_last:
            # Records are gathered for a moment: one sync and one clearing for many.
            is_last = self._stopping.wait(_PAUSE_SECONDS)
            try:
                self.ship()
            except (CbpError, OSError):
                logger.exception("audit records could not be shipped; they stay in the outbox")

    def _append(self, records: Sequence[tuple[int, bytes]]) -> int:
        is_new = not self._log.exists()
        with self._log.open("a+b") as file:
            # What was written and not cleared is at the end, and no longer than what is to be written now.
            length = sum(len(data) + 1 for _, data in records) + _TAIL_BYTES
            lines, torn_bytes = _tail(file, length=length)
            present = set(lines)
            fresh = [(number, data) for number, data in records if data not in present]
            last_line = lines[-1] if lines else b""
            if torn_bytes:
                self._mend(file, torn_bytes, is_ours=bool(fresh) and _precedes(last_line, fresh[0]))
            file.write(b"".join(data + b"\n" for _, data in fresh))
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync(self._log.parent)
        return len(fresh)

    def _mend(self, file: BinaryIO, torn_bytes: int, *, is_ours: bool) -> None:
        if is_ours:
            file.truncate(file.seek(0, os.SEEK_END) - torn_bytes)
        else:
            logger.error("%s ends with something that is not ours; `cbp audit verify` tells", self._log.name)
            file.write(b"\n")

    def _finish_large_segment(self) -> None:
        if self._log.stat().st_size < self._segment_bytes:
            return
        with self._log.open("rb") as file:
            first = sequence_of(file.readline().removesuffix(b"\n"))
        finished = self._log.with_name(f"{self._log.name}.{first or 0:012d}")
        if first is None or finished.exists():
            logger.error("%s can't be finished: its first line is no new record", self._log.name)
            return
        self._log.rename(finished)
        sync(self._log.parent)


def _tail(file: BinaryIO, *, length: int) -> tuple[list[bytes], int]:
    """Read the last whole lines of a file, in its last `length` bytes, and measure what follows them.

    Returns
    -------
    (list of bytes, int)
        Lines without their newlines, and the number of bytes that no newline ends.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - length))
    *lines, torn = file.read().split(b"\n")
    if size > length and lines:
        del lines[0]  # its beginning was not read
    return lines, len(torn)


def _precedes(last_line: bytes, record: tuple[int, bytes]) -> bool:
    """Say whether a record comes right after a line, the empty start of a file included."""
    last = sequence_of(last_line.removesuffix(b"\n"))
    return record[0] == last + 1 if last is not None else not last_line
