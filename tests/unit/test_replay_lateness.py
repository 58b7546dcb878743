"""Which late row explains which difference: each rule at its edge, and nothing besides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.replay.comparison import Comparison
from api.replay.lateness import Explanation, explain
from warehouse.declarations import LiveFeature
from warehouse.live_transfer import ALLOWED_LATENESS_US

HOUR_US = 3_600_000_000
NOON_US = 1_000 * 24 * HOUR_US
COUNT = LiveFeature("transaction_count_1h", ("customer_id",), "event_us", "count", HOUR_US)
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
    derived: tuple[str, ...] = (),
    told: tuple[tuple[int, str, int], ...] = (),
    reports: tuple[tuple[str, str, int], ...] = (),
) -> Explanation:
    """Explain; `told`: reports as they arrived (place, payment, time), `reports`: the warehouse's."""
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
    final = pa.table(
        {
            name: pa.array([report[place] for report in reports], kind)
            for place, (name, kind) in enumerate(
                (("transaction_id", pa.string()), ("merchant_id", pa.string()), ("known_us", pa.int64()))
            )
        }
    )
    known = pa.table(
        {"transaction_id": ids, "ingested_us": [one.known_us or one.event_us for one in arrivals]}
    )
    used = folder / "used.parquet"
    ahead = pa.array([one.ahead for one in arrivals], pa.list_(pa.string()))
    pq.write_table(pa.table({"transaction_id": ids, "ahead": ahead}), used)
    comparison = Comparison()
    for feature in features:
        comparison.add(pa.array([of]), feature, pa.array([0]), pa.array([1]))
    live = [COUNT, MERCHANT, REPORTED]
    return explain(comparison, used, arrived, known, live=live, reports=final, derived=derived, views=VIEWS)


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


@pytest.mark.parametrize(("more_us", "explained"), [(0, 0), (1, 1)])
def test_a_decision_later_than_allowed_explains_its_own_windows(
    tmp_path: Path, more_us: int, explained: int
) -> None:
    first = Arrival("first", NOON_US + ALLOWED_LATENESS_US + more_us, customer="other", merchant="other")
    decided = Arrival("decided", NOON_US, known_us=first.event_us)
    found = explain_difference(tmp_path, [first, decided], COUNT.name, "profile_mean")
    assert (found.explained, found.unexplained) == (explained, 2 - explained)


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
