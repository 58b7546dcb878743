"""A hundred and more ways to damage or forge a bundle: each is refused with an error of ours.

The bundle has a model of every kind. A file is damaged as it lies there, or forged by one who also mends the
hashes in the manifest, and so gets as far as what parses it.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from ml.bundles.manifest import MANIFEST_FILE
from ml.bundles.store import publish_bundle, verify_bundle
from ml.canonical_json import canonical_json
from ml.errors import BundleError
from ml.estimators.ensemble import RankAverageClassifier
from ml.estimators.hybrid import HybridFraudPipeline
from ml.estimators.linear_and_neural import LogisticClassifier, NeuralClassifier
from ml.estimators.trees import RandomForest
from ml.reasons.reference import measure
from ml.runtimes.kinds import ISOLATION_FOREST, LIGHTGBM, load_runtime
from ml.scoring.scorer import Scorer
from tests.support.planted_fraud import NAMES, pack_planted, planted_rows

pytestmark = pytest.mark.slow

Content = Any
Forge = Callable[[Path], None]

FOREST = "fraud_probability_forest_trees.txt"
ISOLATED = "anomaly_score_isolation_forest_trees.txt"
LINE = "fraud_probability_line_weights.safetensors"
NETWORK = "fraud_probability_network_weights.safetensors"
KERNEL = "anomaly_score_one_class_svm_weights.safetensors"
CURVE = "fraud_probability_knots.json"
MEAN = "anomaly_score_width.json"
LIVE_SQL = "live_velocity.sql"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publish a bundle with a model of every kind."""
    frame, fraud = planted_rows()
    members = (
        ("forest", RandomForest(n_estimators=5)),
        ("line", LogisticClassifier()),
        ("network", NeuralClassifier(hidden=(4,), epochs=2)),
    )
    pipeline = HybridFraudPipeline(
        ("isolation_forest", "autoencoder", "one_class_svm"),
        RankAverageClassifier(members),
        segmenter="kmeans",
        n_splits=2,
        random_state=0,
    ).fit(frame, fraud)
    matrix = frame.to_numpy(dtype=np.float32)
    packed = pack_planted(pipeline, name="every", seed=0, metrics={}, reference=measure(NAMES, matrix))
    folder = tmp_path_factory.mktemp("models")
    return publish_bundle(folder, manifest=packed.manifest, files=packed.files, day="2018-07-01")


