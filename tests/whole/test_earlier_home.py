"""A home that version 0.1.0 made, before files moved to their rooms, is served, filled and verified.

``data/home-of-version-0.1.0.tar.gz`` holds the home and models of `tests.support.scoring_home` with 24
decisions, the answers to them, and the secrets that sealed them.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from api.audit.log import AuditKeys, verify_log
from api.settings import ApiSettings
from feature_repo import feast_store
from tests.support.api_client import Api, open_api
from tests.support.scoring_home import NOW_US, payment
from warehouse.live.store import LiveStore

ARCHIVE = Path(__file__).parent / "data" / "home-of-version-0.1.0.tar.gz"
BATCH, DECISIONS = 3, 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.fixture
def settings(folder: Path) -> ApiSettings:
    secrets = json.loads((folder / "secrets.json").read_text(encoding="utf-8"))
    folders = {"CBP_HOME": "home", "CBP_MODELS": "models", "CBP_REPORTS": "reports"}
    return ApiSettings.from_environment(
        secrets | {name: str(folder / below) for name, below in folders.items()}
    )


@pytest.fixture
def opened(settings: ApiSettings) -> Iterator[Callable[[], Api]]:
    """Open the API over the home."""
    apis: list[Api] = []

    def open_one() -> Api:
        apis.append(open_api(settings))
        return apis[-1]

    yield open_one
    for api in apis:
        api.services.close()


def answers_of(api: Api) -> list[Any]:
    """Send the payments again, in the batches in which they were sent."""
    batches = ([payment(first + number) for number in range(BATCH)] for first in range(0, DECISIONS, BATCH))
    return [api.predict(*batch, explain="all").get_json() for batch in batches]


@pytest.fixture
def answers(folder: Path) -> list[Any]:
    found: list[Any] = json.loads((folder / "answers.json").read_text(encoding="utf-8"))
    return found


def test_its_audit_log_is_unbroken(settings: ApiSettings) -> None:
    with closing(LiveStore.open(settings.home)) as store:
        store.create_tables()
        assert (
            verify_log(settings.prediction_log, AuditKeys(settings.aes_keys), store.audit_head()) == DECISIONS
        )


def test_what_it_decided_stands(opened: Callable[[], Api], answers: list[Any]) -> None:
    api = opened()
    assert answers_of(api) == answers
    assert api.recorded() == (DECISIONS, DECISIONS)


def test_its_model_decides_the_same_to_the_last_bit(
    folder: Path, opened: Callable[[], Api], answers: list[Any]
) -> None:
    for forgotten in ("live", "audit"):
        shutil.rmtree(folder / "home" / forgotten)
    assert answers_of(opened()) == answers


def test_its_profiles_can_be_loaded_anew(
    folder: Path, settings: ApiSettings, opened: Callable[[], Api], answers: list[Any]
) -> None:
    for file in ("online.db", "registry.db"):
        (folder / "home" / "feast" / file).unlink()
    feast_store.apply(settings.home)
    feast_store.materialize(settings.home, until_us=NOW_US)
    for forgotten in ("live", "audit"):
        shutil.rmtree(folder / "home" / forgotten)
    assert answers_of(opened()) == answers
