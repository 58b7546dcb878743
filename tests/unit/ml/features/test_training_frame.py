"""What training and scoring get from Feast."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from feast import FeatureStore
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from feature_repo import feast_store
from feature_repo.repository import build_repository
from ml.features.online import OnlineReader
from ml.features.training_frame import training_frame, with_derived
from tests.support.examples import examples
from tests.support.feature_home import (
    CATEGORY,
    DAY_US,
    MERCHANT,
    MODELS,
    PROFILE,
    START_US,
    VELOCITY,
    make_settings,
    small_transactions,
    write_features,
    write_manifest,
    write_small_world,
)
from warehouse.errors import BuildError, InputError, OperationError, StoreError
from warehouse.settings import Settings

pytestmark = pytest.mark.slow

LATE_US = START_US + 20 * DAY_US
FEATURES = [
    "category_risk_30d",
    "profile_count",
    "profile_mean",
    "profile_is_new",
    "profile_country",
    "merchant_risk_30d",
    "transaction_count_24h",
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = make_settings(tmp_path)
    write_small_world(settings)
    return settings


@pytest.fixture
def store(settings: Settings) -> FeatureStore:
    feast_store.apply(settings)
    feast_store.materialize(settings, until_us=LATE_US)
    return feast_store.open_store(settings)


def _row(day: float = 2, **keys: Any) -> dict[str, Any]:
    return {
        "customer_id": "c1",
        "merchant_id": "m1",
        "category": "food",
        "event_us": START_US + int(day * DAY_US),
        **keys,
    }


def test_a_training_frame_has_every_feature_as_of_each_transaction(store: FeatureStore) -> None:
    transactions = pa.table(small_transactions())
    frame = training_frame(store, transactions)
    assert frame.column_names == [*transactions.column_names, *FEATURES]
    assert frame.select(transactions.column_names).equals(transactions)
    assert frame.select(FEATURES).to_pylist() == [
        dict(zip(FEATURES, values, strict=True))
        for values in (
            (None, None, None, None, None, 0.25, 3),
            (0.5, 2**53 + 1, 0.30000000000000004, False, "é", None, 0),
            (None, None, None, None, None, None, 1),
            (0.5, None, None, None, None, None, 2),
        )
    ]
    assert training_frame(store, transactions.to_pandas()).select(FEATURES).equals(frame.select(FEATURES))


def test_a_training_frame_says_what_it_lacks(store: FeatureStore) -> None:
    transactions = pa.table(small_transactions())
    with pytest.raises(InputError, match=r"needs the columns.*merchant_id"):
        training_frame(store, transactions.drop_columns("merchant_id"))
    with pytest.raises(InputError, match=r"named like features.*profile_mean"):
        training_frame(store, transactions.append_column("profile_mean", pa.nulls(4)))


def test_derived_features_keep_the_order_of_the_rows(store: FeatureStore) -> None:
    frame = pa.table({"amount_minor": range(5_000), "profile_mean": [2.0, None] * 2_500})
    sql = (
        "select row_index, amount_minor::double / nullif(profile_mean, 0) as ratio, row_index * 2 as twice "
        "from feature_row order by hash(row_index);"
    )
    derived = with_derived(frame, sql, store=store)
    assert derived.column_names == ["amount_minor", "profile_mean", "ratio", "twice"]
    assert derived["twice"].to_pylist() == [2 * row for row in range(5_000)]
    assert derived["ratio"].to_pylist() == [None if row % 2 else row / 2 for row in range(5_000)]
    with pytest.raises(InputError, match="each of 5000 rows once"):
        with_derived(frame, "select row_index from feature_row where row_index > 0", store=store)


def test_materialize_loads_the_latest_row_of_each_key_and_counts(settings: Settings) -> None:
    feast_store.apply(settings)
    seen: list[tuple[str, int]] = []
    counts = feast_store.materialize(
        settings, until_us=LATE_US, progress=lambda view, rows: seen.append((view, rows))
    )
    assert counts == {"category_risk": 1, "customer_profile": 3, "merchant_risk": 2}
    assert seen == list(counts.items())
    row = OnlineReader(feast_store.open_store(settings)).read([_row(customer_id="c1")])[0]
    assert row["profile_count"] == 2**53 + 1


def test_materialize_stops_at_the_time_that_it_is_given(settings: Settings) -> None:
    feast_store.apply(settings)
    feast_store.materialize(settings, until_us=START_US)
    (row,) = OnlineReader(feast_store.open_store(settings)).read([_row()])
    assert (row["profile_count"], row.event_us["customer_profile"]) == (1, START_US)
    feast_store.materialize(settings, until_us=START_US + DAY_US - 1)
    (row,) = OnlineReader(feast_store.open_store(settings)).read([_row()])
    assert row["profile_count"] == 1
    feast_store.materialize(settings, until_us=START_US + DAY_US)
    (row,) = OnlineReader(feast_store.open_store(settings)).read([_row()])
    assert row["profile_count"] == 2**53 + 1


def test_materialize_goes_on_where_it_stopped_and_takes_up_corrected_rows(settings: Settings) -> None:
    feast_store.apply(settings)
    # A year ahead of the data: what a later build adds must be loaded all the same.
    feast_store.materialize(settings, until_us=START_US + 365 * DAY_US)
    day = [START_US + n * DAY_US for n in range(12)]
    rows: dict[str, list[Any]] = {
        "customer_id": ["old", "c2", "c2", "c4"],
        "event_timestamp": [day[0], day[1], day[9], day[11]],
        "snapshot_day": ["x"] * 4,
        "profile_count": [1, 2, 3, 4],
        "profile_mean": [0.5] * 4,
        "profile_is_new": [True] * 4,
        "profile_country": ["BE"] * 4,
    }
    write_features(settings, PROFILE, rows)
    counts = feast_store.materialize(settings, until_us=START_US + 365 * DAY_US)
    assert counts["customer_profile"] == 2
    read = OnlineReader(feast_store.open_store(settings)).read
    found = read([_row(10, customer_id=key) for key in ("c2", "c4", "c3", "old")])
    assert [row["profile_count"] for row in found] == [3, 4, 9, None]


@pytest.mark.parametrize("gone", ["online.db*", "registry.db"])
def test_a_lost_file_is_filled_again_from_the_beginning(gone: str, settings: Settings) -> None:
    feast_store.apply(settings)
    first = feast_store.materialize(settings, until_us=LATE_US)
    for path in settings.feast_dir.glob(gone):
        path.unlink()
    feast_store.apply(settings)
    assert feast_store.materialize(settings, until_us=LATE_US) == first
    (row,) = OnlineReader(feast_store.open_store(settings)).read([_row()])
    assert row["profile_count"] == 2**53 + 1


def test_an_online_file_lost_without_apply_is_filled_again_too(settings: Settings) -> None:
    feast_store.apply(settings)
    first = feast_store.materialize(settings, until_us=LATE_US)
    for path in settings.feast_dir.glob("online.db*"):
        path.unlink()
    assert feast_store.materialize(settings, until_us=LATE_US) == first


def test_a_new_feature_is_filled_for_all_rows(settings: Settings) -> None:
    feast_store.apply(settings)
    feast_store.materialize(settings, until_us=LATE_US)
    wider = replace(CATEGORY, columns={**CATEGORY.columns, "category_risk_1d": "double"})
    write_manifest(settings, PROFILE, MERCHANT, wider, VELOCITY)
    times = [START_US, START_US + 15 * DAY_US]
    values = {"category_risk_30d": [0.5, 0.6], "category_risk_1d": [0.7, 0.8]}
    write_features(settings, wider, {"category": ["food", "fuel"], "event_timestamp": times, **values})
    feast_store.apply(settings)
    assert feast_store.materialize(settings, until_us=LATE_US)["category_risk"] == 2
    (row,) = OnlineReader(feast_store.open_store(settings)).read([_row()])
    assert (row["category_risk_30d"], row["category_risk_1d"]) == (0.5, 0.7)


def test_a_store_of_feasts_that_can_not_be_read_says_so_too(settings: Settings) -> None:
    feast_store.keep_to_own_files(settings)
    own = settings.feast_dir / "feature_store.yaml"
    config = yaml.safe_load(own.read_text()) | {"online_store": {"type": "sqlite", "path": "online.db"}}
    own.write_text(yaml.safe_dump(config))
    feast_store.apply(settings)
    read = OnlineReader(feast_store.open_store(settings)).read
    (settings.feast_dir / "online.db").write_bytes(b"no database, but long enough to be taken for one" * 99)
    with pytest.raises(StoreError, match=r"can't read \w+ from SqliteOnlineStore"):
        read([_row()])


def test_apply_removes_what_is_gone(settings: Settings) -> None:
    feast_store.apply(settings)
    feast_store.materialize(settings, until_us=LATE_US)
    write_manifest(settings, *(model for model in MODELS if model is not MERCHANT))
    store = feast_store.apply(settings)
    assert sorted(view.name for view in store.list_feature_views()) == [
        "category_risk",
        "customer_profile",
        "transaction_velocity",
    ]
    (row,) = OnlineReader(feast_store.open_store(settings)).read([_row()])
    assert "merchant_risk_30d" not in row


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    with pytest.raises(BuildError, match="dbt run"):
        feast_store.apply(settings)
    with pytest.raises(StoreError, match="no feature view is registered"):
        feast_store.materialize(settings, until_us=LATE_US)
    with pytest.raises(StoreError, match="no feature service fraud_scoring_v1 is registered"):
        OnlineReader(feast_store.open_store(settings))
    write_manifest(settings, *MODELS)
    feast_store.apply(settings)
    with pytest.raises(OperationError, match="cbp build"):
        feast_store.materialize(settings, until_us=LATE_US)


def test_an_online_row_tells_its_freshness(store: FeatureStore) -> None:
    reader = OnlineReader(store)
    assert reader.views == ("category_risk", "customer_profile", "merchant_risk")
    assert reader.features == tuple(FEATURES[:-1])
    edge, past, before, unknown = reader.read(
        [_row(8), _row(8 + 1e-7), _row(0.5), _row(customer_id="nobody", merchant_id=None, category="fuel")]
    )
    assert edge["profile_count"] == 2**53 + 1
    assert edge.event_us == {
        "category_risk": START_US,
        "customer_profile": START_US + DAY_US,
        "merchant_risk": START_US,
    }
    assert (edge.stale, edge.ahead) == (("category_risk",), ())
    assert past.stale == ("category_risk", "customer_profile")
    assert (past["profile_count"], past["profile_country"], past["merchant_risk_30d"]) == (None, None, 0.25)
    assert before.ahead == ("customer_profile",)
    assert before["profile_count"] == 2**53 + 1
    assert list(unknown.values()) == [None] * 6
    assert unknown.event_us == {"category_risk": None, "customer_profile": None, "merchant_risk": None}
    assert (unknown.stale, unknown.ahead) == ((), ())
    assert reader.read([]) == []


@hypothesis_settings(
    max_examples=examples(30), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    keys=st.lists(
        st.tuples(
            st.sampled_from(["c1", "c2", "c3", "nobody"]),
            st.sampled_from(["m1", "m2", "nobody"]),
            st.sampled_from(["food", "fuel"]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_online_rows_equal_feasts_own_answer(keys: list[tuple[str, str, str]], store: FeatureStore) -> None:
    names = ("customer_id", "merchant_id", "category")
    entities = [dict(zip(names, key, strict=True)) for key in keys]
    online = [ref for view in store.list_feature_views() if view.online for ref in _references(view)]
    expected = store.get_online_features(features=online, entity_rows=entities).to_dict()
    # No row is past its TTL at the start of time.
    found = OnlineReader(store).read([{**entity, "event_us": 0} for entity in entities])
    for name in OnlineReader(store).features:
        assert [row[name] for row in found] == expected[name]


def _references(view: Any) -> list[str]:
    return [f"{view.name}:{field.name}" for field in view.features]


def test_another_online_store_is_read_through_feasts_protobufs(
    settings: Settings, store: FeatureStore
) -> None:
    rows = [_row(day, customer_id=key) for day in (2, 8.5) for key in ("c1", "c2", "nobody", None)]
    expected = OnlineReader(store).read(rows)
    peer = feast_store.open_store(settings)
    peer.config.online_config = {"type": "sqlite", "path": str(settings.feast_dir / "peer.db")}
    peer.config._online_store = None
    peer.config.registry.path = str(settings.feast_dir / "peer_registry.db")
    peer.apply(list(build_repository(settings)))
    peer.materialize(datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(LATE_US / 1e6, UTC))
    found = OnlineReader(peer).read(rows)
    assert type(peer.provider.online_store).__name__ == "SqliteOnlineStore"
    assert found == expected
    assert [(row.stale, row.event_us) for row in found] == [(row.stale, row.event_us) for row in expected]


def test_a_store_of_one_home_ignores_the_environment(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CBP_HOME", str(tmp_path / "elsewhere"))
    feast_store.apply(settings)
    feast_store.materialize(settings, until_us=LATE_US)
    assert sorted(path.name for path in settings.feast_dir.iterdir() if "-" not in path.name) == [
        ".lock",
        "online.db",
        "registry.db",
        "spill",
    ]
    assert not (tmp_path / "elsewhere").exists()


def test_a_home_of_an_earlier_version_finds_its_stores(settings: Settings) -> None:
    own = {
        "project": "customer_behavior_profiling",
        "provider": "local",
        "registry": {
            "registry_store_type": "warehouse.feast_registry.HomeRegistryStore",
            "path": "registry.db",
        },
        "offline_store": {
            "type": "warehouse.feast_offline_store.AsofOfflineStore",
            "temp_directory": "spill",
        },
        "online_store": {"type": "warehouse.feast_online_store.RowOnlineStore", "path": "online.db"},
        "batch_engine": {"type": "warehouse.feast_batch_engine.ArrowComputeEngine"},
        "entity_key_serialization_version": 3,
    }
    settings.feast_dir.mkdir(parents=True, exist_ok=True)
    (settings.feast_dir / "feature_store.yaml").write_text(yaml.safe_dump(own), encoding="utf-8")
    feast_store.apply(settings)
    written = feast_store.materialize(settings, until_us=LATE_US)
    assert written
    assert (settings.feast_dir / "online.db").is_file()
