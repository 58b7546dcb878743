"""History in, scored events and labels out, old rows away."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pytest

from tests.support.live_payments import DAY_US, LIVE_SQL, START_US, WORKER, decision_of, pay, seal
from warehouse.canonical import LABEL_SCHEMA, TRANSACTION_SCHEMA
from warehouse.errors import StoreError
from warehouse.live.claims import Claim, ConflictError
from warehouse.live.engine import LiveEngine
from warehouse.live.events import Transaction, micro_degrees
from warehouse.live.labels import Label
from warehouse.live.store import LiveStore


@pytest.fixture
def store(live_store: LiveStore) -> LiveStore:
    return live_store


def history(*rows: dict[str, Any]) -> pa.Table:
    defaults = {
        "customer_id": "c1",
        "merchant_id": "m1",
        "amount_minor": 100,
        "attributes_number": [],
        "attributes_text": [],
        "source": "file",
        "source_order": 0,
    }
    filled = [{**defaults, **row, "ingested_us": row.get("ingested_us", row["event_us"])} for row in rows]
    return pa.Table.from_pylist(filled, TRANSACTION_SCHEMA)


def claim(store: LiveStore, *transactions: Transaction) -> list[Claim]:
    return store.claim(transactions, worker=WORKER, now_us=START_US, live_sql=LIVE_SQL)


def test_history_is_inserted_in_the_order_in_which_it_became_known(store: LiveStore) -> None:
    table = history(
        {"transaction_id": "late", "event_us": START_US - 9, "ingested_us": START_US},
        {"transaction_id": "b", "event_us": START_US - 5},
        {"transaction_id": "a", "event_us": START_US - 5},
        {"transaction_id": "first", "event_us": START_US - 7},
    )
    done: list[int] = []
    assert store.backfill(table, progress=done.append) == 4
    assert done == [4]
    claims = claim(store, *(pay(name, event_us=START_US - back) for name, back in NAMES))
    assert [one.arrival_seq for one in claims] == [1, 2, 3, 4]
    assert [one.velocity["transaction_count_24h"] for one in claims] == [0, 1, 1, 0]


NAMES = (("first", 7), ("a", 5), ("b", 5), ("late", 9))


def test_history_that_is_there_is_left_as_it_is(store: LiveStore) -> None:
    claim(store, pay("live", amount_minor=7))
    rows = [{"transaction_id": name, "event_us": START_US} for name in ("live", "x")]
    assert store.backfill(history(*rows)) == 1
    assert store.backfill(history(*rows)) == 0
    assert store.events_after(0)["amount_minor"].to_pylist() == [7]


def test_a_transaction_from_the_warehouse_can_be_scored_with_the_same_content_only(store: LiveStore) -> None:
    row = {
        "transaction_id": "a",
        "event_us": START_US,
        "latitude": 1.25,
        "longitude": -3.5,
        "currency": "EUR",
        "attributes_number": [("v1", 0.5)],
        "attributes_text": [("device", "x")],
    }
    store.backfill(history(row))
    same = {"attributes_number": {"v1": 0.5}, "attributes_text": {"device": "x"}, "currency": "EUR"}
    place = {"latitude": 1.25, "longitude": -3.5}
    with pytest.raises(ConflictError):
        claim(store, pay("a", **same))
    claims = claim(store, pay("a", **same, **place))
    assert claims[0].arrival_seq == 1
    store.decide([decision_of(one) for one in claims], seal=seal, now_us=START_US)
    assert claim(store, pay("a", **same, **place))[0].answer is not None
    # It came from the warehouse and need not go back.
    assert store.events_after(0).num_rows == 0


def test_scored_events_come_out_as_they_came_in(store: LiveStore) -> None:
    full = pay(
        "full",
        currency="EUR",
        category="food",
        channel="online",
        country="DE",
        latitude=50.85,
        longitude=-4.35,
        attributes_number={"v1": 0.1, "v2": -0.0},
        attributes_text={"device": "é", "empty": ""},
    )
    claim(store, pay("bare", customer_id=None, merchant_id=None, ingested_us=12), full)
    table = store.events_after(0)
    assert table.schema == TRANSACTION_SCHEMA
    bare, found = table.to_pylist()
    assert (bare["ingested_us"], found["ingested_us"]) == (12, START_US)
    assert (bare["customer_id"], bare["attributes_number"]) == (None, [])
    for name in Transaction.__slots__:
        if name == "ingested_us":
            continue
        value = dict(found[name]) if name.startswith("attributes") else found[name]
        assert value == getattr(full, name)
    assert found["source"] == "api"
    assert [row["source_order"] for row in (bare, found)] == [1, 2]
    assert store.events_after(1).num_rows == 1
    assert store.events_after(2).num_rows == 0


def test_labels_come_out_in_the_order_in_which_they_came(store: LiveStore) -> None:
    told = [Label("a", True, START_US), Label("b", False, START_US), Label("a", False, START_US + 1)]
    store.record_labels(told[:2], source="analyst", now_us=START_US)
    store.record_labels(told[2:], source="analyst", now_us=START_US)
    rows = [{**asdict(label), "source": "analyst"} for label in told]
    table, last = store.labels_after(0)
    assert (table.schema, table.to_pylist(), last) == (LABEL_SCHEMA, rows, 3)
    assert store.labels_after(2)[0].to_pylist() == rows[2:]


def test_what_is_landed_is_remembered_and_never_taken_back(store: LiveStore) -> None:
    store.mark_landed(events_through=5, labels_through=2)
    store.mark_landed(events_through=3, labels_through=4)
    assert (store.landed_events(), store.landed_labels()) == (5, 4)


def test_pruning_keeps_what_is_not_safe_in_the_warehouse(store: LiveStore) -> None:
    old = START_US - 40 * DAY_US
    store.backfill(history({"transaction_id": "history", "event_us": old}))
    claims = claim(store, pay("landed", event_us=old), pay("not landed", event_us=old), pay("new"))
    answers = store.decide([decision_of(one) for one in claims], seal=seal, now_us=START_US)
    store.mark_landed(events_through=2, labels_through=0)
    assert store.newest_event_us(until_us=START_US) == START_US
    assert store.newest_event_us(until_us=START_US - 1) == old
    assert store.prune(START_US - 37 * DAY_US) == (2, 0)
    assert store.events_after(0)["transaction_id"].to_pylist() == ["not landed", "new"]
    # Its answer outlives the event.
    assert claim(store, pay("landed", event_us=old))[0].answer == answers[0]
    assert store.prune(0, decided_before_us=START_US) == (0, 0)
    assert store.prune(0, decided_before_us=START_US + 1) == (0, 3)


def test_a_claim_that_nobody_decided_goes_with_its_payment(store: LiveStore) -> None:
    old = pay("left", event_us=START_US - 40 * DAY_US)
    claim(store, old)
    store.mark_landed(events_through=1, labels_through=0)
    assert store.prune(START_US - 37 * DAY_US) == (1, 0)
    assert claim(store, old)[0].answer is None


def test_an_empty_store_has_no_newest_event(store: LiveStore) -> None:
    assert store.newest_event_us(until_us=START_US) is None
    assert store.events_after(0).num_rows == 0


def test_a_store_without_tables_says_so(live_url: str) -> None:
    store = LiveStore(LiveEngine(live_url))
    with pytest.raises(StoreError):
        store.check()
    store.close()


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        (None, None),
        (0.0, 0),
        (1.0000005, 1_000_001),
        (-0.0000005, 0),
        (-1.2345674, -1_234_567),
        (90.0, 90_000_000),
    ],
)
def test_degrees_are_rounded_half_up(degrees: float | None, expected: int | None) -> None:
    assert micro_degrees(degrees) == expected
