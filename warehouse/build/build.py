"""Builds the warehouse: dbt lands what was scored, runs and tests its models, compiles the live SQL; publish.

dbt runs as one process of its own: it alone opens the build file, it reads the project once for all that is
asked of it, and its memory is given back when it ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from warehouse.build.publishing import publish
from warehouse.errors import BuildError
from warehouse.landing.batches import list_batches
from warehouse.live.landing_of_scored import LandedFromLive, landed_from_live
from warehouse.settings import PROJECT_ROOT, Settings

ANALYSES: Final = ("live_velocity", "derived_features")

BuildProgress = Callable[[str, int, int], None]
"""Called with what has just finished, how many nodes are done, and how many there are."""


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
    """

    landed: LandedFromLive
    nodes: int
    published: dict[str, int]


def build(
    settings: Settings,
    *,
    as_of_us: int | None = None,
    full_refresh: bool = False,
    progress: BuildProgress | None = None,
) -> BuildResult:
    """Rebuild the warehouse from the landing.

    Parameters
    ----------
    settings : Settings
        The home to build.
    as_of_us : int, optional
        Build as if it were this instant (UTC microseconds): no snapshot of a day that ends later.
    full_refresh : bool
        Rebuild incremental models from nothing.
    progress : callable, optional
        Called after each dbt node.

    Raises
    ------
    BuildError
        When a model can't be built or a test fails; the published warehouse stays as it was.
    """
    settings.create_folders()
    known = list_batches(settings)
    present = [] if as_of_us is None else ["--vars", json.dumps({"as_of_us": as_of_us})]
    extent = ["--full-refresh"] if full_refresh else []
    nodes = run_dbt(
        settings,
        ["parse", *present],
        ["build", "--exclude-resource-type", "unit_test", *extent, *present],
        ["compile", "--select", *ANALYSES, *present],
        progress=progress,
    )
    landed = landed_from_live(list_batches(settings)[len(known) :])
    return BuildResult(landed=landed, nodes=nodes, published=publish(settings))


def run_dbt(settings: Settings, *commands: Sequence[str], progress: BuildProgress | None = None) -> int:
    """Run dbt in the project's root against one home; returns how many nodes passed.

    Parameters
    ----------
    settings : Settings
        The home.
    *commands : sequence of str
        Arguments of dbt, command by command. Those after a ``parse`` read the project no more.
    progress : callable, optional
        Called after each node.

    Raises
    ------
    BuildError
        With the messages of the nodes that failed.
    """
    process = subprocess.Popen(  # noqa: S603 - our own environment's dbt, arguments from this module
        [
            sys.executable,
            "-m",
            "warehouse.build.dbt_commands",
            json.dumps([list(command) for command in commands]),
        ],
        cwd=PROJECT_ROOT,
        env=os.environ | dbt_environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    passed, failures = 0, []
    with process:
        for event in _events(process.stdout or ()):
            name, data = event["info"]["name"], event["data"]
            if name in _RESULTS:
                failed = data["status"] in ("error", "fail")
                passed += not failed
                if progress is not None:
                    total = data.get("total") or data["num_models"]
                    progress(data["node_info"]["node_name"], data["index"], total)
            elif event["info"]["level"] == "error":
                failures.append(event["info"]["msg"].strip())
    if process.returncode:
        detail = "\n".join(filter(None, failures)) or f"exit code {process.returncode}"
        raise BuildError(f"dbt failed; the published warehouse is unchanged.\n{detail}")
    return passed


def dbt_environment(settings: Settings) -> dict[str, str]:
    """Environment variables that make dbt work in one home."""
    return {
        "CBP_HOME": str(settings.home),
        "CBP_LIVE_STORE": settings.live_store_url,
        "DBT_TARGET_PATH": str(settings.dbt_target_dir),
        "DBT_LOG_PATH": str(settings.home / "logs"),
    }


_RESULTS: Final = frozenset({"LogModelResult", "LogTestResult", "LogSnapshotResult", "LogSeedResult"})


def _events(lines: Iterator[str] | Sequence[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            # What Python itself prints when dbt can't start is not JSON.
            yield {"info": {"name": "Output", "level": "error", "msg": line}, "data": {}}
