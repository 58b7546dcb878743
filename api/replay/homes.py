"""Homes of their own for proofs: everything below one folder, nothing that a running service uses."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from api.clients import create_api_key
from api.clock import now_us
from api.settings import ApiSettings
from warehouse.live_store import LiveStore
from warehouse.settings import Settings


def fresh_home(settings: Settings, folder: Path) -> Settings:
    """Empty `folder` and make a home of it, with models, reports and live store inside."""
    shutil.rmtree(folder, ignore_errors=True)
    home = replace(
        settings,
        home=folder,
        models_dir=folder / "models",
        reports_dir=folder / "reports",
        live_store_url=f"sqlite:///{folder / 'live' / 'live.db'}",
    )
    home.create_folders()
    return home


def api_settings(home: Settings, secrets: Mapping[str, str]) -> ApiSettings:
    """Build the settings of an API that serves `home`."""
    return replace(ApiSettings.from_environment({"CBP_HOME": str(home.home), **secrets}), home=home)


def create_scorer(settings: ApiSettings) -> str:
    """Create a client that may score; returns its API key."""
    with closing(LiveStore.open(settings.home)) as store:
        store.create_tables()
        return create_api_key(store, settings.api_key_secret, name="replay", role="scorer", now_us=now_us())
