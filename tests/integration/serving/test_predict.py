"""Decisions over HTTP: answers, records, retries, conflicts."""

from __future__ import annotations

import pytest

from api.audit.log import AuditKeys, verify_log
from ml.bundles.store import current_promotion, promoted_bundle_dir
from tests.support.api_client import Api, error_of, new
from tests.support.scoring_home import NOW_US


def test_a_payment_is_decided_with_reasons_and_versions(api: Api) -> None:
    body = new(amount_minor=900, attributes={"v1": 0.5, "device": "phone"})
    answer = api.predict(body)
    assert answer.status_code == 200
    (prediction,) = answer.get_json()["predictions"]
    assert [*prediction] == [
        "transaction_id",
        "decision",
        "fraud_probability",
        "anomaly_score",
        "reasons",
        "model",
        "feature_service",
        "freshness",
        "degraded",
        "record",
    ]
    assert prediction["transaction_id"] == body["transaction_id"]
    assert prediction["decision"] in ("review", "decline")
    assert prediction["model"] == {"name": "fraud", "version": promoted_bundle_dir(api.settings.home).name}
    assert prediction["feature_service"] == "fraud_scoring_v1"
    assert {*prediction["reasons"][0]} == {"text", "feature", "value", "normal", "contribution"}
    assert prediction["reasons"][0]["feature"] == "amount_minor"


def test_the_second_payment_sees_the_first(api: Api) -> None:
    first = new(customer_id="watched", merchant_id=None)
    second = new(customer_id="watched", merchant_id=None)
    api.predict(first)
    api.predict(second)
    counts = [record["features"]["transaction_count_24h"] for record in api.records(first, second)]
    assert counts == [0, 1]


def test_a_record_holds_all_that_the_decision_rests_on(api: Api) -> None:
    body = new(customer_id="c1", merchant_id="m1", attributes={"v1": 0.1})
    prediction = api.predict(body).get_json()["predictions"][0]
    (record,) = api.records(body)
    assert record["prediction"] == {name: prediction[name] for name in prediction if name != "record"}
    assert record["transaction"]["attributes_number"] == {"v1": 0.1}
    features = record["features"]
    assert features["profile_mean"] == 0.30000000000000004
    assert features["merchant_risk_30d"] == 0.25
    assert features["amount_over_mean"] == body["amount_minor"] / 0.30000000000000004
    versions = record["versions"]
    assert versions["bundle_sha256"] == current_promotion(api.settings.home).sha256
    assert {"sql_sha256", "thresholds", "libraries", "machine", "python"} <= {*versions}
    assert verify_log(
        api.settings.prediction_log,
        AuditKeys(api.settings.aes_keys),
        api.services.store().audit_head(),
    )


def test_a_retry_gives_the_same_bytes_and_counts_once(api: Api) -> None:
    bodies = [new() for _ in range(20)]
    first = api.predict(*bodies)
    recorded = api.recorded()
    again = api.predict(*bodies, explain="none")
    assert again.data == first.data
    single = api.predict(bodies[3])
    assert single.get_json()["predictions"] == [first.get_json()["predictions"][3]]
    assert api.recorded() == recorded


def test_a_request_may_repeat_an_id(api: Api) -> None:
    body, other = new(), new()
    before = api.recorded()
    fill = [new() for _ in range(10)]
    answer = api.predict(body, *fill, body, other, body).get_json()["predictions"]
    assert answer[0] == answer[11] == answer[13]
    assert api.recorded() == (before[0] + 12, before[1] + 12)


def test_each_answer_stands_in_the_order_of_its_request(api: Api) -> None:
    bodies = [new() for _ in range(40)]
    answer = api.predict(*bodies).get_json()["predictions"]
    assert [one["transaction_id"] for one in answer] == [body["transaction_id"] for body in bodies]


def test_a_conflict_is_409_and_nothing_of_the_request_is_recorded(api: Api) -> None:
    body = new()
    api.predict(body)
    before = api.recorded()
    error = error_of(api.predict(new(), *[new() for _ in range(15)], {**body, "amount_minor": 1}), 409)
    assert error["code"] == "conflict"
    twice = new()
    error_of(api.predict(twice, *[new() for _ in range(15)], {**twice, "amount_minor": 1}), 409)
    assert api.recorded() == before


@pytest.mark.parametrize("explain", ["all", "alerts", "none"])
def test_explain_says_which_decisions_get_reasons(api: Api, explain: str) -> None:
    answer = api.predict(new(amount_minor=900), new(amount_minor=50), explain=explain).get_json()[
        "predictions"
    ]
    assert [one["decision"] != "approve" for one in answer] == [True, False]
    assert bool(answer[0]["reasons"]) == (explain != "none")
    assert not (answer[1]["reasons"] and explain != "all")


def test_degraded_names_what_was_missing(api: Api) -> None:
    known = {"merchant_id": "m1", "category": None}
    fresh = new(customer_id="c1", **known)
    stale = new(customer_id="c1", event_us=NOW_US + 30 * 86_400_000_000, **known)
    unknown = new(customer_id="nobody", **known)
    anonymous = new(customer_id=None, **known)
    early = new(customer_id="c1", event_us=1, **known)
    answer = api.predict(fresh, stale, unknown, anonymous, early).get_json()["predictions"]
    assert [one["degraded"] for one in answer] == [
        [],
        ["stale_profile"],
        ["no_profile"],
        [],
        ["newer_profile", "newer_merchant_risk"],
    ]


def test_event_time_stands_for_event_us(api: Api) -> None:
    body = new()
    del body["event_us"]
    first = {**body, "event_time": "2018-06-28T10:00:00.123456789+02:00"}
    answer = api.predict(first)
    assert answer.status_code == 200
    same = {**body, "event_us": 1_530_172_800_123_456}
    assert api.predict(same).data == answer.data
