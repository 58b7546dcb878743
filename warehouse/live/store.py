"""The live store: events, claims, decisions, labels, API clients, audit outbox and heads.

One object composes the parts, each a module of its own: `engine` (transactions), `claims`,
`decisions`, `labels`, `fraud_reports`, `transfer` (bulk). Several processes and threads may use
one store at once. Open it after a fork, never before.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection, func, insert, select, update

from warehouse.errors import StoreError
from warehouse.live import claims as live_claims
from warehouse.live import decisions as live_decisions
from warehouse.live import fraud_reports, transfer
from warehouse.live import labels as live_labels
from warehouse.live.claims import Claim
from warehouse.live.decisions import AuditHead, Decision, Seal
from warehouse.live.engine import LiveEngine
from warehouse.live.events import Transaction
from warehouse.live.labels import Label, RecordedLabel
from warehouse.live.schema import Head, events, heads, metadata
from warehouse.settings import Settings


class LiveStore:
    """What the API knows at this moment.

    Parameters
    ----------
    engine : LiveEngine
        Connections to the database.

    Notes
    -----
    Every method raises `warehouse.errors.StoreError` when the database can't be read or written.
    """

    def __init__(self, engine: LiveEngine) -> None:
        self._engine = engine

    @classmethod
    def open(cls, settings: Settings) -> LiveStore:
        """Open the store that the settings name; tables are made by `create_tables`."""
        return cls(LiveEngine(settings.live_store_url))

    def create_tables(self) -> None:
        """Create what is missing; several processes may do so at once."""
        self._engine.use_write_ahead_log()
        genesis = hashlib.sha256(b"cbp audit genesis v1\0" + secrets.token_bytes(32)).digest()
        first = {Head.AUDIT: genesis, Head.AUDIT_GENESIS: genesis}
        with self._engine.durable() as connection:
            self._engine.wait_for_turn(connection)
            metadata.create_all(connection)
            for index in events.indexes:  # a store that was made before an index was thought of
                index.create(connection, checkfirst=True)
            present = set(connection.execute(select(heads.c.name)).scalars())
            names = (
                Head.ARRIVAL,
                Head.LABEL,
                Head.LANDED_EVENT,
                Head.LANDED_LABEL,
                Head.AUDIT,
                Head.AUDIT_GENESIS,
            )
            missing = [
                {"name": name, "value": 0, "hash": first.get(name)} for name in names if name not in present
            ]
            if missing:
                connection.execute(insert(heads), missing)

    def close(self) -> None:
        """Close all connections."""
        self._engine.close()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a snapshot for reading."""
        with self._engine.reading() as connection:
            yield connection

    @contextmanager
    def durable(self) -> Iterator[Connection]:
        """Open a write transaction that is on the disk when the block is left."""
        with self._engine.durable() as connection:
            yield connection

    def check(self) -> None:
        """Raise `StoreError` unless the store is reachable and has its tables."""
        with self.reading() as connection:
            if not connection.execute(select(func.count()).select_from(heads)).scalar_one():
                raise StoreError("the live store has no heads; call create_tables() first")

    # Scoring

    def find_conflict(self, transactions: Sequence[Transaction]) -> str | None:
        """Id of a transaction that is known with other content; None when there is none."""
        with self.reading() as connection:
            return live_claims.find_conflict(connection, transactions)

    def claim(
        self, transactions: Sequence[Transaction], *, worker: str, now_us: int, live_sql: str
    ) -> list[Claim]:
        """Give transactions their place in the order of arrival and read their windows, in one transaction.

        Parameters
        ----------
        transactions : sequence of Transaction
            A chunk; exact repeats of an id share one claim.
        worker : str
            Name of this process, from `live_claims.this_worker`.
        now_us : int
            Arrival time, UTC microseconds.
        live_sql : str
            Compiled text with the binds ``:first_seq`` and ``:last_seq``.

        Returns
        -------
        list of Claim
            One for each of `transactions`, in order; with `answer` set where it was decided before.

        Raises
        ------
        ConflictError
            An id is known with other content; nothing is claimed.
        ClaimInProgressError
            Another worker is scoring one of them; nothing is claimed.
        """
        with self._engine.writing() as connection:
            return live_claims.claim(
                connection, transactions, worker=worker, now_us=now_us, live_sql=live_sql
            )

    def release(self, claims: Sequence[Claim]) -> None:
        """Give undecided claims back; their events stay, as attempts that did happen."""
        with self._engine.writing() as connection:
            live_claims.release(connection, claims)

    def derive(self, derived_sql: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Compute derived features of each row with the compiled text.

        Parameters
        ----------
        derived_sql : str
            ``select row_index, <expression> as <name>, … from feature_row``.
        rows : sequence of Mapping
            Rows with the same keys, the columns of ``feature_row`` but for ``row_index``.

        Returns
        -------
        list of dict
            Derived features of each row, in order.
        """
        if not rows:
            return []
        columns = tuple(rows[0])
        statement = derived_statement(derived_sql, columns)
        derived = []
        with self._engine.calculating() as sqlite:
            for index, row in enumerate(rows):
                cursor = sqlite.execute(statement, (index, *(row[name] for name in columns)))
                values = cursor.fetchone()
                names = [column[0] for column in cursor.description]
                derived.append(dict(zip(names[1:], values[1:], strict=True)))
        return derived

    def decide(self, decisions: Sequence[Decision], *, seal: Seal, now_us: int) -> list[bytes]:
        """Record decisions, answers and sealed audit records in one durable commit.

        Parameters
        ----------
        decisions : sequence of Decision
            At most one for each claim.
        seal : callable
            Makes the sealed record and final answer once the record's number is known.
        now_us : int
            Time of the decision, UTC microseconds.

        Returns
        -------
        list of bytes
            Final answers, in order: acknowledged means durable.

        Raises
        ------
        ClaimLostError
            Another worker has taken a claim over; nothing is recorded.
        """
        if not decisions:
            return []
        with self._engine.durable() as connection:
            return live_decisions.decide(connection, decisions, seal=seal, now_us=now_us)

    def record_labels(self, labels: Sequence[Label], *, source: str, now_us: int) -> list[RecordedLabel]:
        """Record labels durably, all or none; telling the same again adds nothing.

        Parameters
        ----------
        labels : sequence of Label
            In the order in which they were told.
        source : str
            Who tells them.
        now_us : int
            The clock, UTC microseconds: from then on a label without a time of its own counts.

        Returns
        -------
        list of RecordedLabel
            Aligned with `labels`.

        Raises
        ------
        LabelConflictError
            The other verdict is known for the same instant, or a label precedes its transaction.
        """
        with self._engine.durable() as connection:
            return live_labels.record(connection, labels, source=source, now_us=now_us)

    # Audit

    def audit_head(self) -> AuditHead:
        """Read the end of the audit chain and the records not yet shipped, in one snapshot."""
        with self.reading() as connection:
            return live_decisions.audit_head(connection)

    def unshipped_records(self, *, limit: int) -> tuple[tuple[int, bytes], ...]:
        """Read number and sealed bytes of the first `limit` records in the outbox, in order."""
        with self.reading() as connection:
            return live_decisions.unshipped_records(connection, limit=limit)

    def clear_shipped(self, *, through: int) -> None:
        """Remove shipped records up to and including number `through` from the outbox."""
        with self._engine.writing() as connection:
            live_decisions.clear_shipped(connection, through=through)

    # Bulk

    def backfill(
        self,
        table: pa.Table,
        *,
        rows_per_commit: int = transfer.ROWS_PER_COMMIT,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Insert history that is not there yet, in order of ingested_us, event_us, transaction_id.

        Parameters
        ----------
        table : pyarrow.Table
            Canonical columns of `warehouse.canonical.TRANSACTION_SCHEMA`; others are ignored.
        rows_per_commit : int, optional
            What a kill may lose.
        progress : callable, optional
            Called with the number of rows done.

        Returns
        -------
        int
            Rows inserted; ids that are known already are left as they are.
        """
        return transfer.backfill(self._engine, table, rows_per_commit=rows_per_commit, progress=progress)

    def backfill_reports(self, table: pa.Table) -> int:
        """Insert fraud reports that are not there yet, in order of known_us and transaction_id.

        Parameters
        ----------
        table : pyarrow.Table
            transaction_id, merchant_id (none null), event_us (of the payment) and known_us.

        Returns
        -------
        int
            Rows inserted.
        """
        return fraud_reports.backfill_reports(self._engine, table)

    def events_after(self, seq: int) -> pa.Table:
        """Scored events with `arrival_seq` above `seq`, to be landed: `TRANSACTION_SCHEMA`.

        `source_order` is the `arrival_seq`; the last row's is what `mark_landed` takes afterwards.
        """
        return transfer.events_after(self._engine, seq)

    def labels_after(self, seq: int) -> tuple[pa.Table, int]:
        """Labels numbered above `seq`, to be landed (`LABEL_SCHEMA`), and the number of the last."""
        return live_labels.labels_after(self._engine, seq)

    def landed_events(self) -> int:
        """`arrival_seq` of the last event that is landed in the warehouse."""
        return self._head(Head.LANDED_EVENT)

    def landed_labels(self) -> int:
        """Return the number of the last label that is landed in the warehouse."""
        return self._head(Head.LANDED_LABEL)

    def mark_landed(self, *, events_through: int, labels_through: int) -> None:
        """Remember what is landed; call it after the batch is published."""
        with self.durable() as connection:
            for name, value in ((Head.LANDED_EVENT, events_through), (Head.LANDED_LABEL, labels_through)):
                connection.execute(
                    update(heads).where(heads.c.name == name, heads.c.value < value).values(value=value)
                )

    def newest_event_us(self, *, until_us: int) -> int | None:
        """Latest event time up to an instant, UTC microseconds; None when the store has no such event."""
        newest = select(func.max(events.c.event_us)).where(events.c.event_us <= until_us)
        with self.reading() as connection:
            newest_us: int | None = connection.execute(newest).scalar_one()
            return newest_us

    def prune(self, horizon_us: int, *, decided_before_us: int | None = None) -> tuple[int, int]:
        """Delete events older than `horizon_us` that are safe in the warehouse, old reports and decisions.

        Parameters
        ----------
        horizon_us : int
            Event time, UTC microseconds: what lies before the live horizon and the allowed lateness.
        decided_before_us : int, optional
            Decisions made before this time are deleted; none when not given.

        Returns
        -------
        (int, int)
            Deleted events and decisions.
        """
        return transfer.prune(self._engine, horizon_us, decided_before_us=decided_before_us)

    def _head(self, name: str) -> int:
        with self.reading() as connection:
            return int(connection.execute(select(heads.c.value).where(heads.c.name == name)).scalar_one())


@lru_cache(maxsize=32)
def derived_statement(derived_sql: str, columns: tuple[str, ...]) -> str:
    """Prefix the compiled text with one bound row named ``feature_row``."""
    names = ", ".join(["row_index", *(f'"{name}"' for name in columns)])
    marks = ", ".join(["?"] * (len(columns) + 1))
    return f"with feature_row({names}) as (values ({marks}))\n{derived_sql}"
