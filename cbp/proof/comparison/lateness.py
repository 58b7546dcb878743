"""Which rows came late, and whether a difference from the warehouse is theirs.

The warehouse computes over all rows, a decision over those that had arrived. A value may differ only when a
row came late: after the decision, and within its window (live features); or so late that a report of it in
the window found no payment to be about, or came after the decision; or when the decision's own
transaction came late, so that a newer snapshot was online already (profiles and risk), or so late that its
windows reach back to before what the live store was given; or early, dated after an instant at which newer
snapshots begin to count and sent before it. A live value may differ only to what the oracle finds over all
rows. A derived feature may differ when a value differs that it is derived from.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from cbp.proof.comparison.compare import Comparison
from cbp.proof.comparison.oracle import agreeing
from cbp.proof.traffic.stream import Course
from warehouse.canonical import MAX_AHEAD_US
from warehouse.velocity.declarations import LiveFeature

_REPORTED: Final = ("reported_merchant_id",)


@dataclass(frozen=True)
class Explanation:
    """What lateness explains.

    Parameters
    ----------
    late : pyarrow.Table
        One row per late or early row: arrival_seq, transaction_id, customer_id, merchant_id, event_us,
        known_us (when it became known), behind_us (how much later the latest event was that had arrived),
        values_changed (differences that it is named for).
    explained : int
        Differences that a listed row explains.
    unexplained : int
        Differences that none explains, those that were not kept one by one included.
    unexplained_examples : list of dict
        The first few.
    """

    late: pa.Table
    explained: int
    unexplained: int
    unexplained_examples: list[dict[str, object]]


def explain(
    comparison: Comparison,
    used: Path,
    arrived: pa.Table,
    known: pa.Table,
    *,
    everything: pa.Table,
    course: Course,
    live: Sequence[LiveFeature],
    derived: Collection[str],
    views: Mapping[str, str],
) -> Explanation:
    """Name the late row of each difference from the warehouse.

    Parameters
    ----------
    comparison : Comparison
        From `compare_with_warehouse`.
    used : Path
        File of `cbp.proof.comparison.records.write_used`.
    arrived : pyarrow.Table
        Everything that arrived in the live store, in order (`cbp.proof.comparison.oracle.arrived_events`).
    known : pyarrow.Table
        transaction_id and ingested_us of the replayed transactions: when each became known.
    everything : pyarrow.Table
        What the warehouse computed over (`cbp.proof.comparison.oracle.warehouse_events`).
    course : Course
    live : sequence of LiveFeature
        The declared ones.
    derived : collection of str
        Names of the derived features.
    views : mapping of str to str
        The view of each feature that the online store serves (see `DbtFeatures`).
    """
    with duckdb.connect() as connection:
        connection.register("arrived_rows", arrived)
        connection.register("known_rows", known)
        connection.register("all_rows", everything)
        differences = comparison.differences()
        connection.register("difference_rows", differences)
        connection.register("view_rows", pa.table({"feature": list(views), "view": list(views.values())}))
        connection.register("due", pa.table({"at_us": pa.array(course.due_us, pa.int64())}))
        connection.execute(_EVENTS)
        connection.execute(_LATE, {"from_us": course.from_us, "ahead_us": MAX_AHEAD_US})
        connection.execute(_DIFFERENCES, [str(used)])
        differing = [feature for feature in live if feature.name in comparison.by_feature]
        if differing:
            for keys, of_entity in groupby(sorted(differing, key=_keys), key=_keys):
                some = list(of_entity)
                connection.execute(_explain_reports(some) if keys == _REPORTED else _explain_live(keys, some))
            connection.execute(_explain_forgotten(differing), {"since_us": course.since_us})
            longest_us = max(feature.window_us for feature in live)
            connection.register("agreed", agreeing(differences, everything, differing, longest_us=longest_us))
            connection.execute(_ONLY_AGREED, {"live": [feature.name for feature in differing]})
        connection.execute(_EXPLAIN_AHEAD)
        connection.execute(_EXPLAIN_EARLY)
        connection.execute(_EXPLAIN_DERIVED, {"derived": list(derived)})
        return _summary(connection, comparison)


_EVENTS: Final = """
create table events as
select arrived_rows.*, known_rows.ingested_us as known_us
from arrived_rows
left join known_rows using (transaction_id)
"""

# Late: known after it happened, or after something that happened later, in whatever order rows were loaded.
# What is dated ahead of its own arrival makes nothing late. Only what was sent can be late for a decision:
# the rest was there before, or came after all of it. Early: see the module.
_LATE: Final = """
create table late as
select * exclude (order_us), newest_us - event_us as behind_us
from (
    select
        *,
        max(
            case
                when transaction_id is not null and event_us <= coalesce(known_us, $from_us) + $ahead_us
                    then event_us
            end
        ) over (
            order by order_us nulls first, arrival_seq rows between unbounded preceding and 1 preceding
        ) as newest_us
    from (
        select
            *,
            coalesce(known_us, max(known_us) over in_order) as order_us
        from events
        window in_order as (order by arrival_seq rows between unbounded preceding and current row)
    )
)
where known_us > event_us
    or (known_us is not null and newest_us > event_us)
    or exists (from due where at_us > known_us and at_us <= event_us)
