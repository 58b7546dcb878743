"""dbt-duckdb plug-in: lays out a home before DuckDB opens its file, and publishes by rename.

Named in ``profiles.yml``; see dbt-duckdb's documentation, "Writing your own plugins".
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

from warehouse.landing import ensure_landing
from warehouse.settings import Settings


class Plugin(BasePlugin):
    """Lays out the home and registers the functions of the project's hooks in the build's connection."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Create the folders and the empty landing: ``dbt run`` works in a home that holds nothing."""
        self.settings = Settings.from_environment()
        self.settings.create_folders()
        ensure_landing(self.settings)

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Register the functions that the project's hooks call."""
        for name, function in {
            "publish_feature": self._publish_feature,
            "publish_manifest": self._publish_manifest,
        }.items():
            conn.create_function(name, function, ["VARCHAR"], "VARCHAR", side_effects=True)

    def _publish_feature(self, model: str) -> str:
        """Show a model's new Parquet file in place of the old one."""
        return _rename(
            self.settings.features_dir / f".{model}.incoming", self.settings.features_dir / f"{model}.parquet"
        )

    def _publish_manifest(self, target_path: str) -> str:
        """Copy the manifest to where Feast looks for it, unless dbt has written it there."""
        manifest, published = Path(target_path).resolve() / "manifest.json", self.settings.manifest_file
        if manifest == published:
            return str(published)
        published.parent.mkdir(parents=True, exist_ok=True)
        incoming = published.with_name(".manifest.incoming")
        shutil.copyfile(manifest, incoming)
        return _rename(incoming, published)


def _rename(incoming: Path, published: Path) -> str:
    """Make a file durable, then let it take the place of the one that readers know."""
    descriptor = os.open(incoming, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    incoming.replace(published)
    return str(published)
