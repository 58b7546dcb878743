"""Homes of their own for proofs: everything below one folder, nothing that a running service uses."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from api.access.clients import create_api_key
from api.settings import ApiSettings
from feature_repo import feast_store
from warehouse.live.store import LiveStore
from warehouse.locks import locked
from warehouse.settings import Settings
from warehouse.times import now_us


@contextmanager
def only_replay(settings: Settings) -> Iterator[None]:
    """Let one replay of a home run at a time: the next one erases what the last one made.

    Raises
    ------
    BusyError
        When another process replays this home.
    """
    busy = (
        f"another replay of {settings.home} is running: this one would erase its homes, "
        "start it again when that one has ended"
    )
    with locked(replay_folder(settings) / ".lock", timeout_seconds=0.0, busy=busy):
        yield


def replay_folder(settings: Settings) -> Path:
    """Return where a replay's homes are, and all else that it makes but its reports."""
    return settings.home / "replay"


def fresh_home(settings: Settings, folder: Path) -> Settings:
    """Empty `folder` and make a home of it, with models, reports, live and online store inside."""
    shutil.rmtree(folder, ignore_errors=True)
    home = replace(
        settings,
        home=folder,
        models_dir=folder / "models",
        reports_dir=folder / "reports",
        live_store_url=f"sqlite:///{folder / 'live' / 'live.db'}",
    )
    home.create_folders()
    feast_store.keep_to_own_files(home)
    return home


def api_settings(home: Settings, secrets: Mapping[str, str]) -> ApiSettings:
    """Build the settings of an API that serves `home`."""
    return replace(ApiSettings.from_environment({"CBP_HOME": str(home.home), **secrets}), home=home)


def create_client(settings: ApiSettings, role: str) -> str:
    """Create a client with a role of `api.access.clients.ROLES`; returns its API key."""
    with closing(LiveStore.open(settings.home)) as store:
        store.create_tables()
        return create_api_key(store, settings.api_key_secret, name="replay", role=role, now_us=now_us())
