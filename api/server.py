"""The server: granian, one thread a worker, each worker opening its stores after the fork."""

from __future__ import annotations

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Final

from flask import Flask
from granian.constants import Interfaces
from granian.server import Server

from api import create_app
from api.audit.shipper import Shipper
from api.request_log import configure_logging
from api.settings import ApiSettings
from warehouse.errors import SettingsError
from warehouse.live.store import LiveStore

_STOP_SECONDS: Final = 20
_WATCH_SECONDS: Final = 0.5


def serve(
    settings: ApiSettings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    certificate: Path | None = None,
    key: Path | None = None,
    parent: int | None = None,
) -> None:
    """Serve until a signal ends it; requests in flight are finished, audit records shipped.

    Parameters
    ----------
    settings : ApiSettings
        Secrets and limits.
    host, port : str, int
        Address to listen on.
    workers : int
        Processes.
    certificate, key : Path, optional
        TLS certificate and key (PEM); needed for callers on other machines.
    parent : int, optional
        Process that started this one: the server ends with it, however that one ends.

    Raises
    ------
    SettingsError
        When only one of certificate and key is given.
    """
    if (certificate is None) != (key is None):
        raise SettingsError("expected both a certificate and a key, or neither")
    # OpenMP hangs after a fork when it has threads; it reads this when a worker loads its models.
    os.environ["OMP_NUM_THREADS"] = "1"
    server = Server(
        "api:create_app",
        interface=Interfaces.WSGI,
        address=host,
        port=port,
        workers=workers,
        blocking_threads=1,
        ssl_cert=certificate,
        ssl_key=key,
        respawn_failed_workers=True,
        workers_kill_timeout=_STOP_SECONDS,
        log_access=False,
    )
    if parent is not None:
        _watch(parent)
    server.on_shutdown(partial(_ship_what_is_left, settings))
    server.serve(target_loader=partial(_load, settings), wrap_loader=False)


def _load(settings: ApiSettings) -> Flask:
    """Make a worker's application; runs in the worker."""
    configure_logging()
    _watch(os.getppid())
    return create_app(settings)


def _watch(parent: int) -> None:
    """End this process when the one that started it was killed: it would keep the port for ever."""
    threading.Thread(target=_end_with, args=(parent,), name="parent-watch", daemon=True).start()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _ship_what_is_left(settings: ApiSettings) -> None:
    """Ship what the workers left in the outbox; runs when they have ended."""
    store = LiveStore.open(settings.home)
    try:
        store.create_tables()
        Shipper(store, settings.prediction_log).ship()
    finally:
        store.close()
