"""A real server process for one home, on a free port, ended by its own id."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from warehouse.build.dbt import dbt_environment
from warehouse.errors import OperationError
from warehouse.settings import Settings

_START_SECONDS: Final = 90.0
_STOP_SECONDS: Final = 30.0
_LOG_TAIL: Final = 2_000


def home_environment(settings: Settings, secrets: Mapping[str, str]) -> dict[str, str]:
    """Environment of a process that works in one home: no store, log or limit of a running service."""
    return {
        **os.environ,
        **dbt_environment(settings),
        "CBP_MODELS": str(settings.models_dir),
        "CBP_REPORTS": str(settings.reports_dir),
        "CBP_LIVE_STORE": settings.live_store_url,
        **dict.fromkeys(("PREDICTION_LOG", "BATCH_SIZE", "MAX_BATCH"), ""),  # as by default
        **secrets,
    }


@contextmanager
def running_server(settings: Settings, secrets: Mapping[str, str], *, workers: int = 1) -> Iterator[str]:
    """Start ``cbp serve`` and wait until it is ready; yields its base URL. It ends with this process.

    Raises
    ------
    OperationError
        When it ends or is not ready in time, with the end of its log.
    """
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    log = settings.home / "logs" / "server.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    program = str(Path(sys.executable).with_name("cbp"))
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [
                program,
                "serve",
                *("--port", str(port), "--workers", str(workers), "--parent", str(os.getpid())),
            ],
            env=home_environment(settings, secrets),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_ready(process, url, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    causes = "it does not answer"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            causes = f"it ended with exit code {process.returncode}"
            break
        try:
            answer = httpx.get(f"{url}/health/ready", timeout=5.0)
        except httpx.TransportError:
            time.sleep(0.1)
            continue
        if answer.status_code == httpx.codes.OK:
            return
        causes = answer.text
        time.sleep(0.2)
    raise OperationError(f"the server did not become ready: {causes}\n{_tail(log)}")


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]
