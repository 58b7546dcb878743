"""Bundles: what was published loads, anything else is refused; promotion is one rename."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.bundles.manifest import MANIFEST_FILE
from ml.bundles.store import (
    CURRENT_FILE,
    VerifiedBundle,
    current_promotion,
    promote_bundle,
    promoted_bundle_dir,
    publish_bundle,
    verify_bundle,
)
from ml.canonical_json import canonical_json
from ml.errors import BundleError, TrainingDataError
from ml.scoring.scorer import Scorer
from tests.support.planted_fraud import packed_pipeline, planted_rows, publish_planted
from warehouse.settings import Settings

Content = dict[str, Any]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path / "home",
        models_dir=tmp_path / "models",
        reports_dir=tmp_path / "reports",
        live_store_url="sqlite://",
    )


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish_planted(tmp_path_factory.mktemp("models"))


@pytest.fixture
def bundle(published: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may damage."""
    return Path(shutil.copytree(published, tmp_path / "planted" / published.name))


def rewrite_manifest(bundle: Path, change: Callable[[Content], None], *, raw: bool = False) -> None:
    """Change the manifest as one who can also mend its hashes would."""
    content = json.loads((bundle / MANIFEST_FILE).read_text())
    change(content)
    text = json.dumps(content) if raw else canonical_json(content).decode()
    (bundle / MANIFEST_FILE).write_text(text)


