"""Programs that are killed as machines kill them, in the middle of their work."""

from __future__ import annotations

import os
import signal
import subprocess
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
