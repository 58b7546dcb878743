"""The offline store: random joins against a plain search, and what each way of asking returns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import FeatureStore, FeatureView, Field, FileSource
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig
from feast.types import Int64, String
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.point_in_time import FIRST, SECOND, START, expected_rows, random_case, repo_config
from warehouse.errors import InputError, OperationError
from warehouse.feature_store.entity_join import features_as_of, view_join
from warehouse.feature_store.offline_store import AsofOfflineStore
from warehouse.feature_store.retrieval import ArrowRetrievalJob


def _config(folder: Path, **options: Any) -> RepoConfig:
    offline_store = {
        "type": "warehouse.feature_store.offline_store.AsofOfflineStore",
        "temp_directory": str(folder / "spill"),
        **options,
    }
    return repo_config(folder, offline_store)


@pytest.fixture
def config(tmp_path: Path) -> RepoConfig:
    return _config(tmp_path)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> BaseRegistry:
    return FeatureStore(config=_config(tmp_path_factory.mktemp("registry"))).registry


def _at(*after: int | None) -> pa.Array:
    moments = [None if us is None else START + timedelta(microseconds=us) for us in after]
    return pa.array(moments, pa.timestamp("us", "UTC"))


def _view(path: Path, *, ttl_us: int = 0, created: str = "", **options: Any) -> FeatureView:
    source = FileSource(
        path=str(path), timestamp_field="happened", created_timestamp_column=created, **options
    )
    return FeatureView(
        name="numbers",
        entities=[FIRST],
        ttl=timedelta(microseconds=ttl_us),
        schema=[Field(name="first_id", dtype=String), Field(name="number", dtype=Int64)],
        source=source,
    )


def _numbers(path: Path, keys: list[str | None], times: pa.Array, numbers: list[int | None]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.table({"first_id": pa.array(keys, pa.string()), "happened": times, "number": numbers}), path
    )
    return path


def _join(
    config: RepoConfig, registry: BaseRegistry, view: FeatureView, entity_rows: Any, **options: Any
) -> ArrowRetrievalJob:
    job = AsofOfflineStore.get_historical_features(
        config, [view], ["numbers:number"], entity_rows, registry, config.project, **options
    )
    assert isinstance(job, ArrowRetrievalJob)
    return job


@settings(
    max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(min_value=10**6, max_value=10**9))
def test_random_joins_equal_a_plain_search(
    seed: int, tmp_path: Path, config: RepoConfig, registry: BaseRegistry
) -> None:
    case = random_case(seed, tmp_path)
    found = AsofOfflineStore.get_historical_features(
        config,
        list(case.views),
        case.refs,
        case.entity_rows,
        registry,
        config.project,
        full_feature_names=case.full_names,
        filter_by_created_timestamp=case.by_created,
    ).to_arrow()
    assert found.select(case.entity_rows.column_names).equals(case.entity_rows)
    features = [name for name in found.column_names if name not in case.entity_rows.column_names]
    assert found.select(features).to_pylist() == expected_rows(case)


def test_a_row_counts_from_its_time_until_the_end_of_its_ttl(
    tmp_path: Path, config: RepoConfig, registry: BaseRegistry
) -> None:
    view = _view(_numbers(tmp_path / "n.parquet", ["a"], _at(100), [7]), ttl_us=5)
    rows = pa.table({"first_id": ["a"] * 4, "event_timestamp": _at(99, 100, 105, 106)})
    assert _join(config, registry, view, rows).to_arrow()["number"].to_pylist() == [None, 7, 7, None]


def test_pandas_arrow_and_sql_text_give_the_same(
    tmp_path: Path, config: RepoConfig, registry: BaseRegistry
) -> None:
    view = _view(_numbers(tmp_path / "n.parquet", ["a", "b"], _at(0, 5), [1, 2]))
    rows = pa.table({"first_id": ["b", "a", "b"], "event_timestamp": _at(9, 9, 4), "note": ["x", "y", "z"]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    naive = rows.to_pandas()
    naive["event_timestamp"] = naive["event_timestamp"].dt.tz_localize(None)
    expected = _join(config, registry, view, rows).to_arrow()
    assert expected["number"].to_pylist() == [2, 1, None]
    for asked in (rows.to_pandas(), naive, f"from '{tmp_path}/rows.parquet'"):
        found = _join(config, registry, view, asked).to_arrow()
        assert found.column_names == ["first_id", "event_timestamp", "note", "number"]
        assert found.to_pylist() == expected.to_pylist()
    frame = _join(config, registry, view, rows).to_df()
    assert isinstance(frame, pd.DataFrame)
    assert frame["number"].tolist()[:2] == [2, 1]


def test_the_only_timestamp_column_is_taken_whatever_its_name(
    tmp_path: Path, config: RepoConfig, registry: BaseRegistry
) -> None:
    view = _view(_numbers(tmp_path / "n.parquet", ["a"], _at(0), [1]))
    rows = pa.table({"first_id": ["a"], "paid_at": _at(9)})
    job = _join(config, registry, view, rows)
    assert job.to_arrow()["number"].to_pylist() == [1]
    assert job.metadata is not None
    assert job.metadata.keys == ["first_id"]
    assert job.metadata.min_event_timestamp == START + timedelta(microseconds=9)


def test_a_folder_of_files_is_read_in_the_order_of_their_paths(
    tmp_path: Path, config: RepoConfig, registry: BaseRegistry
) -> None:
    for number, name in enumerate(["b/2.parquet", "a/1.parquet", "b/1.parquet"]):
        _numbers(tmp_path / "many" / name, [f"k{number}", "all"], _at(0, number), [number, 10 + number])
    rows = pa.table({"first_id": ["k0", "k1", "k2", "all"], "event_timestamp": _at(9, 9, 9, 9)})
    found = _join(config, registry, _view(tmp_path / "many"), rows).to_arrow()
    assert found["number"].to_pylist() == [0, 1, 2, 12]


def test_an_entity_less_view_joins_by_time_alone(
    tmp_path: Path, config: RepoConfig, registry: BaseRegistry
) -> None:
    path = _numbers(tmp_path / "n.parquet", ["a", "b"], _at(0, 5), [1, 2])
    view = FeatureView(
        name="numbers",
        schema=[Field(name="number", dtype=Int64)],
        source=FileSource(path=str(path), timestamp_field="happened"),
    )
    rows = pa.table({"event_timestamp": _at(4, 5, -1)})
    assert _join(config, registry, view, rows).to_arrow()["number"].to_pylist() == [1, 2, None]


def test_no_entity_rows_give_an_empty_table(
    tmp_path: Path, config: RepoConfig, registry: BaseRegistry
) -> None:
    view = _view(_numbers(tmp_path / "n.parquet", ["a"], _at(0), [1]))
    rows = pa.table({"first_id": pa.array([], pa.string()), "event_timestamp": _at()})
    found = _join(config, registry, view, rows).to_arrow()
    assert (found.num_rows, found.column_names) == (0, ["first_id", "event_timestamp", "number"])


def test_many_rows_keep_their_order_when_memory_is_short(tmp_path: Path, registry: BaseRegistry) -> None:
    size, keys = 200_000, 5_000
    chance = np.random.default_rng(7)
    key_of = chance.integers(0, keys, size)
    held_at = np.arange(size) % 1_000
    names = np.char.add("customer-with-a-long-name-", (np.arange(size) // 1_000 * 13 % keys).astype(str))
    path = _numbers(
        tmp_path / "n.parquet", names.tolist(), _at(*[int(us) for us in held_at]), list(range(size))
    )
    rows = pa.table(
        {
            "first_id": np.char.add("customer-with-a-long-name-", key_of.astype(str)),
            "event_timestamp": _at(*[int(us) for us in chance.integers(0, 2_000, size)]),
            "position": np.arange(size),
        }
    )
    roomy, tight = (
        _join(_config(tmp_path, memory_limit=limit, threads=2), registry, _view(path), rows).to_arrow()
        for limit in ("2GB", "30MB")
    )
    assert roomy["position"].to_pylist() == list(range(size))
    assert roomy["number"].null_count < size
    assert roomy.equals(tight)
    assert list((tmp_path / "spill").iterdir()) == []


def test_a_file_replaced_between_search_and_fetch_is_searched_again(
    tmp_path: Path, config: RepoConfig
) -> None:
    path = _numbers(tmp_path / "n.parquet", ["x", "a", "b"], _at(0, 0, 0), [0, 1, 2])
    other = _numbers(tmp_path / "other.parquet", ["b", "a"], _at(0, 0), [2, 1])

    def a_build_ends() -> None:
        if other.exists():
            other.replace(path)

    ((_, numbers),) = features_as_of(
        pa.table({"first_id": ["a", "b"], "event_timestamp": _at(1, 1)}),
        view_join(_view(path), ["numbers:number"], full_feature_names=False),
        config,
        time_column="event_timestamp",
        by_created=False,
        found=a_build_ends,
    )
    assert not other.exists()
    assert numbers.to_pylist() == [1, 2]


def test_what_is_wrong_is_said(tmp_path: Path, config: RepoConfig, registry: BaseRegistry) -> None:
    view = _view(_numbers(tmp_path / "n.parquet", ["a"], _at(0), [1]))
    rows = pa.table({"first_id": ["a"], "event_timestamp": _at(9)})
    with pytest.raises(InputError, match="needs entity columns"):
        _join(config, registry, view, rows.drop_columns("first_id"))
    with pytest.raises(InputError, match="expected one timestamp column"):
        _join(config, registry, view, rows.drop_columns("event_timestamp"))
    with pytest.raises(InputError, match="got none"):
        _join(config, registry, view, None)
    with pytest.raises(OperationError, match="run `dbt run` or `cbp build` first"):
        _join(config, registry, _view(tmp_path / "missing.parquet"), rows).to_arrow()
    with pytest.raises(InputError, match="dbt alone"):
        AsofOfflineStore.offline_write_batch(config, view, rows, None)
    wrong = FileSource(path=str(tmp_path / "n.parquet"), timestamp_field="absent")
    with pytest.raises(InputError, match="expected a column absent"):
        AsofOfflineStore().validate_data_source(config, wrong)
    AsofOfflineStore().validate_data_source(
        config, FileSource(path=str(tmp_path / "not_yet.parquet"), timestamp_field="happened")
    )


def test_a_result_is_saved_as_a_whole_and_not_over_another(
    tmp_path: Path, config: RepoConfig, registry: BaseRegistry
) -> None:
    view = _view(_numbers(tmp_path / "n.parquet", ["a"], _at(0), [1]))
    job = _join(config, registry, view, pa.table({"first_id": ["a"], "event_timestamp": _at(9)}))
    storage = SavedDatasetFileStorage(str(tmp_path / "saved" / "set.parquet"))
    job.persist(storage)
    assert pq.read_table(tmp_path / "saved" / "set.parquet").equals(job.to_arrow())
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    job.persist(storage, allow_overwrite=True)


def _pulled(path: Path) -> FileSource:
    pq.write_table(
        pa.table(
            {
                "first_id": ["a", "a", "a", "b", None, "c"],
                "second_id": [1, 1, 1, 2, None, 3],
                "happened": _at(5, 7, 7, 1, 3, 9),
                "made": _at(9, 1, 2, 1, 1, None),
                "number": [1, 2, 3, 4, 5, None],
            }
        ),
        path,
    )
    return FileSource(path=str(path), timestamp_field="happened", created_timestamp_column="made")


@pytest.mark.parametrize(
    ("keys", "start", "end", "expected"),
    [
        (["first_id"], 0, 9, [3, 4, 5, None]),
        (["first_id", "second_id"], 0, 9, [3, 4, 5, None]),
        (["first_id"], 1, 5, [1, 4, 5]),
        (["first_id"], 2, 8, [3, 5]),
        (["first_id"], 100, 200, []),
        ([], 0, 8, [3]),
    ],
)
def test_the_latest_row_of_each_key_in_a_closed_range_is_pulled(
    keys: list[str], start: int, end: int, expected: list[int | None], tmp_path: Path, config: RepoConfig
) -> None:
    job = AsofOfflineStore.pull_latest_from_table_or_query(
        config,
        _pulled(tmp_path / "p.parquet"),
        keys,
        ["number"],
        "happened",
        "made",
        START + timedelta(microseconds=start),
        START + timedelta(microseconds=end),
    )
    found = job.to_arrow()
    assert sorted(found["number"].to_pylist(), key=str) == sorted(expected, key=str)
    assert set(found.column_names) >= {*keys, "number", "happened", "made"}
    assert sum(batch.num_rows for batch in job.to_batches(2)) == len(expected)
    assert all(batch.num_rows <= 2 for batch in job.to_batches(2))


def test_all_rows_in_a_closed_range_are_pulled(tmp_path: Path, config: RepoConfig) -> None:
    source = _pulled(tmp_path / "p.parquet")
    first, last = START + timedelta(microseconds=3), (START + timedelta(microseconds=7)).replace(tzinfo=None)
    job = AsofOfflineStore.pull_all_from_table_or_query(
        config, source, ["first_id"], ["number"], "happened", "made", first, last
    )
    assert sorted(job.to_arrow()["number"].to_pylist()) == [1, 2, 3, 5]
    everything = AsofOfflineStore.pull_all_from_table_or_query(
        config, source, ["first_id"], ["number"], "happened"
    )
    assert everything.to_arrow().num_rows == 6


def test_the_newest_time_of_a_source_is_told(tmp_path: Path, config: RepoConfig) -> None:
    newest = AsofOfflineStore.get_monitoring_max_timestamp(
        config, _pulled(tmp_path / "p.parquet"), "happened"
    )
    assert newest == datetime(2024, 2, 28, 23, 59, 59, 9, tzinfo=UTC)
    empty = _numbers(tmp_path / "empty.parquet", [], _at(), [])
    source = FileSource(path=str(empty), timestamp_field="happened")
    assert AsofOfflineStore.get_monitoring_max_timestamp(config, source, "happened") is None


def test_several_views_of_different_entities_join_at_once(
    tmp_path: Path, config: RepoConfig, registry: BaseRegistry
) -> None:
    numbers = _view(_numbers(tmp_path / "n.parquet", ["a"], _at(0), [1]))
    pq.write_table(pa.table({"second_id": [5], "happened": _at(0), "other": [2]}), tmp_path / "o.parquet")
    others = FeatureView(
        name="others",
        entities=[SECOND],
        schema=[Field(name="second_id", dtype=Int64), Field(name="other", dtype=Int64)],
        source=FileSource(path=str(tmp_path / "o.parquet"), timestamp_field="happened"),
    )
    rows = pa.table({"first_id": ["a", None], "second_id": [None, 5], "event_timestamp": _at(1, 1)})
    found = AsofOfflineStore.get_historical_features(
        config, [numbers, others], ["numbers:number", "others:other"], rows, registry, config.project
    ).to_arrow()
    assert found.select(["number", "other"]).to_pylist() == [
        {"number": 1, "other": None},
        {"number": None, "other": 2},
    ]
