"""The only place that asks Feast for features of the past: frames of transactions, each as of its own time.

Training and scoring share a feature service's name and nothing else of Feast.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import FeatureStore

from feature_repo.services import FRAUD_SCORING
from ml.features.online import service_views
from warehouse.engine import open_engine
from warehouse.errors import InputError


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


def _as_arrow(frame: pa.Table | pd.DataFrame) -> pa.Table:
    return frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
