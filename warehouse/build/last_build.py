"""What the last build that passed was made from, so that one that has nothing to do does nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from warehouse.build.definition import models_hash, project_hash
from warehouse.durable import write_whole
from warehouse.landing.batches import list_batches
from warehouse.settings import PROJECT_ROOT, Settings
from warehouse.times import DAY_US, now_us

_FORMAT: Final = 1


def build_inputs(settings: Settings, *, as_of_us: int | None) -> dict[str, Any]:
    """Tell what a build that begins now would be made from: declarations, batches, segments, days."""
    segments = settings.segments_file
    return {
        "format": _FORMAT,
        "models": models_hash(PROJECT_ROOT),
        "project": project_hash(PROJECT_ROOT),
        "batches": [batch.name for batch in list_batches(settings)],
        "segments": hashlib.sha256(segments.read_bytes()).hexdigest() if segments.is_file() else None,
        # Snapshots are made of days that are over.
        "up_to": f"day {now_us() // DAY_US}" if as_of_us is None else as_of_us,
    }


def record_build(settings: Settings, inputs: Mapping[str, Any], *, nodes: int) -> None:
    """Note what a build was made from, as it was when the build began, and what it made."""
    content = json.dumps({"nodes": nodes, "made": _made(settings), "from": inputs})
    write_whole(_file(settings), lambda incoming: incoming.write_text(content, encoding="utf-8"))


def nodes_if_current(settings: Settings, inputs: Mapping[str, Any]) -> int | None:
    """Return how many nodes passed in the last build if one from `inputs` would make the same; else None."""
    try:
        last = json.loads(_file(settings).read_text(encoding="utf-8"))
        is_current = last["from"] == inputs and last["made"] == _made(settings)
        return int(last["nodes"]) if is_current else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made(settings: Settings) -> dict[str, Any]:
    """Tell the files of a build: another run of dbt, or a person, may have changed or removed them."""
    files = [settings.build_file, settings.published_file, settings.manifest_file]
    files += sorted(settings.compiled_sql_dir.glob("*.sql"))
    versions = [link for link in sorted(settings.features_dir.iterdir()) if link.is_symlink()]
    return {
        **{str(path.relative_to(settings.home)): _stamp(path) for path in files},
        **{f"features/{link.name}": [str(link.readlink()), link.exists()] for link in versions},
    }


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _file(settings: Settings) -> Path:
    return settings.build_file.with_name("last_build.json")
