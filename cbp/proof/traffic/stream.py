"""What a home was told, in the order in which it became known: the history before a replay, and what is sent.

The landing is only read. Where it holds a transaction twice the first that landed counts, as in the
warehouse; a label that came later for the same instant wins, and none counts before its payment, as there.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.canonical import (
    LABEL_SCHEMA,
    LABELS_FILE,
    LAST_OF_AN_INSTANT,
    MAX_AHEAD_US,
    REPORT_FILE,
    TRANSACTION_SCHEMA,
    TRANSACTIONS_FILE,
)
from warehouse.errors import InputError
from warehouse.landing.batches import list_batches, publish_batch
from warehouse.settings import Settings
from warehouse.times import DAY_US, now_us

_SHARES: Final = 1_000_000


@dataclass(frozen=True)
class Stream:
    """Everything that became known before an instant.

    Parameters
    ----------
    from_us, to_us : int
        What became known from the first instant to before the second is replayed (UTC microseconds).
    transactions : pyarrow.Table
        `TRANSACTION_SCHEMA`, by ingested_us, event_us and transaction_id.
    labels : pyarrow.Table
        `LABEL_SCHEMA`, by known_us and transaction_id.
    """

    from_us: int
    to_us: int
    transactions: pa.Table
    labels: pa.Table

    def replayed(self) -> pa.Table:
        """Return the transactions that became known in the replayed time."""
        return self.transactions.filter(pc.greater_equal(self.transactions["ingested_us"], self.from_us))

    def land(self, home: Settings) -> None:
        """Land it in a home, as one batch."""

        def write(folder: Path) -> None:
            pq.write_table(self.transactions, folder / TRANSACTIONS_FILE, compression="zstd")
            pq.write_table(self.labels, folder / LABELS_FILE, compression="zstd")
            counts = {"transactions": self.transactions.num_rows, "labels": self.labels.num_rows}
            (folder / REPORT_FILE).write_text(json.dumps({"source": "replay"} | counts), encoding="utf-8")

        publish_batch(home, "replay", write=write)


@dataclass(frozen=True)
class Course:
    """The instants of a replay, UTC microseconds.

    Parameters
    ----------
    from_us : int
        What became known from then on was sent.
    since_us : int
        The live store was given what happened from then on.
    due_us : sequence of int
        When snapshots were materialized, before what became known from then on was sent.
    """

    from_us: int
    since_us: int
    due_us: Sequence[int]


def read_stream(settings: Settings, *, from_us: int, to_us: int | None) -> Stream:
    """Read the landing of a home.

    Parameters
    ----------
    settings : Settings
        The home; it is only read.
    from_us : int
        Where the replay begins.
    to_us : int, optional
        Where it ends; by default at the end of the day on which the last transaction became known that isn't
        dated in the future.

    Raises
    ------
    InputError
        When there is nothing before `from_us`, or nothing to replay.
    """
    if not list_batches(settings):
        raise InputError(f"there is no landed data in {settings.landing_dir}: run `cbp ingest` first")
    folder = settings.landing_dir
    with duckdb.connect() as connection:
        transactions = _first_landed(connection, folder)
        labels = _last_told(connection, folder, transactions)
    if to_us is None:
        known_us = transactions["ingested_us"]
        # A row dated in the future doesn't say where history ends.
        known_us = known_us.filter(pc.less_equal(known_us, now_us() + MAX_AHEAD_US))
        newest_us: int = pc.max(known_us).as_py() or 0
        to_us = (newest_us // DAY_US + 1) * DAY_US
    transactions = transactions.filter(pc.less(transactions["ingested_us"], to_us))
    stream = Stream(from_us, to_us, transactions, labels.filter(pc.less(labels["known_us"], to_us)))
    replayed = stream.replayed().num_rows
    if not replayed or replayed == transactions.num_rows:
        raise InputError(
            f"expected transactions that became known before --from and others between --from and --to, "
            f"got {transactions.num_rows - replayed:,} before and {replayed:,} between"
        )
    return stream


def _first_landed(connection: duckdb.DuckDBPyConnection, folder: Path) -> pa.Table:
    columns = ", ".join(TRANSACTION_SCHEMA.names)
    table = connection.execute(
        f"select {columns} from read_parquet(?, filename = true, union_by_name = true) "  # noqa: S608 - our schema
        "qualify row_number() over (partition by transaction_id order by filename, source_order) = 1 "
        "order by ingested_us, event_us, transaction_id",
        [f"{folder}/*/{TRANSACTIONS_FILE}"],
    ).to_arrow_table()
    return table.cast(TRANSACTION_SCHEMA)


def _last_told(connection: duckdb.DuckDBPyConnection, folder: Path, transactions: pa.Table) -> pa.Table:
    connection.register("paid", transactions.select(["transaction_id", "event_us"]))
    table = connection.execute(_LAST_TOLD, [f"{folder}/*/{LABELS_FILE}"]).to_arrow_table()
    return table.select(LABEL_SCHEMA.names).cast(LABEL_SCHEMA)


# As int_labels__changes has it.
_LAST_TOLD: Final = f"""
with labels as (
    select labels.* replace (greatest(labels.known_us, paid.event_us) as known_us)
    from read_parquet(?, filename = true, union_by_name = true) as labels
    left join paid using (transaction_id)
)

select *
from labels
qualify {LAST_OF_AN_INSTANT}
order by known_us, transaction_id
"""  # noqa: S608 - all of it ours


def in_sample(transactions: pa.Table, share: float) -> npt.NDArray[np.bool_]:
    """Say which transactions are scored: all of a customer or none; without a customer each by itself.

    The same customers for the same share, whatever else there is: by CRC-32 of the id.
    """
    keys = pc.coalesce(transactions["customer_id"], transactions["transaction_id"]).to_pylist()
    drawn = {key: zlib.crc32(key.encode()) % _SHARES < share * _SHARES for key in set(keys)}
    return np.fromiter((drawn[key] for key in keys), dtype=np.bool_, count=len(keys))
