"""Times of each protocol: where training, the time of unknown labels, and the test begin and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import duckdb

from ml.errors import TrainingDataError
from ml.rows.known_labels import TRANSACTIONS, labelled_by
from warehouse.errors import MappingError
from warehouse.times import DAY_US, time_text

NO_LIMIT: Final = 2**63 - 1
# A day's labels are complete when this share of the usual share of labelled rows is known.
_COMPLETE_SHARE: Final = 0.9
_CALIBRATION_DAYS: Final = 7
HANDBOOK_TRAIN_START: Final = "2018-07-25"
"""When the published single split of the Fraud Detection Handbook begins to train."""


@dataclass(frozen=True)
class Windows:
    """The times of one split: int64 UTC microseconds; a window does not include its end.

    Parameters
    ----------
    train_start_us, train_end_us : int
        Rows that train, if their label was known at `test_start_us`.
    calibration_start_us : int
        Rows from here to `test_start_us` that do not train place the threshold, without labels.
    test_start_us, test_end_us : int
        Rows that test.
    as_of_us : int or None
        Labels known later do not exist; None: no such limit.
    compromised_since_us : int or None
        Test rows of customers known to be compromised by a fraud since then are dropped; None: none are.
    """

    train_start_us: int
    train_end_us: int
    calibration_start_us: int
    test_start_us: int
    test_end_us: int
    as_of_us: int | None
    compromised_since_us: int | None


def handbook_windows(protocol: Mapping[str, Any], *, as_of_us: int | None = None) -> Windows:
    """Return the times of the handbook's split that starts training at ``train_start``.

    ``history_days`` lets older rows train too. The test stays the same: who is known to be compromised is
    still told by frauds from ``train_start`` on.
    """
    published_start_us = _day_us(protocol.get("train_start", HANDBOOK_TRAIN_START))
    train_days = _days(protocol, "train_days", 7)
    train_end_us = published_start_us + train_days * DAY_US
    train_start_us = train_end_us - max(_days(protocol, "history_days", train_days), train_days) * DAY_US
    test_start_us = train_end_us + _days(protocol, "delay_days", 7) * DAY_US
    return Windows(
        train_start_us=train_start_us,
        train_end_us=train_end_us,
        calibration_start_us=max(train_end_us, test_start_us - _CALIBRATION_DAYS * DAY_US),
        test_start_us=test_start_us,
        test_end_us=test_start_us + _days(protocol, "test_days", 7) * DAY_US,
        as_of_us=as_of_us,
        compromised_since_us=published_start_us,
    )


def latest_windows(
    connection: duckdb.DuckDBPyConnection,
    *,
    protocol: Mapping[str, Any],
    as_of_us: int | None = None,
) -> Windows:
    """Return the times of the last days whose labels are known.

    A day counts when its labels are complete: when at least 0.9 of the usual share of its rows (the median
    over days with labels) is labelled. Frauds are often reported before the rest is confirmed; days of which
    only such reports are known would teach that nearly everything is fraud.
    """
    test_days, train_days = _days(protocol, "test_days", 7), _days(protocol, "train_days", 60)
    as_of = as_of_us if as_of_us is not None else _last_event_us(connection)
    last_test_day = _last_complete_day(connection, known_by_us=as_of, before_us=as_of + 1)
    test_end_us = last_test_day + DAY_US
    test_start_us = test_end_us - test_days * DAY_US
    last_train_day = _last_complete_day(
        connection, known_by_us=min(test_start_us, as_of), before_us=test_start_us
    )
    train_end_us = last_train_day + DAY_US
    return Windows(
        train_start_us=train_end_us - train_days * DAY_US,
        train_end_us=train_end_us,
        calibration_start_us=max(train_end_us, test_start_us - _CALIBRATION_DAYS * DAY_US),
        test_start_us=test_start_us,
        test_end_us=test_end_us,
        as_of_us=as_of,
        compromised_since_us=None,
    )


def share_windows(
    connection: duckdb.DuckDBPyConnection,
    *,
    protocol: Mapping[str, Any],
    as_of_us: int | None = None,
) -> Windows:
    """Return the times that part the labelled rows into a first share and the rest, equal times together."""
    share = protocol.get("train_share", 0.8)
    if not isinstance(share, float) or not 0 < share < 1:
        raise MappingError(f"expected train_share as a number between 0 and 1, got {share!r}")
    known_by = as_of_us if as_of_us is not None else NO_LIMIT
    start, cut, last = connection.execute(_SHARE, {"share": share, "known_by": known_by}).fetchone() or ()
    if start is None:
        raise TrainingDataError(
            "expected labelled transactions to train on, got none: ingest labels and build"
        )
    return Windows(
        train_start_us=int(start),
        train_end_us=int(cut),
        calibration_start_us=int(cut),
        test_start_us=int(cut),
        test_end_us=int(last) + 1,
        as_of_us=as_of_us,
        compromised_since_us=None,
    )


_SHARE: Final = f"""
select min(event_us), quantile_disc(event_us, $share), max(event_us)
from ({labelled_by("$known_by")})
where is_fraud is not null
"""  # noqa: S608 - all of it ours

_LABELLED_DAYS: Final = f"""
select
    event_us - ((event_us % $day) + $day) % $day as day_us,
    count(*) as transactions,
    count(is_fraud) as labelled
from ({labelled_by("$known_by")})
where event_us < $before
group by 1
order by 1
"""  # noqa: S608 - all of it ours


def _last_complete_day(connection: duckdb.DuckDBPyConnection, *, known_by_us: int, before_us: int) -> int:
    parameters = {"day": DAY_US, "known_by": known_by_us, "before": before_us}
    days = connection.execute(_LABELLED_DAYS, parameters).fetchall()
    shares = [(day_us, labelled / transactions) for day_us, transactions, labelled in days if labelled]
    if not shares:
        raise TrainingDataError(
            f"expected transactions with labels known by {time_text(known_by_us)}, got none: "
            "ingest more labelled history, or train as of a later time"
        )
    ordered = sorted(share for _, share in shares)
    usual = ordered[len(ordered) // 2]
    return int(max(day_us for day_us, share in shares if share >= _COMPLETE_SHARE * usual))


def _last_event_us(connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute(f"select max(event_us) from {TRANSACTIONS}").fetchone()  # noqa: S608 - ours
    if row is None or row[0] is None:
        raise TrainingDataError("expected transactions to train on, got none: ingest and build first")
    return int(row[0])


def _days(protocol: Mapping[str, Any], parameter: str, default: int) -> int:
    value = protocol.get(parameter, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 3660:
        raise MappingError(f"expected {parameter} as a whole number of days from 1 to 3660, got {value!r}")
    return value


def _day_us(value: Any) -> int:
    try:
        day = value if isinstance(value, date) else date.fromisoformat(str(value))
    except ValueError as error:
        raise MappingError(f"expected train_start as a date like 2018-07-25, got {value!r}") from error
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000
