"""dbt's project as it was last parsed, kept by the hash of what decides it: files, variables, versions.

Parsing takes dbt seconds, loading what it parsed a fifth of one. dbt keeps a parse of its own, but only for
one database file and one set of variables; relations are named alike in every home, so one parse serves all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import yaml
from dbt.contracts.graph.manifest import Manifest
from dbt.parser.manifest import extended_mashumaro_encoder, extended_mashumuro_decoder

from warehouse.build.definition import project_hash
from warehouse.durable import write_whole
from warehouse.settings import PROJECT_ROOT

_FOLDER: Final = PROJECT_ROOT / "target" / "parsed"
_JSON: Final = "manifest.json"
MOST_KEPT: Final = 32
_ENV_VAR: Final = re.compile(r"env_var\(\s*['\"](\w+)['\"]")
_OF_A_HOME: Final = frozenset({"CBP_HOME"})
"""Environment variables that macros read as they run: what is parsed doesn't hold them."""


def parse_key(command: Sequence[str], *, project: Path = PROJECT_ROOT) -> str:
    """Hash what decides what dbt parses for a command.

    Parameters
    ----------
    command : sequence of str
        dbt's arguments; ``--vars`` and ``--target`` among them decide.
    project : Path
        Folder of ``dbt_project.yml``.
    """
    deciding = {
        "files": project_hash(project),
        "vars": _variables(command),
        "target": _argument(command, "--target"),
        "environment": {name: os.environ.get(name) for name in _environment_read(project)},
        "versions": {name: version(name) for name in ("dbt-core", "dbt-adapters", "dbt-duckdb")},
    }
    return hashlib.sha256(json.dumps(deciding, sort_keys=True, default=str).encode()).hexdigest()


def load_parsed(key: str, target_path: Path, *, folder: Path = _FOLDER) -> Manifest | None:
    """Load what was parsed under a key, and write ``manifest.json`` to dbt's target folder, as a parse does.

    Returns
    -------
    dbt.contracts.graph.manifest.Manifest or None
        None: nothing was kept, or it can't be read.
    """
    try:
        content = (folder / f"{key}.msgpack").read_bytes()
        as_json = (folder / f"{key}.json").read_bytes()
        manifest = Manifest.from_msgpack(content, decoder=extended_mashumuro_decoder)
    except Exception:
        return None
    write_whole(target_path / _JSON, lambda incoming: incoming.write_bytes(as_json), is_durable=False)
    manifest.build_flat_graph()  # type: ignore[no-untyped-call]
    return manifest


def keep_parsed(key: str, manifest: Manifest, target_path: Path, *, folder: Path = _FOLDER) -> None:
    """Keep what was just parsed, with the newest few before it; keep nothing where nothing can be written."""
    content: Any = manifest.to_msgpack(extended_mashumaro_encoder)
    try:
        as_json = (target_path / _JSON).read_bytes()
        for ending, data in ((".json", as_json), (".msgpack", content)):
            write_whole(folder / f"{key}{ending}", partial(Path.write_bytes, data=data), is_durable=False)
        kept = sorted(folder.glob("*.msgpack"), key=lambda path: path.stat().st_mtime_ns)
        for path in kept[:-MOST_KEPT]:
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
    except OSError:
        return


def _variables(command: Sequence[str]) -> Any:
    text = _argument(command, "--vars") or "{}"
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text  # dbt says what is wrong with it.


def _argument(command: Sequence[str], name: str) -> str | None:
    return command[command.index(name) + 1] if name in command else None


def _environment_read(project: Path) -> list[str]:
    """Names of the environment variables that the project's SQL and declarations read."""
    texts = [project / "dbt_project.yml", *(project / "dbt_project").rglob("*.sql")]
    texts += (project / "dbt_project").rglob("*.yml")
    found = {name for text in texts for name in _ENV_VAR.findall(text.read_text(encoding="utf-8"))}
    return sorted(found - _OF_A_HOME)
