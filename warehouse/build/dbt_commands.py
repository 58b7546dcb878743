"""Runs dbt commands one after the other in one process, over one parse of the project.

``python -m warehouse.build.dbt_commands`` takes the commands as JSON, each a list of dbt's arguments; it ends
with dbt's exit code at the first command that fails. It prints what dbt prints.
"""

from __future__ import annotations

import json
import sys
from typing import Final

from dbt.cli.main import dbtRunner
from dbt.contracts.graph.manifest import Manifest

_OUTPUT: Final = ("--log-format", "json", "--log-level-file", "none")


def run_commands(commands: list[list[str]]) -> int:
    """Run commands until one fails; returns dbt's exit code."""
    manifest: Manifest | None = None
    for command in commands:
        runner = dbtRunner(manifest=manifest)
        result = runner.invoke([*_OUTPUT, *command])
        if not result.success:
            return 1 if result.exception is None else 2
        if isinstance(result.result, Manifest):
            manifest = result.result
    return 0


if __name__ == "__main__":
    sys.exit(run_commands(json.loads(sys.argv[1])))
