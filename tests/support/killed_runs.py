"""Programs that are killed as machines kill them, in the middle of their work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from warehouse.build.dbt import dbt_environment
from warehouse.settings import PROJECT_ROOT, Settings


def kill_in_the_middle(
    settings: Settings, command: Sequence[str], *, after_lines: int, after_seconds: float = 0.0
) -> None:
    """Start a program on a home; once it has printed so many lines, wait and kill it, children and all."""
    with subprocess.Popen(
        list(command),
        cwd=PROJECT_ROOT,
        env=os.environ | dbt_environment(settings) | {"PYTHONUNBUFFERED": "1"},
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for _ in range(after_lines):
            assert process.stdout.readline(), "it ended before it was killed"
        time.sleep(after_seconds)
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def kill_dbt(
    settings: Settings, *commands: Sequence[str], after_events: int, after_seconds: float = 0.0
) -> None:
    """Run dbt on a home; after so many nodes and hooks have begun or ended, wait and kill it."""
    environment = os.environ | dbt_environment(settings)
    with subprocess.Popen(
        [sys.executable, "-m", "warehouse.build.dbt_commands"],
        cwd=PROJECT_ROOT,
        start_new_session=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(
            json.dumps({"environment": environment, "commands": list(map(list, commands))}) + "\n"
        )
        process.stdin.flush()
        seen = 0
        while seen < after_events:
            line = process.stdout.readline()
            event = json.loads(line)
            assert "ended" not in event, "it ended before it was killed"
            seen += event["info"]["name"] in _STEPS
        time.sleep(after_seconds)
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


_STEPS = frozenset({"LogStartLine", "LogModelResult", "LogHookStartLine", "LogHookEndLine"})
