"""Where everything lives: one frozen object, built once from the environment and passed as an argument."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from warehouse.memory import DEFAULT_MEMORY_LIMIT, Share, memory_of, parse_memory

PROJECT_ROOT = Path(__file__).resolve().parent.parent
LIVE_SQL_FILE: Final = "live_velocity.sql"
DERIVED_SQL_FILE: Final = "derived_features.sql"
"""Files of `Settings.compiled_sql_dir`: analyses that dbt compiles, and scoring runs."""


@dataclass(frozen=True)
class Settings:
    """Paths of one home.

    Parameters
    ----------
    home : Path
        Root of all runtime state (``CBP_HOME``, by default ``data/`` in the project).
    models_dir : Path
        Where bundles are published (``CBP_MODELS``, by default ``models/`` in the project).
    reports_dir : Path
        Where reports are written (``CBP_REPORTS``, by default ``reports/`` in the project).
    live_store_url : str
        SQLAlchemy URL of the live store (``CBP_LIVE_STORE``, by default SQLite below `home`).
    memory_bytes : int
        What DuckDB may use (``CBP_MEMORY_LIMIT``, by default ``4GB``); see `warehouse.memory`.
    feature_repo_dir : Path
        Feast's repository: the project's.
    """

    home: Path
    models_dir: Path
    reports_dir: Path
    live_store_url: str
    memory_bytes: int = parse_memory(DEFAULT_MEMORY_LIMIT)
    feature_repo_dir: Path = PROJECT_ROOT / "feature_repo"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Build settings from environment variables; relative paths are below the project's root.

        Raises
        ------
        SettingsError
            When ``CBP_MEMORY_LIMIT`` is no size.
        """
        env = os.environ if environment is None else environment

        def path(name: str, default: str) -> Path:
            return (PROJECT_ROOT / (env.get(name) or default)).resolve()

        home = path("CBP_HOME", "data")
        return cls(
            home=home,
            models_dir=path("CBP_MODELS", "models"),
            reports_dir=path("CBP_REPORTS", "reports"),
            live_store_url=_below_root(env.get("CBP_LIVE_STORE") or f"sqlite:///{home / 'live' / 'live.db'}"),
            memory_bytes=parse_memory(env.get("CBP_MEMORY_LIMIT") or DEFAULT_MEMORY_LIMIT),
        )

    def memory_of(self, share: Share) -> str:
        """Return a share of DuckDB's memory, as DuckDB reads it."""
        return memory_of(share, self.memory_bytes)

    @property
    def has_live_store(self) -> bool:
        """Whether there may be a live store: not where it is a SQLite file that nobody has made yet."""
        scheme, _, path = self.live_store_url.partition(":///")
        return not scheme.startswith("sqlite") or Path(path.partition("?")[0]).is_file()

    @property
    def landing_dir(self) -> Path:
        """Landed batches, one folder each."""
        return self.home / "landing"

    @property
    def features_dir(self) -> Path:
        """Published Parquet files of each feature model, in a folder named after the model."""
        return self.home / "features"

    @property
    def segments_file(self) -> Path:
        """Segments of customers over time, with the clustering that gave them."""
        return self.home / "segments" / "customers.parquet"

    @property
    def build_file(self) -> Path:
        """DuckDB file that dbt alone opens."""
        return self.home / "warehouse" / "build.duckdb"

    @property
    def velocity_parts_dir(self) -> Path:
        """What compiled loops computed for the velocity model, while it is built."""
        return self.home / "warehouse" / "velocity_parts"

    @property
    def published_file(self) -> Path:
        """Read-only copy of the last finished build: the one that people and dashboards open."""
        return self.home / "warehouse" / "published.duckdb"

    @property
    def dbt_target_dir(self) -> Path:
        """Folder of dbt's manifest and compiled SQL."""
        return self.home / "target"

    @property
    def compiled_sql_dir(self) -> Path:
        """Folder of the live and derived SQL that dbt compiled."""
        return self.dbt_target_dir / "compiled" / "customer_behavior_profiling" / "dbt_project" / "analyses"

    @property
    def manifest_file(self) -> Path:
        """Manifest of the dbt run that made the features."""
        return self.dbt_target_dir / "manifest.json"

    @property
    def feast_dir(self) -> Path:
        """Feast's registry and online store: treated as one."""
        return self.home / "feast"

    def create_folders(self) -> None:
        """Create every folder that the stores expect to be there."""
        for folder in (
            self.landing_dir,
            self.features_dir,
            self.segments_file.parent,
            self.build_file.parent,
            self.feast_dir,
            self.home / "live",
        ):
            folder.mkdir(parents=True, exist_ok=True)


def _below_root(url: str) -> str:
    """Place a relative SQLite file below the project's root, wherever a command is started."""
    scheme, separator, rest = url.partition(":///")
    path, question, query = rest.partition("?")
    if not scheme.startswith("sqlite") or not path or path.startswith((":", "file:")):
        return url
    return f"{scheme}{separator}{PROJECT_ROOT / path}{question}{query}"