def rewrite_file(bundle: Path, name: str, data: bytes) -> None:
    """Change a file and mend its hash."""

    def mend(content: Content) -> None:
        content["files"][name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    (bundle / name).write_bytes(data)
    rewrite_manifest(bundle, mend)


def test_a_bundle_verifies_and_names_the_hash_of_its_manifest(published: Path) -> None:
    found = verify_bundle(published)
    assert found.sha256 == hashlib.sha256((published / MANIFEST_FILE).read_bytes()).hexdigest()
    assert {path.name for path in published.iterdir()} == {*found.files, MANIFEST_FILE}
    assert published.name == found.manifest.version
    assert published.parent.name == found.manifest.name


def test_the_same_seed_gives_the_same_bytes_anywhere(published: Path, tmp_path: Path) -> None:
    again = publish_planted(tmp_path)
    assert again.name == published.name
    for path in published.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name
    assert publish_planted(tmp_path, seed=1).name != published.name


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    first = publish_planted(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in first.iterdir()}
    assert publish_planted(tmp_path) == first
    assert {path: path.stat().st_mtime_ns for path in first.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["planted"]


def test_publishing_over_an_altered_bundle_is_refused(tmp_path: Path) -> None:
    first = publish_planted(tmp_path)
    (first / "reference.json").write_text("{}")
    with pytest.raises(BundleError):
        publish_planted(tmp_path)


def test_nothing_appears_when_publishing_fails(tmp_path: Path) -> None:
    packed = packed_pipeline()
    files = {name: data for name, data in packed.files.items() if name != "parity.json"}
    with pytest.raises(BundleError, match=r"parity\.json"):
        publish_bundle(tmp_path, manifest=packed.manifest, files=files, day="2018-07-01")
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_fails_its_check_never_appears(tmp_path: Path) -> None:
    packed = packed_pipeline()
    seen = []

    def refuse(bundle: VerifiedBundle) -> None:
        seen.append(bundle)
        assert not list(tmp_path.glob("[!.]*"))
        raise TrainingDataError("it scores otherwise")

    for _ in range(2):
        with pytest.raises(TrainingDataError):
            publish_bundle(
                tmp_path, manifest=packed.manifest, files=packed.files, day="2018-07-01", check=refuse
            )
        assert list(tmp_path.iterdir()) == []
    assert [bundle.manifest.name for bundle in seen] == ["planted", "planted"]
    published = publish_bundle(
        tmp_path, manifest=packed.manifest, files=packed.files, day="2018-07-01", check=Scorer
    )
    assert verify_bundle(published).sha256 == seen[0].sha256


def test_no_training_row_is_inside_the_bundle(published: Path) -> None:
    frame, _ = planted_rows()
    rows = frame.to_numpy(dtype=np.float32)
    stored = json.loads((published / "parity.json").read_text())["inputs"]
    sample = np.asarray(stored, dtype=np.float64).astype(np.float32)
    for row in sample:
        same = (rows == row) | (np.isnan(rows) & np.isnan(row))
        assert not same.all(axis=1).any()
    texts = b"".join(path.read_bytes() for path in published.iterdir() if path.suffix in {".json", ".txt"})
    amounts = [f"{value}".encode() for value in rows[:, 1] if not np.isnan(value)]
    found = sum(amount in texts for amount in amounts)
    # quantiles and fill values are values of the column, single ones out of all rows
    assert found <= 20


@pytest.mark.parametrize(
    "name", [MANIFEST_FILE, "parity.json", "anomaly_score_trees.txt", "live_velocity.sql"]
)
def test_a_flipped_bit_is_found(bundle: Path, name: str) -> None:
    sha256 = verify_bundle(bundle).sha256
    data = bytearray((bundle / name).read_bytes())
    data[len(data) // 2] ^= 1
    (bundle / name).write_bytes(data)
    with pytest.raises(BundleError):
        verify_bundle(bundle, expected_sha256=sha256)


@pytest.mark.parametrize("name", [MANIFEST_FILE, "parity.json", "fraud_probability_trees.txt"])
def test_a_missing_file_is_found(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    with pytest.raises(BundleError):
        verify_bundle(bundle)


def test_a_truncated_and_a_grown_file_are_found(bundle: Path) -> None:
    path = bundle / "reference.json"
    data = path.read_bytes()
    for changed in (data[:-1], data + b"\n", b""):
        path.write_bytes(changed)
        with pytest.raises(BundleError):
            verify_bundle(bundle)


def make_extra_file(bundle: Path) -> None:
    (bundle / "extra.json").write_text("{}")


def make_folder(bundle: Path) -> None:
    (bundle / "folder").mkdir()


def make_link(bundle: Path) -> None:
    (bundle / "reference.json").rename(bundle.parent / "elsewhere.json")
    (bundle / "reference.json").symlink_to(bundle.parent / "elsewhere.json")


def make_manifest_link(bundle: Path) -> None:
    (bundle / MANIFEST_FILE).rename(bundle.parent / "elsewhere.json")
    (bundle / MANIFEST_FILE).symlink_to(bundle.parent / "elsewhere.json")


def make_pipe(bundle: Path) -> None:
    (bundle / "reference.json").unlink()
    os.mkfifo(bundle / "reference.json")


def make_manifest_pipe(bundle: Path) -> None:
    (bundle / MANIFEST_FILE).unlink()
    os.mkfifo(bundle / MANIFEST_FILE)


def make_huge_file(bundle: Path) -> None:
    with (bundle / "reference.json").open("r+b") as file:
        file.truncate(2**40)


def make_huge_manifest(bundle: Path) -> None:
    with (bundle / MANIFEST_FILE).open("r+b") as file:
        file.truncate(2**40)


@pytest.mark.parametrize(
    "damage",
    [
        make_extra_file,
        make_folder,
        make_link,
        make_manifest_link,
        make_pipe,
        make_manifest_pipe,
        make_huge_file,
        make_huge_manifest,
    ],
)
def test_what_is_not_a_published_file_is_refused(bundle: Path, damage: Callable[[Path], None]) -> None:
    damage(bundle)
    with pytest.raises(BundleError):
        verify_bundle(bundle)


def test_a_link_to_a_bundle_is_no_bundle(published: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(published)
    with pytest.raises(BundleError):
        verify_bundle(tmp_path / "link")
    with pytest.raises(BundleError, match="train first"):
        verify_bundle(tmp_path / "absent")


@pytest.mark.parametrize(
    "name",
    [
        "../reference.json",
        "/etc/passwd",
        "a/b.json",
        "..",
        ".hidden",
        "A.json",
        "a",
        "reference.json\n",
        "a\0.json",
        "",
    ],
)
def test_a_file_name_that_could_leave_the_folder_is_refused(bundle: Path, name: str) -> None:
    rewrite_manifest(bundle, lambda content: content["files"].update({name: content["files"]["parity.json"]}))
    with pytest.raises(BundleError):
        verify_bundle(bundle)
    rewrite_manifest(bundle, lambda content: content["files"].pop(name))
    verify_bundle(bundle)
    rewrite_manifest(bundle, lambda content: content["steps"][0]["files"].update(trees=name))
    with pytest.raises(BundleError):
        verify_bundle(bundle)


CHANGES: dict[str, Callable[[Content], Any]] = {
    "a later format": lambda content: content.update(format_version=2),
    "a format that is true": lambda content: content.update(format_version=True),
    "no format": lambda content: content.pop("format_version"),
    "an unknown field": lambda content: content.update(surplus=1),
    "no thresholds": lambda content: content.pop("thresholds"),
    "a threshold that is text": lambda content: content["thresholds"].update(review="0.3"),
    "a name that is a path": lambda content: content.update(name="../planted"),
    "a version that is hidden": lambda content: content.update(version=".."),
    "no features": lambda content: content.update(features=[]),
    "a feature twice": lambda content: content["features"].append(content["features"][0]),
    "a feature of an unknown type": lambda content: content["features"][0].update(dtype="varchar"),
    "a step that reads what is not there": lambda content: content["steps"][0]["inputs"].append("absent"),
    "a step that reads a later one": lambda content: content["steps"].reverse(),
    "a step without inputs": lambda content: content["steps"][0].update(inputs=[]),
    "a step with a file that is not listed": lambda content: content["steps"][0]["files"].update(x="x.json"),
    "an output twice": lambda content: content["steps"].append(content["steps"][1]),
    "a probability that no step makes": lambda content: content.update(probability="amount_minor"),
    "a negative size": lambda content: content["files"]["parity.json"].update(bytes=-1),
    "a size beyond all": lambda content: content["files"]["parity.json"].update(bytes=2**50),
    "a hash that is short": lambda content: content["files"]["parity.json"].update(sha256="00"),
    "the manifest in itself": lambda content: content["files"].update(
        {MANIFEST_FILE: content["files"]["parity.json"]}
    ),
    "no SQL": lambda content: content["files"].pop("live_velocity.sql"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_malformed_manifest_is_refused(bundle: Path, change: Callable[[Content], Any]) -> None:
    rewrite_manifest(bundle, change)
    with pytest.raises(BundleError):
        verify_bundle(bundle)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"format_version": 1}',
        "{" * 100_000,
        "[" * 100_000,
        '{"format_version": 1, "format_version": 1}',
        '{"format_version": NaN}',
        "\x80\x04]",
        "9" * 5000,
    ],
)
def test_a_manifest_that_is_no_manifest_is_refused(bundle: Path, text: str) -> None:
    (bundle / MANIFEST_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError):
        verify_bundle(bundle)


def test_a_bundle_that_mended_all_hashes_fails_the_promoted_hash(bundle: Path) -> None:
    sha256 = verify_bundle(bundle).sha256
    rewrite_manifest(bundle, lambda content: content["thresholds"].update(review=0.4))
    verify_bundle(bundle)
    with pytest.raises(BundleError, match="promote a bundle"):
        verify_bundle(bundle, expected_sha256=sha256)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("anomaly_score_trees.txt", b""),
        ("fraud_probability_trees.txt", b""),
        ("fraud_probability_trees.txt", b"tree\nversion=v4\n"),
        ("reference.json", b"{}"),
        ("reference.json", b"[]"),
        ("reference.json", b"\x80\x04"),
        ("parity.json", b"{}"),
        ("parity.json", b"[1]"),
        ("parity.json", b'{"inputs": [[1]], "outputs": {"fraud_probability": [1]}}'),
        ("live_velocity.sql", b"\xff"),
    ],
)
def test_a_part_that_can_not_be_loaded_is_refused(bundle: Path, name: str, data: bytes) -> None:
    rewrite_file(bundle, name, data)
    with pytest.raises(BundleError):
        Scorer.load(bundle)


def test_a_model_that_scores_its_sample_otherwise_is_refused(bundle: Path) -> None:
    content = json.loads((bundle / "parity.json").read_text())
    content["outputs"]["anomaly_score"][3] += 2e-6
    rewrite_file(bundle, "parity.json", canonical_json(content))
    with pytest.raises(BundleError, match="anomaly_score within"):
        Scorer.load(bundle)


def test_a_model_of_another_width_or_kind_is_refused(bundle: Path) -> None:
    rewrite_manifest(bundle, lambda content: content["steps"][0]["inputs"].pop())
    with pytest.raises(BundleError, match="inputs"):
        Scorer.load(bundle)
    rewrite_manifest(bundle, lambda content: content["steps"][0].update(kind="pickle"))
    with pytest.raises(BundleError, match="pickle"):
        Scorer.load(bundle)


def test_promotion_names_bundle_and_hash(settings: Settings) -> None:
    bundle = publish_planted(settings.models_dir)
    made = promote_bundle(settings, bundle)
    assert current_promotion(settings) == made
    assert promoted_bundle_dir(settings) == bundle
    assert made.sha256 == verify_bundle(bundle).sha256
    assert Scorer.load_promoted(settings).bundle.sha256 == made.sha256


def test_promotion_keeps_what_was_before(settings: Settings) -> None:
    first, second = (publish_planted(settings.models_dir, seed=seed) for seed in (0, 1))
    for bundle in (first, first, second):
        promote_bundle(settings, bundle)
    content = json.loads((settings.models_dir / CURRENT_FILE).read_text())
    assert [entry["bundle"] for entry in content["history"]] == [f"planted/{first.name}"]
    assert promoted_bundle_dir(settings) == second


def test_an_altered_bundle_is_not_promoted(settings: Settings) -> None:
    bundle = publish_planted(settings.models_dir)
    (bundle / "reference.json").write_text("{}")
    with pytest.raises(BundleError):
        promote_bundle(settings, bundle)
    with pytest.raises(BundleError, match="cbp train"):
        current_promotion(settings)


def test_a_bundle_altered_after_promotion_is_not_loaded(settings: Settings) -> None:
    bundle = publish_planted(settings.models_dir)
    promote_bundle(settings, bundle)
    rewrite_manifest(bundle, lambda content: content["thresholds"].update(review=0.4))
    with pytest.raises(BundleError, match="promote a bundle"):
        Scorer.load_promoted(settings)


def test_a_bundle_elsewhere_is_not_promoted(settings: Settings, published: Path) -> None:
    settings.models_dir.mkdir()
    with pytest.raises(BundleError, match="models folder"):
        promote_bundle(settings, published)


@pytest.mark.parametrize(
    "change",
    [
        {"bundle": "../outside/x"},
        {"bundle": "planted/.."},
        {"bundle": "/etc"},
        {"bundle": "planted"},
        {"bundle": "a/b/c"},
        {"bundle": 3},
        {"sha256": "00"},
        {"sha256": None},
        {"history": None},
        {"format_version": 2},
    ],
)
def test_a_malformed_promotion_is_refused(settings: Settings, change: Content) -> None:
    promote_bundle(settings, publish_planted(settings.models_dir))
    path = settings.models_dir / CURRENT_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BundleError, match="promote again"):
        promoted_bundle_dir(settings)


def test_a_promotion_that_is_a_link_or_no_json_is_refused(settings: Settings, tmp_path: Path) -> None:
    promote_bundle(settings, publish_planted(settings.models_dir))
    path = settings.models_dir / CURRENT_FILE
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match="link"):
        promoted_bundle_dir(settings)
    path.unlink()
    path.write_text("current")
    with pytest.raises(BundleError, match="JSON"):
        promoted_bundle_dir(settings)


def test_thresholds_of_the_bundle_are_those_that_were_published(published: Path) -> None:
    thresholds = Scorer.load(published).bundle.thresholds
    assert dataclasses.asdict(thresholds) == packed_pipeline().manifest["thresholds"]
