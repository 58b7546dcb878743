"""What the project declares, as hashes of its files: a changed declaration is noticed without being told."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_WAREHOUSE: Final = Path(__file__).parent.parent


def models_hash(project: Path) -> str:
    """Hash what decides the models' content: SQL, declarations, compiled loops, how files are written."""
    return _hash(
        (
            project / "dbt_project.yml",
            *sorted((project / "dbt_project" / "models").rglob("*.sql")),
            *sorted((project / "dbt_project" / "macros").rglob("*.sql")),
            *sorted((_WAREHOUSE / "velocity").glob("*.py")),
            _WAREHOUSE / "build" / "feature_files.py",
        )
    )


def project_hash(project: Path) -> str:
    """Hash all that dbt reads of the project: tests, descriptions and profiles too."""
    return _hash(
        (
            project / "dbt_project.yml",
            project / "profiles.yml",
            *sorted(path for path in (project / "dbt_project").rglob("*") if path.is_file()),
        )
    )


def _hash(paths: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
