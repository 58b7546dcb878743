"""What may be sent: anything else is 422 or 413, and nothing of it is recorded."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.api_client import Api, error_of, new
from tests.support.examples import examples
from tests.support.scoring_home import payment
from warehouse.canonical import MAX_AMOUNT_MINOR


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not json",
        "[]",
        "null",
        '{"transactions": [}',
        '{"transactions": []}',
        '{"transactions": {}}',
        '{"transactions": null}',
        "{}",
        '{"transactions": [1]}',
        '{"transactions": [], "transactions": []}',
        '{"transactions": [{"amount_minor": NaN}]}',
        '{"transactions": [{"amount_minor": Infinity}]}',
        "[" * 100_000,
        '{"transactions": [' + "9" * 5000 + "]}",
        b"\xff\xfe",
        b'{"transactions": "\xff"}',
    ],
)
def test_a_malformed_body_is_422_and_nothing_is_recorded(api: Api, body: str | bytes) -> None:
    before = api.recorded()
    error_of(api.post(body), 422)
    assert api.recorded() == before


BAD_VALUES: list[tuple[str, Any]] = [
    ("transaction_id", ""),
    ("transaction_id", "x" * 201),
    ("transaction_id", 5),
    ("transaction_id", None),
    ("transaction_id", "a\u0000b"),
    ("transaction_id", "a\nb"),
    ("transaction_id", "\ud800"),
    ("customer_id", ""),
    ("customer_id", 12),
    ("merchant_id", ["m"]),
    ("event_us", -1),
    ("event_us", 1.5),
    ("event_us", "1530000000000000"),
    ("event_us", True),
    ("event_us", 2**63),
    ("event_us", None),
    ("event_time", "2018-06-28T10:00:00Z"),  # besides event_us
    ("amount_minor", -1),
    ("amount_minor", 1.0),
    ("amount_minor", "1"),
    ("amount_minor", None),
    ("amount_minor", True),
    ("amount_minor", MAX_AMOUNT_MINOR + 1),
    ("currency", "euro"),
    ("currency", ""),
    ("category", "x" * 65),
    ("country", 1),
    ("latitude", 1.0),  # without longitude
    ("attributes", {"a": None}),
    ("attributes", {"a": True}),
    ("attributes", {"a": [1]}),
    ("attributes", {"": 1}),
    ("attributes", {"a": "x" * 257}),
    ("attributes", {f"a{number}": 1 for number in range(257)}),
    ("attributes", {"a": "\ud800"}),
    ("attributes", {"\ud800": 1}),
    ("attributes", []),
    ("unknown", 1),
    ("is_fraud", True),
]


@pytest.mark.parametrize(
    ("field", "value"), BAD_VALUES, ids=lambda value: str(value)[:20].encode("unicode_escape").decode()
)
def test_a_value_that_does_not_fit_is_422_and_nothing_of_the_request_is_recorded(
    api: Api, field: str, value: Any
) -> None:
    before = api.recorded()
    error = error_of(api.predict(new(), new(**{field: value})), 422)
    assert error["details"][0]["field"].startswith("transactions.1")
    assert api.recorded() == before


@pytest.mark.parametrize(
    "place", [(91.0, 0.0), (-90.1, 0.0), (0.0, 180.5), (1e400, 0.0), ("1", "2"), (True, False)]
)
def test_a_place_must_be_on_earth(api: Api, place: tuple[Any, Any]) -> None:
    body = json.dumps({"transactions": [new(latitude=place[0], longitude=place[1])]})
    error_of(api.post(body.replace("Infinity", "1e400")), 422)


@pytest.mark.parametrize(
    "text",
    ["2018-06-28T10:00:00", "2018-06-28", "2018-13-28T10:00:00Z", "10:00:00Z", "", "2018-06-28T25:00:00Z"],
)
def test_an_event_time_needs_a_date_a_time_and_an_offset(api: Api, text: str) -> None:
    body = new(event_time=text)
    del body["event_us"]
    error_of(api.predict(body), 422)


def test_the_future_is_422(api: Api) -> None:
    now_us = time.time_ns() // 1000
    error_of(api.predict(new(event_us=now_us + 6 * 60_000_000)), 422)
    assert api.predict(new(event_us=now_us + 4 * 60_000_000)).status_code == 200


def test_more_than_max_batch_is_413_and_nothing_is_recorded(api: Api) -> None:
    before = api.recorded()
    assert error_of(api.predict(*[new() for _ in range(41)]), 413)["code"] == "too_many_transactions"
    # Counted before it is looked at.
    error_of(api.post(json.dumps({"transactions": [1] * 41})), 413)
    assert api.recorded() == before


def test_a_body_that_is_too_long_is_413(api: Api) -> None:
    error_of(api.post(b" " * (1024 * 1024 + 1)), 413)
    error_of(api.http.post("/token", data=b" " * 5000), 413)


def test_details_tell_the_place_and_not_the_value(api: Api) -> None:
    error = error_of(api.predict(new(amount_minor=-4711, customer_id="secret\n")), 422)
    assert {detail["field"] for detail in error["details"]} == {
        "transactions.0.amount_minor",
        "transactions.0.customer_id",
    }
    assert "4711" not in json.dumps(error)
    assert "secret" not in json.dumps(error)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=20), st.just("c1")
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
FIELDS = [*payment(1), "event_time", "latitude", "longitude", "attributes", "x"]


@hypothesis_settings(
    deadline=None,
    max_examples=examples(150),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=3))
def test_whatever_is_sent_is_answered_with_200_or_422(api: Api, changes: dict[str, Any]) -> None:
    before = api.recorded()
    answer = api.predict({**new(), **changes})
    if answer.status_code == 200:
        assert answer.get_json()["predictions"][0]["fraud_probability"] >= 0
    elif answer.status_code != 409:  # a transaction_id that was drawn before
        error_of(answer, 422)
        assert api.recorded() == before
