"""Who may ask, and by which way."""

from __future__ import annotations

from datetime import timedelta

import jwt
import pytest
from flask_jwt_extended import create_access_token

from api.access.clients import create_api_key
from tests.support.api_client import Api, error_of, new
from tests.support.scoring_home import NOW_US
from warehouse.live.clients import list_clients, revoke_client


def test_every_wrong_api_key_gets_the_same_401(api: Api) -> None:
    store = api.services.store()
    revoked = api.create_key("gone")
    (client,) = [one for one in list_clients(store) if one.name == "gone"]
    revoke_client(store, client.client_id, now_us=NOW_US)
    _, client_id, secret = api.api_key.split("_", 2)
    wrong = [
        "nonsense",
        revoked,
        f"cbp_{client_id}_{secret[:-1]}{'a' if secret[-1] != 'a' else 'b'}",
        f"cbp_{'0' * 16}_{secret}",
        f"cbp_{client_id}_",
        "é" * 10,
    ]
    answers = [api.http.post("/token", json={"api_key": key}) for key in wrong]
    assert {answer.data for answer in answers} == {answers[0].data}
    assert error_of(answers[0], 401)["code"] == "wrong_api_key"


def test_a_key_of_another_secret_is_wrong(api: Api) -> None:
    key = create_api_key(api.services.store(), b"x" * 32, name="other", role="scorer", now_us=NOW_US)
    error_of(api.http.post("/token", json={"api_key": key}), 401)


def test_the_key_itself_is_not_stored(api: Api) -> None:
    database = api.settings.home.home / "live" / "live.db"
    content = database.read_bytes() + database.with_name("live.db-wal").read_bytes()
    assert api.api_key[-40:].encode() not in content


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer nonsense", "Basic abc", "Bearer a.b.c", "Bearer é"]
)
def test_no_good_token_is_401_and_nothing_is_recorded(api: Api, header: str | None) -> None:
    before = api.recorded()
    headers = {} if header is None else {"Authorization": header}
    answer = api.http.post("/predict", json={"transactions": [new()]}, headers=headers)
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    error_of(answer, 401)
    assert api.recorded() == before


def test_an_expired_token_is_401(api: Api) -> None:
    with api.app.app_context():
        old = create_access_token(
            "x", additional_claims={"role": "scorer"}, expires_delta=timedelta(seconds=-1)
        )
    assert error_of(api.predict(new(), token=old), 401)["code"] == "expired_token"


def test_tokens_of_another_key_or_algorithm_are_401(api: Api) -> None:
    claims = {
        "sub": "x",
        "role": "scorer",
        "type": "access",
        "fresh": False,
        "jti": "1",
        "exp": 2**33,
        "nbf": 0,
    }
    for key, algorithm in (("o" * 40, "HS256"), (api.settings.jwt_secret, "HS384"), (None, "none")):
        token = jwt.encode({**claims, "iat": 0}, key, algorithm=algorithm)
        error_of(api.predict(new(), token=token), 401)


def test_a_token_without_the_role_is_403(api: Api) -> None:
    (client, *_) = list_clients(api.services.store())
    with api.app.app_context():
        for claims in ({}, {"role": "reader"}, {"role": ["scorer"]}):
            token = create_access_token(client.client_id, additional_claims=claims)
            assert error_of(api.predict(new(), token=token), 403)["code"] == "wrong_role"


def test_the_tokens_of_a_revoked_client_are_refused(api: Api) -> None:
    store = api.services.store()
    key = api.create_key("short")
    token = api.http.post("/token", json={"api_key": key}).get_json()["access_token"]
    (client,) = [one for one in list_clients(store) if one.name == "short"]
    revoke_client(store, client.client_id, now_us=NOW_US)
    error_of(api.predict(new(), token=token), 401)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("POST", "/predict/", 404),
        ("GET", "/predict", 405),
        ("PUT", "/token", 405),
        ("POST", "/health/live", 405),
        ("GET", "/../etc/passwd", 404),
    ],
)
def test_unknown_ways_have_the_shape_of_every_error(api: Api, method: str, path: str, status: int) -> None:
    answer = api.http.open(path, method=method)
    error_of(answer, status)
    assert ("Allow" in answer.headers) == (status == 405)


@pytest.mark.parametrize(
    ("peer", "headers", "scheme", "allowed"),
    [
        ("127.0.0.1", {}, "http", True),
        ("127.8.9.1", {}, "http", True),
        ("::1", {}, "http", True),
        ("::ffff:127.0.0.1", {}, "http", True),
        ("192.0.2.1", {}, "http", False),
        ("::ffff:192.0.2.1", {}, "http", False),
        ("", {}, "http", False),
        ("nonsense", {}, "http", False),
        ("127.0.0.1", {"Forwarded": "for=192.0.2.1"}, "http", False),
        ("127.0.0.1", {"X-Forwarded-For": "192.0.2.1"}, "http", False),
        ("127.0.0.1", {"X-Forwarded-Proto": "https"}, "http", False),
        ("127.0.0.1", {"X-Forwarded-Anything": ""}, "http", False),
        ("127.0.0.1", {"X-Real-IP": "192.0.2.1"}, "http", False),
        ("127.0.0.1", {"Via": "1.1 proxy"}, "http", False),
        ("192.0.2.1", {}, "https", True),
        ("192.0.2.1", {"X-Forwarded-For": "10.0.0.1"}, "https", True),
    ],
)
@pytest.mark.parametrize("path", ["/health/live", "/nothing"])
def test_plain_http_comes_from_this_machine_or_not_at_all(
    api: Api, peer: str, headers: dict[str, str], scheme: str, allowed: bool, path: str
) -> None:
    answer = api.http.get(
        path, headers=headers, base_url=f"{scheme}://localhost", environ_overrides={"REMOTE_ADDR": peer}
    )
    if allowed:
        assert answer.status_code == (200 if path == "/health/live" else 404)
        assert ("Strict-Transport-Security" in answer.headers) == (scheme == "https")
    else:
        assert error_of(answer, 403)["code"] == "tls_required"
        assert "Location" not in answer.headers


def test_the_request_log_names_no_person(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    body = new(customer_id="confidential-customer", attributes={"note": "confidential-note"})
    with caplog.at_level("INFO", logger="cbp"):
        answer = api.predict(body)
        api.http.get("/nothing?confidential-query")
    fields = [record.__dict__["fields"] for record in caplog.records if record.name == "cbp.request"]
    assert fields[0]["request_id"] == answer.headers["X-Request-Id"]
    assert (fields[0]["route"], fields[0]["status"], fields[0]["transactions"]) == ("/predict", 200, 1)
    assert (fields[1]["route"], fields[1]["status"]) == (None, 404)
    assert "confidential" not in str(fields)
    assert "127.0.0.1" not in str(fields)