"""

_DIFFERENCES: Final = """
create table differences as
select
    row_number() over () as number,
    difference_rows.*,
    events.* exclude (transaction_id),
    decided.ahead,
    cast(null as bigint) as cause
from difference_rows
inner join events using (transaction_id)
inner join (select transaction_id, ahead from read_parquet(?)) as decided using (transaction_id)
"""

_EXPLAIN_AHEAD: Final = """
update differences set cause = differences.arrival_seq
from view_rows
where
    differences.cause is null
    and view_rows.feature = differences.feature
    and list_contains(differences.ahead, view_rows.view)
"""

_EXPLAIN_EARLY: Final = """
update differences set cause = differences.arrival_seq
from view_rows
where
    differences.cause is null
    and view_rows.feature = differences.feature
    and exists (from due where at_us > differences.known_us and at_us <= differences.event_us)
"""

_ONLY_AGREED: Final = """
update differences set cause = null
where
    list_contains($live, feature)
    and not exists (
        from agreed
        where agreed.transaction_id = differences.transaction_id and agreed.feature = differences.feature
    )
"""

_EXPLAIN_DERIVED: Final = """
update differences set cause = found.cause
from (
    select transaction_id, min(cause) as cause
    from differences
    where not list_contains($derived, feature)
    group by transaction_id
    having count(*) = count(cause)
) as found
where found.transaction_id = differences.transaction_id and list_contains($derived, differences.feature)
"""


def _keys(feature: LiveFeature) -> tuple[str, ...]:
    return feature.keys


def _explain_live(keys: Sequence[str], features: Sequence[LiveFeature]) -> str:
    same = " and ".join(f"late.{key} = differences.{key}" for key in keys)
    return _name_late(
        features,
        f"""
            inner join late
                on {same}
                    and late.arrival_seq > differences.arrival_seq
                    and {_in_window("late.event_us")}
        """,
    )


def _explain_reports(features: Sequence[LiveFeature]) -> str:
    return _name_late(
        features,
        f"""
            inner join all_rows as report
                on report.reported_merchant_id = differences.merchant_id
                    and report.reported_id is not null
                    and {_in_window("report.event_us")}
            inner join late
                on late.transaction_id = report.reported_id
                    and late.known_us > differences.known_us
            left join events as told
                on told.reported_id = report.reported_id and told.event_us = report.event_us
            where told.arrival_seq is null or told.arrival_seq > differences.arrival_seq
        """,
    )


def _in_window(instant: str) -> str:
    return f"({instant} < differences.event_us and {instant} >= differences.event_us - declared.window_us)"


def _explain_forgotten(features: Sequence[LiveFeature]) -> str:
    """Name the own row of a decision whose window reaches back to before what the live store was given."""
    return f"""
        update differences set cause = differences.arrival_seq
        from {_declared(features)}
        where
            differences.cause is null
            and declared.feature = differences.feature
            and differences.event_us - declared.window_us < $since_us
    """  # noqa: S608 - names and numbers of our own declarations


def _declared(features: Sequence[LiveFeature]) -> str:
    windows = ", ".join(f"('{feature.name}', {feature.window_us})" for feature in features)
    return f"(values {windows}) as declared(feature, window_us)"


def _name_late(features: Sequence[LiveFeature], joins: str) -> str:
    """Name for each difference of some features the first late row that joins find."""
    return f"""
        update differences set cause = found.cause
        from (
            select differences.number, min(late.arrival_seq) as cause
            from differences
            inner join {_declared(features)} using (feature)
            {joins}
            group by differences.number
        ) as found
        where found.number = differences.number
    """  # noqa: S608 - names and numbers of our own declarations


def _summary(connection: duckdb.DuckDBPyConnection, comparison: Comparison) -> Explanation:
    late = connection.execute(
        """
        select
            late.arrival_seq, late.transaction_id, late.customer_id, late.merchant_id,
            late.event_us, late.known_us, late.behind_us, coalesce(changed.count, 0) as values_changed
        from late
        left join (select cause, count(*) as count from differences group by cause) as changed
            on changed.cause = late.arrival_seq
        order by late.arrival_seq
        """
    ).to_arrow_table()
    # A cause must be on the list: a decision that is ahead without being late explains nothing.
    query = "select {} from differences left join late on late.arrival_seq = differences.cause where {}"
    (explained,) = connection.execute(
        query.format("count(*)", "late.arrival_seq is not null")
    ).fetchone() or (0,)
    examples = (
        connection.execute(
            query.format("differences.transaction_id, feature, used, computed", "late.arrival_seq is null")
            + " order by differences.arrival_seq limit 20"
        )
        .to_arrow_table()
        .to_pylist()
    )
    return Explanation(late, int(explained), comparison.mismatched - int(explained), examples)
