"""Builds the warehouse: what was scored lands, dbt runs its models and tests, and the result is published."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from warehouse.build.dbt import BuildProgress, run_dbt
from warehouse.build.last_build import build_inputs, nodes_if_current, record_build
from warehouse.build.publishing import count_published, publish_warehouse
from warehouse.landing.batches import list_batches
from warehouse.landing.segments import ensure_segments
from warehouse.live.landing_of_scored import LandedFromLive, land_scored, landed_from_live
from warehouse.settings import DERIVED_SQL_FILE, LIVE_SQL_FILE, Settings

COMPILED_ANALYSES: Final = tuple(file.removesuffix(".sql") for file in (LIVE_SQL_FILE, DERIVED_SQL_FILE))


@dataclass(frozen=True)
class BuildResult:
    """What a build did.

    Parameters
    ----------
    landed : LandedFromLive
        Scored events and labels that it brought into the landing.
    nodes : int
        dbt models and tests that passed.
    published : dict of str to int
        Rows of each published table, as ``schema.table``.
    is_new : bool
        Whether anything was built: not where nothing has changed since the last build that passed.
    """

    landed: LandedFromLive
    nodes: int
    published: dict[str, int]
    is_new: bool


def build(
    settings: Settings,
    *,
    as_of_us: int | None = None,
    full_refresh: bool = False,
    progress: BuildProgress | None = None,
) -> BuildResult:
    """Rebuild the warehouse from the landing; where nothing has changed since the last build, do nothing.

    Parameters
    ----------
    settings : Settings
        The home to build.
    as_of_us : int, optional
        Build as if it were this instant (UTC microseconds): no snapshot of a day that ends later.
    full_refresh : bool
        Rebuild incremental models from nothing, whether or not anything has changed.
    progress : callable, optional
        Called after each dbt node.

    Raises
    ------
    BuildError
        When a model can't be built or a test fails; the published warehouse stays as it was.
    """
    settings.create_folders()
    ensure_segments(settings)
    known = list_batches(settings)
    land_scored(settings)
    landed = landed_from_live(list_batches(settings)[len(known) :])
    inputs = build_inputs(settings, as_of_us=as_of_us)
    nodes = None if full_refresh else nodes_if_current(settings, inputs)
    if nodes is not None:
        return BuildResult(landed, nodes, published=count_published(settings), is_new=False)
    present = [] if as_of_us is None else ["--vars", json.dumps({"as_of_us": as_of_us})]
    extent = ["--full-refresh"] if full_refresh else []
    nodes = run_dbt(
        settings,
        ["build", "--exclude-resource-type", "unit_test", *extent, *present],
        ["compile", "--select", *COMPILED_ANALYSES, *present],
        progress=progress,
    )
    published = publish_warehouse(settings)
    record_build(settings, inputs, nodes=nodes)
    return BuildResult(landed, nodes, published, is_new=True)
