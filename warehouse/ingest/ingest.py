"""Ingest: raw files become landed batches, each whole or not at all.

A file is read to its end first, then mapped, checked and compared with what has landed, all of it set-
based in DuckDB, and appears in the landing folder by one rename. A file whose content has landed with the
same mapping is left alone. Bad rows go to quarantine with file, line and reason; a bad file is refused
whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import duckdb

from warehouse.errors import InputError, StoreError
from warehouse.ingest.batch_files import (
    write_ingest_report,
    write_labels,
    write_quarantine,
    write_transactions,
)
from warehouse.ingest.dedupe import Verdicts, count_repeated_contents, judge_rows
from warehouse.ingest.mapping.loading import load_mapping, recognise_mapping
from warehouse.ingest.mapping.rules import MappingRules
from warehouse.ingest.mapping.statement import Statement, render_mapping
from warehouse.ingest.reading.sources import Source, open_source
from warehouse.ingest.reading.streams import RawFile, check_unchanged, read_through, translate_errors
from warehouse.ingest.workspace import Workspace, open_workspace
from warehouse.landing.batches import Batch, ensure_landing, landing_lock, list_batches, publish_batch
from warehouse.live.landing_of_scored import NOTHING_LANDED, LandedFromLive, land_scored
from warehouse.settings import Settings

IngestProgress = Callable[[Path, str], None]
"""Told which file is worked on and what is done: reading, mapping, comparing, writing, landing."""


@dataclass(frozen=True)
class FileReport:
    """What became of one file.

    Parameters
    ----------
    file : str
        Its name.
    batch : str
        The landed batch's folder name.
    mapping : str
        Name of the mapping.
    accepted, duplicates, quarantined : int
        Rows; each row of the file is one of them. All 0 when the file has landed before.
    labels : int
        Labels that are new.
    repeated : int
        Accepted rows that repeat another's content, in files whose rows have no id.
    reasons : Mapping of str to int
        Quarantined rows by reason.
    unknown_columns : tuple of str
        Columns that the mapping names nowhere; they were ignored.
    already_landed : bool
        Whether the same content has landed before with the same mapping: nothing changed.
    """

    file: str
    batch: str
    mapping: str
    accepted: int = 0
    duplicates: int = 0
    quarantined: int = 0
    labels: int = 0
    repeated: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    unknown_columns: tuple[str, ...] = ()
    already_landed: bool = False


@dataclass(frozen=True)
class RefusedFile:
    """A file of which nothing was taken.

    Parameters
    ----------
    file : Path
        As it was given.
    error : InputError
        Why.
    """

    file: Path
    error: InputError


class FilesRefusedError(InputError):
    """Some of several files were refused; what the others gave has landed."""


@dataclass(frozen=True)
class IngestReport:
    """What became of all files.

    Parameters
    ----------
    files : tuple of FileReport
        Landed files, in the order given.
    refused : tuple of RefusedFile
        The others.
    scored : LandedFromLive
        What the API had scored, or been told, and landed before the files.
    """

    files: tuple[FileReport, ...]
    refused: tuple[RefusedFile, ...] = ()
    scored: LandedFromLive = NOTHING_LANDED

    def raise_on_failure(self) -> None:
        """Raise when a file was refused.

        Raises
        ------
        InputError
            The one file's own error, or `FilesRefusedError` with a list when there were several files.
        """
        if not self.refused:
            return
        if len(self.refused) == 1 and not self.files:
            raise self.refused[0].error
        count = len(self.files) + len(self.refused)
        causes = "; ".join(f"{refused.file}: {refused.error}" for refused in self.refused)
        raise FilesRefusedError(
            f"{len(self.refused)} of {count} files were refused, the others have landed: {causes}"
        )


def ingest(
    settings: Settings,
    files: Sequence[Path],
    *,
    mapping: str | MappingRules | None = None,
    progress: IngestProgress | None = None,
) -> IngestReport:
    """Land raw files, one batch each, in the order given, after what the API has scored.

    A payment that was scored is the one that counts: what a file says of it is a duplicate or a conflict. A
    refused file does not keep the others from landing: see `IngestReport.raise_on_failure`.

    Parameters
    ----------
    settings : Settings
        Names the landing folder.
    files : sequence of Path
        CSV, NDJSON, JSON arrays (plain, ``.gz`` or ``.zst``) or Parquet.
    mapping : str or MappingRules, optional
        A preset, a YAML file's path or a loaded mapping; by default a preset is recognised from the columns.
    progress : callable, optional
        Told each step.

    Raises
    ------
    MappingError
        When the named mapping can't be loaded.
    InputError
        When no file is named.
    BusyError
        When another run holds the landing lock for too long.
    StoreError
        When there is a live store that can't be read.
    """
    if not files:
        raise InputError("expected at least one file, got none: name the files to ingest")
    chosen = load_mapping(mapping) if isinstance(mapping, str) else mapping
    ensure_landing(settings)
    scored = land_scored(settings)
    landed, refused = [], []
    for path in files:
        try:
            landed.append(_ingest_file(settings, path, mapping=chosen, progress=progress or _say_nothing))
        except InputError as error:
            refused.append(RefusedFile(path, error))
    return IngestReport(tuple(landed), tuple(refused), scored)


def _say_nothing(file: Path, step: str) -> None:
    """Take no notice of progress."""


def _ingest_file(
    settings: Settings, path: Path, *, mapping: MappingRules | None, progress: IngestProgress
) -> FileReport:
    progress(path, "reading")
    file = read_through(path)
    with landing_lock(settings), open_workspace(settings) as workspace:
        delimiter = mapping.delimiter if mapping else None
        source = open_source(file, workspace.connection, delimiter=delimiter)
        chosen = mapping or recognise_mapping(source.columns)
        name = _name_batch(file, chosen)
        batches = list_batches(settings)
        for batch in batches:
            if batch.name == name:
                return FileReport(path.name, batch.path.name, chosen.name, already_landed=True)
        statement = render_mapping(
            chosen, source.columns, content=source.content, content_sha256=file.content_sha256
        )
        run = _FileRun(settings, workspace, file, source, chosen, statement, batches)
        return run.land(name, progress=progress)


def _name_batch(file: RawFile, mapping: MappingRules) -> str:
    """Name a batch after the content and the mapping: the same twice is the same batch."""
    return "file-" + hashlib.sha256(f"{file.content_sha256}:{mapping.fingerprint}".encode()).hexdigest()[:24]


@dataclass(frozen=True)
class _FileRun:
    """One file on its way into the landing folder; the lock is held."""

    settings: Settings
    workspace: Workspace
    file: RawFile
    source: Source
    mapping: MappingRules
    statement: Statement
    batches: Sequence[Batch]

    def land(self, name: str, *, progress: IngestProgress) -> FileReport:
        path = self.file.path
        progress(path, "mapping")
        self._map_rows()
        progress(path, "comparing")
        verdicts = judge_rows(self.workspace.connection, self.batches)
        reports: list[FileReport] = []

        def write(folder: Path) -> None:
            progress(path, "writing")
            reports.append(self._write(folder, verdicts))
            progress(path, "landing")

        try:
            publish_batch(self.settings, name, write=write)
        except (OSError, duckdb.Error) as error:
            raise StoreError(
                f"{path.name} could not be landed ({error}): nothing was taken, see to CBP_HOME's disk"
            ) from error
        return reports[0]

    def _map_rows(self) -> None:
        connection = self.workspace.connection
        with translate_errors(self.file.path):
            self.source.attach(connection)
            connection.execute(f"create temp table mapped_rows as {self.statement.sql}")
        check_unchanged(self.file)

    def _write(self, folder: Path, verdicts: Verdicts) -> FileReport:
        connection = self.workspace.connection
        write_transactions(connection, folder)
        labels = write_labels(connection, folder, batches=self.batches)
        reasons = write_quarantine(connection, folder, file=self.file.path.name, source=self.source)
        has_no_ids = any(rule.generate for rule in self.mapping.fields.transaction_id)
        report = FileReport(
            file=self.file.path.name,
            batch=folder.name,
            mapping=self.mapping.name,
            accepted=verdicts.accepted,
            duplicates=verdicts.duplicates,
            quarantined=verdicts.conflicts + verdicts.malformed,
            labels=labels,
            repeated=count_repeated_contents(connection) if has_no_ids else 0,
            reasons=reasons,
            unknown_columns=self.statement.unknown_columns,
        )
        write_ingest_report(
            folder,
            {
                "version": 1,
                "source": "file",
                **{key: value for key, value in asdict(report).items() if key != "already_landed"},
                "content_sha256": self.file.content_sha256,
                "mapping_sha256": self.mapping.fingerprint,
                "protocol": self.mapping.protocol,
            },
        )
        return report