@pytest.fixture
def bundle(published: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may damage."""
    return Path(shutil.copytree(published, tmp_path / "every" / published.name))


# --- damage to files as they lie there -------------------------------------------------------------------


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def emptied(data: bytes) -> bytes:
    return data[:0]


def short_of_a_byte(data: bytes) -> bytes:
    return data[:-1]


def with_a_byte_more(data: bytes) -> bytes:
    return data + b" "


def with_the_first_bit_flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def with_a_middle_bit_flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def zeroed(data: bytes) -> bytes:
    return bytes(len(data))


def doubled(data: bytes) -> bytes:
    return data + data


def pickled(data: bytes) -> bytes:
    return pickle.dumps(data)


DAMAGES = (
    truncated,
    emptied,
    short_of_a_byte,
    with_a_byte_more,
    with_the_first_bit_flipped,
    with_a_middle_bit_flipped,
    zeroed,
    doubled,
    pickled,
)


@pytest.mark.parametrize("name", [MANIFEST_FILE, FOREST, LINE, CURVE, LIVE_SQL])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused(bundle: Path, damage: Callable[[bytes], bytes], name: str) -> None:
    promoted = verify_bundle(bundle).sha256
    (bundle / name).write_bytes(damage((bundle / name).read_bytes()))
    with pytest.raises(BundleError):
        Scorer.load(bundle, expected_sha256=promoted)


# --- what lies in the folder -----------------------------------------------------------------------------


def exchange_two_files(bundle: Path) -> None:
    (bundle / FOREST).rename(bundle / "x")
    (bundle / ISOLATED).rename(bundle / FOREST)
    (bundle / "x").rename(bundle / ISOLATED)


def link_within(bundle: Path) -> None:
    (bundle / LINE).unlink()
    (bundle / LINE).symlink_to(NETWORK)


def link_to_the_same_content(bundle: Path) -> None:
    (bundle / LINE).rename(bundle.parent / LINE)
    (bundle / LINE).symlink_to(bundle.parent / LINE)


def link_to_a_secret(bundle: Path) -> None:
    (bundle / LIVE_SQL).unlink()
    (bundle / LIVE_SQL).symlink_to("/etc/passwd")


def link_to_nothing(bundle: Path) -> None:
    (bundle / LINE).unlink()
    (bundle / LINE).symlink_to(bundle / "nothing")


def link_to_itself(bundle: Path) -> None:
    (bundle / LINE).unlink()
    (bundle / LINE).symlink_to(bundle / LINE)


def make_a_socket(bundle: Path) -> None:
    (bundle / LINE).unlink()
    here = Path.cwd()
    os.chdir(bundle)  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(LINE)
    finally:
        os.chdir(here)


def make_a_pipe(bundle: Path) -> None:
    (bundle / LINE).unlink()
    os.mkfifo(bundle / LINE)


def make_a_folder_of_it(bundle: Path) -> None:
    (bundle / LINE).unlink()
    (bundle / LINE).mkdir()


def make_it_vast(bundle: Path) -> None:
    os.truncate(bundle / LINE, 2**40)


def make_the_manifest_vast(bundle: Path) -> None:
    os.truncate(bundle / MANIFEST_FILE, 2**40)


def lose(name: str) -> Forge:
    return lambda bundle: (bundle / name).unlink()


def add(name: str) -> Forge:
    def forge(bundle: Path) -> None:
        path = bundle / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"{}")

    return forge


def make_a_file_of_the_bundle(bundle: Path) -> None:
    shutil.rmtree(bundle)
    bundle.write_bytes(b"{}")


def make_a_link_of_the_bundle(bundle: Path) -> None:
    bundle.rename(bundle.parent / "elsewhere")
    bundle.symlink_to(bundle.parent / "elsewhere")


FOLDERS: dict[str, Forge] = {
    "two files exchanged": exchange_two_files,
    "a link to another file of it": link_within,
    "a link to a file of the same content": link_to_the_same_content,
    "a link to a secret": link_to_a_secret,
    "a link to nothing": link_to_nothing,
    "a link to itself": link_to_itself,
    "a socket": make_a_socket,
    "a pipe": make_a_pipe,
    "a folder for a file": make_a_folder_of_it,
    "a file of a terabyte": make_it_vast,
    "a manifest of a terabyte": make_the_manifest_vast,
    "no manifest": lose(MANIFEST_FILE),
    "no weights": lose(LINE),
    "no SQL": lose(LIVE_SQL),
    "a module": add("conftest.py"),
    "a pickle": add("model.pkl"),
    "a hidden file": add(".hidden"),
    "a folder with a file": add("folder/model.json"),
    "a file for the folder": make_a_file_of_the_bundle,
    "a link for the folder": make_a_link_of_the_bundle,
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_folder_that_is_not_what_was_published_is_refused(bundle: Path, case: str) -> None:
    FOLDERS[case](bundle)
    with pytest.raises(BundleError):
        Scorer.load(bundle)


# --- forged manifests ------------------------------------------------------------------------------------


def change(update: Callable[[Content], Any]) -> Forge:
    """Change the manifest."""

    def forge(bundle: Path) -> None:
        content = json.loads((bundle / MANIFEST_FILE).read_bytes())
        update(content)
        (bundle / MANIFEST_FILE).write_text(json.dumps(content))

    return forge


def replace(old: str, new: str) -> Forge:
    """Replace a text in the manifest, which need not stay JSON."""

    def forge(bundle: Path) -> None:
        text = (bundle / MANIFEST_FILE).read_text()
        assert old in text
        (bundle / MANIFEST_FILE).write_text(text.replace(old, new, 1))

    return forge


def named(name: str) -> Forge:
    """List a file under another name."""

    def update(content: Content) -> None:
        content["files"][name] = content["files"].pop(LIVE_SQL)

    return change(update)


def many(field: str, count: int) -> Forge:
    def update(content: Content) -> None:
        first = content[field][0]
        key = "output" if field == "steps" else "name"
        content[field] += [{**first, key: f"more_{number}"} for number in range(count)]

    return change(update)


def many_files(content: Content) -> None:
    content["files"] |= {f"more_{number}.json": content["files"][CURVE] for number in range(200)}


MANIFESTS: dict[str, Forge] = {
    "a path above": named("../live_velocity.sql"),
    "an absolute path": named("/etc/passwd"),
    "a path below": named("folder/live_velocity.sql"),
    "a path of another system": named("..\\live_velocity.sql"),
    "a drive": named("c:live.sql"),
    "a dot": named("."),
    "a NUL in a name": named("live\0velocity.sql"),
    "a new line in a name": named("live_velocity.sql\n"),
    "a letter that looks alike": named("live_velocity.sq\u04cf"),
    "a name of a megabyte": named("a" * 2**20 + ".sql"),
    "NaN for a threshold": replace('"review": 0.3', '"review": NaN'),
    "Infinity for a threshold": replace('"review": 0.3', '"review": Infinity'),
    "a threshold beyond doubles": replace('"review": 0.3', '"review": 1e999'),
    "a threshold that is true": replace('"review": 0.3', '"review": true'),
    "a decline below the review": replace('"decline": 0.5', '"decline": 0.1'),
    "a repeated key": replace('"review": 0.3', '"review": 0.3, "review": 0.9'),
    "a number of 10,000 digits": replace('"seed": 0', '"seed": ' + "9" * 10_000),
    "a comment": replace('"seed": 0', '"seed": 0 // none'),
    "single quotes": replace('"seed": 0', "'seed': 0"),
    "code for JSON": replace("{", "__import__('os').abort() or {"),
    "a version of the future": replace('"format_version": 1', '"format_version": 2'),
    "a version that is text": replace('"format_version": 1', '"format_version": "1"'),
    "100,000 nested lists": replace(
        '"metrics": {}', '"metrics": {"x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    ),
    "10,001 features": many("features", 10_001),
    "101 steps": many("steps", 101),
    "201 files": change(many_files),
    "a size of half a file": change(lambda content: content["files"][LINE].update(bytes=100)),
    "a size below 0": change(lambda content: content["files"][LINE].update(bytes=-1)),
    "a size beyond all": change(lambda content: content["files"][LINE].update(bytes=2**62)),
    "the hash of another file": change(
        lambda content: content["files"].update({LINE: content["files"][NETWORK]})
    ),
    "a hash in capitals": change(
        lambda content: content["files"][LINE].update(sha256=content["files"][LINE]["sha256"].upper())
    ),
    "a step of a pickle": change(lambda content: content["steps"][0].update(kind="pickle")),
    "a step of a kind of its own": change(lambda content: content["steps"][0].update(kind="__class__")),
    "a step of another kind": change(lambda content: content["steps"][0].update(kind="linear")),
    "a step without files": change(lambda content: content["steps"][0].update(files={})),
    "a step that names the manifest": change(
        lambda content: content["steps"][0]["files"].update(trees=MANIFEST_FILE)
    ),
    "a step that reads itself": change(
        lambda content: content["steps"][0].update(inputs=[content["steps"][0]["output"]])
    ),
    "a step that reads too little": change(lambda content: content["steps"][0]["inputs"].pop()),
    "an output named as a feature": change(lambda content: content["steps"][0].update(output=NAMES[0])),
    "a probability that is a feature": change(lambda content: content.update(probability=NAMES[0])),
    "an explained step without contributions": change(
        lambda content: content.update(explained="fraud_probability")
    ),
    "a feature without a type": change(lambda content: content["features"][0].pop("dtype")),
    "a feature of a megabyte": change(lambda content: content["features"][0].update(name="a" * 2**20)),
    "fewer features": change(lambda content: content["features"].pop()),
    "a name above": change(lambda content: content.update(name="..")),
    "a list for the whole": replace("{", "[{"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_forged_manifest_is_refused(bundle: Path, case: str) -> None:
    MANIFESTS[case](bundle)
    with pytest.raises(BundleError):
        Scorer.load(bundle)


# --- forged contents, their hashes mended ----------------------------------------------------------------


def forged(name: str, update: Callable[[bytes], bytes]) -> Forge:
    """Change a file and mend its size and hash."""

    def forge(bundle: Path) -> None:
        data = update((bundle / name).read_bytes())
        (bundle / name).write_bytes(data)
        entry = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        change(lambda content: content["files"].update({name: entry}))(bundle)

    return forge


def tensors(name: str, update: Callable[[dict[str, Any]], Any]) -> Forge:
    """Change the arrays of a file."""

    def changed(data: bytes) -> bytes:
        arrays = dict(load(data))
        update(arrays)
        return save(arrays)

    return forged(name, changed)


def header(update: Callable[[dict[str, Any]], Any], *, length: int | None = None) -> Forge:
    """Change what a safetensors file says of its arrays."""

    def changed(data: bytes) -> bytes:
        (size,) = struct.unpack("<Q", data[:8])
        entries = json.loads(data[8 : 8 + size])
        update(entries)
        text = json.dumps(entries).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data[8 + size :]

    return forged(LINE, changed)


def parsed(name: str, update: Callable[[Any], Any]) -> Forge:
    """Change the JSON of a file."""

    def changed(data: bytes) -> bytes:
        content = json.loads(data)
        return canonical_json(update(content) or content)

    return forged(name, changed)


def line(field: str, update: Callable[[list[str]], list[str]], *, name: str = FOREST) -> Forge:
    """Change the values of the first line that has a field; the tree's size is mended as well."""

    def changed(data: bytes) -> bytes:
        text = data.decode()
        before, _, rest = text.partition(f"\n{field}=")
        values, _, after = rest.partition("\n")
        text = f"{before}\n{field}={' '.join(update(values.split(' ')))}\n{after}"
        sizes = [len(f"Tree={part}") for part in text.partition("end of trees")[0].split("Tree=")[1:]]
        head, _, tail = text.partition("\ntree_sizes=")
        return f"{head}\ntree_sizes={' '.join(map(str, sizes))}\n{tail.partition(chr(10))[2]}".encode()

    return forged(name, changed)


def first(value: str) -> Callable[[list[str]], list[str]]:
    return lambda values: [value, *values[1:]]


CONTENTS: dict[str, Forge] = {
    "a pickle for trees": forged(FOREST, lambda data: pickle.dumps(data)),
    "a pickle for weights": forged(LINE, lambda data: pickle.dumps(data)),
    "a pickle for a curve": forged(CURVE, lambda data: pickle.dumps(data)),
    "JSON for trees": forged(FOREST, lambda data: b"{}"),
    "nothing for trees": forged(FOREST, lambda data: b""),
    "trees without an end": forged(FOREST, lambda data: data.replace(b"end of trees", b"")),
    "half the trees": forged(FOREST, lambda data: data[: len(data) // 2] + b"end of trees\n"),
    "trees of other bytes": forged(FOREST, lambda data: data.replace(b"Tree=1", b"Tree=\xff")),
    "trees numbered otherwise": forged(FOREST, lambda data: data.replace(b"Tree=1", b"Tree=7")),
    "a child that does not exist": line("left_child", first("999999")),
    "a leaf that does not exist": line("right_child", first("-999999")),
    "a child that is its parent": line("left_child", first("0")),
    "a child twice": line("left_child", lambda values: [values[1], *values[1:]]),
    "a leaf twice": line("leaf_value", lambda values: [*values, "0.5"]),
    "two billion leaves": line("num_leaves", first("2147483647")),
    "no leaves": line("num_leaves", first("0")),
    "leaves below 0": line("num_leaves", first("-3")),
    "a split of a column beyond all": line("split_feature", first("2147483647")),
    "a split of a column below 0": line("split_feature", first("-1")),
    "fewer splits": line("split_feature", lambda values: values[1:]),
    "a threshold that is NaN": line("threshold", first("nan")),
    "a threshold that is text": line("threshold", first("half")),
    "a leaf of infinity": line("leaf_value", first("inf")),
    "a leaf that no row reached": line("leaf_count", first("0")),
    "a split that no row reached": line("internal_count", first("-5")),
    "a split by category": line("decision_type", first("1")),
    "categories": line("num_cat", first("3")),
    "linear leaves": line("is_linear", first("1")),
    "three outputs": line("num_class", first("3")),
    "columns beyond all": line("max_feature_idx", first("2147483647")),
    "a column less": line("max_feature_idx", first("2")),
    "a count beyond 64 bits": line("leaf_count", first("9" * 30)),
    "a tree's field twice": line("num_cat", lambda values: ["0\nnum_cat=0"]),
    "an anomaly's leaf of NaN": line("leaf_value", first("nan"), name=ISOLATED),
    "a forest that scores otherwise": line("leaf_value", lambda values: ["0.9"] * len(values)),
    "a header of a terabyte": header(lambda entries: None, length=2**40),
    "a header of no bytes": header(lambda entries: None, length=0),
    "a header that is cut": header(lambda entries: None, length=9),
    "arrays beyond the file": header(lambda entries: entries["center"].update(data_offsets=[0, 2**40])),
    "arrays over each other": header(
        lambda entries: entries["center"].update(data_offsets=entries["scale"]["data_offsets"])
    ),
    "an array backwards": header(lambda entries: entries["center"].update(data_offsets=[72, 0])),
    "a shape beyond the file": header(lambda entries: entries["center"].update(shape=[2**62, 2**62])),
    "a type that is no number": header(lambda entries: entries["center"].update(dtype="OBJECT")),
    "an array less": tensors(LINE, lambda arrays: arrays.pop("intercept")),
    "a weight that is NaN": tensors(LINE, lambda arrays: arrays.update(intercept=np.array([np.nan]))),
    "a weight of infinity": tensors(NETWORK, lambda arrays: arrays["weight_0"].fill(np.inf)),
    "truth values for weights": tensors(LINE, lambda arrays: arrays.update(intercept=np.array([True]))),
    "a layer transposed": tensors(
        NETWORK, lambda arrays: arrays.update(weight_0=np.ascontiguousarray(arrays["weight_0"].T))
    ),
    "a layer less": tensors(NETWORK, lambda arrays: arrays.pop("weight_1")),
    "a scale of 0": tensors(LINE, lambda arrays: arrays["scale"].fill(0)),
    "an indicator of no column": tensors(LINE, lambda arrays: arrays.update(indicated=np.array([10**9]))),
    "fewer prototypes than weights": tensors(
        KERNEL, lambda arrays: arrays.update(prototypes=arrays["prototypes"][1:].copy())
    ),
    "gamma below 0": tensors(KERNEL, lambda arrays: arrays.update(gamma=np.array([-1.0]))),
    "weights of another model": tensors(
        LINE, lambda arrays: arrays.update(coefficient=arrays["coefficient"] + 1)
    ),
    "a curve that falls": parsed(CURVE, lambda content: {"x": [0, 1], "y": [1, 0]}),
    "a curve backwards": parsed(CURVE, lambda content: {"x": [1, 0], "y": [0, 1]}),
    "a curve of nothing": parsed(CURVE, lambda content: {"x": [], "y": []}),
    "a curve of texts": parsed(CURVE, lambda content: {"x": ["zero"], "y": ["one"]}),
    "a curve without heights": parsed(CURVE, lambda content: {"x": [0, 1]}),
    "a curve of 10,001 knots": parsed(CURVE, lambda content: {"x": [*range(10_001)], "y": [*range(10_001)]}),
    "a curve of nested lists": parsed(CURVE, lambda content: {"x": [[0, 1]], "y": [[0, 1]]}),
    "a curve with NaN": forged(CURVE, lambda data: b'{"x": [0, NaN], "y": [0, 1]}'),
    "a list for a curve": forged(CURVE, lambda data: b"[]"),
    "a mean of nothing": forged(MEAN, lambda data: b"0"),
    "a mean of billions": forged(MEAN, lambda data: b"4000000000"),
    "a mean of text": forged(MEAN, lambda data: b'"3"'),
    "a mean of fewer": forged(MEAN, lambda data: b"2"),
    "statistics of other levels": parsed("reference.json", lambda content: content.update(levels=[0.5])),
    "statistics without columns": parsed("reference.json", lambda content: content.update(columns={})),
    "a quantile that is text": parsed(
        "reference.json", lambda content: content["columns"][NAMES[0]].update(quantiles=["NaN"] * 13)
    ),
    "a quantile less": parsed(
        "reference.json", lambda content: content["columns"][NAMES[0]]["quantiles"].pop()
    ),
    "quantiles that fall": parsed(
        "reference.json", lambda content: content["columns"][NAMES[0]]["quantiles"].reverse()
    ),
    "a sample without rows of the model's width": parsed(
        "parity.json", lambda content: content.update(inputs=[[0.5]])
    ),
    "a sample without answers": parsed("parity.json", lambda content: content.update(outputs={})),
    "a sample without the probability": parsed(
        "parity.json", lambda content: content["outputs"].pop("fraud_probability") and None
    ),
    "a sample without the anomaly score": parsed(
        "parity.json", lambda content: content["outputs"].pop("anomaly_score") and None
    ),
    "a sample without a member": parsed(
        "parity.json", lambda content: content["outputs"].pop("fraud_probability_line") and None
    ),
    "a sample without a curve": parsed(
        "parity.json", lambda content: content["outputs"].pop("fraud_probability_line_rank") and None
    ),
    "a sample of one model alone": parsed(
        "parity.json",
        lambda content: content.update(outputs={"segment": content["outputs"]["segment"]}),
    ),
    "a sample with fewer answers": parsed(
        "parity.json", lambda content: content["outputs"]["fraud_probability"].pop()
    ),
    "an answer that is missing": parsed(
        "parity.json", lambda content: content["outputs"]["fraud_probability"].__setitem__(0, None)
    ),
    "an answer of an unknown model": parsed(
        "parity.json", lambda content: content["outputs"].update(x=[0.5])
    ),
    "an answer that is off": parsed(
        "parity.json", lambda content: content["outputs"]["anomaly_score"].__setitem__(0, 0.123456)
    ),
    "a sample of no rows": parsed(
        "parity.json",
        lambda content: {"inputs": [], "outputs": {name: [] for name in content["outputs"]}},
    ),
    "SQL that is no text": forged(LIVE_SQL, lambda data: b"\xff\xfe"),
}


UNCHANGED: dict[str, Forge] = {
    "a manifest written anew": change(lambda content: None),
    "a file mended": forged(FOREST, lambda data: data),
    "arrays written anew": tensors(LINE, lambda arrays: None),
    "a header written anew": header(lambda entries: None),
    "JSON written anew": parsed(CURVE, lambda content: None),
    "a forest's line": line("leaf_value", lambda values: values),
    "an isolation forest's line": line("leaf_value", lambda values: values, name=ISOLATED),
}


@pytest.mark.parametrize("case", UNCHANGED)
def test_what_the_forger_only_writes_anew_still_loads(bundle: Path, case: str) -> None:
    UNCHANGED[case](bundle)
    Scorer.load(bundle)


@pytest.mark.parametrize("case", CONTENTS)
def test_a_forged_file_is_refused_by_what_parses_it(bundle: Path, case: str) -> None:
    CONTENTS[case](bundle)
    verify_bundle(bundle)  # the hashes are mended: the parsers must see it
    with pytest.raises(BundleError):
        Scorer.load(bundle)


def test_a_sound_bundle_of_every_kind_loads(bundle: Path) -> None:
    scorer = Scorer.load(bundle)
    kinds = {step.kind for step in scorer.bundle.manifest.steps}
    assert len(kinds) == 9
    (score,) = scorer.score([{**dict.fromkeys(NAMES, 1.0), "attributes_number": {}}], explain="all")
    assert 0 <= score.fraud_probability <= 1


def test_there_are_a_hundred_kinds() -> None:
    assert len(DAMAGES) + len(FOLDERS) + len(MANIFESTS) + len(CONTENTS) >= 100


def chained(splits: int) -> bytes:
    """Write a tree in which every split has the next one as its child."""
    children = [*range(1, splits), -splits - 1]
    fields: Mapping[str, Any] = {
        "num_leaves": [splits + 1],
        "num_cat": [0],
        "split_feature": [0] * splits,
        "split_gain": [0] * splits,
        "threshold": [*range(splits)],
        "decision_type": [8] * splits,
        "left_child": [-number - 1 for number in range(splits)],
        "right_child": children,
        "leaf_value": [0.0] * (splits + 1),
        "leaf_weight": [0] * (splits + 1),
        "leaf_count": [1] * (splits + 1),
        "internal_value": [0] * splits,
        "internal_weight": [0] * splits,
        "internal_count": [2] * splits,
        "is_linear": [0],
        "shrinkage": [1],
    }
    tree = "Tree=0\n" + "".join(f"{name}={' '.join(map(str, values))}\n" for name, values in fields.items())
    tree += "\n\n"
    head = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=0\n"
    head += f"feature_names=Column_0\nfeature_infos=none\ntree_sizes={len(tree)}\n\n"
    return (head + tree + "end of trees\n").encode()


@pytest.mark.parametrize("kind", [LIGHTGBM, ISOLATION_FOREST])
def test_a_tree_as_deep_as_a_stack_is_refused(kind: str) -> None:
    assert load_runtime(kind, {"trees": chained(1000)}).n_inputs == 1
    with pytest.raises(BundleError, match="deep"):
        load_runtime(kind, {"trees": chained(100_000)})
