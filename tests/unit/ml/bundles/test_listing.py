"""The registry and its commands: list, show, verify, promote and roll back what was published."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cbp import main
from ml.bundles.listing import find_bundle, list_bundles
from ml.bundles.store import current_promotion, promote_bundle, roll_back, verify_bundle
from ml.errors import BundleError
from ml.scoring.scorer import Scorer
from tests.support.planted_fraud import publish_planted
from warehouse.settings import Settings


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publish three bundles of one name once."""
    models_dir = tmp_path_factory.mktemp("registry") / "models"
    for number in range(3):
        bundle = publish_planted(models_dir, seed=number)
        # a publication a second
        os.utime(bundle, (1_700_000_000 + number, 1_700_000_000 + number))
    return models_dir


@pytest.fixture
def settings(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    shutil.copytree(published, tmp_path / "models")
    variables = {"CBP_HOME": "home", "CBP_MODELS": "models", "CBP_REPORTS": "reports"}
    variables = {name: str(tmp_path / folder) for name, folder in variables.items()}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "300")
    return Settings.from_environment(variables)


def versions(settings: Settings) -> list[str]:
    """Return the versions in order of publication."""
    bundles = (settings.models_dir / "planted").iterdir()
    return [path.name for path in sorted(bundles, key=lambda path: path.stat().st_mtime_ns)]


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["models", *arguments])
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def damage(settings: Settings, version: str) -> None:
    (settings.models_dir / "planted" / version / "parity.json").write_bytes(b"{}")


def test_a_bundle_is_found_by_name_version_or_what_tells_it_apart(settings: Settings) -> None:
    first, second, third = versions(settings)
    folder = settings.models_dir / "planted"
    assert find_bundle(settings, f"planted/{first}") == folder / first
    assert find_bundle(settings, f"planted/{second[:-2]}") == folder / second
    assert find_bundle(settings, "planted") == folder / third
    promote_bundle(settings, folder / first)
    assert find_bundle(settings, None) == folder / first


@pytest.mark.parametrize(
    "reference", ["", "other", "planted/2018", "planted/x", "../planted", "/etc", "planted/.."]
)
def test_what_means_no_bundle_or_several_is_refused(settings: Settings, reference: str) -> None:
    with pytest.raises(BundleError, match="expected one bundle"):
        find_bundle(settings, reference)


def test_the_list_has_every_bundle_and_what_is_wrong_with_it(settings: Settings) -> None:
    first, second, third = versions(settings)
    promote_bundle(settings, settings.models_dir / "planted" / second)
    damage(settings, third)
    entries = {entry.reference: entry for entry in list_bundles(settings)}
    assert sorted(entries) == sorted(f"planted/{version}" for version in (first, second, third))
    assert [name for name, entry in entries.items() if entry.is_promoted] == [f"planted/{second}"]
    assert entries[f"planted/{first}"].problem is None
    assert "parity.json" in str(entries[f"planted/{third}"].problem)
    output = run("list").output
    for version in (first, second, third):
        assert f"planted/{version}" in output
    assert output.count("promoted") == 1
    assert "is not the file" in output


def test_a_promoted_bundle_that_was_altered_is_not_listed_as_promoted(settings: Settings) -> None:
    first = versions(settings)[0]
    promote_bundle(settings, settings.models_dir / "planted" / first)
    damage(settings, first)
    assert not any(entry.is_promoted for entry in list_bundles(settings))


def test_show_says_what_a_bundle_says_of_itself(settings: Settings) -> None:
    version = versions(settings)[1]
    shown = json.loads(run("show", f"planted/{version}").output)
    bundle = verify_bundle(settings.models_dir / "planted" / version)
    assert shown["bundle"] == f"planted/{version}"
    assert shown["sha256"] == bundle.sha256
    assert shown["training"] == bundle.manifest.training.model_dump()
    assert shown["thresholds"] == bundle.manifest.thresholds.model_dump()
    assert shown["bytes"] == sum(len(content) for content in bundle.files.values())


def test_verify_loads_the_bundle_and_scores_its_sample(settings: Settings) -> None:
    version = versions(settings)[0]
    assert "verified planted/" in run("verify", f"planted/{version}").output
    assert Scorer.load(settings.models_dir / "planted" / version).bundle.version == version
    damage(settings, version)
    assert "parity.json" in run("verify", f"planted/{version}", code=1).output


def test_commands_without_a_promoted_bundle_say_what_to_do(settings: Settings) -> None:
    for command in ("show", "verify", "rollback"):
        assert "cbp train" in run(command, code=1).output


def test_promotion_and_rollback_walk_the_history(settings: Settings) -> None:
    first, second, third = versions(settings)
    for version in (first, second, third):
        run("promote", f"planted/{version}")
    assert current_promotion(settings).path.name == third
    run("rollback")
    assert current_promotion(settings).path.name == second
    run("rollback")
    assert current_promotion(settings).path.name == first
    assert "promoted before" in run("rollback", code=1).output
    assert current_promotion(settings).path.name == first


def test_promoting_the_promoted_bundle_again_is_no_history(settings: Settings) -> None:
    first, second, _ = versions(settings)
    for version in (first, second, second):
        run("promote", f"planted/{version}")
    run("rollback")
    assert current_promotion(settings).path.name == first


def test_a_rollback_to_an_altered_bundle_is_refused_and_changes_nothing(settings: Settings) -> None:
    first, second, _ = versions(settings)
    for version in (first, second):
        run("promote", f"planted/{version}")
    damage(settings, first)
    before = current_promotion(settings)
    assert "is not the file" in run("rollback", code=1).output
    assert current_promotion(settings) == before


def test_a_bundle_that_does_not_load_is_not_promoted(settings: Settings) -> None:
    first, second, _ = versions(settings)
    run("promote", f"planted/{first}")
    damage(settings, second)
    run("promote", f"planted/{second}", code=1)
    assert current_promotion(settings).path.name == first


def test_whoever_reads_while_others_promote_and_roll_back_sees_a_whole_promotion(settings: Settings) -> None:
    bundles = [settings.models_dir / "planted" / version for version in versions(settings)]
    promote_bundle(settings, bundles[0])
    known = {(path.name, verify_bundle(path).sha256) for path in bundles}
    failures: list[BaseException] = []
    is_done = threading.Event()

    def change(bundle: Path) -> None:
        try:
            for _ in range(15):
                promote_bundle(settings, bundle)
                roll_back(settings)
                promote_bundle(settings, bundle)
        except BundleError as error:
            # another one had rolled back all that was before
            if "promoted before" not in str(error):
                failures.append(error)

    def read() -> None:
        while not is_done.is_set():
            found = current_promotion(settings)
            if (found.path.name, found.sha256) not in known:
                failures.append(AssertionError(found))

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=change, args=(bundle,)) for bundle in bundles]
    for thread in (reader, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    is_done.set()
    reader.join()
    assert failures == []
