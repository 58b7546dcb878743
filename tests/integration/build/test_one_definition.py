"""Law 3: live values are the warehouse's, bit for bit, and both are what a naive loop over the rows says."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, groupby
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.compiled_sql import (
    CompiledSql,
    LoopedParts,
    compile_sql,
    features_of_history,
    looped_parts,
    place_of,
)
from tests.support.examples import examples
from tests.support.limbs import deviation
from warehouse.live.engine import LiveEngine
from warehouse.live.events import Transaction
from warehouse.live.fraud_reports import Report
from warehouse.live.labels import Label
from warehouse.live.store import LiveStore
from warehouse.velocity.declarations import LiveFeature, read_declarations

NewUrl = Callable[[], str]
LIVE = read_declarations().live
DAY_US = 86_400_000_000
HORIZON_US = 30 * DAY_US
START_US = 1_700_000_000_000_000
WINDOWS_US = sorted({feature.window_us for feature in LIVE})
# Steps between payments that land on the edges of the declared windows, and a microsecond beside them.
STEPS_US = (0, 1, *(edge_us + beside for edge_us in WINDOWS_US for beside in (-1, 0, 1)))
# A plain day, and the last microsecond before a leap day and of it.
STARTS_US = (START_US, 1_709_164_799_999_999, 1_709_251_199_999_999)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> CompiledSql:
    return compile_sql(tmp_path_factory.mktemp("compiled"))


@st.composite
def histories(draw: st.DrawFn) -> list[Transaction]:
    """Draw payments of few customers and merchants, so that they meet in windows, ties and nulls included."""
    count = draw(st.integers(1, 14))
    time_us = draw(st.sampled_from(STARTS_US))
    history = []
    for number in range(count):
        time_us += draw(st.sampled_from(STEPS_US))
        place = draw(
            st.sampled_from(
                [None, (0.0, 0.0), (48.85, 2.35), (-33.9, 179.99), (-33.9, -179.99), (90.0, 180.0)]
            )
        )
        history.append(
            Transaction(
                transaction_id=f"t{number}",
                customer_id=draw(st.sampled_from(["c1", "c2", None])),
                merchant_id=draw(st.sampled_from(["m1", "m2", None])),
                event_us=time_us,
                amount_minor=draw(
                    st.one_of(st.sampled_from([0, 1, 2**20 - 1, 2**20, 10**12]), st.integers(0, 10**12))
                ),
                category=draw(st.sampled_from(["food", "travel", None])),
                country=draw(st.sampled_from(["FR", "DE", None])),
                latitude=None if place is None else place[0],
                longitude=None if place is None else place[1],
            )
        )
    return history


def draw_reports(data: st.DataObject, history: list[Transaction]) -> list[Report]:
    """Draw fraud reports of some payments, some told twice, at all delays that meet the windows' edges."""
    return [
        Report(paid.transaction_id, paid.merchant_id, paid.event_us + delay_us, paid.event_us)
        for paid in history
        if paid.merchant_id is not None
        for delay_us in data.draw(st.lists(st.sampled_from(STEPS_US), max_size=2, unique=True))
    ]


def timely(reports: list[Report]) -> list[Report]:
    """Leave out reports of payments that the live store may have forgotten."""
    return [report for report in reports if report.event_us - report.paid_us <= HORIZON_US]


def past_of(feature: LiveFeature, now: Transaction, arrived: list[Transaction]) -> list[Transaction]:
    """Filter row by row: the slow, obvious way."""
    keys = [getattr(now, key) for key in feature.keys]
    if None in keys:
        return []
    return [
        past
        for past in arrived
        if [getattr(past, key) for key in feature.keys] == keys
        and now.event_us - feature.window_us <= past.event_us < now.event_us
    ]


