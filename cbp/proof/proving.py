"""Compares what a replayed server used with what had arrived, and with the home that never served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cbp.proof.comparison.compare import Comparison, compare_derived, compare_with_warehouse, dbt_features
from cbp.proof.comparison.lateness import Explanation, explain
from cbp.proof.comparison.oracle import arrived_events, compare_with_oracle, warehouse_events
from cbp.proof.comparison.records import USED_FILE, Recorded, write_used
from cbp.proof.homes import only_replay
from cbp.proof.replay import Replayed, ReplayOptions, send_history
from cbp.proof.stages import Announce, Stages
from ml.reports.progress import StageProgress
from warehouse.settings import Settings
from warehouse.velocity.declarations import read_declarations


@dataclass(frozen=True)
class Findings:
    """What the comparisons found.

    Parameters
    ----------
    as_arrived : Comparison
        Live features against the oracle over what had arrived.
    derived : Comparison
        Derived features against DuckDB over the other values as used.
    final : Comparison
        Every feature against the home that never served.
    explanation : Explanation
        Of the differences from that home.
    """

    as_arrived: Comparison
    derived: Comparison
    final: Comparison
    explanation: Explanation


@dataclass(frozen=True)
class ReplayOutcome:
    """A replay.

    Parameters
    ----------
    replayed : Replayed
    recorded : Recorded
        Of the audit log, verified.
    findings : Findings
    seconds : dict of str to float
        Time spent by stage.
    """

    replayed: Replayed
    recorded: Recorded
    findings: Findings
    seconds: Mapping[str, float]

    @property
    def mismatched(self) -> int:
        """Values that differ from the oracle's."""
        return self.findings.as_arrived.mismatched + self.findings.derived.mismatched

    @property
    def missing(self) -> int:
        """Transactions that were sent, and that the records, the live store or the warehouse lack."""
        compared = min(self.findings.as_arrived.transactions, self.findings.final.transactions)
        return self.replayed.traffic.sent.scored - compared

    @property
    def unexplained(self) -> int:
        """Values that differ from the warehouse's though no row came late."""
        return self.findings.explanation.unexplained

    @property
    def is_proven(self) -> bool:
        """Whether live and historical values agree."""
        return not (self.mismatched or self.missing or self.unexplained)


def replay(
    settings: Settings, options: ReplayOptions, *, announce: Announce, progress: StageProgress
) -> ReplayOutcome:
    """Replay history and prove the values; see `cbp.proof.replay`.

    Raises
    ------
    InputError
        When there is nothing to replay, or nothing before it.
    OperationError
        When a stage fails, or another replay of this home is running. Values that differ are no error here:
        see `ReplayOutcome`.
    """
    stages = Stages(announce)
    with only_replay(settings):
        replayed = send_history(settings, options, stages=stages, progress=progress)
        return prove(replayed, stages=stages)


def prove(replayed: Replayed, *, stages: Stages) -> ReplayOutcome:
    """Compare every value that decisions used.

    Parameters
    ----------
    replayed : Replayed
        From `send_history`; its homes are only read.
    stages : Stages

    Raises
    ------
    OperationError
        When the audit log is not whole.
    """
    untouched, traffic, derived_sql = replayed.untouched, replayed.traffic, replayed.bundle.derived_sql
    declarations = read_declarations()
    with stages("read the records"):
        dbt = dbt_features(untouched, derived_sql=derived_sql)
        used = replayed.folder / USED_FILE
        recorded = write_used(replayed.served, used, types=dbt.types, apart=traffic.probe.prefix)
        traffic.probe.check(recorded.apart, counts=declarations.customer_counts())
    with stages("compare with what had arrived"):
        arrived = arrived_events(replayed.served.home)
        as_arrived = compare_with_oracle(used, arrived, declarations.live)
        derived = compare_derived(untouched, used, derived_sql=derived_sql, derived=dbt.derived)
    with stages("compare with the home that never served"):
        final = compare_with_warehouse(untouched, used, derived_sql=derived_sql)
        known = replayed.stream.replayed().select(["transaction_id", "ingested_us"])
        explanation = explain(
            final,
            used,
            arrived,
            known,
            everything=warehouse_events(untouched),
            course=replayed.course,
            live=declarations.live,
            derived=dbt.derived,
            views=dbt.views,
        )
    return ReplayOutcome(
        replayed=replayed,
        recorded=recorded,
        findings=Findings(as_arrived, derived, final, explanation),
        seconds=stages.seconds,
    )
