"""How time is split: which rows train, which set the threshold, which test.

A label counts from when it was known, never before (law 5 of the design): a row trains with the label that
stood when the test begins, whatever corrected it later, and tests with the one that stood at ``as_of``.
Between training and test lies the time in which labels are not yet known; its rows are scored, without
labels, to place the threshold.

A protocol is a name and parameters, as a mapping carries them:

``{"name": "ulb"}``
    For data of few days: the first 80 % of the labelled rows by time (``train_share``) train, the rest test.

``{"name": "latest"}``
    Default. Test: the last 7 days (``test_days``) whose labels are known by ``as_of``. Training: up to 60
    days (``train_days``) that end where labels stop being known at the test's start.
``{"name": "handbook", ...}``
    The published single split of the Fraud Detection Handbook: training from ``train_start`` (2018-07-25) for
    ``train_days`` (7), a delay of ``delay_days`` (7), test for ``test_days`` (7). Test rows of customers who
    are known to be compromised are dropped: those with a fraud since ``train_start`` whose label was known
    before the row's day. ``history_days`` (by default ``train_days``) lets so many days train, up to the same
    end; the test stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import duckdb
import pyarrow as pa

from ml.errors import TrainingDataError
from ml.rows.known_labels import SUPERSEDED_LABELS, TRANSACTIONS, labelled_by
from ml.rows.split_times import NO_LIMIT, Windows, handbook_windows, latest_windows, share_windows
from warehouse.errors import MappingError
from warehouse.landing.batches import list_batches
from warehouse.settings import Settings
from warehouse.times import DAY_US, time_text

TRAIN: Final = "train"
CALIBRATION: Final = "calibration"
TEST: Final = "test"

_MIN_TRAIN_ROWS: Final = 100
_MIN_CLASS_ROWS: Final = 5
_ALLOWED: Final = {
    "latest": {"name", "train_days", "test_days"},
    "ulb": {"name", "train_share"},
    "handbook": {"name", "train_start", "train_days", "history_days", "delay_days", "test_days"},
}
_HISTORY: Final = {"latest": "train_days", "handbook": "history_days"}
_WHOLE_DAYS: Final = 3660


@dataclass(frozen=True)
class Split:
    """Rows of one split, in order of time and id.

    Parameters
    ----------
    protocol : str
        Name of the protocol.
    windows : Windows
        Its times.
    rows : pyarrow.Table
        Columns transaction_id (string), part ('train', 'calibration' or 'test'), event_us (int64),
        customer_id (string), is_fraud (bool) and label_known_us (int64), both null in 'calibration'.
    """

    protocol: str
    windows: Windows
    rows: pa.Table


def with_history(protocol: Mapping[str, Any], days: int) -> dict[str, Any]:
    """Return a protocol with so many days that train instead of its own; the test stays the same."""
    name = _checked_name(protocol)
    if name not in _HISTORY:
        raise TrainingDataError(f"expected a protocol among {sorted(_HISTORY)} to give days to, got {name!r}")
    return {**protocol, _HISTORY[name]: days}


def with_whole_history(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return a protocol with which all that was known when its test begins trains."""
    return with_history(protocol, _WHOLE_DAYS) if _checked_name(protocol) in _HISTORY else dict(protocol)


def split_rows(
    connection: duckdb.DuckDBPyConnection,
    *,
    protocol: Mapping[str, Any],
    as_of_us: int | None = None,
) -> Split:
    """Choose the rows of a protocol.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of a published warehouse.
    protocol : mapping
        Name and parameters, see the module.
    as_of_us : int, optional
        The present: labels known later do not exist. By default the last event for 'latest', no limit for
        'handbook'.

    Returns
    -------
    Split

    Raises
    ------
    TrainingDataError
        When there is too little labelled data, or one class only.
    warehouse.errors.MappingError
        When the protocol is unknown or malformed.
    """
    name = _checked_name(protocol)
    if name == "handbook":
        windows = handbook_windows(protocol, as_of_us=as_of_us)
    elif name == "ulb":
        windows = share_windows(connection, protocol=protocol, as_of_us=as_of_us)
    else:
        windows = latest_windows(connection, protocol=protocol, as_of_us=as_of_us)
    rows = select_rows(connection, windows=windows)
    _check_enough(rows, windows)
    return Split(protocol=name, windows=windows, rows=rows)


def select_rows(connection: duckdb.DuckDBPyConnection, *, windows: Windows) -> pa.Table:
    """Return the rows of `windows` with their part, in order of time and id (see `Split.rows`)."""
    parameters = {
        "train_start": windows.train_start_us,
        "train_end": windows.train_end_us,
        "calibration_start": windows.calibration_start_us,
        "test_start": windows.test_start_us,
        "test_end": windows.test_end_us,
        "as_of": windows.as_of_us if windows.as_of_us is not None else NO_LIMIT,
        "compromised_since": windows.compromised_since_us,
        "day": DAY_US,
    }
    return connection.execute(_SELECTION, parameters).to_arrow_table()