def expected(
    feature: LiveFeature, now: Transaction, arrived: list[Transaction], reports: list[Report]
) -> Any:
    """Compute one feature in plain Python."""
    if feature.column == "reported_id":
        return len(
            {
                report.reported_id
                for report in timely(reports)
                if report.reported_merchant_id == now.merchant_id
                and now.event_us - feature.window_us <= report.event_us < now.event_us
            }
        )
    past = past_of(feature, now, arrived)
    if feature.operation == "count":
        return len(past)
    if feature.operation == "distinct":
        return len({getattr(item, feature.column) for item in past} - {None})
    if feature.operation in ("last_km", "last_kmh"):
        return expected_distance(feature, now, past)
    if not past:
        return None
    if feature.operation == "since_last":
        return (now.event_us - max(item.event_us for item in past)) / 1_000_000
    amounts = [item.amount_minor for item in past]
    if feature.operation == "sum":
        return sum(amounts)
    if feature.operation == "max":
        return max(amounts)
    if feature.operation == "mean":
        return sum(amounts) / len(amounts)
    assert feature.operation == "stddev"
    return deviation(amounts)


def expected_distance(feature: LiveFeature, now: Transaction, past: list[Transaction]) -> Any:
    """Great-circle distance is not what is computed: compare with the same plane, by the library's cosine."""
    placed = [item for item in past if place_of(item) is not None]
    if not placed or place_of(now) is None:
        return None
    last = max(placed, key=lambda item: (item.event_us, place_of(item)))
    assert last.latitude is not None
    assert last.longitude is not None
    assert now.latitude is not None
    assert now.longitude is not None
    east = abs(last.longitude - now.longitude)
    east = min(east, 360.0 - east) * math.cos(math.radians((last.latitude + now.latitude) / 2))
    km = math.hypot(last.latitude - now.latitude, east) * 111.194926644559
    if feature.operation == "last_km":
        return pytest.approx(km, rel=1e-5, abs=1e-3)
    return pytest.approx(km / ((now.event_us - last.event_us) / 3_600_000_000), rel=1e-5, abs=1e-3)


Arrival = Transaction | Report


def in_batches(arrivals: Sequence[Arrival], size: int) -> Iterator[list[Arrival]]:
    """Cut what arrives into requests: of one kind each, at most so many."""
    for _, group in groupby(arrivals, key=type):
        some = [*group]
        yield from (some[start : start + size] for start in range(0, len(some), size))


def live_values(
    sql: str, url: str, arrivals: Sequence[Arrival], *, batch_size: int
) -> dict[str, dict[str, Any]]:
    """Claim payments and record labels in batches, as the API does; the first of each comes twice in it."""
    store = LiveStore(LiveEngine(url))
    values: dict[str, dict[str, Any]] = {}
    try:
        store.create_tables()
        for batch in in_batches(arrivals, batch_size):
            twice = [*batch, batch[0]]
            labels = [Label(one.reported_id, True, one.event_us) for one in twice if isinstance(one, Report)]
            payments = [one for one in twice if isinstance(one, Transaction)]
            if labels:
                store.record_labels(labels, source="test", now_us=START_US)
                continue
            for claim in store.claim(payments, worker="test/1/1.00", now_us=START_US, live_sql=sql):
                values[claim.transaction.transaction_id] = dict(claim.velocity)
        return values
    finally:
        store.close()


def only_payments(arrivals: Sequence[Arrival]) -> list[Transaction]:
    return [one for one in arrivals if isinstance(one, Transaction)]


def by_time(one: Arrival) -> tuple[int, bool]:
    """Order as things happen: a report after its payment."""
    return one.event_us, isinstance(one, Report)


@pytest.fixture(scope="module")
def looped(tmp_path_factory: pytest.TempPathFactory) -> LoopedParts:
    return looped_parts(tmp_path_factory.mktemp("looped"))


@hypothesis_settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories(), rows_per_slice=st.sampled_from([1, 3, 100]), data=st.data())
def test_compiled_loops_and_window_functions_agree(
    compiled: CompiledSql,
    looped: LoopedParts,
    history: list[Transaction],
    rows_per_slice: int,
    data: st.DataObject,
) -> None:
    reports = draw_reports(data, history)
    by_windows = features_of_history(compiled.history, history, reports)
    by_loops = features_of_history(looped.history, history, reports, before=looped.writer(rows_per_slice))
    assert by_loops.keys() == by_windows.keys() == {item.transaction_id for item in history}
    for name, values in by_windows.items():
        for feature, value in values.items():
            assert same_bits(by_loops[name][feature], value), (name, feature)


