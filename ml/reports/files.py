"""Files of a report: each replaced whole, so that a reader sees the old one or the new one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from warehouse.durable import write_whole


def write_json(values: dict[str, Any], path: Path) -> None:
    """Write `values` as indented JSON, replacing `path` in one rename."""
    write_text(json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n", path)


def write_csv(header: Sequence[str], rows: Iterable[Sequence[Any]], path: Path) -> None:
    """Write a small table as CSV, replacing `path` in one rename; None is an empty field."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(text.getvalue(), path)


def write_text(text: str, path: Path) -> None:
    """Write `text` as UTF-8, replacing `path` in one rename."""
    write_whole(path, lambda incoming: incoming.write_text(text, encoding="utf-8"), is_durable=False)
