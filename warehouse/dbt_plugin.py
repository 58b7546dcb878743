"""dbt-duckdb plug-in: lays out a home before DuckDB opens its file, and publishes feature files by rename.

Named in ``profiles.yml``; see dbt-duckdb's documentation, "Writing your own plugins".
"""

from __future__ import annotations

from typing import Any

from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb import DuckDBPyConnection

from warehouse.landing import ensure_landing
from warehouse.settings import Settings


class Plugin(BasePlugin):
    """Lays out the home and registers ``publish_feature(model)`` in the build's connection."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:  # noqa: ARG002 - dbt-duckdb's signature
        """Create the folders and the empty landing, so that ``dbt run`` works in a home that holds nothing."""
        self.settings = Settings.from_environment()
        self.settings.create_folders()
        ensure_landing(self.settings)

    def configure_connection(self, conn: DuckDBPyConnection) -> None:
        """Register the function that the features' post-hook calls."""
        conn.create_function(
            "publish_feature", self._publish_feature, ["VARCHAR"], "VARCHAR", side_effects=True
        )

    def _publish_feature(self, model: str) -> str:
        incoming = self.settings.features_dir / f".{model}.incoming"
        published = self.settings.features_dir / f"{model}.parquet"
        incoming.replace(published)
        return str(published)