def same_bits(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right


@hypothesis_settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    history=histories(),
    order=st.randoms(use_true_random=False),
    batch_size=st.sampled_from([1, 3, 100]),
    data=st.data(),
)
def test_history_live_and_oracle_agree(
    compiled: CompiledSql,
    new_live_url: NewUrl,
    history: list[Transaction],
    order: random.Random,
    batch_size: int,
    data: st.DataObject,
) -> None:
    reports = draw_reports(data, history)
    warehouse = features_of_history(compiled.history, history, timely(reports))
    arrivals = sorted([*history, *reports], key=by_time)
    in_order = live_values(compiled.live, new_live_url(), arrivals, batch_size=batch_size)
    shuffled: list[Arrival] = order.sample(arrivals, len(arrivals))
    as_it_came = live_values(compiled.live, new_live_url(), shuffled, batch_size=batch_size)
    for now in history:
        name = now.transaction_id
        before = shuffled[: shuffled.index(now)]
        payments = only_payments(before)
        # A report of a payment that wasn't known is for the next build to bring.
        told = [
            one
            for place, one in enumerate(before)
            if isinstance(one, Report)
            and any(paid.transaction_id == one.reported_id for paid in only_payments(before[:place]))
        ]
        for feature in LIVE:
            computed = warehouse[name][feature.name]
            assert computed == expected(feature, now, history, reports), (name, feature.name)
            assert same_bits(in_order[name][feature.name], computed), (name, feature.name)
            assert as_it_came[name][feature.name] == expected(feature, now, payments, told), (
                name,
                feature.name,
            )


@hypothesis_settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories(), later=histories(), data=st.data())
def test_later_rows_change_no_earlier_feature(
    compiled: CompiledSql,
    looped: LoopedParts,
    history: list[Transaction],
    later: list[Transaction],
    data: st.DataObject,
) -> None:
    reports = draw_reports(data, history)
    cut_us = data.draw(st.sampled_from(history)).event_us
    kept = [item for item in history if item.event_us <= cut_us]
    shift_us = cut_us - later[0].event_us
    altered = [
        *kept,
        *(
            replace(item, transaction_id=f"later {item.transaction_id}", event_us=item.event_us + shift_us)
            for item in later
        ),
    ]
    # What is reported at the cut or after it is as unknown before as a later payment.
    kept_reports = [report for report in reports if report.event_us < cut_us]
    later_reports = [*kept_reports, *(replace(one, event_us=cut_us + 1) for one in reports)]
    names = [item.transaction_id for item in kept]
    worlds = ((history, reports), (altered, later_reports))
    for first, then in (
        [features_of_history(compiled.history, *world) for world in worlds],
        [features_of_history(looped.history, *world, before=looped.writer(3)) for world in worlds],
    ):
        assert [then[name] for name in names] == [first[name] for name in names]


def test_the_live_sql_gives_every_declared_feature_in_the_models_order(
    compiled: CompiledSql, new_live_url: NewUrl
) -> None:
    history = [Transaction(transaction_id="t", customer_id="c", event_us=START_US, amount_minor=1)]
    warehouse = features_of_history(compiled.history, history)
    live = live_values(compiled.live, new_live_url(), history, batch_size=1)
    assert list(live["t"]) == list(warehouse["t"]) == [feature.name for feature in LIVE]


def test_histories_meet_the_edges_of_every_declared_window_and_both_sides_of_them() -> None:
    met: set[int] = set()

    @hypothesis_settings(max_examples=400, phases=[Phase.generate], deadline=None, derandomize=True)
    @given(history=histories())
    def look(history: list[Transaction]) -> None:
        for customer in ("c1", "c2"):
            times = [item.event_us for item in history if item.customer_id == customer]
            met.update(later - earlier for earlier, later in combinations(times, 2))

    look()
    assert {edge_us + beside for edge_us in WINDOWS_US for beside in (-1, 0, 1)} <= met
