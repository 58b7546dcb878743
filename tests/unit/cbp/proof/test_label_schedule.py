"""Labels are told after their own payment, and before every payment that happened after they were known."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from cbp.proof.traffic.label_schedule import ReportSchedule
from cbp.proof.traffic.stream import Stream
from warehouse.canonical import LABEL_SCHEMA, TRANSACTION_SCHEMA

Payment = tuple[int, int]
"""When it happened, and how much later it became known."""


def stream_of(payments: list[Payment], labels: list[tuple[int, int, bool]], *, from_us: int) -> Stream:
    rows = [
        {"transaction_id": f"t{number}", "event_us": event_us, "ingested_us": event_us + late_us}
        for number, (event_us, late_us) in enumerate(payments)
    ]
    told = [
        {"transaction_id": f"t{number}", "known_us": known_us, "is_fraud": is_fraud}
        for number, known_us, is_fraud in labels
    ]
    transactions = pa.Table.from_pylist(rows, TRANSACTION_SCHEMA)
    order = [("ingested_us", "ascending"), ("event_us", "ascending"), ("transaction_id", "ascending")]
    return Stream(from_us, 10**9, transactions.sort_by(order), pa.Table.from_pylist(told, LABEL_SCHEMA))


@settings(deadline=None)
@given(
    payments=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), min_size=1, max_size=12),
    labels=st.lists(
        st.tuples(st.integers(0, 14), st.integers(0, 45), st.booleans()),
        max_size=12,
        unique_by=lambda label: label[:2],
    ),
    from_us=st.integers(0, 15),
    size=st.integers(1, 6),
)
def test_each_report_is_told_in_time_and_once(
    payments: list[Payment], labels: list[tuple[int, int, bool]], from_us: int, size: int
) -> None:
    stream = stream_of(payments, labels, from_us=from_us)
    sent = stream.replayed().to_pylist()
    schedule = ReportSchedule(stream)
    places: dict[tuple[str, int], int] = {}
    first = 0
    while first < len(sent):
        stop = schedule.cut(first, min(first + size, len(sent)))
        assert first < stop <= first + size
        for request in schedule.take(first, stop):
            names = [label["transaction_id"] for label in request]
            assert len(set(names)) == len(names) > 0
            for label in request:
                key = (label["transaction_id"], label["known_us"])
                assert key not in places
                places[key] = first
        first = stop
    position = {row["transaction_id"]: place for place, row in enumerate(sent)}
    wanted = {(f"t{number}", known_us) for number, known_us, is_fraud in labels if is_fraud}
    assert set(places) <= {(name, known_us) for name, known_us in wanted if known_us >= from_us}
    for name, known_us in wanted:
        if known_us < from_us:
            continue
        paid = position.get(name, -1)
        later = [place for place, row in enumerate(sent) if place > paid and row["event_us"] > known_us]
        if later:
            assert paid < places[name, known_us] <= later[0]
