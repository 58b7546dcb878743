"""`cbp materialize` killed in the middle: each view all old or all new, and the next run needs no hand."""

from __future__ import annotations

import math
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import duckdb
import pytest
from click.testing import CliRunner

from cbp import main
from warehouse.build.dbt import dbt_environment
from warehouse.live.horizon import live_horizon_us
from warehouse.live.transfer import ALLOWED_LATENESS_US
from warehouse.settings import PROJECT_ROOT, Settings

pytestmark = pytest.mark.services

OLD, NEW = "2018-05-15", "2018-05-21"
NEW_US = 1_526_860_800_000_000
ROWS_PER_COMMIT = 1_000

# What the command does, which dies as something happens for the n-th time.
KILLED = """
import os, signal, sys
from sqlalchemy import Engine, event
from feature_repo import feast_store
from feast.infra.passthrough_provider import PassthroughProvider
from feast.infra.registry.registry import Registry
from warehouse.live.backfill import backfill_live_windows
from warehouse.settings import Settings
from warehouse.times import now_us

moment, calls, rows_per_commit, until_us = sys.argv[1], *map(int, sys.argv[2:])

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def at(name, act=die):
    def count(*_):
        global calls
        calls -= name == moment
        if not calls:
            act()
    return count

def before(owner, method, count):
    function = getattr(owner, method)
    setattr(owner, method, lambda *args, **kwargs: (count(), function(*args, **kwargs))[1])

before(PassthroughProvider, "materialize_single_feature_view", at("between views"))
before(Registry, "apply_materialization", at("before the registry knows"))
at_a_commit = at("within live history", lambda: event.listen(Engine, "commit", die))
at_the_last = at("before pruning")
settings = Settings.from_environment()
feast_store.apply(settings)
feast_store.materialize(settings, until_us=until_us, progress=at("within a view"))
backfill_live_windows(
    settings,
    now_us=now_us(),
    rows_per_commit=rows_per_commit,
    progress=lambda _: (at_a_commit(), at_the_last()),
)
"""

View = list[tuple[object, ...]]


@dataclass(frozen=True)
class World:
    """A home, and what each of its views holds before and after the command."""

    settings: Settings
    old: dict[str, View]
    new: dict[str, View]
    live: list[str]

    @property
    def changed(self) -> list[str]:
        """Views that the command changes, in its order; nobody has made segments here."""
        return [
            f"customer_behavior_profiling_{name}"
            for name in ("category_risk", "customer_profile", "merchant_risk")
        ]


def materialize(settings: Settings, until: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in dbt_environment(settings).items():
            patched.setenv(name, value)
        done = CliRunner().invoke(main, ["materialize", "--until", until])
    assert done.exit_code == 0, done.output


def online(settings: Settings) -> dict[str, View]:
    """Return the rows of each view, as a reader finds them."""
    with closing(sqlite3.connect(settings.feast_dir / "online.db")) as connection:
        names = [name for (name,) in connection.execute("select name from __views order by name")]
        return {
            name: sorted(connection.execute(f'select * from "{name}"'), key=repr)  # noqa: S608
            for name in names
        }


def live(settings: Settings) -> list[str]:
    """Return the transactions of the live store, in order of arrival."""
    if not settings.has_live_store:
        return []
    with closing(sqlite3.connect(settings.home / "live" / "live.db")) as connection:
        return [
            name for (name,) in connection.execute("select transaction_id from events order by arrival_seq")
        ]


def within_the_horizon(settings: Settings) -> list[str]:
    memory_us = live_horizon_us(settings) + ALLOWED_LATENESS_US
    with duckdb.connect(str(settings.published_file), read_only=True) as connection:
        found = connection.execute(
            "select transaction_id from marts.fct_transactions where event_us >= "
            "(select max(event_us) from marts.fct_transactions) - ? "
            "order by ingested_us, event_us, transaction_id",
            [memory_us],
        )
        return [name for (name,) in found.fetchall()]


@pytest.fixture(scope="module")
def world(copy_of_world: Callable[[], Settings]) -> World:
    """Materialize an old snapshot and a new one; keep the stores as they are after the old one."""
    settings = copy_of_world()
    materialize(settings, OLD)
    shutil.rmtree(settings.home / "live")  # it is filled for the first time when the command is killed
    shutil.copytree(settings.feast_dir, settings.home / "old")
    old = online(settings)
    materialize(settings, NEW)
    world = World(settings, old, online(settings), live(settings))
    assert world.live == within_the_horizon(settings)
    assert len(world.live) > 4 * ROWS_PER_COMMIT
    assert [name for name in old if old[name] != world.new[name]] == world.changed
    return world


def as_before(world: World) -> Settings:
    settings = world.settings
    shutil.rmtree(settings.home / "live")
    shutil.rmtree(settings.feast_dir)
    shutil.copytree(settings.home / "old", settings.feast_dir)
    assert online(settings) == world.old
    return settings


@pytest.mark.parametrize(
    ("moment", "calls", "new_views", "commits"),
    [
        ("within a view", 2, 1, 0),
        ("between views", 3, 2, 0),
        ("before the registry knows", 1, 1, 0),
        ("within live history", 3, 3, 3),
        ("before pruning", None, 3, None),
    ],
)
def test_a_killed_command_leaves_each_view_old_or_new_and_the_next_one_repairs(
    world: World, moment: str, calls: int | None, new_views: int, commits: int | None
) -> None:
    settings = as_before(world)
    last = math.ceil(len(world.live) / ROWS_PER_COMMIT)
    numbers = (calls or last, ROWS_PER_COMMIT, NEW_US)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, moment, *map(str, numbers)],
        cwd=PROJECT_ROOT,
        env=os.environ | dbt_environment(settings),
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = online(settings)
    assert all(rows in (world.old[name], world.new[name]) for name, rows in left.items())
    assert [name for name in world.changed if left[name] == world.new[name]] == world.changed[:new_views]
    loaded = live(settings)
    assert loaded == world.live[: None if commits is None else commits * ROWS_PER_COMMIT]
    materialize(settings, NEW)
    assert online(settings) == world.new
    assert live(settings) == world.live
