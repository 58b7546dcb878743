"""Files for people who want files: model-ready payments, customers' profiles, payments split by time.

Files, as CSV or Parquet::

    transactions_processed   a row a payment: every feature scaled, text encoded, what is missing told apart
    customer_profiles        a row a customer: the newest profile, as it is
    transactions_split       a row a payment as it came, with a column `dataset`: train or test, by time

Scale and encoding are learned from the payments that train alone (from all of them where nothing is split),
so nothing of the test is in them. Each file replaces an earlier one whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq

from ml.errors import TrainingDataError
from ml.features.catalog import ATTRIBUTE_PREFIX
from ml.rows.known_labels import TRANSACTIONS
from ml.rows.training_data import attribute_keys, join_features
from ml.runtimes.scaling import Scaling, fit_scaling
from warehouse.durable import write_whole
from warehouse.published import open_published
from warehouse.settings import Settings
from warehouse.sql_text import identifier, literal

PROCESSED: Final = "transactions_processed"
PROFILES: Final = "customer_profiles"
SPLIT: Final = "transactions_split"
FORMATS: Final = ("csv", "parquet")
TRAIN_SHARE: Final = 0.8

_BLOCK_ROWS: Final = 200_000
_TEXTS: Final = ("currency", "category", "channel", "country")
# Rarer values share the code of none: all columns 0.
_MOST_VALUES: Final = 20
_MISSING_SUFFIX: Final = "__missing"
_RAW: Final = ("transaction_id", "customer_id", "merchant_id", "event_us", "event_timestamp", "amount_minor")
_PROFILE_TABLE: Final = "features.feat_customer_profile"

ExportProgress = Callable[[str, int, int], None]
"""Called with the file that is written, how many of its rows are, and how many there will be."""


@dataclass(frozen=True)
class Exported:
    """Files that were written, with their rows."""

    rows: dict[Path, int]


def export_files(
    settings: Settings,
    folder: Path,
    *,
    split: bool = True,
    file_format: str = "csv",
    target_column: str = "is_fraud",
    progress: ExportProgress = lambda what, done, total: None,
) -> Exported:
    """Write the files.

    Parameters
    ----------
    settings : Settings
        The home; `cbp build` and the registration of features must have run.
    folder : Path
        Where to; it is made where it is not there.
    split : bool, default=True
        Whether to split: the first 80 % of the payments by time train, equal times together.
    file_format : {'csv', 'parquet'}
    target_column : str, default='is_fraud'
        Name of the label's column (1, 0, or nothing where no label is known); empty: no such column.
    progress : callable, optional
        See `ExportProgress`.

    Raises
    ------
    TrainingDataError
        When there is nothing to export, or a name does not fit.
    """
    if file_format not in FORMATS:
        raise TrainingDataError(f"expected a format among {', '.join(FORMATS)}, got {file_format!r}")
    with open_published(settings, refused=TrainingDataError) as connection:
        rows = connection.execute(_ROWS).to_arrow_table()
        if not len(rows):
            raise TrainingDataError("expected payments to export, got none: ingest and build first")
        written = _Files(folder, file_format, target_column, progress)
        times = rows.column("event_us").to_numpy()
        cut_us = int(np.quantile(times, TRAIN_SHARE, method="inverted_cdf")) if split else None
        keys = attribute_keys(connection, rows)
        _write_processed(settings, connection, rows, keys, written, cut_us=cut_us)
        customers = _count(connection, _PROFILE_CUSTOMERS)
        written.stream(PROFILES, _tables(connection.execute(_NEWEST_PROFILES)), total=customers)
        if cut_us is not None:
            query = _split_query(connection, keys, target_column)
            written.stream(SPLIT, _tables(connection.execute(query, {"cut": cut_us})), total=len(rows))
    return Exported(written.rows)


class _Files:
    """Writes tables as files of one format, each replaced whole."""

    def __init__(self, folder: Path, file_format: str, target: str, progress: ExportProgress) -> None:
        self.target = target
        self.rows: dict[Path, int] = {}
        self._folder = folder
        self._format = file_format
        self._progress = progress

    def stream(self, name: str, tables: Iterator[pa.Table], *, total: int) -> None:
        """Write tables of one schema one after the other."""
        path = self._folder / f"{name}.{self._format}"
        self._progress(path.name, 0, total)
        done = 0

        def write(temporary: Path) -> None:
            nonlocal done
            first = next(tables)
            with self._writer(temporary, first.schema) as writer:
                for table in _followed_by(first, tables):
                    writer.write_table(table)
                    done += len(table)
                    self._progress(path.name, done, total)

        write_whole(path, write, is_durable=False)
        self.rows[path] = done

    @contextmanager
    def _writer(self, path: Path, schema: pa.Schema) -> Iterator[Any]:
        opened = pq.ParquetWriter if self._format == "parquet" else arrow_csv.CSVWriter
        with opened(str(path), schema) as writer:
            yield writer


@dataclass(frozen=True)
class _Encoding:
    """How a matrix and texts become model-ready columns.

    Parameters
    ----------
    features : list of str
        Columns of the matrix.
    scaling : Scaling
    values : dict of str to list of str
        By text column, the values that get a column of their own.
    """

    features: list[str]
    scaling: Scaling
    values: dict[str, list[str]]

    def columns(self, matrix: npt.NDArray[np.float32], texts: pa.Table) -> dict[str, pa.Array]:
        """Return the columns of rows, by name."""
        dense = self.scaling.apply(matrix).astype(np.float32)
        told = [f"{self.features[index]}{_MISSING_SUFFIX}" for index in self.scaling.indicated]
        columns = {name: pa.array(dense[:, place]) for place, name in enumerate([*self.features, *told])}
        for name, values in self.values.items():
            found = np.asarray(texts.column(name).to_pylist(), dtype=object)
            columns |= {f"{name}={value}": pa.array((found == value).astype(np.float32)) for value in values}
        return columns


def _write_processed(
    settings: Settings,
    connection: duckdb.DuckDBPyConnection,
    rows: pa.Table,
    keys: Sequence[str],
    written: _Files,
    *,
    cut_us: int | None,
) -> None:
    known = len(rows) if cut_us is None else int((rows.column("event_us").to_numpy() < cut_us).sum())
    if not known:
        raise TrainingDataError("expected payments at two times or more to split, got one: use --no-split")
    sample = rows.take(np.unique(np.linspace(0, known - 1, min(known, _BLOCK_ROWS)).astype(np.int64)))
    features, matrix = join_features(settings, connection, sample, keys=keys)
    encoding = _Encoding(
        [feature.name for feature in features],
        fit_scaling(matrix, tells_missing=True),
        {name: _frequent(sample.column(name)) for name in _TEXTS},
    )

    def blocks() -> Iterator[pa.Table]:
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = rows.slice(start, _BLOCK_ROWS)
            _, values = join_features(settings, connection, block, keys=keys)
            columns = {"transaction_id": block.column("transaction_id"), **encoding.columns(values, block)}
            yield pa.table(_with_target(columns, block.column("is_fraud"), written.target))

    written.stream(PROCESSED, blocks(), total=len(rows))


def _with_target(columns: dict[str, Any], labels: pa.ChunkedArray, target: str) -> dict[str, Any]:
    if not target:
        return columns
    if target in columns:
        raise TrainingDataError(f"expected a target column that no feature is named like, got {target!r}")
    return {**columns, target: labels.cast(pa.int8())}


def _frequent(column: pa.ChunkedArray) -> list[str]:
    """Return the values of a text that tell rows apart, most frequent first; none where there is but one."""
    counts = column.drop_null().value_counts().to_pylist()
    ordered = sorted(counts, key=lambda entry: (-entry["counts"], entry["values"]))
    return [str(entry["values"]) for entry in ordered[:_MOST_VALUES]] if len(ordered) > 1 else []


def _split_query(connection: duckdb.DuckDBPyConnection, keys: Sequence[str], target: str) -> str:
    names = [name for name, *_ in connection.execute(f"describe {TRANSACTIONS}").fetchall()]
    raw = [name for name in names if name in (*_RAW, *_TEXTS, "latitude", "longitude")]
    attributes = [
        f"attributes_number[{literal(key)}] as {identifier(ATTRIBUTE_PREFIX + key)}" for key in keys
    ]
    if target in (*raw, "dataset", *(ATTRIBUTE_PREFIX + key for key in keys)):
        raise TrainingDataError(f"expected a target column that no other is named like, got {target!r}")
    label = [f"cast(is_fraud as tinyint) as {identifier(target)}"] if target else []
    dataset = "case when event_us < $cut then 'train' else 'test' end as dataset"
    columns = ", ".join([*raw, *attributes, *label, dataset])
    return f"select {columns} from {TRANSACTIONS} order by event_us, transaction_id"  # noqa: S608 - quoted


def _tables(result: Any) -> Iterator[pa.Table]:
    """Read a result in blocks; at least one table, so that its columns are known."""
    reader = result.to_arrow_reader(_BLOCK_ROWS)
    yield reader.schema.empty_table()
    for batch in reader:
        yield pa.Table.from_batches([batch])


def _followed_by(first: pa.Table, rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    yield first
    yield from rest


def _count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    (count,) = connection.execute(query).fetchone() or (0,)
    return int(count)


_ROWS: Final = f"""
select transaction_id, event_us, is_fraud, {", ".join(_TEXTS)}
from {TRANSACTIONS}
order by event_us, transaction_id
"""  # noqa: S608 - names of ours
_NEWEST_PROFILES: Final = f"""
select *
from {_PROFILE_TABLE}
qualify row_number() over (partition by customer_id order by event_timestamp desc) = 1
order by customer_id
"""  # noqa: S608 - names of ours
_PROFILE_CUSTOMERS: Final = f"select count(distinct customer_id) from {_PROFILE_TABLE}"  # noqa: S608 - ours
