"""Runs dbt against one home, in a process of its own.

It alone opens the build file, and its memory is given back when it ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from warehouse.errors import BuildError
from warehouse.memory import Share
from warehouse.settings import PROJECT_ROOT, Settings

BuildProgress = Callable[[str, int, int], None]
"""Called with what has just finished, how many nodes are done, and how many there are."""

_RESULTS: Final = frozenset({"LogModelResult", "LogTestResult", "LogSnapshotResult", "LogSeedResult"})


def run_dbt(settings: Settings, *commands: Sequence[str], progress: BuildProgress | None = None) -> int:
    """Run dbt in the project's root against one home; returns how many nodes passed.

    Parameters
    ----------
    settings : Settings
        The home.
    *commands : sequence of str
        Arguments of dbt, command by command. The project is parsed when its files or variables have changed.
    progress : callable, optional
        Called after each node.

    Raises
    ------
    BuildError
        With the messages of the nodes that failed.
    """
    passed, failures, code = 0, [], None
    environment = os.environ | dbt_environment(settings)
    with _process_for(environment) as process:
        for event in process.events({"environment": environment, "commands": [[*each] for each in commands]}):
            if "ended" in event:
                code = event["ended"]
                break
            name, data = event["info"]["name"], event["data"]
            if name in _RESULTS:
                failed = data["status"] in ("error", "fail")
                passed += not failed
                if progress is not None:
                    total = data.get("total") or data["num_models"]
                    progress(data["node_info"]["node_name"], data["index"], total)
            elif event["info"]["level"] == "error":
                failures.append(event["info"]["msg"].strip())
    if code != 0:
        reason = f"exit code {process.exit_code() if code is None else code}"
        detail = "\n".join(filter(None, failures)) or reason
        raise BuildError(f"dbt failed; the published warehouse is unchanged.\n{detail}")
    return passed


@contextmanager
def warm_dbt() -> Iterator[None]:
    """Keep dbt's process from one run to the next: who runs it several times waits once for its start."""
    global _warm
    if _warm is not None:
        yield
        return
    _warm = _Warm()
    try:
        yield
    finally:
        warm, _warm = _warm, None
        warm.close()


def dbt_environment(settings: Settings) -> dict[str, str]:
    """Environment variables that make dbt work in one home."""
    return {
        "CBP_HOME": str(settings.home),
        "CBP_LIVE_STORE": settings.live_store_url,
        "CBP_MEMORY_LIMIT": settings.memory_of(Share.BUILD),
        "DBT_TARGET_PATH": str(settings.dbt_target_dir),
        "DBT_LOG_PATH": str(settings.home / "logs"),
    }


class _Process:
    """dbt's process, started by its first request."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "warehouse.build.dbt_commands"],
            cwd=PROJECT_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def events(self, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Send a request; yield what comes back, until the process ends."""
        if self._process.stdin is None or self._process.stdout is None:
            return
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # It says why on its output.
        for line in self._process.stdout:
            try:
                yield json.loads(line)
            except ValueError:
                # What Python itself prints when dbt can't start is not JSON.
                yield {"info": {"name": "Output", "level": "error", "msg": line}, "data": {}}

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def exit_code(self) -> int:
        return self._process.wait()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Let the process end, and wait for it."""
        with self._process:
            if self._process.stdin is not None:
                with suppress(BrokenPipeError):
                    self._process.stdin.close()


class _Warm:
    """A process that is kept, and the environment that it was started in."""

    def __init__(self) -> None:
        self._process: _Process | None = None
        self._started_in: dict[str, str] = {}

    def process_for(self, environment: Mapping[str, str]) -> _Process | None:
        """Return the process; None where it was started in another environment: libraries read it once."""
        if self._process is not None and not self._process.is_alive():
            self.close()
        if self._process is None:
            self._process, self._started_in = _Process(), _of_the_machine(environment)
        return self._process if self._started_in == _of_the_machine(environment) else None

    def close(self) -> None:
        """Let the process end; a later run starts another."""
        if self._process is not None:
            self._process.close()
            self._process = None


_warm: _Warm | None = None


@contextmanager
def _process_for(environment: Mapping[str, str]) -> Iterator[_Process]:
    kept = None if _warm is None else _warm.process_for(environment)
    process = kept or _Process()
    try:
        yield process
    except BaseException:
        # Its run may be killed at any time; whoever comes next must not read the rest of its answer.
        process.kill()
        raise
    finally:
        if kept is None:
            process.close()


def _of_the_machine(environment: Mapping[str, str]) -> dict[str, str]:
    ours = ("CBP_", "DBT_", "PYTEST_")
    return {name: value for name, value in environment.items() if not name.startswith(ours)}
