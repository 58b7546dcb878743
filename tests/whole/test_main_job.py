"""The main job, whole: from a raw file to decisions over HTTP, equal to the warehouse in every value.

It runs in a copy of the project to which three features were added by SQL and yml alone: the copy trains on
them and scores with them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cbp.proof.comparison.records import USED_FILE, feature_names
from ml.rows.training_data import read_training_data
from warehouse.settings import PROJECT_ROOT, Settings

VELOCITY, PROFILE, DERIVED = "amount_sum_3h", "profile_amount_spread_30d", "amount_over_profile_spread_30d"
ADDED = {VELOCITY: "velocity", PROFILE: "profile", DERIVED: "derived"}

# (file, what stands there once, what stands there then)
EDITS = (
    (
        "dbt_project.yml",
        "- {entity: customer, measure: amount, operation: sum, windows: [10m, 1h, 24h,",
        "- {entity: customer, measure: amount, operation: sum, windows: [10m, 1h, 3h, 24h,",
    ),
    (
        "dbt_project/models/features/feat_transaction_velocity.yml",
        "      - name: amount_sum_24h\n",
        f"      - name: {VELOCITY}\n"
        "        data_type: bigint\n"
        "        description: Sum of the customer's amounts in the 3 hours before, in minor units.\n"
        "      - name: amount_sum_24h\n",
    ),
    (
        "dbt_project/models/features/feat_customer_profile.sql",
        "as profile_recency_days\n",
        f"as profile_recency_days,\n        amount_max_30d - amount_median_30d as {PROFILE}\n",
    ),
    (
        "dbt_project/models/features/feat_customer_profile.yml",
        "      - name: profile_transaction_count_30d\n",
        f"      - name: {PROFILE}\n"
        "        data_type: bigint\n"
        "        description: Largest less median amount of 30 days, in minor units.\n"
        "      - name: profile_transaction_count_30d\n",
    ),
    (
        "dbt_project.yml",
        "  derived_features:\n",
        "  derived_features:\n"
        f"    - name: {DERIVED}\n"
        "      sql: cast(amount_minor as double precision) / "
        f"nullif(cast({PROFILE} as double precision), 0)\n",
    ),
    (
        "dbt_project/analyses/analyses.yml",
        "      - {name: hour_of_day,",
        f'      - {{name: {DERIVED}, data_type: double, description: "Amount over the spread of 30 days."}}\n'
        "      - {name: hour_of_day,",
    ),
)

# In the copy, by the copy's own code.
PROGRAM = """
import json
from cbp.proof import demo
from warehouse.settings import PROJECT_ROOT, Settings

result = demo.run_demo(
    Settings.from_environment(), customers=100, merchants=200, days=60, seed=3, announce=lambda stage: None
)
manifest = json.loads((result.training.bundle_dir / "manifest.json").read_text(encoding="utf-8"))
print(json.dumps({
    "root": str(PROJECT_ROOT),
    "report": result.report,
    "report_path": str(result.path),
    "decisions": result.decisions,
    "audit_records": result.audit_records,
    "differing": result.comparison.examples(),
    "example": result.example,
    "features": {feature["name"]: feature["source"] for feature in manifest["features"]},
}))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what git would hold, and add three features to it."""
    folder = tmp_path_factory.mktemp("adding") / "project"
    unwanted = shutil.ignore_patterns(
        ".*", "data", "models", "reports", "*.egg-info", "__pycache__", "target"
    )

    def ignored(directory: str, names: list[str]) -> set[str]:
        # dbt_project/models is code, models/ is not
        return unwanted(directory, names) - ({"models"} if Path(directory) != PROJECT_ROOT else set())

    shutil.copytree(PROJECT_ROOT, folder, ignore=ignored)
    for name, old, new in EDITS:
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, (name, old)
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def job(copy: Path) -> dict[str, Any]:
    """Run the main job; returns what it told."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "CBP_HOME": str(copy / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["root"] == str(copy)
    return found


def test_no_python_was_touched(copy: Path, job: dict[str, Any]) -> None:
    del job
    made = [
        path.relative_to(copy) for path in copy.rglob("*") if path.suffix in {".py", ".sql", ".yml", ".yaml"}
    ]
    code = [path for path in made if path.parts[0] not in {"data", "target"}]
    assert len([path for path in code if path.suffix == ".py"]) > 200
    changed = [path for path in code if (copy / path).read_bytes() != (PROJECT_ROOT / path).read_bytes()]
    assert {str(path) for path in changed} == {name for name, _, _ in EDITS}
    assert {path.suffix for path in changed} == {".sql", ".yml"}


def test_the_training_frame_has_them(copy: Path, job: dict[str, Any]) -> None:
    home = copy / "data" / "demo"
    settings = Settings.from_environment({"CBP_HOME": str(home), "CBP_MODELS": str(home / "models")})
    data = read_training_data(settings, protocol={"name": "latest", "test_days": 7})
    named = {feature.name: index for index, feature in enumerate(data.features)}
    assert ADDED.items() <= {feature.name: feature.source for feature in data.features}.items()
    for name in ADDED:
        known = data.matrix[:, named[name]]
        assert (known > 0).any(), name


def test_the_bundle_is_trained_on_them(job: dict[str, Any]) -> None:
    assert ADDED.items() <= job["features"].items()


def test_predict_used_them(copy: Path, job: dict[str, Any]) -> None:
    # What each decision used is read from its audit record.
    used = pq.read_table(copy / "data" / "demo" / USED_FILE)
    assert used.num_rows == job["report"]["scored"]
    for name in ADDED:
        values = used.column(name).to_pylist()
        assert any(value is not None and value > 0 for value in values), name
    assert job["report"]["values"] == used.num_rows * len(feature_names(used.schema))


def test_no_value_differs_from_the_warehouse(job: dict[str, Any]) -> None:
    report = job["report"]
    assert job["differing"] == []
    assert report["mismatched_values"] == report["missing"] == 0
    declared = [name for name, source in job["features"].items() if source != "raw"]
    assert len(declared) > 100
    assert report["values"] == report["scored"] * len(declared)


def test_every_payment_of_the_day_is_decided_and_recorded(job: dict[str, Any]) -> None:
    assert sum(job["decisions"].values()) == job["report"]["scored"] == job["audit_records"] > 50


def test_the_report_is_what_was_said(job: dict[str, Any]) -> None:
    report = json.loads(Path(job["report_path"]).read_text(encoding="utf-8"))
    assert report == job["report"]
    expected = {"rows", "frauds", "auc_roc", "average_precision", "card_precision_at_100", "scored"}
    assert expected | {"mismatched_values", "latency_ms", "seconds"} <= set(report)
    assert report["auc_roc"] > 0.6


def test_an_alert_has_reasons_in_words(job: dict[str, Any]) -> None:
    assert all(reason["text"] for reason in job["example"]["reasons"])
    assert job["example"]["model"]["name"] == "hybrid"
