"""The server: granian, one thread a worker, each worker opening its stores after the fork."""

from __future__ import annotations

import os
from pathlib import Path

from granian.constants import Interfaces
from granian.server import Server

from api.settings import ApiSettings
from warehouse.errors import SettingsError


def serve(
    settings: ApiSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    certificate: Path | None = None,
    key: Path | None = None,
) -> None:
    """Serve until a signal ends it; requests in flight are finished.

    Parameters
    ----------
    settings : ApiSettings
        Proof that all secrets are there; workers read the environment again.
    host, port : str, int
        Address to listen on.
    workers : int
        Processes.
    certificate, key : Path, optional
        TLS certificate and key; needed for callers on other machines.

    Raises
    ------
    SettingsError
        When only one of certificate and key is given.
    """
    del settings
    if (certificate is None) != (key is None):
        raise SettingsError("expected both a certificate and a key, or neither")
    # OpenMP hangs after a fork when it has threads.
    os.environ["OMP_NUM_THREADS"] = "1"
    Server(
        "api:create_app",
        factory=True,
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        workers=workers,
        blocking_threads=1,
        ssl_cert=certificate,
        ssl_key=key,
        respawn_failed_workers=True,
        log_access=False,
    ).serve()
