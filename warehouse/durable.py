"""Writes that survive a power cut: on the disk first, then under the name that readers know."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def sync(path: Path) -> None:
    """Make a file's content durable, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Make a folder and all below it durable."""
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)


def write_whole(path: Path, write: Callable[[Path], object], *, is_durable: bool = True) -> None:
    """Let `write` fill a file beside `path`, then rename it to `path`: readers see one or the other.

    Parameters
    ----------
    path : Path
        File to replace; its folder is created when needed.
    write : callable
        Called with the path of the file to fill, which keeps the suffix of `path`.
    is_durable : bool
        Whether the new file, and its name, outlive a power cut that follows; what can be made again need not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    incoming = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(incoming)
        if is_durable:
            sync(incoming)
        incoming.replace(path)
        if is_durable:
            sync(path.parent)
    finally:
        incoming.unlink(missing_ok=True)
