"""dbt's process: kept from run to run or started for one, a run gives the same and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import psutil
import pytest

from warehouse.build.dbt import run_dbt, warm_dbt
from warehouse.errors import BuildError
from warehouse.settings import Settings

MODEL = ["run", "--select", "stg_landing__labels"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings.from_environment({"CBP_HOME": str(tmp_path / "home")})
    settings.create_folders()
    return settings


@pytest.fixture(autouse=True)
def warm() -> Iterator[None]:
    """Keep the process that the session keeps, or one of its own."""
    with warm_dbt():
        yield


def dbt_processes() -> set[int]:
    return {
        child.pid
        for child in psutil.Process().children(recursive=True)
        if "warehouse.build.dbt_commands" in child.cmdline()
    }


def test_one_process_serves_run_after_run(settings: Settings, tmp_path: Path) -> None:
    assert run_dbt(settings, MODEL) == 1
    kept = dbt_processes()
    other = Settings.from_environment({"CBP_HOME": str(tmp_path / "other")})
    other.create_folders()
    assert run_dbt(other, MODEL, ["compile", "--select", "live_velocity"]) == 1
    assert dbt_processes() == kept
    for home in (settings, other):
        with duckdb.connect(str(home.build_file)) as connection:  # nobody holds it
            assert connection.execute("select count(*) from staging.stg_landing__labels").fetchone() == (0,)


def test_a_failed_run_fails_alone(settings: Settings) -> None:
    with pytest.raises(BuildError, match="YAML provided"):
        run_dbt(settings, ["run", "--select", "stg_landing__labels", "--vars", "{a: not closed"])
    assert run_dbt(settings, MODEL) == 1


def test_a_run_that_is_left_gives_the_next_one_none_of_its_answer(settings: Settings) -> None:
    def stop(*_: object) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run_dbt(settings, MODEL, progress=stop)
    seen: list[str] = []
    assert run_dbt(settings, MODEL, progress=lambda name, *_: seen.append(name)) == 1
    assert seen == ["stg_landing__labels"]


def test_a_process_that_was_killed_is_started_again(settings: Settings) -> None:
    run_dbt(settings, MODEL)
    for pid in dbt_processes():
        psutil.Process(pid).kill()
        psutil.Process(pid).wait(10)
    assert run_dbt(settings, MODEL) == 1


def test_another_environment_gets_a_process_of_its_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dbt(settings, MODEL)
    kept, seen = dbt_processes(), []
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(settings.home / "numba"))
    run_dbt(settings, MODEL, progress=lambda *_: seen.append(dbt_processes() - kept))
    assert len(seen[0]) == 1
    assert dbt_processes() == kept
