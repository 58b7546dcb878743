"""A file of one's own without customers, of the shape of creditcard.csv: every command works on it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.csv as arrow_csv
import pytest
from click.testing import CliRunner, Result

from cbp import main

ROWS, FRAUDS, REPEATED = 3_000, 60, 7
COMPONENTS = [f"V{number}" for number in range(1, 29)]


def write_file(path: Path) -> None:
    """Write rows in order of time, frauds shifted along two components, the last seven written twice."""
    generator = np.random.default_rng(0)
    times = np.sort(generator.integers(0, 172_800, ROWS))
    fraud = np.zeros(ROWS, dtype=int)
    fraud[generator.choice(ROWS, FRAUDS, replace=False)] = 1
    values = generator.normal(size=(ROWS, len(COMPONENTS)))
    values[:, [3, 13]] += 4 * fraud[:, None]
    amounts = np.round(generator.gamma(1, 90, ROWS), 2)
    lines = [",".join(["Time", *COMPONENTS, "Amount", "Class"])]
    lines += [
        ",".join([str(time), *(f"{value:.6f}" for value in row), f"{amount:.2f}", f'"{label}"'])
        for time, row, amount, label in zip(times, values, amounts, fraud, strict=True)
    ]
    path.write_text("\n".join([*lines, *lines[-REPEATED:]]) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own")


@pytest.fixture(scope="module")
def steps(home: Path) -> dict[str, Result]:
    """Run the commands one after the other; the first that fails is the last."""
    write_file(home / "creditcard.csv")
    commands = {
        "ingest": ["ingest", str(home / "creditcard.csv")],
        "build": ["build"],
        "materialize": ["materialize"],
        "train": ["train", "--model", "lightgbm"],
        "evaluate": ["evaluate", "--folds", "2"],
        "ablate": ["ablate", "--seeds", "1"],
        "export": ["export", "--processed-dir", str(home / "files")],
        "verify": ["models", "verify"],
    }
    results: dict[str, Result] = {}
    for name, arguments in commands.items():
        results[name] = run(home, *arguments)
        assert results[name].exit_code == 0, (name, results[name].output)
    return results


def run(home: Path, *arguments: str) -> Result:
    environment = {
        "CBP_HOME": str(home / "home"),
        "CBP_MODELS": str(home / "models"),
        "CBP_REPORTS": str(home / "reports"),
    }
    return CliRunner().invoke(main, arguments, env=environment)


def test_equal_rows_are_kept_and_told(steps: dict[str, Result]) -> None:
    assert f"{ROWS + REPEATED:,}" in steps["ingest"].output
    assert f"{REPEATED} rows say what an earlier one says" in steps["ingest"].output


def test_the_first_four_fifths_by_time_train(steps: dict[str, Result], home: Path) -> None:
    (manifest_file,) = (home / "models" / "lightgbm").glob("*/manifest.json")
    manifest = json.loads(manifest_file.read_text(encoding="utf-8"))
    training = manifest["training"]
    assert training["protocol"]["name"] == "ulb"
    assert training["train_rows"] + training["test_rows"] == ROWS + REPEATED
    assert training["train_rows"] / (ROWS + REPEATED) == pytest.approx(0.8, abs=0.01)
    names = {feature["name"] for feature in manifest["features"]}
    assert {f"attribute.{name}" for name in COMPONENTS} <= names


def test_attributes_find_the_frauds_with_honest_intervals(steps: dict[str, Result], home: Path) -> None:
    metrics = json.loads((home / "reports" / "lightgbm" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["figures"]["auc_roc"] > 0.95
    assert metrics["figures"]["card_precision_at_100"] is None
    assert "new_customers" not in metrics
    low, high = metrics["intervals"]["auc_roc"]["low"], metrics["intervals"]["auc_roc"]["high"]
    assert low <= metrics["figures"]["auc_roc"] <= high


def test_what_needs_customers_brings_nothing_here(steps: dict[str, Result], home: Path) -> None:
    found = json.loads((home / "reports" / "ablation" / "ablation.json").read_text(encoding="utf-8"))
    gains = {(gain["left_out"], gain["figure"]): gain["gain"] for gain in found["gains"]}
    assert abs(gains["profile", "auc_roc"]) < 0.02
    refused = run(home, "cluster")
    assert refused.exit_code == 2
    assert "no customer" in " ".join(refused.output.split())


def test_files_have_the_attributes_and_nulls(steps: dict[str, Result], home: Path) -> None:
    split = arrow_csv.read_csv(home / "files" / "transactions_split.csv")
    assert len(split) == ROWS + REPEATED
    assert {"attribute.V1", "attribute.V28", "amount_minor", "is_fraud", "dataset"} <= set(split.column_names)
    assert split.column("customer_id").null_count == len(split)
    processed = arrow_csv.read_csv(home / "files" / "transactions_processed.csv")
    assert set(processed.column("profile_amount_mean_90d").to_pylist()) == {0.0}
    assert arrow_csv.read_csv(home / "files" / "customer_profiles.csv").num_rows == 0
