"""A real process killed in the middle of ingest: all of the file or nothing, and no hand to repair it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.ingest_files import ingest_one, make_payments, read_transactions, write_csv
from warehouse.landing.batches import list_batches, work_folder
from warehouse.settings import Settings

pytestmark = pytest.mark.services

CHILD = """
import os, signal, sys
from pathlib import Path
from warehouse.ingest.ingest import ingest
from warehouse.settings import Settings

home, file, moment = sys.argv[1:]

def die(*ignored):
    os.kill(os.getpid(), signal.SIGKILL)

def watch(path, step):
    if step == moment:
        die()

if moment == "renaming":
    Path.rename = die
if moment == "renamed":
    rename = Path.rename
    Path.rename = lambda source, target: (rename(source, target), die())
settings = Settings.from_environment({"CBP_HOME": home})
ingest(settings, [Path(file)], progress=watch).raise_on_failure()
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"CBP_HOME": str(tmp_path / "home")})


def run_child(settings: Settings, file: Path, moment: str) -> int:
    command = [sys.executable, "-c", CHILD, str(settings.home), str(file), moment]
    return subprocess.run(command, check=False).returncode


@pytest.mark.parametrize(
    "moment", ["reading", "mapping", "comparing", "writing", "landing", "renaming", "renamed"]
)
def test_a_killed_ingest_leaves_all_or_nothing(settings: Settings, tmp_path: Path, moment: str) -> None:
    before = ingest_one(settings, write_csv(tmp_path / "before.csv", make_payments(10)))
    file = write_csv(tmp_path / "a.csv", make_payments(500))
    assert run_child(settings, file, moment) == -signal.SIGKILL
    has_landed = moment == "renamed"
    assert [batch.path.name for batch in list_batches(settings)][:1] == [before.batch]
    assert len(read_transactions(settings)) == (500 if has_landed else 10)
    again = ingest_one(settings, file)
    assert again.already_landed is has_landed
    assert len(read_transactions(settings)) == 500
    assert list(work_folder(settings).iterdir()) == []


def test_kills_at_any_time_leave_all_or_nothing(settings: Settings, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", make_payments(60_000))
    command = [sys.executable, "-c", CHILD, str(settings.home), str(file), "never"]
    for delay_seconds in (0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2):
        child = subprocess.Popen(command)
        time.sleep(delay_seconds)
        child.kill()
        child.wait()
        assert len(read_transactions(settings)) in (0, 60_000)
    ingest_one(settings, file)
    assert len(read_transactions(settings)) == 60_000
    assert len(list_batches(settings)) == 1
    assert list(work_folder(settings).iterdir()) == []


def test_a_full_disk_lands_nothing_and_says_so(settings: Settings, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", make_payments(20_000))
    limited = CHILD.replace(
        "import os,",
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\nimport os,",
    )
    command = [sys.executable, "-c", limited, str(settings.home), str(file), "never"]
    child = subprocess.run(command, check=False, capture_output=True, text=True)
    assert child.returncode == 1
    assert "StoreError: a.csv could not be landed" in child.stderr
    assert list_batches(settings) == []
    assert ingest_one(settings, file).accepted == 20_000


def test_runs_side_by_side_land_each_row_once(settings: Settings, tmp_path: Path) -> None:
    files = [write_csv(tmp_path / f"{number}.csv", make_payments(100 + number)) for number in range(4)]
    with ThreadPoolExecutor() as pool:
        codes = list(pool.map(lambda file: run_child(settings, file, "never"), [*files, *files]))
    assert codes == [0] * 8
    assert len(list_batches(settings)) == 4
    assert len(read_transactions(settings)) == 103
