"""What a replay found: JSON for programs, one HTML page for people, and a CSV file of the late rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.csv
from jinja2 import Environment, PackageLoader, StrictUndefined

from api.replay.proving import ReplayOutcome
from api.replay.replaying import ReplayOptions
from warehouse.microseconds import from_us

_LATE_ROWS_SHOWN: Final = 500


@dataclass(frozen=True)
class ReplayReport:
    """What was written.

    Parameters
    ----------
    content : dict
        Of the JSON file.
    json, html, late_rows : Path
        The files.
    """

    content: dict[str, Any]
    json: Path
    html: Path
    late_rows: Path


def write_report(folder: Path, outcome: ReplayOutcome, options: ReplayOptions) -> ReplayReport:
    """Write ``replay.json``, ``replay.html`` and ``replay_late_rows.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    report = ReplayReport(
        content=summarise(outcome, options),
        json=folder / "replay.json",
        html=folder / "replay.html",
        late_rows=folder / "replay_late_rows.csv",
    )
    report.json.write_text(json.dumps(report.content, indent=2) + "\n", encoding="utf-8")
    pyarrow.csv.write_csv(outcome.findings.explanation.late, report.late_rows)
    report.html.write_text(_page(report, outcome), encoding="utf-8")
    return report


def summarise(outcome: ReplayOutcome, options: ReplayOptions) -> dict[str, Any]:
    """Return the content of ``replay.json``."""
    replayed, findings = outcome.replayed, outcome.findings
    stream, traffic, sent = replayed.stream, replayed.traffic, replayed.traffic.sent
    return {
        "from": from_us(stream.from_us).isoformat(),
        "to": from_us(stream.to_us).isoformat(),
        "sample": options.sample,
        "model": f"{replayed.bundle.name} {replayed.bundle.version}",
        "scored": sent.scored,
        "loaded": sent.loaded,
        "decisions": sent.decisions,
        "values": findings.final.values,
        "mismatched_values": outcome.mismatched,
        "missing": outcome.missing,
        "late": findings.explanation.late.num_rows,
        "differing_values": findings.final.mismatched,
        "explained": findings.explanation.explained,
        "unexplained": outcome.unexplained,
        "compared_with_oracle": findings.as_arrived.values + findings.derived.values,
        "audit_records": outcome.recorded.records,
        "freshness_ms": _percentiles([*traffic.probe.milliseconds.values()]),
        "throughput": round(sent.scored / sent.seconds, 1),
        "request_ms": _percentiles(traffic.latencies_ms),
        "seconds": outcome.seconds,
    }


def _percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    return {f"p{percent}": round(float(np.percentile(milliseconds, percent)), 2) for percent in (50, 99)}


def _page(report: ReplayReport, outcome: ReplayOutcome) -> str:
    environment = Environment(
        loader=PackageLoader("api.replay"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    findings = outcome.findings
    late = findings.explanation.late
    shown = late.sort_by([("values_changed", "descending"), ("arrival_seq", "ascending")])
    return environment.get_template("replay.html").render(
        report=report.content,
        is_proven=outcome.is_proven,
        late_file=report.late_rows.name,
        late=[_with_times(row) for row in shown.slice(0, _LATE_ROWS_SHOWN).to_pylist()],
        wrong=[*findings.as_arrived.examples(), *findings.derived.examples()],
        unexplained=findings.explanation.unexplained_examples,
        by_feature=sorted(findings.final.by_feature.items(), key=lambda item: -item[1]),
    )


def _with_times(row: dict[str, Any]) -> dict[str, Any]:
    happened, known = from_us(row["event_us"]), from_us(row["known_us"])
    return row | {"happened": happened, "known": known, "behind": known - happened}
