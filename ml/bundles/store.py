"""Bundles: published models with all that scoring needs, as data without code (law 9 of the design).

Layout below ``models/``::

    <name>/<version>/manifest.json      format 1, see ml.bundles.manifest; names, sizes and SHA-256 of all
    other files <name>/<version>/...                model files, SQL texts, reference statistics, a sample to
    check with current.json                        what is promoted, with the hash of its manifest, and what
    was before .incoming-*                         work in progress

A bundle appears by one rename and never changes. Whoever loads it reads each file once and hashes the very
bytes that it parses. The hash of the manifest stands for the whole bundle; ``current.json`` names it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ml.bundles.files import read_regular
from ml.bundles.manifest import MANIFEST_FILE, Manifest, parse_manifest
from ml.canonical_json import canonical_json, parse_bundle_json
from ml.errors import BundleError
from warehouse.durable import sync, sync_tree, write_whole
from warehouse.locks import locked
from warehouse.settings import Settings

CURRENT_FILE: Final = "current.json"
_MAX_MANIFEST_BYTES: Final = 16 * 2**20
_MAX_TOTAL_BYTES: Final = 1024 * 2**20
_MAX_HISTORY: Final = 100


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle whose every byte was checked.

    Parameters
    ----------
    path : Path
        Its folder.
    sha256 : str
        Hash of its manifest, hexadecimal.
    manifest : Manifest
        Parsed manifest.
    files : Mapping of str to bytes
        Content of every other file: parse these bytes, never the file again.
    """

    path: Path
    sha256: str
    manifest: Manifest
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Promotion:
    """Which bundle is promoted.

    Parameters
    ----------
    path : Path
        Its folder.
    sha256 : str
        Hash of its manifest at promotion.
    """

    path: Path
    sha256: str


def verify_bundle(bundle_dir: Path, *, expected_sha256: str | None = None) -> VerifiedBundle:
    """Read a bundle and check every byte of it.

    Parameters
    ----------
    bundle_dir : Path
        Folder of the bundle.
    expected_sha256 : str, optional
        Hash that the manifest must have.

    Returns
    -------
    VerifiedBundle

    Raises
    ------
    BundleError
        When a file is altered, missing, extra, too large or not a regular file, or the manifest is malformed,
        of another format or of another hash.
    """
    if bundle_dir.is_symlink() or not bundle_dir.is_dir():
        raise BundleError(f"expected the folder of a bundle, got {bundle_dir.name!r}: train first")
    content = read_regular(bundle_dir / MANIFEST_FILE, limit=_MAX_MANIFEST_BYTES)
    sha256 = hashlib.sha256(content).hexdigest()
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise BundleError(
            f"expected a bundle with manifest {expected_sha256[:12]}, got {sha256[:12]}: "
            "promote a bundle that you trust"
        )
    manifest = parse_manifest(content)
    _check_listing(bundle_dir, manifest)
    files = {}
    for name, entry in sorted(manifest.files.items()):
        data = read_regular(bundle_dir / name, limit=entry.bytes)
        if len(data) != entry.bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
            raise BundleError(
                f"{name} is not the file that the bundle was published with: restore or train again"
            )
        files[name] = data
    return VerifiedBundle(path=bundle_dir, sha256=sha256, manifest=manifest, files=files)


def publish_bundle(
    models_dir: Path,
    *,
    manifest: Mapping[str, Any],
    files: Mapping[str, bytes],
    day: str,
    check: Callable[[VerifiedBundle], None] | None = None,
) -> Path:
    """Write a bundle and show it by one rename.

    The version is `day` and the first 12 digits of the hash of everything else, so the same content has the
    same version and hash wherever and whenever it is written. Publishing it again changes nothing.

    Parameters
    ----------
    models_dir : Path
        Where bundles live.
    manifest : mapping
        Fields of `Manifest` but ``format_version``, ``version`` and ``files``.
    files : mapping of str to bytes
        Contents by file name.
    day : str
        ISO date that the version begins with.
    check : callable, optional
        Called with the verified bundle before it appears: where it raises, nothing does.

    Returns
    -------
    Path
        Folder of the bundle.

    Raises
    ------
    BundleError
        When a bundle of that version is there and does not verify.
    """
    entries = {
        name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
    }
    content = {**manifest, "format_version": 1, "files": entries}
    digest = hashlib.sha256(canonical_json(content)).hexdigest()
    checked = parse_manifest(canonical_json({**content, "version": f"{day}-{digest[:12]}"}))
    target = models_dir / checked.name / checked.version
    if target.exists():
        present = verify_bundle(target, expected_sha256=hashlib.sha256(checked.to_bytes()).hexdigest())
        if check is not None:
            check(present)
        return target
    models_dir.mkdir(parents=True, exist_ok=True)
    incoming = Path(tempfile.mkdtemp(prefix=".incoming-", dir=models_dir))
    try:
        incoming.chmod(0o755)
        for name, data in {**files, MANIFEST_FILE: checked.to_bytes()}.items():
            (incoming / name).write_bytes(data)
        staged = verify_bundle(incoming)
        if check is not None:
            check(staged)
        target.parent.mkdir(exist_ok=True)
        _rename_into_place(incoming, target)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return target


