"""dbt-duckdb plug-in: lays out a home before DuckDB opens its file, and serves the project's hooks.

Named in ``profiles.yml``; see dbt-duckdb's documentation, "Writing your own plugins". A function that queries
does so on a cursor of its own: it sees what is committed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.plugins import BasePlugin
from duckdb.sqltypes import BIGINT, VARCHAR, DuckDBPyType

from warehouse.build.definition import models_hash
from warehouse.build.feature_files import publish_files
from warehouse.durable import write_whole
from warehouse.landing.batches import ensure_landing
from warehouse.landing.segments import ensure_segments
from warehouse.settings import Settings


class Plugin(BasePlugin):
    """Lays out the home and registers the functions of the project's hooks in the build's connection."""

    def initialize(self, plugin_config: dict[str, Any]) -> None:
        """Create the folders and the empty landing: ``dbt run`` works in a home that holds nothing."""
        self.settings = Settings.from_environment()
        self.settings.create_folders()
        ensure_landing(self.settings)
        ensure_segments(self.settings)

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Register the functions that the project's hooks call."""
        self.connection = conn
        functions: tuple[tuple[Callable[..., object], list[Any], DuckDBPyType], ...] = (
            (self._land_scored, [], VARCHAR),
            (self._begin_loading_loops, [], VARCHAR),
            (self._publish_feature, [VARCHAR, VARCHAR, BIGINT], VARCHAR),
            (self._publish_manifest, [VARCHAR], VARCHAR),
            (self._reason_for_windows, [VARCHAR], VARCHAR),
            (self._write_velocity_parts, [VARCHAR, VARCHAR, BIGINT], BIGINT),
            (self._discard_velocity_parts, [], VARCHAR),
            (_project_definition, [VARCHAR], VARCHAR),
        )
        for function, types, result in functions:
            conn.create_function(function.__name__.lstrip("_"), function, types, result, side_effects=True)

    def _land_scored(self) -> str:
        """Bring what the API scored, and the labels it was told, into the landing; say how much it was."""
        if not self.settings.has_live_store:
            return ""
        from warehouse.live.landing_of_scored import (
            land_scored,  # opening a database is dear where there is none
        )

        landed = land_scored(self.settings)
        return f"Landed from the live store: {landed.events:,} events, {landed.labels:,} labels"

    def _begin_loading_loops(self) -> str:
        """Load compiled loops beside what is done until a model asks for them."""
        return "loaded" if self._loops.done() else "loading"

    @cached_property
    def _loops(self) -> Future[None]:
        """Loops as they are loaded, from when first they are asked for.

        By one thread alone: where several load parts of Numba at a time, one may see half a module.
        """
        loader = ThreadPoolExecutor(1)
        loops = loader.submit(_load_loops)
        loader.shutdown(wait=False)
        return loops

    def _publish_feature(self, relation: str, model: str, changed_from_us: int) -> str:
        """Show a model's rows as files in place of the old ones, which hold those before an instant."""
        # What Parquet's writers hold is beyond DuckDB's limit.
        with self.connection.cursor() as cursor, buffers_let_go(cursor):
            published = self.settings.features_dir / model
            return str(publish_files(cursor, relation, published, changed_from_us=changed_from_us))

    def _publish_manifest(self, target_path: str) -> str:
        """Copy the manifest to where Feast looks for it, unless dbt has written it there."""
        manifest, published = Path(target_path).resolve() / "manifest.json", self.settings.manifest_file
        if manifest == published:
            return str(published)
        write_whole(published, lambda incoming: shutil.copyfile(manifest, incoming))
        return str(published)

    def _reason_for_windows(self, declared: str) -> str:
        """Say why velocity parts can't be computed by compiled loops; empty: they can."""
        try:
            self._loops.result()
        except (ImportError, RuntimeError) as error:
            # Numba says so as it is imported: it isn't there, or finds no folder to keep what it compiles.
            return f"numba can't compile loops here: {error}"
        from warehouse.velocity.parts import PartSpec, UnknownPartError

        try:
            PartSpec.from_dict(json.loads(declared))
        except UnknownPartError as error:
            return str(error)
        return ""

    def _write_velocity_parts(self, relation: str, declared: str, from_us: int) -> int:
        """Compute the parts of the payments from an instant on by compiled loops; return their number."""
        from warehouse.velocity.parts import PartSpec, write_parts

        spec = PartSpec.from_dict(json.loads(declared))
        with self.connection.cursor() as cursor, buffers_let_go(cursor):
            return write_parts(cursor, relation, spec, self.settings.velocity_parts_dir, from_us=from_us)

    def _discard_velocity_parts(self) -> str:
        """Remove the parts that the model has read."""
        shutil.rmtree(self.settings.velocity_parts_dir, ignore_errors=True)
        return str(self.settings.velocity_parts_dir)


@contextmanager
def buffers_let_go(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Leave DuckDB a quarter of its memory meanwhile: it keeps what it has read as long as it may."""
    ((limit,),) = connection.execute("select current_setting('memory_limit')").fetchall()
    size, unit = str(limit).split()
    as_it_was = f"set memory_limit = '{limit}'"
    try:
        connection.execute(f"set memory_limit = '{float(size) / 4:.1f} {unit}'")
    except duckdb.OutOfMemoryException:
        # More is in use. DuckDB says so, and holds to the lower limit all the same.
        connection.execute(as_it_was)
    try:
        yield
    finally:
        connection.execute(as_it_was)


def _load_loops() -> None:
    """Load Numba and what it has compiled: a second or more."""
    from warehouse.velocity import parts

    parts.load()


def _project_definition(project_folder: str) -> str:
    """Hash what decides the models' content."""
    return models_hash(Path(project_folder))
