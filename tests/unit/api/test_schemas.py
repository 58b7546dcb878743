"""Event times: every RFC 3339 text means what it says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import RequestError
from api.schemas import TransactionBody, parse_predict

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


def body(event_time: str) -> TransactionBody:
    return TransactionBody.model_validate(
        {"transaction_id": "t", "amount_minor": 1, "event_time": event_time}, strict=True
    )


@given(
    st.datetimes(datetime(1970, 1, 3), datetime(2099, 12, 29), timezones=OFFSETS),  # noqa: DTZ001 - zone drawn
    st.sampled_from("Tt "),
)
def test_an_event_time_is_the_same_instant_in_microseconds(time: datetime, separator: str) -> None:
    assert body(time.isoformat(separator)).time_us() == (time - EPOCH) // timedelta(microseconds=1)


def test_z_is_utc_and_what_is_finer_than_a_microsecond_is_cut_off() -> None:
    assert body("1970-01-01T00:00:01Z").time_us() == body("1970-01-01t00:00:01z").time_us() == 1_000_000
    assert body("1970-01-01T00:00:00.1234569Z").time_us() == 123_456
    assert body("1970-01-01T00:00:00.5+00:00").time_us() == 500_000


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "1969-12-31T23:59:59.999999Z",
        "2100-01-01T00:00:00Z",
        "2018-06-28T10:00:00+24:00",
        "2018-06-28T10:00:60Z",
        "2018-02-30T10:00:00Z",
        "2018-06-28T10:00Z",
        "٢٠١٨-06-28T10:00:00Z",
    ],
)
def test_what_is_no_instant_of_our_time_is_refused(text: str) -> None:
    content = f'{{"transactions": [{{"transaction_id": "t", "amount_minor": 1, "event_time": "{text}"}}]}}'
    with pytest.raises(RequestError) as error:
        parse_predict(content.encode(), max_batch=1, now_us=2**62)
    assert error.value.status == 422


@pytest.mark.parametrize(("ahead_us", "accepted"), [(300_000_000, True), (300_000_001, False)])
def test_five_minutes_ahead_is_the_limit(ahead_us: int, accepted: bool) -> None:
    now_us = 1_600_000_000_000_000
    transaction = {"transaction_id": "t", "amount_minor": 0, "event_us": now_us + ahead_us}
    content = json.dumps({"transactions": [transaction]}).encode()
    if accepted:
        assert parse_predict(content, max_batch=1, now_us=now_us).transactions[0].amount_minor == 0
    else:
        with pytest.raises(RequestError, match="after now"):
            parse_predict(content, max_batch=1, now_us=now_us)
