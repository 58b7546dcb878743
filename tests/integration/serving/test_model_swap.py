"""Promotion while requests are in flight: each is answered, by a whole bundle, and the new one takes over."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from ml.bundles.store import CURRENT_FILE, current_promotion, promote_bundle, roll_back
from tests.support.api_client import Api, new
from tests.support.scoring_home import publish_trees
from warehouse.settings import Settings

CLIENTS = 4


class Load:
    """Clients that send payments until they are told to stop, and what they were answered."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._is_over = threading.Event()
        self.answers: list[tuple[float, int, str]] = []
        self._threads = [threading.Thread(target=self._send) for _ in range(CLIENTS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, version: str) -> None:
        """Wait until a bundle of that version has answered a request that began after this call."""
        since = time.monotonic()
        while (200, version) not in self.answered(since):
            assert time.monotonic() < since + 30
            time.sleep(0.005)

    def answered(self, since: float) -> list[tuple[int, str]]:
        """Return status and version of the requests that began after an instant."""
        return [(status, version) for begun, status, version in self.answers if begun > since]

    def _send(self) -> None:
        http = self._api.app.test_client()
        headers = {"Authorization": f"Bearer {self._api.token}"}
        while not self._is_over.is_set():
            begun = time.monotonic()
            answer = http.post("/predict", json={"transactions": [new()]}, headers=headers)
            version = ""
            if answer.status_code == 200:
                version = answer.get_json()["predictions"][0]["model"]["version"]
            self.answers.append((begun, answer.status_code, version))


@pytest.fixture
def loaded(own_api: Api) -> Iterator[Load]:
    with Load(own_api) as load:
        yield load


def test_no_request_is_dropped_while_bundles_are_promoted_and_rolled_back(
    home: Settings, loaded: Load
) -> None:
    first = current_promotion(home).path
    loaded.wait_for(first.name)
    second = publish_trees(home, seed=1)  # promotes it
    loaded.wait_for(second.name)
    roll_back(home)
    for bundle in [second, first] * 10:
        promote_bundle(home, bundle)
    loaded.wait_for(first.name)
    assert {status for _, status, _ in loaded.answers} == {200}
    third = publish_trees(home, seed=2)
    loaded.wait_for(third.name)
    assert {status for _, status, _ in loaded.answers} == {200}
    assert {version for _, _, version in loaded.answers} <= {first.name, second.name, third.name}


def test_a_bundle_that_does_not_verify_does_not_take_over(home: Settings, loaded: Load) -> None:
    first = current_promotion(home).path
    second = publish_trees(home, seed=1)
    loaded.wait_for(second.name)
    current = home.models_dir / CURRENT_FILE
    named_second = current.read_bytes()
    roll_back(home)
    loaded.wait_for(first.name)
    (second / "reference.json").write_bytes(b"{}")
    (home.models_dir / "forged").write_bytes(named_second)
    (home.models_dir / "forged").replace(current)
    forged = time.monotonic()
    while len(loaded.answered(forged)) < 10 * CLIENTS:
        time.sleep(0.005)
    assert set(loaded.answered(forged)) == {(200, first.name)}


def test_two_promotions_in_the_same_instant_are_two(home: Settings, own_api: Api) -> None:
    first = current_promotion(home).path
    second = publish_trees(home, seed=1)
    current = home.models_dir / CURRENT_FILE
    promote_bundle(home, first)
    own_api.services.scoring()
    number = current.stat().st_ino
    for bundle in [second, first] * 5:
        promote_bundle(home, bundle)
        assert current.stat().st_ino != number, "a later promotion may not look like the one that is loaded"
    before = own_api.services.scoring()
    assert own_api.services.scoring() is before
    time_ns = current.stat().st_mtime_ns
    promote_bundle(home, second)
    os.utime(current, ns=(time_ns, time_ns))
    answer = own_api.predict(new()).get_json()
    assert answer["predictions"][0]["model"]["version"] == second.name
