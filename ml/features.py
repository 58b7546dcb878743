"""The only place that asks Feast for features: training frames, materialization, and online rows for scoring.

Training and scoring share a feature service's name and nothing else of Feast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml
from feast import FeatureStore, FeatureView
from feast.feast_object import FeastObject
from feast.repo_config import RepoConfig

from feature_repo.repository import build_repository
from ml.online_features import FRAUD_SCORING, FeatureValue, OnlineReader, OnlineRow, service_views
from warehouse.asof_join import open_engine
from warehouse.errors import InputError, StoreError
from warehouse.file_locks import locked
from warehouse.microseconds import from_us
from warehouse.settings import PROJECT_ROOT, Settings

REPO_DIR = PROJECT_ROOT / "feature_repo"
_EPOCH = from_us(0)
_CONFIG: Final = "feature_store.yaml"
_OWN_FILES: Final = {
    "registry": {
        "registry_store_type": "warehouse.feast_registry.HomeRegistryStore",
        "path": "registry.db",
    },
    "online_store": {"type": "warehouse.feast_online_store.RowOnlineStore", "path": "online.db"},
}

__all__ = [
    "FRAUD_SCORING",
    "FeatureValue",
    "OnlineReader",
    "OnlineRow",
    "Progress",
    "apply",
    "keep_to_own_files",
    "materialize",
    "open_store",
    "training_frame",
    "with_derived",
]

Progress = Callable[[str, int], None]
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
    raw = _read_config(own if own.is_file() else REPO_DIR / _CONFIG)
    for section, key in (("registry", "path"), ("online_store", "path"), ("offline_store", "temp_directory")):
        # An online store that isn't a file (Redis) has no path.
        if key in raw[section]:
            raw[section][key] = str(settings.feast_dir / raw[section][key])
    return FeatureStore(config=RepoConfig(repo_path=REPO_DIR, **raw))


def keep_to_own_files(settings: Settings) -> None:
    """Make a home's registry and online store files of its own, whatever store the project shares."""
    own = _read_config(REPO_DIR / _CONFIG) | _OWN_FILES
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


def materialize(settings: Settings, *, until_us: int, progress: Progress | None = None) -> dict[str, int]:
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
        See `Progress`.

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


def training_frame(
    store: FeatureStore, transactions: pa.Table | pd.DataFrame, *, service: str = FRAUD_SCORING
) -> pa.Table:
    """Add every feature of a service to transactions, as of each transaction's event time.

    Parameters
    ----------
    store : feast.FeatureStore
        From `open_store`.
    transactions : pyarrow.Table or pandas.DataFrame
        With ``event_us`` (int64, UTC microseconds) and the join keys of the service's views; keys may
        be null.
    service : str
        Feature service.

    Returns
    -------
    pyarrow.Table
        The transactions' columns, then the features; same rows, same order.

    Raises
    ------
    InputError
        A key column is missing, or a column has the name of a feature.
    """
    table = _as_arrow(transactions)
    views = service_views(store, service)
    keys = list(dict.fromkeys(key for view in views for key in view.transaction_keys))
    missing = [name for name in ("event_us", *keys) if name not in table.column_names]
    if missing:
        raise InputError(f"a training frame needs the columns {missing}, got {table.column_names}")
    features = [name for view in views for name in view.features]
    clash = sorted(set(features) & set(table.column_names))
    if clash:
        raise InputError(f"transactions must not have columns named like features: {clash}")
    event_time = table["event_us"].cast(pa.timestamp("us")).cast(pa.timestamp("us", "UTC"))
    # Only keys and time go to Feast: what it returns is then the features and little else.
    entity_rows = table.select(keys).append_column("event_timestamp", event_time)
    found = store.get_historical_features(
        entity_df=entity_rows, features=store.get_feature_service(service)
    ).to_arrow()
    for name in features:
        table = table.append_column(name, found[name])
    return table


def with_derived(frame: pa.Table, derived_sql: str, *, store: FeatureStore) -> pa.Table:
    """Add the derived features that `derived_sql` computes from each row.

    Parameters
    ----------
    frame : pyarrow.Table
        A training frame: the columns of ``feature_row`` but ``row_index``.
    derived_sql : str
        The compiled text of ``derived_features.sql``: selects ``row_index`` and the derived features from
        ``feature_row``.
    store : feast.FeatureStore
        Whose offline store's memory limit holds.

    Returns
    -------
    pyarrow.Table
        The frame's columns, then the derived features; same rows, same order.

    Raises
    ------
    InputError
        The SQL doesn't return each row once.
    """
    row_index = np.arange(frame.num_rows, dtype=np.int64)
    with open_engine(store.config.offline_store.limits()) as connection:
        connection.register("feature_row", frame.append_column("row_index", pa.array(row_index)))
        derived = connection.sql(derived_sql.strip().rstrip(";")).to_arrow_table()
    order = derived["row_index"].to_numpy()
    if not np.array_equal(order, row_index):
        derived = derived.take(pa.array(np.argsort(order, kind="stable")))
        if not np.array_equal(derived["row_index"].to_numpy(), row_index):
            raise InputError(
                f"derived features: expected each of {frame.num_rows} rows once, got {len(order)} rows"
            )
    for name in derived.column_names:
        if name != "row_index":
            frame = frame.append_column(name, derived[name])
    return frame


def _materialize_view(
    store: FeatureStore, view: FeatureView, until: datetime, progress: Progress | None
) -> int:
    source = view.batch_source
    if source is None:
        raise InputError(f"feature view {view.name} has no batch source to materialize from")
    newest = store.provider.offline_store.get_monitoring_max_timestamp(
        store.config, source, source.timestamp_field
    )
    # Complete up to the newest row, not further: what a later build adds after it is still to come.
    until = min(until, newest or _EPOCH)
    counter = _Counter(view.name, progress)
    last = view.most_recent_end_time
    start = max(_EPOCH, min(last, until) - (view.ttl or last - _EPOCH)) if last else _EPOCH
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
    return config


class _Counter:
    """Stands where Feast expects a progress bar."""

    def __init__(self, view: str, progress: Progress | None) -> None:
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


def _as_arrow(frame: pa.Table | pd.DataFrame) -> pa.Table:
    return frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
