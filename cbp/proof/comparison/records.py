"""What the decisions of one home used: its audit log, verified, as a Parquet file with a row per decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from api.audit.log import AuditKeys, read_plaintexts, verify_log
from api.serving.scoring import NEWER
from api.settings import ApiSettings
from warehouse.errors import OperationError
from warehouse.live.store import LiveStore

ID: Final = "transaction_id"
ARRIVAL: Final = "arrival_seq"
AHEAD: Final = "ahead"
"""Views (by `api.serving.scoring.short_name`) whose row counts only from after the transaction."""

USED_FILE: Final = "used.parquet"
"""Name of the file, where nothing speaks for another."""

_KEYS: Final = pa.schema([(ID, pa.string()), (ARRIVAL, pa.int64()), (AHEAD, pa.list_(pa.string()))])
_RECORDS_PER_GROUP: Final = 20_000


def feature_names(used: pa.Schema) -> list[str]:
    """Return the features among the columns of a file of `write_used`."""
    return [name for name in used.names if name not in _KEYS.names]


@dataclass(frozen=True)
class Recorded:
    """What an audit log held.

    Parameters
    ----------
    records : int
        All of them, verified.
    apart : dict of str to dict
        By transaction id the features of the decisions that were kept apart.
    """

    records: int
    apart: dict[str, dict[str, Any]]


def write_used(settings: ApiSettings, path: Path, *, types: pa.Schema, apart: str | None = None) -> Recorded:
    """Verify the audit log of a home and write what each decision used, in order of decision.

    Parameters
    ----------
    settings : ApiSettings
        The home, with the keys of its log.
    path : Path
        Parquet file to write: the keys above, then a column per feature.
    types : pyarrow.Schema
        Type of every feature.
    apart : str, optional
        Decisions about transactions whose id begins so are returned, not written.

    Raises
    ------
    OperationError
        When the log is not whole, or decisions used different features or some without a type.
    """
    keys = AuditKeys(settings.aes_keys)
    with closing(LiveStore.open(settings.home)) as store:
        count = verify_log(settings.prediction_log, keys, store.audit_head())
    kept: dict[str, dict[str, Any]] = {}
    records = _without(apart, read_plaintexts(settings.prediction_log, keys), into=kept)
    schema: pa.Schema | None = None
    writer: pq.ParquetWriter | None = None
    try:
        for group in _groups(records):
            schema = schema or _schema(group[0], types)
            writer = writer or pq.ParquetWriter(path, schema, compression="zstd")
            writer.write_table(_as_table(group, schema))
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise OperationError("the audit log holds no decision")
    return Recorded(count, kept)


def _without(
    apart: str | None, plaintexts: Iterator[bytes], *, into: dict[str, dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    for plaintext in plaintexts:
        record: dict[str, Any] = orjson.loads(plaintext)
        name: str = record["transaction"]["transaction_id"]
        if apart is not None and name.startswith(apart):
            into[name] = record["features"]
        else:
            yield record


def _groups(records: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while group := list(islice(records, _RECORDS_PER_GROUP)):
        yield group


def _schema(record: dict[str, Any], types: pa.Schema) -> pa.Schema:
    unknown = sorted(set(record["features"]) - set(types.names))
    if unknown:
        raise OperationError(
            f"decisions used features that dbt does not have: {unknown}; rebuild and retrain"
        )
    return pa.schema([*_KEYS, *(types.field(name) for name in sorted(record["features"]))])


def _as_table(group: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    names = schema.names[len(_KEYS) :]
    if any(record["features"].keys() != set(names) for record in group):
        raise OperationError("decisions used different sets of features: compare one model at a time")
    columns: list[list[Any]] = [
        [record["transaction"]["transaction_id"] for record in group],
        [record["arrival_seq"] for record in group],
        [_ahead(record["prediction"]["degraded"]) for record in group],
    ]
    columns += [[record["features"][name] for record in group] for name in names]
    return pa.table(columns, schema=schema)


def _ahead(degraded: Sequence[str]) -> list[str]:
    return [cause.removeprefix(NEWER) for cause in degraded if cause.startswith(NEWER)]
