"""Fraud reports: labels that say fraud arrive as events of their merchant, once, numbered like payments."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from sqlalchemy import select

from tests.support.live_payments import DAY_US, LIVE_SQL, START_US, WORKER, pay
from warehouse.live.labels import Label
from warehouse.live.schema import fraud_reports
from warehouse.live.store import LiveStore


def claim(store: LiveStore, *names: str, **fields: Any) -> list[int]:
    payments = [pay(name, **fields) for name in names]
    claims = store.claim(payments, worker=WORKER, now_us=START_US, live_sql=LIVE_SQL)
    return [one.arrival_seq for one in claims]


def tell(store: LiveStore, *labels: Label, now_us: int = START_US + 5) -> None:
    store.record_labels(labels, source="analyst", now_us=now_us)


def reports(store: LiveStore) -> list[tuple[Any, ...]]:
    with store.reading() as connection:
        query = select(fraud_reports).order_by(fraud_reports.c.arrival_seq)
        return [tuple(row) for row in connection.execute(query)]


def history(*rows: tuple[str, str, int, int]) -> pa.Table:
    names = ("transaction_id", "merchant_id", "event_us", "known_us")
    schema = pa.schema([(name, pa.string() if name.endswith("id") else pa.int64()) for name in names])
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows], schema)


def test_a_label_that_says_fraud_arrives_at_its_payments_merchant(live_store: LiveStore) -> None:
    (paid,) = claim(live_store, "a", merchant_id="m")
    tell(live_store, Label("a", True))
    assert reports(live_store) == [(paid + 1, "a", "m", START_US + 5, START_US)]
    assert claim(live_store, "b", merchant_id="m") == [paid + 2]


def test_other_labels_make_no_report(live_store: LiveStore) -> None:
    claim(live_store, "genuine", merchant_id="m")
    claim(live_store, "nowhere", merchant_id=None)
    tell(live_store, Label("genuine", False), Label("nowhere", True), Label("unknown", True))
    assert reports(live_store) == []


def test_telling_the_same_again_reports_nothing_more_and_another_time_does(live_store: LiveStore) -> None:
    claim(live_store, "a", merchant_id="m")
    tell(live_store, Label("a", True))
    tell(live_store, Label("a", True), now_us=START_US + 9)
    tell(live_store, Label("a", True, START_US + DAY_US), now_us=START_US + 9)
    assert [known_us for *_, known_us, _ in reports(live_store)] == [START_US + 5, START_US + DAY_US]


def test_reports_from_the_warehouse_come_once_and_in_their_order(live_store: LiveStore) -> None:
    table = history(("b", "m", START_US, START_US + 7), ("a", "m", START_US, START_US + 5))
    assert live_store.backfill_reports(table) == 2
    assert live_store.backfill_reports(table) == 0
    assert [row[1:] for row in reports(live_store)] == [
        ("a", "m", START_US + 5, START_US),
        ("b", "m", START_US + 7, START_US),
    ]


def test_a_label_that_the_warehouse_has_told_already_is_no_second_report(live_store: LiveStore) -> None:
    claim(live_store, "a", merchant_id="m")
    live_store.backfill_reports(history(("a", "m", START_US, START_US + 5)))
    tell(live_store, Label("a", True, START_US + 5))
    assert len(reports(live_store)) == 1


def test_reports_behind_the_horizon_are_pruned(live_store: LiveStore) -> None:
    live_store.backfill_reports(history(("a", "m", 0, 5), ("b", "m", 0, START_US)))
    live_store.prune(START_US)
    assert [name for _, name, *_ in reports(live_store)] == ["b"]
