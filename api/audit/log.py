"""The audit log: sealed records in one chain, checked without trusting whoever keeps the files.

Rules
-----
1. A log is a row of segments: ``<log>.<number of its first record>``, then the active one, ``<log>``. A
   segment holds records, one a line (see `api.audit.record`).
2. Records are numbered from 1 without a gap, and each follows the hash of the one before; record 1 follows
   the genesis, which each live store draws at random, so that no record of another chain fits.
3. The live store holds genesis and head: a cut tail is found. Records in its outbox are not in a file yet;
   one may be in both for a moment, and is then the same.
4. Files change only under the lock ``<log>.lock``. A last line without a newline is the write of a process
   that died, as long as its record is still in the outbox.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from api.audit.chain import ChainChecker, Finding
from api.audit.record import AuditError, AuditKeys, SealedRecord, parse_record
from warehouse.live.decisions import AuditHead
from warehouse.locks import locked

__all__ = [
    "AuditError",
    "AuditKeys",
    "BrokenLogError",
    "Finding",
    "SealedRecord",
    "find_damage",
    "locked_log",
    "parse_record",
    "read_plaintexts",
    "segments",
    "verify_log",
]

_MOST_TOLD: Final = 20


class BrokenLogError(AuditError):
    """Records are broken, missing, foreign or out of place.

    Parameters
    ----------
    findings : list of Finding
        All of them; the message tells the first.
    """

    def __init__(self, findings: list[Finding]) -> None:
        told = "; ".join(str(finding) for finding in findings[:_MOST_TOLD])
        more = len(findings) - _MOST_TOLD
        super().__init__(f"{told}; and {more} more" if more > 0 else told)
        self.findings = findings


def verify_log(log: Path, keys: AuditKeys, head: AuditHead) -> int:
    """Check every record against the rules above; returns how many there are.

    Parameters
    ----------
    log : Path
        Active segment.
    keys : AuditKeys
        Every key that sealed a record.
    head : AuditHead
        From the live store, read before this is called: what is written after it is left to the next run.

    Raises
    ------
    BrokenLogError
        Names each record that is not as it was written.
    """
    findings = find_damage(log, keys, head)
    if findings:
        raise BrokenLogError(findings)
    return head.sequence


def find_damage(log: Path, keys: AuditKeys, head: AuditHead) -> list[Finding]:
    """List what is wrong with a log; empty when it is whole (see `verify`)."""
    unshipped = dict(head.unshipped)
    checker = ChainChecker(head, keys)
    differing = []
    last_number = 0
    for line, is_whole in _lines(log):
        if not is_whole and last_number + 1 in unshipped:
            break
        number = sequence_of(line)
        last_number = number if number is not None and number <= head.sequence else last_number + 1
        if number in unshipped and unshipped[number] != line:
            differing.append(Finding(number, number, "differs from the one in the outbox"))
        if is_whole:
            checker.check(line)
        else:
            checker.break_off("is cut short: the file does not end with a newline")
    for number, record in sorted(unshipped.items()):
        if number > last_number:
            checker.check(record)
    checker.finish()
    return checker.findings + differing


def read_plaintexts(log: Path, keys: AuditKeys) -> Iterator[bytes]:
    """Yield the plaintext of every shipped record, in order; does not check the chain (see `verify`).

    Raises
    ------
    AuditError
        At a record that can't be opened.
    """
    for line, is_whole in _lines(log):
        if is_whole:
            yield keys.open(parse_record(line))


def segments(log: Path) -> list[Path]:
    """Files of a log in order: finished segments, then the active one, as far as they are there."""
    finished = [path for path in log.parent.glob(f"{log.name}.*") if path.suffix[1:].isdigit()]
    return [*sorted(finished, key=lambda path: int(path.suffix[1:])), *([log] if log.is_file() else [])]


@contextmanager
def locked_log(log: Path) -> Iterator[None]:
    """Wait for the right to change a log's files, and hold it; between processes and threads."""
    with locked(log.with_name(f"{log.name}.lock")):
        yield


def _lines(log: Path) -> Iterator[tuple[bytes, bool]]:
    """Lines of all segments, and whether each ends with a newline."""
    if not log.parent.is_dir():
        return
    with ExitStack() as stack:
        # Whoever writes or renames holds the lock: what is there now holds no write under way.
        with locked_log(log):
            files = [stack.enter_context(path.open("rb")) for path in segments(log)]
            ends = [file.seek(0, os.SEEK_END) for file in files]
        for file, end in zip(files, ends, strict=True):
            file.seek(0)
            while file.tell() < end:
                line = file.readline(end - file.tell())
                yield line.removesuffix(b"\n"), line.endswith(b"\n")


def sequence_of(line: bytes) -> int | None:
    """Read the number of a record; None where the line is none."""
    try:
        return parse_record(line).sequence
    except AuditError:
        return None
