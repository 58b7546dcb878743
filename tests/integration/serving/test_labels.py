"""Labels over HTTP: who may tell them, what is refused, what a repetition does."""

from __future__ import annotations

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_client import Api, error_of, new
from tests.support.scoring_home import NOW_US
from warehouse.canonical import MAX_AHEAD_US
from warehouse.times import now_us


def send(api: Api, *labels: Any, role: str = "label_source", **more: Any) -> TestResponse:
    token = api.token_of(api.create_key(role, role=role))
    headers = {"Authorization": f"Bearer {token}"}
    return api.http.post("/labels", json={"labels": [*labels], **more}, headers=headers)


def test_a_label_is_recorded_once_and_answered_alike(api: Api) -> None:
    body = new()
    api.predict(body)
    label = {"transaction_id": body["transaction_id"], "is_fraud": True}
    before = now_us()
    (told,) = send(api, label, role="analyst").get_json()["labels"]
    assert before <= told["known_us"] <= now_us()
    assert told == {**label, "known_us": told["known_us"], "is_new": True, "is_transaction_known": True}
    (again,) = send(api, label, role="analyst").get_json()["labels"]
    assert again == {**told, "is_new": False}
    rows = api.services.store().labels_after(0)[0].to_pylist()
    (row,) = [row for row in rows if row["transaction_id"] == body["transaction_id"]]
    assert row["source"].startswith("api:")
    assert (row["is_fraud"], row["known_us"]) == (True, told["known_us"])


def test_a_source_may_say_when_it_became_known(api: Api) -> None:
    answer = send(
        api,
        {"transaction_id": "old-1", "is_fraud": True, "known_us": NOW_US},
        {"transaction_id": "old-2", "is_fraud": False, "known_time": "2018-07-01T02:00:00+02:00"},
    )
    assert [label["known_us"] for label in answer.get_json()["labels"]] == [NOW_US, 1_530_403_200_000_000]
    assert not any(label["is_transaction_known"] for label in answer.get_json()["labels"])


def test_only_those_who_may_tell_labels_do(api: Api) -> None:
    label = {"transaction_id": "x", "is_fraud": True}
    assert error_of(send(api, label, role="scorer"), 403)["code"] == "wrong_role"
    dated = {**label, "known_us": NOW_US}
    assert error_of(send(api, dated, role="analyst"), 403)["code"] == "wrong_role"
    assert error_of(api.http.post("/labels", json={"labels": [label]}), 401)["code"] == "no_token"


@pytest.mark.parametrize(
    "label",
    [
        {"transaction_id": "x"},
        {"transaction_id": "", "is_fraud": True},
        {"transaction_id": "x", "is_fraud": 1},
        {"transaction_id": "x", "is_fraud": "true"},
        {"transaction_id": "x", "is_fraud": None},
        {"transaction_id": "x", "is_fraud": True, "known_us": -1},
        {"transaction_id": "x", "is_fraud": True, "known_us": 1.5},
        {"transaction_id": "x", "is_fraud": True, "known_us": NOW_US, "known_time": "2018-07-01T00:00:00Z"},
        {"transaction_id": "x", "is_fraud": True, "known_time": "2018-07-01T00:00:00"},
        {"transaction_id": "x", "is_fraud": True, "known_time": "yesterday"},
        {"transaction_id": "x", "is_fraud": True, "source": "me"},
    ],
)
def test_what_does_not_fit_is_refused(api: Api, label: dict[str, Any]) -> None:
    assert error_of(send(api, label), 422)["code"] == "invalid"


def test_limits(api: Api) -> None:
    many = [{"transaction_id": f"many-{number}", "is_fraud": False} for number in range(41)]
    assert error_of(send(api, *many), 413)["code"] == "too_many_labels"
    assert error_of(send(api), 422)["code"] == "invalid"
    assert error_of(send(api, many[0], many[0]), 422)["code"] == "invalid"
    ahead = {**many[0], "known_us": now_us() + MAX_AHEAD_US + 60_000_000}
    error = error_of(send(api, ahead), 422)
    assert error["details"] == [{"field": "labels.0", "message": "time in the future"}]


def test_a_contradiction_is_a_conflict(api: Api) -> None:
    body = new()
    api.predict(body)
    label = {"transaction_id": body["transaction_id"], "is_fraud": True, "known_us": body["event_us"]}
    assert send(api, label).status_code == 200
    assert error_of(send(api, {**label, "is_fraud": False}), 409)["code"] == "conflict"
    early = {**label, "known_us": body["event_us"] - 1}
    assert "before the transaction" in error_of(send(api, early), 409)["message"]
