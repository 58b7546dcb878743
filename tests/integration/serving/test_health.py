"""Ready or not: what is missing is named, nothing is recorded, and what comes back is taken up."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

from sqlalchemy import text

from api import create_app
from api.settings import ApiSettings
from ml.bundles.store import CURRENT_FILE, promoted_bundle_dir
from tests.support.api_client import Api, error_of, new, open_api
from tests.support.scoring_home import api_settings, publish_trees
from warehouse.settings import Settings


def test_live_and_ready(api: Api) -> None:
    assert api.http.get("/health/live").get_json() == {"status": "live"}
    assert api.http.get("/health/ready").get_json() == {"status": "ready"}


def test_without_a_model_it_is_not_ready_and_recovers(home: Settings) -> None:
    current = home.models_dir / CURRENT_FILE
    kept = current.read_bytes()
    current.unlink()
    api = open_api(api_settings(home))
    for answer in (api.http.get("/health/ready"), api.predict(new())):
        error = error_of(answer, 503)
        assert error["code"] == "not_ready"
        assert "cbp train" in json.dumps(error)
    assert api.recorded() == (0, 0)
    current.write_bytes(kept)
    assert api.predict(new()).status_code == 200
    api.services.close()


def test_a_model_that_was_changed_is_refused(home: Settings) -> None:
    trees = promoted_bundle_dir(home) / "fraud_probability.txt"
    trees.write_bytes(trees.read_bytes().replace(b"tree", b"TREE", 1))
    api = open_api(api_settings(home))
    error_of(api.http.get("/health/ready"), 503)
    error_of(api.predict(new()), 503)
    assert api.recorded() == (0, 0)
    api.services.close()


def test_another_promoted_model_is_taken_up_and_a_broken_one_is_not(own_api: Api) -> None:
    def version() -> str:
        answer = own_api.predict(new())
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return str(answer.get_json()["predictions"][0]["model"]["version"])

    first = version()
    second = publish_trees(own_api.settings.home, seed=1)
    assert version() == second.name != first
    third = publish_trees(own_api.settings.home, seed=2)
    trees = third / "fraud_probability.txt"
    good = trees.read_bytes()
    trees.write_bytes(b"")
    assert version() == second.name
    trees.write_bytes(good)
    deadline = time.monotonic() + 30
    while version() == second.name:  # it is tried again
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert version() == third.name


def test_without_profiles_it_is_not_ready(home: Settings) -> None:
    for file in home.feast_dir.iterdir():
        if file.is_file():
            file.unlink()
    api = open_api(api_settings(home))
    for answer in (api.http.get("/health/ready"), api.predict(new())):
        text_of_it = json.dumps(error_of(answer, 503))
        assert "cbp materialize" in text_of_it
        assert str(home.home) not in text_of_it
    assert api.recorded() == (0, 0)
    api.services.close()


def test_a_decision_that_can_not_be_made_durable_is_503_and_can_be_retried(own_api: Api) -> None:
    body = new()
    store = own_api.services.store()
    with store.durable() as connection:
        connection.execute(text("alter table outbox rename to hidden"))
    error = error_of(own_api.predict(body), 503)
    assert error["code"] == "unavailable"
    assert "outbox" not in json.dumps(error)
    with store.durable() as connection:
        connection.execute(text("alter table hidden rename to outbox"))
    assert store.audit_head().sequence == 0
    answer = own_api.predict(body)
    assert answer.status_code == 200
    assert answer.get_json()["predictions"][0]["freshness"]["arrival_seq"] == 1


def test_without_its_store_the_api_says_so(shared_settings: ApiSettings, tmp_path: Path) -> None:
    lost = replace(
        shared_settings,
        home=replace(shared_settings.home, live_store_url=f"sqlite:///{tmp_path / 'file' / 'live.db'}"),
    )
    (tmp_path / "file").write_bytes(b"")
    app = create_app(lost)
    assert str(tmp_path) not in json.dumps(error_of(app.test_client().get("/health/ready"), 503))
    assert app.test_client().get("/health/live").status_code == 200
    error_of(app.test_client().post("/token", json={"api_key": "x"}), 503)
