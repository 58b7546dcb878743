"""Judges a chain of audit records and names each that is broken, missing, foreign or out of its place.

One broken record is one finding, not one for all that follow: after damage the chain is taken up again at the
next record that fits. A record that opens but does not fit is kept in doubt until the next one is seen: does
that one follow it, then records before it are missing; else it does not belong there.
"""

from __future__ import annotations

from dataclasses import dataclass

from api.audit.record import AuditError, AuditKeys, SealedRecord, parse_record
from warehouse.live.decisions import AuditHead


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a log.

    Parameters
    ----------
    first, last : int
        Numbers of the records that it is about.
    problem : str
        The rest of a sentence that begins with "record 7".
    """

    first: int
    last: int
    problem: str

    def __str__(self) -> str:
        if self.first == self.last:
            return f"record {self.first} {self.problem}"
        return f"records {self.first} to {self.last}: each {self.problem}"


class ChainChecker:
    """Takes lines in the order of the log.

    Parameters
    ----------
    head : AuditHead
        Genesis and head that the live store knows. Records after the head may be there: they came later.
    keys : AuditKeys
        Open the records.

    Attributes
    ----------
    sequence : int
        Number of the last record that has its place in the chain.
    findings : list of Finding
        What is wrong so far.
    """

    def __init__(self, head: AuditHead, keys: AuditKeys) -> None:
        self._keys = keys
        self._head = head
        self._last_hash = head.genesis
        self._doubtful: SealedRecord | None = None
        self._broken: list[str] = []
        self.sequence = 0
        self.findings: list[Finding] = []

    def check(self, line: bytes) -> None:
        """Judge the next line, without its newline."""
        try:
            record = parse_record(line)
            self._keys.open(record)
        except AuditError as error:
            self.break_off(str(error))
            return
        self._settle_doubt(followed=self._is_followed_by(record))
        if self._fits(record):
            self._accept(record)
        else:
            self._doubtful = record

    def break_off(self, problem: str) -> None:
        """Take a line for broken; `problem` is the rest of a sentence that begins with "record 7"."""
        # Nothing follows the record in doubt: it is taken by its number.
        self._settle_doubt(
            followed=self._doubtful is not None and self._doubtful.sequence <= self._head.sequence
        )
        self._broken.append(problem)

    def finish(self) -> None:
        """Compare the end with the last record that the live store knows."""
        doubtful, head = self._doubtful, self._head
        is_head = doubtful is not None and (doubtful.sequence, doubtful.record_hash) == (
            head.sequence,
            head.record_hash,
        )
        self._settle_doubt(followed=is_head)
        if self.sequence < head.sequence:
            self._explain_gap(head.sequence)
        elif self._broken:
            problem = f"is followed by a line that {self._broken[0]}"
            self.findings.append(Finding(self.sequence, self.sequence, problem))

    def _fits(self, record: SealedRecord) -> bool:
        if self._broken:  # what it follows can't be known; its number says whether it stands where it should
            return record.sequence == self.sequence + len(self._broken) + 1
        return record.sequence == self.sequence + 1 and record.previous_hash == self._last_hash

    def _is_followed_by(self, record: SealedRecord) -> bool:
        doubtful = self._doubtful
        return (
            doubtful is not None
            and record.sequence == doubtful.sequence + 1
            and record.previous_hash == doubtful.record_hash
        )

    def _accept(self, record: SealedRecord) -> None:
        self._explain_gap(record.sequence - 1)
        self.sequence, self._last_hash = record.sequence, record.record_hash
        if record.sequence == self._head.sequence and self._last_hash != self._head.record_hash:
            problem = "is not the one that the live store knows as the last"
            self.findings.append(Finding(record.sequence, record.sequence, problem))

    def _settle_doubt(self, *, followed: bool) -> None:
        doubtful, self._doubtful = self._doubtful, None
        if doubtful is None:
            return
        if not followed or doubtful.sequence <= self.sequence:
            self._broken.append(f"is not there: record {doubtful.sequence}, of another place, stands for it")
            return
        if doubtful.sequence == self.sequence + 1 and not self._broken:
            problem = "does not follow the record before it: one of the two was exchanged"
            self.findings.append(Finding(doubtful.sequence, doubtful.sequence, problem))
        self._accept(doubtful)

    def _explain_gap(self, through: int) -> None:
        """Give each number after the last good one, up to `through`, the line that stood for it."""
        first = self.sequence + 1
        broken, self._broken = self._broken, []
        if first > through and broken:
            self.findings.append(Finding(first, first, f"is preceded by a line that {broken[0]}"))
        for problem in broken:
            if first > through:
                break
            self.findings.append(Finding(first, first, problem))
            first += 1
        if first <= through:
            self.findings.append(Finding(first, through, "is missing"))
        self.sequence = max(self.sequence, through)
