"""The lock of a file: one holder at a time, and the file itself left as it is."""

import os
from pathlib import Path

import pytest

from warehouse.errors import BusyError
from warehouse.locks import locked


def test_a_lock_makes_its_file_and_never_changes_one(tmp_path: Path) -> None:
    path = tmp_path / "folder" / ".lock"
    with locked(path):
        assert path.read_bytes() == b""
    path.write_bytes(b"kept")
    os.utime(path, ns=(1, 1))
    with locked(path):
        pass
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (b"kept", 1)


def test_who_waits_in_vain_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with (
        locked(path),
        pytest.raises(BusyError, match="held by another"),
        locked(path, timeout_seconds=0.0, busy="held by another"),
    ):
        pass
    with locked(path, timeout_seconds=0.0):
        pass
