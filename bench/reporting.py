"""One table and one JSON file per benchmark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measuring import describe_machine

REPORTS = Path(__file__).resolve().parent.parent / "reports" / "bench"


@dataclass(frozen=True)
class Row:
    """One figure, beside its peer's where there is one, and its goal in the words of who set it."""

    metric: str
    unit: str
    ours: float
    goal: str
    met: bool
    command: str
    peer_name: str | None = None
    peer: float | None = None
    ratio_median: float | None = None
    ratio_min: float | None = None
    ratio_max: float | None = None


def write_report(
    name: str, rows: Sequence[Row], *, versions: Mapping[str, str], data: Mapping[str, object]
) -> Path:
    """Print the table and write ``reports/bench/<name>.json``; returns its path."""
    table = Table("metric", "ours", "peer", "ratio", "goal", "met", title=name)
    for row in rows:
        peer = "" if row.peer is None else f"{row.peer:.4g} ({row.peer_name})"
        ratio = "" if row.ratio_median is None else f"{row.ratio_median:.2f}"
        table.add_row(
            row.metric, f"{row.ours:.4g} {row.unit}", peer, ratio, row.goal, "yes" if row.met else "NO"
        )
    Console().print(table)
    path = REPORTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {
        "machine": describe_machine(),
        "versions": dict(versions),
        "data": dict(data),
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return path
