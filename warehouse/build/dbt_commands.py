"""Runs dbt's commands in one process: requests come on standard input, what dbt says goes to standard output.

``python -m warehouse.build.dbt_commands`` reads requests, one JSON object a line::

    {"environment": {"CBP_HOME": "data"}, "commands": [["run"], ["compile", "--select", "live_velocity"]]}

The commands of a request run one after the other until one fails. Each line of output is an event of dbt, as
JSON; the last of a request is ``{"ended": code}``, with dbt's exit code.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path
from typing import Final

from dbt.adapters.duckdb.connections import DuckDBConnectionManager
from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

from warehouse.build.parsed_project import keep_parsed, load_parsed, parse_key

_WITH_ARTIFACTS: Final = ("build", "docs")
"""Commands whose results people and tools look up in dbt's target folder."""

_OUTPUT: Final = ("--log-format", "json", "--log-level-file", "none")


def answer_requests() -> None:
    """Answer requests until there are no more."""
    for line in sys.stdin:
        request = json.loads(line)
        os.environ.clear()
        os.environ.update(request["environment"])
        code = run_commands(request["commands"])
        sys.stdout.write(json.dumps({"ended": code}) + "\n")
        sys.stdout.flush()


def run_commands(commands: list[list[str]]) -> int:
    """Run commands until one fails; returns dbt's exit code."""
    parsed: dict[str, Manifest] = {}
    try:
        for command in commands:
            key = parse_key(command)
            if key not in parsed:
                manifest, code = _parsed(command, key)
                if manifest is None:
                    return code
                parsed[key] = manifest
            # Its manifest is there, as it was parsed: writing it again takes longer than a small model.
            artifacts = [] if command[0] in _WITH_ARTIFACTS else ["--no-write-json"]
            result = dbtRunner(manifest=parsed[key]).invoke([*_OUTPUT, *artifacts, *command])
            if not result.success:
                return 1 if result.exception is None else 2
        return 0
    finally:
        _close_database()


def _parsed(command: list[str], key: str) -> tuple[Manifest | None, int]:
    """Load what a command needs of the project, or parse it."""
    manifest = load_parsed(key, _target_path(command))
    if manifest is not None:
        return manifest, 0
    options = [
        word
        for name in ("--vars", "--target", "--target-path")
        if name in command
        for word in (name, command[command.index(name) + 1])
    ]
    result = dbtRunner().invoke([*_OUTPUT, "parse", *options])
    if not isinstance(result.result, Manifest):
        return None, 1 if result.exception is None else 2
    keep_parsed(key, result.result, _target_path(command))
    return result.result, 0


def _target_path(command: list[str]) -> Path:
    given = command[command.index("--target-path") + 1] if "--target-path" in command else None
    return Path(given or os.environ["DBT_TARGET_PATH"])


def _close_database() -> None:
    """Give up the build file, so that others may open it."""
    if DuckDBConnectionManager._ENV is not None:
        DuckDBConnectionManager.env().close()
        DuckDBConnectionManager.close_all_connections()
        gc.collect()


if __name__ == "__main__":
    answer_requests()
