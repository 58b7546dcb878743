"""Reading and writing the files of bundles: regular files alone, bounded, durable."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ml.errors import BundleError


def read_regular(path: Path, *, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes; never follow a link or wait for a pipe.

    Raises
    ------
    BundleError
        When it can't be read, is something else, or is larger.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        reason = "a link" if error.errno == errno.ELOOP else (error.strerror or "unreadable")
        raise BundleError(f"{path.name} can't be read: {reason}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path.name} is not a regular file")
        if status.st_size > limit:
            raise BundleError(f"{path.name} is larger than the {limit} bytes it may have")
        return file.read(limit + 1)