_KNOWN_BY: Final = (
    "case when transactions.event_us < $test_start then least($test_start, $as_of) else $as_of end"
)

# A customer is compromised on a test day by a fraud since the start of training that was known, and not yet
# cleared, when that day began.
_SELECTION: Final = f"""
with parts as (
    select
        transaction_id,
        case
            when event_us >= $train_start and event_us < $train_end and is_fraud is not null then 'train'
            when event_us >= $calibration_start and event_us < $test_start then 'calibration'
            when event_us >= $test_start and event_us < $test_end and is_fraud is not null then 'test'
        end as part,
        event_us,
        customer_id,
        is_fraud,
        label_known_us
    from ({labelled_by(_KNOWN_BY)})
    where event_us >= least($train_start, $calibration_start) and event_us < $test_end
),

frauds as (
    select transaction_id, label_known_us as known_us, {NO_LIMIT} as superseded_us
    from {TRANSACTIONS}
    where is_fraud
    union all
    select transaction_id, known_us, superseded_us
    from {SUPERSEDED_LABELS}
    where is_fraud
),

compromised as (
    select transactions.customer_id, frauds.known_us, frauds.superseded_us
    from frauds
    inner join {TRANSACTIONS} as transactions using (transaction_id)
    where transactions.event_us >= $compromised_since
)

select
    parts.transaction_id,
    parts.part,
    parts.event_us,
    parts.customer_id,
    case when parts.part <> 'calibration' then parts.is_fraud end as is_fraud,
    case when parts.part <> 'calibration' then parts.label_known_us end as label_known_us
from parts
anti join compromised
    on compromised.customer_id = parts.customer_id
        and parts.part = 'test'
        and compromised.known_us < parts.event_us - parts.event_us % $day
        and compromised.superseded_us >= parts.event_us - parts.event_us % $day
where parts.part is not null
order by parts.event_us, parts.transaction_id
"""  # noqa: S608 - all of it ours


def _check_enough(rows: pa.Table, windows: Windows) -> None:
    counts = duckdb.sql(
        "select part, count(*), coalesce(sum(is_fraud::int), 0) from rows group by part"
    ).fetchall()
    by_part = {part: (int(count), int(frauds)) for part, count, frauds in counts}
    for part, fewest_rows, fewest_of_class, start_us, end_us in (
        (TRAIN, _MIN_TRAIN_ROWS, _MIN_CLASS_ROWS, windows.train_start_us, windows.train_end_us),
        (TEST, 2, 1, windows.test_start_us, windows.test_end_us),
    ):
        count, frauds = by_part.get(part, (0, 0))
        if count < fewest_rows or min(frauds, count - frauds) < fewest_of_class:
            raise TrainingDataError(
                f"expected {fewest_rows} labelled rows or more to {part}, {fewest_of_class} frauds and "
                f"{fewest_of_class} others, got {count} rows and {frauds} frauds from {time_text(start_us)} "
                f"to {time_text(end_us)}: ingest more labelled history, or choose another protocol or time"
            )


def _checked_name(protocol: Mapping[str, Any]) -> str:
    name = protocol.get("name")
    if not isinstance(name, str) or name not in _ALLOWED:
        raise MappingError(f"expected a protocol among {sorted(_ALLOWED)}, got {name!r}")
    unknown = sorted(set(protocol) - _ALLOWED[name])
    if unknown:
        raise MappingError(f"protocol {name!r} takes {sorted(_ALLOWED[name])}, got {unknown}")
    return name


def chosen_protocol(
    settings: Settings, protocol: str | Mapping[str, Any] | None, *, history_days: int | None = None
) -> dict[str, Any]:
    """Return a protocol with its parameters: as given, or of the newest landed batch that names it.

    Parameters
    ----------
    settings : Settings
        The home.
    protocol : str or mapping, optional
        A name, or a name with parameters; by default the newest batch's.
    history_days : int, optional
        How many days train, instead of what the protocol says.
    """
    wanted = _carried_protocol(settings, protocol)
    return wanted if history_days is None else with_history(wanted, history_days)


def _carried_protocol(settings: Settings, protocol: str | Mapping[str, Any] | None) -> dict[str, Any]:
    if isinstance(protocol, Mapping):
        return dict(protocol)
    landed = [batch.protocol for batch in list_batches(settings) if batch.protocol is not None]
    for carried in reversed(landed):
        if protocol is None or carried.get("name") == protocol:
            return dict(carried)
    return {"name": protocol or "latest"}
