"""What bundles there are: listing, finding one by what a person types, checking them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml.bundles.manifest import MANIFEST_FILE
from ml.bundles.store import VerifiedBundle, current_promotion, verify_bundle
from ml.errors import BundleError
from warehouse.settings import Settings


@dataclass(frozen=True)
class Entry:
    """One bundle in the models folder.

    Parameters
    ----------
    reference : str
        ``name/version``.
    bundle : VerifiedBundle or None
        None when it does not verify.
    problem : str or None
        Why it does not.
    is_promoted : bool
        Whether it is the one that the API loads, with the hash that it was promoted with.
    """

    reference: str
    bundle: VerifiedBundle | None
    problem: str | None
    is_promoted: bool


def list_bundles(settings: Settings) -> list[Entry]:
    """Return every bundle, by name and then version, each checked byte by byte."""
    try:
        serving = current_promotion(settings)
    except BundleError:  # nothing is promoted yet
        serving = None
    entries = []
    for manifest in sorted(settings.models_dir.glob(f"[!.]*/[!.]*/{MANIFEST_FILE}")):
        path = manifest.parent
        bundle, problem = None, None
        try:
            bundle = verify_bundle(path)
        except BundleError as error:
            problem = str(error)
        sha256 = bundle.sha256 if bundle is not None else None
        is_promoted = serving is not None and serving.path == path and serving.sha256 == sha256
        entries.append(Entry(f"{path.parent.name}/{path.name}", bundle, problem, is_promoted))
    return entries


def find_bundle(settings: Settings, reference: str | None) -> Path:
    """Return the folder of a bundle.

    Parameters
    ----------
    settings : Settings
        The home.
    reference : str or None
        ``name/version``, where the version may be cut short to what tells it from others; a name alone, for
        its newest version; None for the promoted bundle.

    Raises
    ------
    BundleError
        When no bundle or more than one is meant.
    """
    if reference is None:
        return current_promotion(settings).path
    name, _, version = reference.partition("/")
    known = [path.parent for path in settings.models_dir.glob(f"[!.]*/[!.]*/{MANIFEST_FILE}")]
    found = sorted(path for path in known if path.parent.name == name and path.name.startswith(version))
    if not found or (version and len(found) > 1):
        there = sorted(f"{path.parent.name}/{path.name}" for path in (found or known))
        raise BundleError(f"expected one bundle for {reference!r}, found {there or 'none'}")
    # versions begin with the day; among those of one day the newest folder is the newest
    return max(found, key=lambda path: (path.name[:10], path.stat().st_mtime_ns))


def describe(bundle: VerifiedBundle) -> dict[str, Any]:
    """Return what a person wants to know of a bundle, as JSON values."""
    manifest = bundle.manifest
    return {
        "bundle": f"{manifest.name}/{manifest.version}",
        "sha256": bundle.sha256,
        "features": len(manifest.features),
        "steps": [f"{step.output} ({step.kind}, {len(step.inputs)} inputs)" for step in manifest.steps],
        "explained": manifest.explained,
        "thresholds": manifest.thresholds.model_dump(),
        "training": manifest.training.model_dump(),
        "metrics": manifest.metrics,
        "libraries": manifest.libraries,
        "git_commit": manifest.git_commit,
        "bytes": sum(entry.bytes for entry in manifest.files.values()),
    }
