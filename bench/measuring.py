"""How things are measured: wall-clock time, and peak memory of a whole process tree."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import psutil

_POLL_SECONDS = 0.02
_LOOPS = 5


@dataclass(frozen=True)
class Run:
    """One run of a program.

    Parameters
    ----------
    seconds : float
        Wall-clock time.
    peak_bytes : int
        Largest sum of resident memory over the program and its children, seen every 20 ms.
    output : str
        What it printed.
    """

    seconds: float
    peak_bytes: int
    output: str


def run_program(command: Sequence[str], environment: Mapping[str, str]) -> Run:
    """Run a program to its end.

    Raises
    ------
    RuntimeError
        When it fails, with what it printed.
    """
    started = time.perf_counter()
    with subprocess.Popen(  # noqa: S603 - a benchmark's own command
        command,
        env=os.environ | dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, _tree_bytes(process.pid))
            time.sleep(_POLL_SECONDS)
        seconds = time.perf_counter() - started
        output = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{output}")
    return Run(seconds, peak, output)


def describe_machine() -> dict[str, object]:
    """Say what the figures were measured on, and how fast it was just then.

    Absolute times of two reports compare only as far as their loops do: a shared machine may take three times
    as long on another day.
    """
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python_loop_ms": round(min(_loop_seconds() for _ in range(_LOOPS)) * 1000, 1),
    }


def describe_versions(*packages: str) -> dict[str, str]:
    """Versions of Python and of some packages."""
    return {"python": platform.python_version(), **{package: version(package) for package in packages}}


def _loop_seconds() -> float:
    """Time a million turns of a plain loop."""
    started = time.perf_counter()
    total = 0
    for number in range(1_000_000):
        total += number & 7
    return time.perf_counter() - started


def _tree_bytes(pid: int) -> int:
    try:
        root = psutil.Process(pid)
        return sum(_resident(process) for process in (root, *root.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
