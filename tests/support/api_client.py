"""An application in a scoring home, a client of it, and what its answers look like."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api import create_app
from api.access.clients import create_api_key
from api.audit.log import AuditKeys, read_plaintexts
from api.serving.services import Services
from api.settings import ApiSettings
from tests.support.scoring_home import NOW_US, payment

_NUMBERS = itertools.count()


@dataclass
class Api:
    """An application and a client of it with a good token."""

    app: Flask
    settings: ApiSettings
    http: FlaskClient
    api_key: str
    token: str

    @property
    def services(self) -> Services:
        """What the application has open."""
        services: Services = self.app.extensions["cbp"]
        return services

    def predict(self, *transactions: Any, token: str | None = None, **more: Any) -> TestResponse:
        """Send transactions to be decided."""
        return self.post(json.dumps({"transactions": [*transactions], **more}), token=token)

    def post(self, body: str | bytes, *, token: str | None = None) -> TestResponse:
        """Send a body to be decided."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        return self.http.post("/predict", data=body, headers=headers)

    def recorded(self) -> tuple[int, int]:
        """Count events and decisions."""
        store = self.services.store()
        return store.events_after(0).num_rows, store.audit_head().sequence

    def create_key(self, name: str, *, role: str = "scorer") -> str:
        """Create another client."""
        secret = self.settings.api_key_secret
        return create_api_key(self.services.store(), secret, name=name, role=role, now_us=NOW_US)

    def token_of(self, api_key: str) -> str:
        """Get a token for a key."""
        token: str = self.http.post("/token", json={"api_key": api_key}).get_json()["access_token"]
        return token

    def records(self, *bodies: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the audit records of some transactions, in order of decision."""
        deadline = time.monotonic() + 30
        while self.services.store().audit_head().unshipped and time.monotonic() < deadline:
            time.sleep(0.02)
        names = [body["transaction_id"] for body in bodies]
        plaintexts = read_plaintexts(self.settings.prediction_log, AuditKeys(self.settings.aes_keys))
        every = [json.loads(plaintext) for plaintext in plaintexts]
        return [record for record in every if record["transaction"]["transaction_id"] in names]


def open_api(settings: ApiSettings) -> Api:
    """Create an application and get a token from it; close its `services` afterwards."""
    app = create_app(settings)
    api = Api(app, settings, app.test_client(), api_key="", token="")
    api.api_key = api.create_key("test")
    api.token = api.token_of(api.api_key)
    return api


def new(**changes: Any) -> dict[str, Any]:
    """Make a payment that nobody has sent yet."""
    return payment(next(_NUMBERS), **changes)


def error_of(answer: TestResponse, status: int) -> dict[str, Any]:
    """Check an error's status, shape and headers, and return it."""
    assert answer.status_code == status, answer.get_data(as_text=True)
    assert answer.content_type == "application/json"
    body = answer.get_json()
    assert [*body] == ["error"]
    assert {*body["error"]} == {"code", "message", "details"}
    assert isinstance(body["error"]["details"], list)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    error: dict[str, Any] = body["error"]
    return error