def promote_bundle(settings: Settings, bundle_dir: Path) -> Promotion:
    """Make a bundle the one that the API loads, by one rename; what was promoted before is kept as history.

    Raises
    ------
    BundleError
        When the bundle does not verify or lies outside the models folder.
    """
    bundle = verify_bundle(bundle_dir)
    entry = {"bundle": f"{bundle.manifest.name}/{bundle.manifest.version}", "sha256": bundle.sha256}
    if (settings.models_dir / entry["bundle"]).resolve() != bundle_dir.resolve():
        raise BundleError(f"expected the bundle at {entry['bundle']} in the models folder: publish it there")
    with _promotion_lock(settings.models_dir):
        history: list[Any] = []
        with contextlib.suppress(BundleError):
            present = _read_current(settings.models_dir)
            history = present["history"]
            if {key: present[key] for key in entry} != entry:
                history = [*history, {key: present[key] for key in entry}][-_MAX_HISTORY:]
        _write_current(settings.models_dir, entry, history)
    return Promotion(path=bundle_dir, sha256=bundle.sha256)


def roll_back(settings: Settings) -> Promotion:
    """Make the bundle that was promoted before the present one the promoted one again, by one rename.

    Rolling back once more goes further back.

    Raises
    ------
    BundleError
        When nothing was promoted before, or it does not verify any more.
    """
    with _promotion_lock(settings.models_dir):
        history = _read_current(settings.models_dir)["history"]
        if not history:
            raise BundleError("expected a bundle that was promoted before, found none: promote one by name")
        *earlier, entry = history
        promotion = _as_promotion(settings.models_dir, entry)
        verify_bundle(promotion.path, expected_sha256=promotion.sha256)
        _write_current(settings.models_dir, entry, earlier)
    return promotion


def current_promotion(settings: Settings) -> Promotion:
    """Return the promoted bundle's folder and hash; the folder's content is not checked here.

    Raises
    ------
    BundleError
        When nothing is promoted or ``current.json`` is malformed.
    """
    return _as_promotion(settings.models_dir, _read_current(settings.models_dir))


def promoted_bundle_dir(settings: Settings) -> Path:
    """Return the promoted bundle's folder (see `promoted`)."""
    return current_promotion(settings).path


def _read_current(models_dir: Path) -> dict[str, Any]:
    path = models_dir / CURRENT_FILE
    if not path.exists() and not path.is_symlink():
        raise BundleError("expected a promoted model, found none: run `cbp train`")
    values = parse_bundle_json(read_regular(path, limit=_MAX_MANIFEST_BYTES), what=CURRENT_FILE)
    if not isinstance(values, dict) or values.get("format_version") != 1:
        raise BundleError(f"{CURRENT_FILE} is of an unknown format: promote again")
    if not isinstance(values.get("history"), list):
        raise BundleError(f"{CURRENT_FILE} is malformed: promote again")
    _as_promotion(models_dir, values)
    return values


def _as_promotion(models_dir: Path, entry: Any) -> Promotion:
    """Check an entry of ``current.json``: it may not name anything outside the models folder."""
    bundle, sha256 = (entry.get("bundle"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
    parts = bundle.split("/") if isinstance(bundle, str) else []
    if len(parts) != 2 or any(
        not part or part.startswith(".") or "\\" in part or "\0" in part for part in parts
    ):
        raise BundleError(f"{CURRENT_FILE} must name a bundle as name/version: promote again")
    if not isinstance(sha256, str) or len(sha256) != 64:
        raise BundleError(f"{CURRENT_FILE} is malformed: promote again")
    return Promotion(path=models_dir / parts[0] / parts[1], sha256=sha256)


def _write_current(models_dir: Path, entry: Mapping[str, Any], history: list[Any]) -> None:
    content = {"format_version": 1, "bundle": entry["bundle"], "sha256": entry["sha256"], "history": history}
    write_whole(models_dir / CURRENT_FILE, lambda incoming: incoming.write_bytes(canonical_json(content)))


def _check_listing(bundle_dir: Path, manifest: Manifest) -> None:
    with os.scandir(bundle_dir) as entries:
        is_regular = {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    if not all(is_regular.values()):
        others = sorted(name for name, regular in is_regular.items() if not regular)
        raise BundleError(f"expected regular files only in a bundle, got {others}")
    found = set(is_regular)
    listed = {*manifest.files, MANIFEST_FILE}
    if MANIFEST_FILE in manifest.files or found != listed:
        missing, extra = sorted(listed - found), sorted(found - listed)
        raise BundleError(f"the bundle lacks {missing} and has {extra} that it was not published with")
    if sum(entry.bytes for entry in manifest.files.values()) > _MAX_TOTAL_BYTES:
        raise BundleError(f"expected at most {_MAX_TOTAL_BYTES} bytes in a bundle")


def _rename_into_place(incoming: Path, target: Path) -> None:
    sync_tree(incoming)
    try:
        incoming.rename(target)
    except OSError as error:
        if not target.is_dir():
            raise BundleError(f"the bundle can't be moved to {target.name}: {error.strerror}") from error
        verify_bundle(target)  # another process published the same content first
    sync(target.parent)


def _promotion_lock(models_dir: Path) -> contextlib.AbstractContextManager[None]:
    return locked(models_dir / ".promotion.lock")
