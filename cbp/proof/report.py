"""What a replay found: JSON for programs, one HTML page for people, and a CSV file of the late rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv

from cbp.proof.proving import ReplayOutcome
from cbp.proof.replay import ReplayOptions
from cbp.proof.traffic.client import percentiles
from ml.reports.files import write_json
from ml.reports.html import HtmlPage
from warehouse.times import from_us

_LATE_ROWS_SHOWN: Final = 500
_VERDICTS: Final = {True: "live and historical values agree", False: "live and historical values differ"}


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
    write_json(report.content, report.json)
    pyarrow.csv.write_csv(outcome.findings.explanation.late, report.late_rows)
    _write_page(report, outcome)
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
        "refused": sent.refused,
        "reported": sent.reported,
        "refused_labels": sent.refused_labels,
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
        "freshness_ms": percentiles([*traffic.probe.milliseconds.values()]),
        "throughput": round(1000 * sent.scored / sum(traffic.latencies_ms), 1),
        "request_ms": percentiles(traffic.latencies_ms),
        "seconds": outcome.seconds,
    }


def _write_page(report: ReplayReport, outcome: ReplayOutcome) -> None:
    content, findings = report.content, outcome.findings
    page = HtmlPage(f"Replay: {_VERDICTS[outcome.is_proven]}")
    page.text(
        f"What became known from {content['from']} to before {content['to']}, sent to a real server in that "
        f"order; model {content['model']}."
    )
    freshness = content["freshness_ms"]
    page.table(
        "What was compared",
        ("", ""),
        [
            ("transactions scored", content["scored"]),
            ("transactions that the API takes from nobody", content["refused"]),
            ("values compared with the window over what had arrived", content["compared_with_oracle"]),
            ("of these not the same", content["mismatched_values"]),
            ("values compared with the warehouse", content["values"]),
            ("transactions missing", content["missing"]),
            ("rows that came late or early", content["late"]),
            ("values that differ from the warehouse's and a late row explains", content["explained"]),
            ("values that differ and none explains", content["unexplained"]),
            ("audit records, unbroken and complete", content["audit_records"]),
            (
                "a payment counts for the next after, p50 and p99",
                f"{freshness['p50']}, {freshness['p99']} ms",
            ),
            ("transactions a second", content["throughput"]),
        ],
    )
    wrong = [*findings.as_arrived.examples(), *findings.derived.examples()]
    _add_differences(page, "Not the same as the window over what had arrived", wrong)
    unexplained = findings.explanation.unexplained_examples
    _add_differences(page, "Differ from the warehouse, and no late row explains it", unexplained)
    by_feature = sorted(findings.final.by_feature.items(), key=lambda item: -item[1])
    page.table("Differences from the warehouse, by feature", ("feature", "values"), by_feature)
    _add_late_rows(page, findings.explanation.late, report.late_rows.name)
    page.table("Time", ("stage", "seconds"), [*content["seconds"].items()])
    page.write(report.html)


def _add_differences(page: HtmlPage, heading: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        names = ("transaction_id", "feature", "used", "computed")
        page.table(heading, names, [[row[name] for name in names] for row in rows])


def _add_late_rows(page: HtmlPage, late: pa.Table, file: str) -> None:
    by_effect = late.sort_by([("values_changed", "descending"), ("arrival_seq", "ascending")])
    shown = by_effect.slice(0, _LATE_ROWS_SHOWN).to_pylist()
    page.table(
        "Rows that came late or early",
        ("transaction", "customer", "merchant", "happened (UTC)", "became known (UTC)", "values it explains"),
        [
            (
                row["transaction_id"],
                row["customer_id"],
                row["merchant_id"],
                f"{from_us(row['event_us']):%Y-%m-%d %H:%M:%S}",
                f"{from_us(row['known_us']):%Y-%m-%d %H:%M:%S}",
                row["values_changed"],
            )
            for row in shown
        ],
    )
    page.text(
        f"Shown: {len(shown):,} of {late.num_rows:,}, those that explain most first; all are in {file}."
    )
