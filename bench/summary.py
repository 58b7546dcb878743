"""One page over all reports: ``docs/benchmarks.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.reporting import REPORTS

PAGE = REPORTS.parent.parent / "docs" / "benchmarks.md"
_HEAD = """# Benchmarks

Written by `make bench` from `reports/bench`. Each goal is in the words of who set it; a ratio is the
peer's figure over ours, pair by pair in the same run: median (least to greatest). Figures without a
peer depend on the machine that is named, and on how fast it was that day: a loop of Python tells.
"""


def write_summary() -> Path:
    """Sum up what is in ``reports/bench``; returns the page's path."""
    reports = [
        (path, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(REPORTS.glob("*.json"))
    ]
    PAGE.write_text(
        "\n".join([_HEAD, *(_section(path, report) for path, report in reports)]), encoding="utf-8"
    )
    return PAGE


def _section(path: Path, report: Mapping[str, Any]) -> str:
    machine, rows = report["machine"], report["rows"]
    speed = machine.get("python_loop_ms")  # not told by reports that are older
    about = [
        f"{machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, {machine['system']}"
        + ("" if speed is None else f", a million turns of a Python loop in {speed:.0f} ms"),
        ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        ", ".join(f"{name} {value}" for name, value in report["data"].items()),
    ]
    lines = [
        f"## {path.stem}",
        "",
        f"`{rows[0]['command']}` on " + "; ".join(about) + ".",
        "",
        *_table(rows),
        "",
    ]
    return "\n".join(lines)


def _table(rows: list[Mapping[str, Any]]) -> Iterator[str]:
    yield "| figure | ours | peer | ratio | goal | met |"
    yield "|---|---|---|---|---|---|"
    for row in rows:
        peer = "" if row["peer"] is None else f"{row['peer']:.4g} {row['unit']} ({row['peer_name']})"
        ratio = ""
        if row["ratio_median"] is not None:
            ratio = f"{row['ratio_median']:.3g} ({row['ratio_min']:.3g} to {row['ratio_max']:.3g})"
        met = ("yes" if row["met"] else "**no**") if row["goal"] else ""
        cells = (row["metric"], f"{row['ours']:.4g} {row['unit']}", peer, ratio, row["goal"], met)
        yield f"| {' | '.join(cells)} |"
