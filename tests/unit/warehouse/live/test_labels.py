"""Labels in the live store: told once, corrected later, never before their transaction, never changed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.live_payments import DAY_US, LIVE_SQL, START_US, WORKER, pay
from warehouse.live.engine import LiveEngine
from warehouse.live.labels import Label, LabelConflictError, RecordedLabel
from warehouse.live.store import LiveStore


def tell(store: LiveStore, *labels: Label, now_us: int = START_US) -> list[RecordedLabel]:
    return store.record_labels(labels, source="analyst", now_us=now_us)


def landed(store: LiveStore) -> list[tuple[str, bool, int]]:
    rows = store.labels_after(0)[0].to_pylist()
    return [(row["transaction_id"], row["is_fraud"], row["known_us"]) for row in rows]


def test_a_label_without_a_time_counts_from_now(live_store: LiveStore) -> None:
    (told,) = tell(live_store, Label("a", True))
    assert told == RecordedLabel("a", True, START_US, is_new=True, is_transaction_known=False)
    assert landed(live_store) == [("a", True, START_US)]


def test_telling_the_same_again_adds_nothing(live_store: LiveStore) -> None:
    first = tell(live_store, Label("a", True), Label("b", False, START_US - 5))
    again = tell(live_store, Label("a", True), Label("b", False, START_US - 5), now_us=START_US + DAY_US)
    assert [label.is_new for label in first + again] == [True, True, False, False]
    assert [label.known_us for label in first] == [label.known_us for label in again]
    assert len(landed(live_store)) == 2


def test_another_verdict_is_another_label_that_counts_later(live_store: LiveStore) -> None:
    tell(live_store, Label("a", True, START_US + 7))
    tell(live_store, Label("a", False))  # by a clock that is behind
    tell(live_store, Label("a", True), now_us=START_US + DAY_US)
    assert landed(live_store) == [
        ("a", True, START_US + 7),
        ("a", False, START_US + 8),
        ("a", True, START_US + DAY_US),
    ]


def test_two_verdicts_at_one_instant_are_a_conflict_and_nothing_of_the_request_stays(
    live_store: LiveStore,
) -> None:
    tell(live_store, Label("a", True, START_US))
    with pytest.raises(LabelConflictError, match="later known_us"):
        tell(live_store, Label("new", True), Label("a", False, START_US))
    assert landed(live_store) == [("a", True, START_US)]


def test_a_label_is_never_known_before_its_transaction(live_store: LiveStore) -> None:
    live_store.claim([pay("a")], worker=WORKER, now_us=START_US, live_sql=LIVE_SQL)
    with pytest.raises(LabelConflictError, match="before the transaction"):
        tell(live_store, Label("a", True, START_US - 1))
    (told,) = tell(live_store, Label("a", True, START_US))
    assert told.is_transaction_known


def test_more_labels_than_one_query_takes(live_store: LiveStore) -> None:
    labels = [Label(f"t{number}", number % 2 == 0) for number in range(5_001)]
    assert all(told.is_new for told in tell(live_store, *labels))
    assert not any(told.is_new for told in tell(live_store, *labels, now_us=START_US + 1))


TOLD = st.lists(
    st.builds(
        Label,
        st.sampled_from(["a", "b"]),
        st.booleans(),
        st.one_of(st.none(), st.integers(START_US - 3, START_US + 3)),
    ),
    max_size=12,
)


@hypothesis_settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TOLD)
def test_the_verdict_that_stands_is_the_last_that_became_known(
    new_live_url: Callable[[], str], told: list[Label]
) -> None:
    """One request a label; a dictionary of instants is the oracle."""
    store = LiveStore(LiveEngine(new_live_url()))
    with closing(store):
        store.create_tables()
        known: dict[str, dict[int, bool]] = {"a": {}, "b": {}}
        count = 0
        for offset, label in enumerate(told):
            verdicts = known[label.transaction_id]
            stands = verdicts.get(label.known_us) if label.known_us is not None else None
            if stands is not None and stands != label.is_fraud:
                with pytest.raises(LabelConflictError):
                    tell(store, label, now_us=START_US + offset)
                continue
            (recorded,) = tell(store, label, now_us=START_US + offset)
            count += recorded.is_new
            verdicts[recorded.known_us] = recorded.is_fraud
            if label.known_us is None:
                assert verdicts[max(verdicts)] == label.is_fraud
        assert len(landed(store)) == count == sum(map(len, known.values()))
