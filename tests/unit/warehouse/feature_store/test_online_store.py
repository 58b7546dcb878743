"""The online store: what it shares with Feast's own SQLite store, and what it does better."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from feast import Entity, FeatureView, Field, FileSource, ValueType
from feast.infra.online_stores.online_store import OnlineStore
from feast.infra.online_stores.sqlite import SqliteOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey as EntityKeyProto
from feast.protos.feast.types.Value_pb2 import Value as ValueProto
from feast.repo_config import RepoConfig
from feast.type_map import python_values_to_proto_values
from feast.types import (
    Array,
    Bool,
    Bytes,
    FeastType,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    UnixTimestamp,
    from_feast_to_pyarrow_type,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from warehouse.errors import InputError, StoreError
from warehouse.feature_store.online_store import RowOnlineStore

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
COLUMNS: dict[str, FeastType] = {
    "count": Int64,
    "small": Int32,
    "mean": Float64,
    "ratio": Float32,
    "is_new": Bool,
    "country": String,
    "raw": Bytes,
    "seen_at": UnixTimestamp,
    "places": Array(Int64),
}
VALUES: dict[str, Any] = {
    "count": 2**63 - 1,
    "small": -(2**31),
    "mean": 0.1 + 0.2,
    "ratio": 0.25,
    "is_new": True,
    "country": "é'\"",
    "raw": b"\x00\xff",
    "seen_at": NOON,
    "places": [1, 2, 3],
}
Row = tuple[EntityKeyProto, dict[str, ValueProto], datetime, datetime | None]
ours_only = pytest.mark.parametrize("make_store", [RowOnlineStore])
both = pytest.mark.parametrize("make_store", [RowOnlineStore, SqliteOnlineStore])


def _config(folder: Path, store: type[OnlineStore] = RowOnlineStore) -> RepoConfig:
    return RepoConfig(
        project="test",
        provider="local",
        registry=str(folder / "registry.db"),
        online_store={"type": f"{store.__module__}.{store.__name__}", "path": str(folder / "online.db")},
        entity_key_serialization_version=3,
    )


def _view(columns: dict[str, FeastType] | None = None, name: str = "profile", keys: int = 1) -> FeatureView:
    names = [f"key_{number}" for number in range(keys)]
    entities = [Entity(name=f"entity_{key}", join_keys=[key], value_type=ValueType.STRING) for key in names]
    return FeatureView(
        name=name,
        entities=entities,
        schema=[
            *(Field(name=key, dtype=String) for key in names),
            *(Field(name=column, dtype=dtype) for column, dtype in (columns or COLUMNS).items()),
        ],
        source=FileSource(
            path="profile.parquet", timestamp_field="happened", created_timestamp_column="made"
        ),
    )


def _key(*parts: str) -> EntityKeyProto:
    return EntityKeyProto(
        join_keys=[f"key_{number}" for number in range(len(parts))],
        entity_values=[ValueProto(string_val=part) for part in parts],
    )


def _row(key: EntityKeyProto, when: datetime, **values: Any) -> Row:
    protos = {
        name: python_values_to_proto_values([value], COLUMNS[name].to_value_type())[0]
        for name, value in values.items()
    }
    return key, protos, when, None


def _prepared(store: OnlineStore, config: RepoConfig, *views: FeatureView) -> OnlineStore:
    store.update(config, [], list(views), [], [], partial=False)
    return store


@both
def test_every_type_comes_back_as_it_went(make_store: Callable[[], OnlineStore], tmp_path: Path) -> None:
    config, view = _config(tmp_path, make_store), _view()  # type: ignore[arg-type]
    store = _prepared(make_store(), config, view)
    nulls = dict.fromkeys(VALUES)
    progress: list[int] = []
    store.online_write_batch(
        config, view, [_row(_key("a"), NOON, **VALUES), _row(_key("b"), NOON, **nulls)], progress.append
    )
    full, empty, missing = store.online_read(config, view, [_key("a"), _key("b"), _key("c")])
    assert full == (NOON, _row(_key("a"), NOON, **VALUES)[1])
    assert empty == (NOON, _row(_key("b"), NOON, **nulls)[1])
    assert missing == (None, None)
    assert sum(progress) == 2


@both
def test_a_newer_row_replaces_an_older(make_store: Callable[[], OnlineStore], tmp_path: Path) -> None:
    config, view = _config(tmp_path, make_store), _view()  # type: ignore[arg-type]
    store = _prepared(make_store(), config, view)
    for minute, count in ((0, 1), (1, 2), (1, 3)):
        store.online_write_batch(
            config, view, [_row(_key("a"), NOON + timedelta(minutes=minute), count=count)], None
        )
    ((when, values),) = store.online_read(config, view, [_key("a")], ["count"])
    assert when == NOON + timedelta(minutes=1)
    assert values is not None
    assert values["count"].int64_val == 3


@both
def test_rows_come_in_the_order_of_the_keys(make_store: Callable[[], OnlineStore], tmp_path: Path) -> None:
    config, view = _config(tmp_path, make_store), _view(keys=2)  # type: ignore[arg-type]
    store = _prepared(make_store(), config, view)
    keys = [(first, second) for first in "abc" for second in ("", "x")]
    store.online_write_batch(
        config, view, [_row(_key(*key), NOON, country="/".join(key)) for key in keys], None
    )
    asked = [*reversed(keys), ("a", "nobody"), keys[0]]
    found = store.online_read(config, view, [_key(*key) for key in asked], ["country"])
    texts = [None if values is None else values["country"].string_val for _, values in found]
    assert texts == [*("/".join(key) for key in reversed(keys)), None, "a/"]


@both
def test_a_deleted_view_leaves_nothing(make_store: Callable[[], OnlineStore], tmp_path: Path) -> None:
    config, view, other = _config(tmp_path, make_store), _view(), _view(name="other")  # type: ignore[arg-type]
    store = _prepared(make_store(), config, view, other)
    for table in (view, other):
        store.online_write_batch(config, table, [_row(_key("a"), NOON, count=1)], None)
    store.update(config, [view], [other], [], [], partial=False)
    store.update(config, [], [view, other], [], [], partial=False)
    assert store.online_read(config, view, [_key("a")]) == [(None, None)]
    assert store.online_read(config, other, [_key("a")])[0][0] == NOON


@both
def test_teardown_removes_the_file(make_store: Callable[[], OnlineStore], tmp_path: Path) -> None:
    config, view = _config(tmp_path, make_store), _view()  # type: ignore[arg-type]
    store = _prepared(make_store(), config, view)
    assert (tmp_path / "online.db").exists()
    store.teardown(config, [view], [])
    store.teardown(config, [view], [])
    assert list(tmp_path.glob("online.db*")) == []


def test_an_older_row_never_replaces_a_newer(tmp_path: Path) -> None:
    config, view = _config(tmp_path), _view()
    store = _prepared(RowOnlineStore(), config, view)
    just_before = NOON - timedelta(microseconds=1)
    store.online_write_batch(
        config,
        view,
        [
            _row(_key("a"), NOON, count=1),
            _row(_key("a"), just_before, count=2),
            _row(_key("b"), NOON.replace(tzinfo=None), count=3),
            _row(_key("b"), NOON, count=4),
        ],
        None,
    )
    store.online_write_batch(config, view, [_row(_key("a"), just_before, count=5)], None)
    assert isinstance(store, RowOnlineStore)
    noon_us = int(NOON.timestamp()) * 1_000_000
    assert store.values_reader(config, view, ["count"]).read([("a",), ("b",)]) == [
        (noon_us, (1,)),
        (noon_us, (4,)),
    ]


def test_a_row_may_bring_some_of_its_features(tmp_path: Path) -> None:
    config, view = _config(tmp_path), _view()
    store = RowOnlineStore()
    store.online_write_batch(config, view, [_row(_key("a"), NOON, count=1, country="BE")], None)
    store.online_write_batch(
        config, view, [_row(_key("a"), NOON, count=2), _row(_key("b"), NOON, count=3)], None
    )
    found = store.values_reader(config, view, ["country", "count"]).read([("a",), ("b",)])
    assert [record[1] for record in found if record] == [("BE", 2), (None, 3)]


def _arrow_type(dtype: FeastType) -> pa.DataType:
    return pa.binary() if dtype == Bytes else from_feast_to_pyarrow_type(dtype)


def _batch(
    view: FeatureView, rows: list[dict[str, Any]], *, key_type: pa.DataType | None = None
) -> pa.RecordBatch:
    fields = [pa.field(field.name, key_type or pa.string()) for field in view.entity_columns]
    fields += [pa.field(field.name, _arrow_type(field.dtype)) for field in view.features]
    fields += [pa.field("happened", pa.timestamp("us")), pa.field("made", pa.timestamp("us", "UTC"))]
    return pa.RecordBatch.from_pylist(rows, pa.schema(fields))


def test_arrow_and_protobuf_leave_the_same_rows(tmp_path: Path) -> None:
    config = _config(tmp_path)
    store, by_proto, by_arrow = RowOnlineStore(), _view(name="by_proto"), _view(name="by_arrow")
    rows = [VALUES, dict.fromkeys(VALUES), {**VALUES, "is_new": False, "mean": -0.0, "places": []}]
    keys = ["a", "b", "c"]
    store.online_write_batch(
        config, by_proto, [_row(_key(key), NOON, **row) for key, row in zip(keys, rows, strict=True)], None
    )
    naive = NOON.replace(tzinfo=None)
    batch = _batch(
        by_arrow,
        [{"key_0": key, "happened": naive, "made": NOON, **row} for key, row in zip(keys, rows, strict=True)],
    )
    progress: list[int] = []
    assert store.write_arrow(config, by_arrow, [batch[:2], batch[2:]], progress=progress.append) == 3
    assert progress == [2, 1]
    asked = [_key(key) for key in keys]
    assert store.online_read(config, by_arrow, asked) == store.online_read(config, by_proto, asked)
    python = store.values_reader(config, by_arrow, list(COLUMNS)).read([(key,) for key in keys])
    assert python == store.values_reader(config, by_proto, list(COLUMNS)).read([(key,) for key in keys])
    first = python[0]
    assert first is not None
    assert dict(zip(COLUMNS, first[1], strict=True)) == VALUES
    assert str(python[2][1][2] if python[2] else None) == "-0.0"


@settings(
    max_examples=examples(50), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    numbers=st.lists(
        st.tuples(
            st.none() | st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(allow_nan=False),
            st.none() | st.booleans(),
            st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_no_value_changes_on_its_way(
    numbers: list[tuple[int | None, float | None, bool | None, str | None]], tmp_path: Path
) -> None:
    config = _config(tmp_path)
    view = _view({"count": Int64, "mean": Float64, "is_new": Bool, "country": String})
    names = ["count", "mean", "is_new", "country"]
    rows = [
        {
            "key_0": str(i),
            "happened": NOON.replace(tzinfo=None),
            "made": NOON,
            **dict(zip(names, row, strict=True)),
        }
        for i, row in enumerate(numbers)
    ]
    store = RowOnlineStore()
    store.write_arrow(config, view, [_batch(view, rows)])
    found = store.values_reader(config, view, names).read([(str(i),) for i in range(len(rows))])
    assert [repr(record[1]) for record in found if record] == [repr(row) for row in numbers]


@pytest.mark.parametrize("missing", ["key_0", "happened"])
def test_a_row_without_key_or_time_is_refused_and_nothing_is_written(missing: str, tmp_path: Path) -> None:
    config, view = _config(tmp_path), _view({"count": Int64})
    store = RowOnlineStore()
    good = {"key_0": "a", "happened": NOON.replace(tzinfo=None), "count": 1}
    batches = [_batch(view, [good]), _batch(view, [{**good, missing: None}])]
    with pytest.raises(InputError, match="is null"):
        store.write_arrow(config, view, batches, complete_until=NOON)
    assert store.complete_until(config, view) is None
    with pytest.raises(StoreError):
        store.values_reader(config, view, ["count"]).read([("a",)])


def test_a_key_that_is_not_the_views_is_refused(tmp_path: Path) -> None:
    config, view = _config(tmp_path), _view(keys=2)
    store = _prepared(RowOnlineStore(), config, view)
    for key in (
        _key("a"),
        EntityKeyProto(join_keys=["key_0", "key_1"], entity_values=[ValueProto(), ValueProto()]),
    ):
        with pytest.raises(InputError, match="without nulls"):
            store.online_read(config, view, [key])


def test_it_knows_up_to_when_a_view_is_complete(tmp_path: Path) -> None:
    config, view = _config(tmp_path), _view({"count": Int64})
    store = RowOnlineStore()
    assert store.complete_until(config, view) is None
    row = {"key_0": "a", "happened": NOON.replace(tzinfo=None), "count": 1}
    store.write_arrow(config, view, [_batch(view, [row])], complete_until=NOON)
    store.write_arrow(config, view, [], complete_until=NOON - timedelta(days=1))
    assert store.complete_until(config, view) == NOON
    wider = _view({"count": Int64, "mean": Float64})
    assert store.complete_until(config, wider) is None
    store.update(config, [], [wider], [], [], partial=False)
    assert store.complete_until(config, wider) is None
    assert store.values_reader(config, wider, ["count", "mean"]).read([("a",)])[0] == (
        int(NOON.timestamp()) * 1_000_000,
        (1, None),
    )
    narrower = _view({"mean": Float64})
    store.update(config, [], [narrower], [], [], partial=False)
    assert store.values_reader(config, view, ["count"]).read([("a",)]) == [
        (int(NOON.timestamp()) * 1_000_000, (1,))
    ]


def test_another_key_makes_another_table(tmp_path: Path) -> None:
    config = _config(tmp_path)
    store, one, two = RowOnlineStore(), _view({"count": Int64}), _view({"count": Int64}, keys=2)
    store.online_write_batch(config, one, [_row(_key("a"), NOON, count=1)], None)
    store.update(config, [], [two], [], [], partial=False)
    assert store.online_read(config, two, [_key("a", "b")]) == [(None, None)]


def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="differ in more than case"):
        _prepared(RowOnlineStore(), _config(tmp_path), _view({"count": Int64, "Count": Int64}))


def test_a_missing_file_or_table_says_what_to_run(tmp_path: Path) -> None:
    config, view = _config(tmp_path), _view()
    store = RowOnlineStore()
    with pytest.raises(StoreError, match="run `cbp materialize`"):
        store.online_read(config, view, [_key("a")])
    _prepared(store, config, _view(name="other"))
    with pytest.raises(StoreError, match=r"no such table.*run `cbp materialize`"):
        store.online_read(config, view, [_key("a")])


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    config, view = _config(tmp_path), _view()
    store = RowOnlineStore()
    _prepared(store, config, view)
    store.teardown(config, [], [])
    Path(config.online_store.path).write_bytes(b"no database, but long enough to be taken for one" * 99)
    for use in (
        lambda: store.online_read(config, view, [_key("a")]),
        lambda: store.online_write_batch(config, view, [_row(_key("a"), NOON)], None),
    ):
        with pytest.raises(StoreError, match=r"can't open.*remove it, then run `cbp materialize`"):
            use()


def test_a_replaced_file_is_opened_again(tmp_path: Path) -> None:
    config, view = _config(tmp_path), _view({"count": Int64})
    reader, writer = RowOnlineStore(), RowOnlineStore()
    for count in (1, 2):
        writer.teardown(config, [], [])
        writer.online_write_batch(config, view, [_row(_key("a"), NOON, count=count)], None)
        ((_, values),) = reader.online_read(config, view, [_key("a")])
        assert values is not None
        assert values["count"].int64_val == count


def test_more_keys_than_a_statement_takes_are_read_in_parts(tmp_path: Path) -> None:
    config, view = _config(tmp_path), _view({"count": Int64})
    store = RowOnlineStore()
    rows = [{"key_0": str(i), "happened": NOON.replace(tzinfo=None), "count": i} for i in range(12_001)]
    store.write_arrow(config, view, [_batch(view, rows)])
    found = store.values_reader(config, view, ["count"]).read([(str(i),) for i in range(12_001)])
    assert [record[1][0] for record in found if record] == list(range(12_001))


def test_the_file_is_a_plain_table_with_a_write_ahead_log(tmp_path: Path) -> None:
    config, view = _config(tmp_path), _view({"count": Int64, "mean": Float64})
    row = {"key_0": "a", "happened": NOON.replace(tzinfo=None), "count": 1, "mean": 0.5}
    RowOnlineStore().write_arrow(config, view, [_batch(view, [row])])
    with sqlite3.connect(tmp_path / "online.db") as connection:
        assert connection.execute("pragma journal_mode").fetchone() == ("wal",)
        assert connection.execute("select key_0, count, mean from test_profile").fetchall() == [("a", 1, 0.5)]
    connection.close()
