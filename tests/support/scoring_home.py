"""A small home that the API can score in: real Feast stores, a real bundle, SQL written for it by hand.

Profiles count from 2018-06-26; `START_US` plus a few days is when its transactions happen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from api.settings import ApiSettings, generate_keys
from feature_repo import feast_store
from feature_repo.services import FRAUD_SCORING
from ml.bundles.store import promote_bundle, publish_bundle
from ml.reasons.reference import measure
from tests.support.feature_home import DAY_US, START_US, make_settings, write_small_world
from tests.support.live_payments import LIVE_SQL
from warehouse.settings import Settings

NOW_US = START_US + 2 * DAY_US
"""A time at which the profiles of `feature_home` are fresh."""

DERIVED_SQL = """
select
    row_index,
    cast(amount_minor as double) / nullif(profile_mean, 0) as amount_over_mean,
    sqrt(cast(amount_sum_7d as double)) as amount_root
from feature_row
"""

COLUMNS = {
    "amount_minor": "raw",
    "transaction_count_24h": "velocity",
    "amount_sum_7d": "velocity",
    "profile_mean": "profile",
    "merchant_risk_30d": "merchant_risk",
    "amount_over_mean": "derived",
}


def publish_trees(settings: Settings, *, seed: int = 0) -> Path:
    """Train a few trees on random rows (large amounts are frauds) and promote them."""
    generator = np.random.default_rng(seed)
    matrix = generator.uniform(0, 1000, (400, len(COLUMNS))).astype(np.float32)
    parameters = {
        "objective": "binary",
        "verbosity": -1,
        "num_threads": 1,
        "seed": seed,
        "min_data_in_leaf": 5,
    }
    data = lightgbm.Dataset(matrix, (matrix[:, 0] > 700).astype(int), feature_name=list(COLUMNS))
    booster = lightgbm.train(parameters, data, num_boost_round=5)
    probability = np.asarray(booster.predict(matrix[:8]), dtype=np.float64)
    names = [*COLUMNS, "fraud_probability"]
    outputs = np.column_stack([matrix, np.asarray(booster.predict(matrix))])
    manifest: dict[str, Any] = {
        "name": "fraud",
        "service": FRAUD_SCORING,
        "features": [
            {"name": name, "dtype": "double", "source": source, "family": name}
            for name, source in COLUMNS.items()
        ],
        "steps": [
            {
                "kind": "lightgbm",
                "inputs": list(COLUMNS),
                "output": "fraud_probability",
                "files": {"trees": "fraud_probability.txt"},
            }
        ],
        "probability": "fraud_probability",
        "anomaly": None,
        "explained": "fraud_probability",
        "thresholds": {
            "review": 0.3,
            "decline": 0.9,
            "alert_budget": 10.0,
            "calibration_rows": 400,
            "calibration_days": 7.0,
        },
        "training": {
            "protocol": {},
            "train_start_us": 0,
            "train_end_us": 1,
            "test_start_us": 1,
            "test_end_us": 2,
            "as_of_us": None,
            "train_rows": 400,
            "train_frauds": 120,
            "test_rows": 0,
            "test_frauds": 0,
            "seed": seed,
        },
        "metrics": {},
        "libraries": {"lightgbm": lightgbm.__version__},
        "git_commit": None,
    }
    files = {
        "fraud_probability.txt": booster.model_to_string().encode(),
        "live_velocity.sql": LIVE_SQL.encode(),
        "derived_features.sql": DERIVED_SQL.encode(),
        "reference.json": json.dumps(measure(names, outputs).as_dict()).encode(),
        "parity.json": json.dumps(
            {
                "inputs": matrix[:8].astype(float).tolist(),
                "outputs": {"fraud_probability": probability.tolist()},
            }
        ).encode(),
    }
    path = publish_bundle(settings.models_dir, manifest=manifest, files=files, day="2018-07-01")
    promote_bundle(settings, path)
    return path


def write_scoring_home(folder: Path) -> Settings:
    """Make a home whose Feast stores are filled and whose model is promoted."""
    settings = make_settings(folder)
    settings.create_folders()
    write_small_world(settings)
    feast_store.apply(settings)
    feast_store.materialize(settings, until_us=NOW_US)
    publish_trees(settings)
    return settings


def api_environment(settings: Settings, **more: str) -> dict[str, str]:
    """Environment of the API in a home, with fresh secrets."""
    return {
        "CBP_HOME": str(settings.home),
        "CBP_MODELS": str(settings.models_dir),
        "CBP_REPORTS": str(settings.reports_dir),
        **generate_keys(),
        **more,
    }


def api_settings(settings: Settings, **more: str) -> ApiSettings:
    """Build settings of the API in a home, with fresh secrets."""
    return ApiSettings.from_environment(api_environment(settings, **more))


def payment(number: int, **changes: Any) -> dict[str, Any]:
    """Body of one transaction; a minute after the one before."""
    body: Mapping[str, Any] = {
        "transaction_id": f"payment-{number}",
        "customer_id": f"c{number % 3 + 1}",
        "merchant_id": f"m{number % 2 + 1}",
        "event_us": NOW_US + number * 60_000_000,
        "amount_minor": 100 + number * 37 % 900,
        "currency": "EUR",
        "category": "food",
        "channel": "online",
        "country": "DE",
    }
    return {**body, **changes}
