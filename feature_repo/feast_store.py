"""Feast on one home: opened, its definitions registered, its online store filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from feast import FeatureStore, FeatureView
from feast.feast_object import FeastObject
from feast.repo_config import RepoConfig

from feature_repo.repository import build_repository
from warehouse.errors import InputError, StoreError
from warehouse.locks import locked
from warehouse.memory import Share
from warehouse.settings import Settings
from warehouse.times import EPOCH, from_us

_CONFIG: Final = "feature_store.yaml"
_OWN_FILES: Final = {
    "registry": {
        "registry_store_type": "warehouse.feature_store.registry.HomeRegistryStore",
        "path": "registry.db",
    },
    "online_store": {"type": "warehouse.feature_store.online_store.RowOnlineStore", "path": "online.db"},
}

_MOVED: Final = {
    "warehouse.feast_registry": "warehouse.feature_store.registry",
    "warehouse.feast_offline_store": "warehouse.feature_store.offline_store",
    "warehouse.feast_online_store": "warehouse.feature_store.online_store",
    "warehouse.feast_batch_engine": "warehouse.feature_store.batch_engine",
}
"""Modules of class paths that homes of version 0.1.0 keep, and where they are now."""

MaterializeProgress = Callable[[str, int], None]
"""Called with a view's name and how many of its rows were just written."""


def open_store(settings: Settings) -> FeatureStore:
    """Open Feast on one home, whatever the environment says.

    Returns
    -------
    feast.FeatureStore
        Configured by the home's own ``feast/feature_store.yaml`` (see `keep_to_own_files`), else by
        ``feature_repo/feature_store.yaml``, with every path below ``settings.feast_dir``.
    """
    own = settings.feast_dir / _CONFIG
    raw = _read_config(own if own.is_file() else settings.feature_repo_dir / _CONFIG)
    for section, key in (("registry", "path"), ("online_store", "path"), ("offline_store", "temp_directory")):
        # An online store that isn't a file (Redis) has no path.
        if key in raw[section]:
            raw[section][key] = str(settings.feast_dir / raw[section][key])
    raw["offline_store"].setdefault("memory_limit", settings.memory_of(Share.FEATURES))
    return FeatureStore(config=RepoConfig(repo_path=settings.feature_repo_dir, **raw))


def keep_to_own_files(settings: Settings) -> None:
    """Make a home's registry and online store files of its own, whatever store the project shares."""
    own = _read_config(settings.feature_repo_dir / _CONFIG) | _OWN_FILES
    settings.feast_dir.mkdir(parents=True, exist_ok=True)
    (settings.feast_dir / _CONFIG).write_text(yaml.safe_dump(own), encoding="utf-8")


def apply(settings: Settings) -> FeatureStore:
    """Register the definitions of a home, remove those that are gone, and prepare the online store.

    Raises
    ------
    warehouse.errors.BuildError
        dbt's manifest is missing or a feature model in it isn't as it must be.
    """
    repository = build_repository(settings)
    with _locked(settings):
        store = open_store(settings)
        views = {view.name for view in repository.views}
        services = {service.name for service in repository.services}
        gone: list[FeastObject] = [view for view in store.list_feature_views() if view.name not in views]
        gone += [service for service in store.list_feature_services() if service.name not in services]
        store.apply(list(repository), objects_to_delete=gone, partial=False)
    return store


def materialize(
    settings: Settings, *, until_us: int, progress: MaterializeProgress | None = None
) -> dict[str, int]:
    """Load the latest row of each key into the online store, view by view, each as a whole or not at all.

    A view is loaded from its last materialized time on, less its TTL, since a build may have corrected rows
    that are still in use. A view that was never loaded, or whose online file is gone, is loaded from the
    beginning.

    Parameters
    ----------
    settings : Settings
        The home; `apply` must have run.
    until_us : int
        Rows up to this time (UTC microseconds, inclusive).
    progress : callable, optional
        See `MaterializeProgress`.

    Returns
    -------
    dict of str to int
        Rows written by view.
    """
    counts: dict[str, int] = {}
    until = from_us(until_us)
    with _locked(settings):
        store = open_store(settings)
        views = [view for view in store.list_feature_views() if view.online]
        if not views:
            raise StoreError(
                "no feature view is registered: run `cbp materialize`, or `feast -c feature_repo apply`"
            )
        for view in sorted(views, key=lambda view: view.name):
            counts[view.name] = _materialize_view(store, view, until, progress)
    return counts


def _materialize_view(
    store: FeatureStore, view: FeatureView, until: datetime, progress: MaterializeProgress | None
) -> int:
    source = view.batch_source
    if source is None:
        raise InputError(f"feature view {view.name} has no batch source to materialize from")
    newest = store.provider.offline_store.get_monitoring_max_timestamp(
        store.config, source, source.timestamp_field
    )
    # Complete up to the newest row, not further: what a later build adds after it is still to come.
    until = min(until, newest or EPOCH)
    counter = _Counter(view.name, progress)
    last = view.most_recent_end_time
    start = max(EPOCH, min(last, until) - (view.ttl or last - EPOCH)) if last else EPOCH
    # What store.materialize() does for one view, without its printing.
    store.provider.materialize_single_feature_view(
        config=store.config,
        feature_view=view,
        start_date=start,
        end_date=until,
        registry=store.registry,
        project=store.project,
        tqdm_builder=lambda _: counter,
    )
    store.registry.apply_materialization(view, store.project, start, until)
    return counter.total


def _read_config(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    for section in config.values():
        for key in ("type", "registry_store_type"):
            if isinstance(section, dict) and key in section:
                module, _, name = str(section[key]).rpartition(".")
                section[key] = f"{_MOVED[module]}.{name}" if module in _MOVED else section[key]
    return config


class _Counter:
    """Stands where Feast expects a progress bar."""

    def __init__(self, view: str, progress: MaterializeProgress | None) -> None:
        self.total = 0
        self._view = view
        self._progress = progress

    def update(self, count: int) -> None:
        self.total += count
        if self._progress:
            self._progress(self._view, count)

    def close(self) -> None:
        pass


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Let one process at a time change the registry: Feast's file registry keeps the last writer's copy."""
    with locked(settings.feast_dir / ".lock"):
        yield
