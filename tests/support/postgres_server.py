"""A PostgreSQL of Debian's package, started for the tests in a folder of its own and ended by its own id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

DEBIAN = Path("/usr/lib/postgresql")
NOBODY = 65534
START_SECONDS = 60.0


class PostgresServer:
    """A running server; each live store gets a schema of its own."""

    def __init__(self, port: int) -> None:
        self._port = port

    def new_url(self) -> str:
        """Create an empty schema and return the SQLAlchemy URL of a database that has no other."""
        name = f"live_{uuid.uuid4().hex}"
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            connection.execute(f"create schema {name}".encode())
        return f"postgresql+psycopg://tester@127.0.0.1:{self._port}/postgres?options=-csearch_path%3D{name}"

    @property
    def conninfo(self) -> str:
        """How to reach the server itself."""
        return f"host=127.0.0.1 port={self._port} user=tester dbname=postgres connect_timeout=5"


def programs() -> Path:
    """Folder of the newest PostgreSQL that is installed; who asks for these tests must have it."""
    found = sorted(DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parent.parent.name))
    if not found:
        raise RuntimeError("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server on a free port; it refuses to run as root, so root lends it the user nobody."""
    binaries = programs()
    folder = Path(tempfile.mkdtemp(prefix="cbp-postgres-"))
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, NOBODY, NOBODY)
    lend = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if is_root else []
    data = str(folder / "data")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        subprocess.run(
            [*lend, str(binaries / "initdb"), "-D", data, "-U", "tester", "--auth=trust", "-E", "UTF8"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        server = PostgresServer(port)
        with (folder / "log").open("wb") as log:
            # Nobody pulls the plug in a test, and a checkpoint of a thousand small tables takes minutes.
            settings = ["-p", str(port), "-k", str(folder), "-c", "fsync=off"]
            process = subprocess.Popen(
                [*lend, str(binaries / "postgres"), "-D", data, *settings],
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
            )
        try:
            wait_until_ready(server, process, folder / "log")
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown
            process.wait(60)
    finally:
        shutil.rmtree(folder)


def wait_until_ready(server: PostgresServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            psycopg.connect(server.conninfo).close()
        except psycopg.OperationalError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"PostgreSQL did not start: {log.read_text(errors='replace')[-2000:]}")
