"""Which late row explains which difference: each rule at its edge, and nothing besides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cbp.proof.comparison.compare import Comparison
from cbp.proof.comparison.lateness import Explanation, explain
from cbp.proof.traffic.stream import Course
from warehouse.canonical import MAX_AHEAD_US
from warehouse.velocity.declarations import LiveFeature

HOUR_US = 3_600_000_000
NOON_US = 1_000 * 24 * HOUR_US
COUNT = LiveFeature("transaction_count_1h", ("customer_id",), "event_us", "count", HOUR_US)
FROM_US = NOON_US - 12 * HOUR_US
EVERYTHING = pa.schema(
    [
        *((name, pa.string()) for name in ("transaction_id", "customer_id", "merchant_id")),
        *((name, pa.string()) for name in ("reported_merchant_id", "reported_id")),
        *((name, pa.int64()) for name in ("event_us", "paid_us", "latitude_e6", "longitude_e6")),
    ]
)
VIEWS = {"profile_mean": "profile", "risk": "merchant_risk"}
REPORTED = LiveFeature(
    "merchant_fraud_distinct_1h", ("reported_merchant_id",), "reported_id", "distinct", HOUR_US
)
MERCHANT = LiveFeature("merchant_transaction_count_1h", ("merchant_id",), "event_us", "count", HOUR_US)


@dataclass(frozen=True)
class Arrival:
    """One event, in the order of arrival; known when it happened unless said otherwise."""

    name: str
    event_us: int
    customer: str = "c"
    merchant: str = "m"
    known_us: int | None = None
    ahead: tuple[str, ...] = ()


def explain_difference(
    folder: Path,
    arrivals: list[Arrival],
    *features: str,
    of: str = "decided",
    computed: int = 1,
    forgotten: tuple[int, ...] = (),
    since_us: int = 0,
    due_us: tuple[int, ...] = (),
    derived: tuple[str, ...] = (),
    told: tuple[tuple[int, str, int], ...] = (),
    reports: tuple[tuple[str, str, int], ...] = (),
) -> Explanation:
    """Explain that the warehouse computed a value and a decision used 0.

    `told`: reports as they arrived (place, payment, time), `reports`: the warehouse's. `forgotten`: times of
    payments that the warehouse has alone.
    """
    ids = [one.name for one in arrivals]
    arrived = pa.table(
        {
            "arrival_seq": range(1, len(arrivals) + 1),
            "transaction_id": ids,
            "customer_id": [one.customer for one in arrivals],
            "merchant_id": [one.merchant for one in arrivals],
            "event_us": [one.event_us for one in arrivals],
        }
    )
    reported = pa.table(
        {
            "arrival_seq": pa.array([place for place, *_ in told], pa.int64()),
            "reported_id": pa.array([name for _, name, _ in told], pa.string()),
            "event_us": pa.array([known_us for *_, known_us in told], pa.int64()),
        }
    )
    arrived = pa.concat_tables([arrived, reported], promote_options="default")
    paid_us = {one.name: one.event_us for one in arrivals}
    everything = pa.Table.from_pylist(
        [payment_of(Arrival(f"forgotten-{number}", event_us)) for number, event_us in enumerate(forgotten)]
        + [payment_of(one) for one in arrivals]
        + [
            {"reported_id": name, "reported_merchant_id": merchant}
            | {"event_us": known_us, "paid_us": paid_us[name]}
            for name, merchant, known_us in reports
        ],
        schema=EVERYTHING,
    )
    everything = everything.append_column("arrival_seq", pa.array(range(len(everything))))
    known = pa.table(
        {"transaction_id": ids, "ingested_us": [one.known_us or one.event_us for one in arrivals]}
    )
    used = folder / "used.parquet"
    ahead = pa.array([one.ahead for one in arrivals], pa.list_(pa.string()))
    pq.write_table(pa.table({"transaction_id": ids, "ahead": ahead}), used)
    comparison = Comparison()
    for feature in features:
        comparison.add(pa.array([of]), feature, pa.array([0]), pa.array([computed]))
    return explain(
        comparison,
        used,
        arrived,
        known,
        everything=everything,
        course=Course(FROM_US, since_us, due_us),
        live=[COUNT, MERCHANT, REPORTED],
        derived=derived,
        views=VIEWS,
    )


def payment_of(one: Arrival) -> dict[str, object]:
    return {
        "transaction_id": one.name,
        "customer_id": one.customer,
        "merchant_id": one.merchant,
        "reported_merchant_id": one.merchant,
        "event_us": one.event_us,
    }


@pytest.mark.parametrize(
    ("behind_us", "explained"), [(0, 0), (1, 1), (HOUR_US, 1), (HOUR_US + 1, 0), (-1, 0)]
)
def test_a_row_in_the_window_that_arrived_later_explains(
    tmp_path: Path, behind_us: int, explained: int
) -> None:
    arrivals = [
        Arrival("decided", NOON_US),
        Arrival("late", NOON_US - behind_us, known_us=NOON_US + HOUR_US),
    ]
    found = explain_difference(tmp_path, arrivals, COUNT.name)
    assert (found.explained, found.unexplained) == (explained, 1 - explained)
    changed = {row["transaction_id"]: row["values_changed"] for row in found.late.to_pylist()}
    assert changed == {"late": explained}


def test_a_row_of_another_customer_explains_only_the_merchants_value(tmp_path: Path) -> None:
    arrivals = [Arrival("decided", NOON_US), Arrival("late", NOON_US - 1, customer="other", known_us=NOON_US)]
    found = explain_difference(tmp_path, arrivals, COUNT.name, MERCHANT.name)
    assert (found.explained, found.unexplained) == (1, 1)
    assert [example["feature"] for example in found.unexplained_examples] == [COUNT.name]


def test_a_row_that_had_arrived_explains_nothing(tmp_path: Path) -> None:
    late = Arrival("late", NOON_US - 2 * HOUR_US, known_us=NOON_US - 1)
    found = explain_difference(tmp_path, [late, Arrival("decided", NOON_US)], COUNT.name)
    assert (found.explained, found.unexplained) == (0, 1)


def test_a_newer_snapshot_explains_its_own_values_of_a_late_decision_alone(tmp_path: Path) -> None:
    late = Arrival("decided", NOON_US, known_us=NOON_US + 1, ahead=("profile",))
    found = explain_difference(tmp_path, [late], "profile_mean", "risk", COUNT.name)
    assert (found.explained, found.unexplained) == (1, 2)
    assert {example["feature"] for example in found.unexplained_examples} == {"risk", COUNT.name}
    timely = Arrival("decided", NOON_US, ahead=("profile",))
    assert explain_difference(tmp_path, [timely], "profile_mean").unexplained == 1
    up_to_date = Arrival("decided", NOON_US, known_us=NOON_US + 1)
    assert explain_difference(tmp_path, [up_to_date], "profile_mean").unexplained == 1


def test_what_was_loaded_first_makes_no_punctual_row_late(tmp_path: Path) -> None:
    loaded = Arrival("loaded", NOON_US + HOUR_US, customer="other")
    found = explain_difference(tmp_path, [loaded, Arrival("decided", NOON_US)], COUNT.name)
    assert found.late.num_rows == 0


def test_a_late_row_explains_what_it_makes_of_the_value_alone(tmp_path: Path) -> None:
    arrivals = [Arrival("decided", NOON_US), Arrival("late", NOON_US - 1, known_us=NOON_US + 1)]
    found = explain_difference(tmp_path, arrivals, COUNT.name, computed=2)
    assert (found.explained, found.unexplained) == (0, 1)


@pytest.mark.parametrize(("more_us", "explained"), [(0, 0), (1, 1)])
def test_what_the_live_store_was_not_given_explains_the_windows_that_reach_it(
    tmp_path: Path, more_us: int, explained: int
) -> None:
    late = Arrival("decided", NOON_US, known_us=NOON_US + 1)
    found = explain_difference(
        tmp_path,
        [late],
        COUNT.name,
        "profile_mean",
        forgotten=(NOON_US - HOUR_US,),
        since_us=NOON_US - HOUR_US + more_us,
    )
    assert (found.explained, found.unexplained) == (explained, 2 - explained)


@pytest.mark.parametrize(("ahead_us", "is_late"), [(MAX_AHEAD_US, True), (MAX_AHEAD_US + 1, False)])
def test_a_row_dated_ahead_makes_nothing_late(tmp_path: Path, ahead_us: int, is_late: bool) -> None:
    arrivals = [
        Arrival("ahead", NOON_US - 1 + ahead_us, known_us=NOON_US - 1),
        Arrival("decided", NOON_US, ahead=("profile",)),
    ]
    found = explain_difference(tmp_path, arrivals, "profile_mean")
    assert (found.explained, found.late.num_rows) == (int(is_late), int(is_late))


@pytest.mark.parametrize(
    ("due_us", "is_explained"),
    [(NOON_US - 1, False), (NOON_US, True), (NOON_US + 1, True), (NOON_US + 2, False)],
)
def test_a_decision_sent_before_and_dated_after_a_snapshot_counts_explains_the_older_one(
    tmp_path: Path, due_us: int, is_explained: bool
) -> None:
    early = Arrival("decided", NOON_US + 1, known_us=NOON_US - 1)
    found = explain_difference(tmp_path, [early], "profile_mean", COUNT.name, due_us=(due_us,))
    assert (found.explained, found.unexplained) == ((1, 1) if is_explained else (0, 2))
    assert found.late["transaction_id"].to_pylist() == (["decided"] if is_explained else [])


def test_a_derived_value_is_explained_when_all_that_differs_beside_it_is(tmp_path: Path) -> None:
    arrivals = [Arrival("decided", NOON_US), Arrival("late", NOON_US - 1, known_us=NOON_US)]
    derived = ("ratio",)
    assert explain_difference(tmp_path, arrivals, COUNT.name, "ratio", derived=derived).explained == 2
    mixed = explain_difference(tmp_path, arrivals, COUNT.name, "profile_mean", "ratio", derived=derived)
    assert (mixed.explained, mixed.unexplained) == (1, 2)
    assert explain_difference(tmp_path, arrivals, "ratio", derived=derived).unexplained == 1


@pytest.mark.parametrize(
    ("told", "is_explained"),
    [
        ((), True),  # it never arrived: its payment was unknown when the label was told
        (((9, "late", NOON_US - 10),), True),  # it arrived after the decision
        (((1, "late", NOON_US - 10),), False),  # it had arrived
    ],
)
def test_a_report_that_came_too_late_is_its_late_payments(
    tmp_path: Path, told: tuple[tuple[int, str, int], ...], is_explained: bool
) -> None:
    arrivals = [
        Arrival("decided", NOON_US),
        Arrival("late", NOON_US - HOUR_US // 2, known_us=NOON_US + 5, customer="other"),
    ]
    found = explain_difference(
        tmp_path, arrivals, REPORTED.name, told=told, reports=(("late", "m", NOON_US - 10),)
    )
    assert (found.explained, found.unexplained) == ((1, 0) if is_explained else (0, 1))


def test_a_report_that_was_lost_is_not_excused_by_a_payment_that_was_known_in_time(tmp_path: Path) -> None:
    arrivals = [
        Arrival("late", NOON_US - HOUR_US // 2, known_us=NOON_US - HOUR_US // 2 + 1, customer="other"),
        Arrival("decided", NOON_US),
    ]
    found = explain_difference(tmp_path, arrivals, REPORTED.name, reports=(("late", "m", NOON_US - 10),))
    assert (found.explained, found.unexplained) == (0, 1)


@pytest.mark.parametrize("known_us", [NOON_US, NOON_US - HOUR_US - 1])
def test_a_report_outside_the_window_explains_nothing(tmp_path: Path, known_us: int) -> None:
    arrivals = [Arrival("decided", NOON_US), Arrival("late", NOON_US - 2 * HOUR_US, known_us=NOON_US + 5)]
    found = explain_difference(tmp_path, arrivals, REPORTED.name, reports=(("late", "m", known_us),))
    assert (found.explained, found.unexplained) == (0, 1)


def test_reports_make_no_payment_late(tmp_path: Path) -> None:
    found = explain_difference(
        tmp_path, [Arrival("decided", NOON_US)], COUNT.name, told=((0, "x", NOON_US + HOUR_US),)
    )
    assert found.late.num_rows == 0
