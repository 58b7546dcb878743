"""Rows with planted fraud, and a small bundle trained on them: what the model tests share."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ml.bundles.manifest import TrainingSpec
from ml.bundles.store import publish_bundle
from ml.estimators.anomaly import IsolationForestDetector
from ml.estimators.hybrid import HybridFraudPipeline
from ml.estimators.trees import default_lightgbm
from ml.features.catalog import CompiledSql
from ml.features.families import family_of
from ml.features.spec import FeatureSpec
from ml.reasons.reference import ReferenceStatistics, measure
from ml.scoring.thresholds import Thresholds
from ml.training.packing import Packed, pack

FEATURES = (
    ("amount_minor", "bigint", "raw"),
    ("amount_mean_30d", "double", "velocity"),
    ("transaction_count_24h", "bigint", "velocity"),
    ("seconds_since_last_30d", "bigint", "velocity"),
    ("profile_amount_mean_90d", "double", "profile"),
    ("profile_transactions_per_day_30d", "double", "profile"),
    ("merchant_risk_fraud_rate_7d", "double", "merchant_risk"),
    ("is_new_merchant_30d", "boolean", "derived"),
    ("attribute.V1", "double", "attribute"),
)
NAMES = [name for name, _, _ in FEATURES]


def planted_rows(rows: int = 1200, *, seed: int = 0) -> tuple[pd.DataFrame, npt.NDArray[np.bool_]]:
    """Make rows of which one in twenty is a fraud: large, many, at a risky merchant; a tenth missing."""
    generator = np.random.default_rng(seed)
    fraud = np.arange(rows) % 20 == 7
    mean = generator.gamma(4.0, 1500.0, rows)
    frame = pd.DataFrame(
        {
            "amount_minor": np.round(mean * np.where(fraud, 6, 1) * generator.uniform(0.5, 1.5, rows)),
            "amount_mean_30d": mean,
            "transaction_count_24h": generator.poisson(np.where(fraud, 9, 2)),
            "seconds_since_last_30d": np.round(generator.exponential(np.where(fraud, 300, 30_000))),
            "profile_amount_mean_90d": mean * generator.uniform(0.9, 1.1, rows),
            "profile_transactions_per_day_30d": generator.uniform(0.5, 4, rows),
            "merchant_risk_fraud_rate_7d": generator.beta(np.where(fraud, 4, 1), 20),
            "is_new_merchant_30d": generator.random(rows) < 0.3,
            "attribute.V1": generator.normal(size=rows),
        }
    ).astype(np.float32)
    optional = frame.columns[1:]
    return frame.mask(generator.random(frame.shape) < 0.1).assign(**{"amount_minor": frame["amount_minor"]})[
        ["amount_minor", *optional]
    ], fraud


def feature_specs() -> list[FeatureSpec]:
    """Describe the columns of `planted_rows`."""
    return [
        FeatureSpec(
            name=name,
            dtype=dtype,  # type: ignore[arg-type]
            source=source,  # type: ignore[arg-type]
            family=family_of(name),
            description=f"What {name} means.",
            unit="minor" if name == "amount_minor" else None,
            key=name.partition(".")[2] or None,
        )
        for name, dtype, source in FEATURES
    ]


@cache
def fitted_pipeline(seed: int = 0) -> HybridFraudPipeline:
    """Return a small hybrid fitted on planted rows; callers must not fit it again."""
    frame, fraud = planted_rows()
    label_free = [index for index, name in enumerate(NAMES) if not name.startswith("merchant_risk")]
    pipeline = HybridFraudPipeline(
        IsolationForestDetector(n_estimators=20),
        default_lightgbm(n_estimators=30, learning_rate=0.2, n_jobs=1),
        anomaly_features=label_free,
        random_state=seed,
    )
    return pipeline.fit(frame, fraud)


def packed_pipeline(seed: int = 0) -> Packed:
    """Pack the small hybrid."""
    pipeline = fitted_pipeline(seed)
    metrics = {"auc_roc": 0.9}
    return pack_planted(
        pipeline, name="planted", seed=seed, metrics=metrics, reference=reference_statistics(pipeline)
    )


def pack_planted(
    pipeline: HybridFraudPipeline,
    *,
    name: str,
    seed: int,
    metrics: Mapping[str, Any],
    reference: ReferenceStatistics,
) -> Packed:
    """Pack a pipeline that was fitted on the planted rows."""
    return pack(
        pipeline,
        name=name,
        service="fraud_scoring_v1",
        features=feature_specs(),
        sql=CompiledSql(live="select arrival_seq from events", derived="select row_index from feature_row"),
        thresholds=Thresholds(
            review=0.3, decline=0.5, alert_budget=5.0, calibration_rows=1200, calibration_days=7.0
        ),
        training=TrainingSpec(
            protocol={"name": "latest"},
            train_start_us=0,
            train_end_us=1,
            test_start_us=1,
            test_end_us=2,
            as_of_us=None,
            train_rows=1200,
            train_frauds=60,
            test_rows=0,
            test_frauds=0,
            seed=seed,
        ),
        metrics=metrics,
        reference=reference,
    )


def reference_statistics(pipeline: HybridFraudPipeline) -> ReferenceStatistics:
    """Measure planted rows and what the pipeline makes of them."""
    frame, _ = planted_rows()
    anomaly = pipeline.anomaly_score(frame)
    assert anomaly is not None
    outputs = np.column_stack([anomaly, pipeline.risk_score(frame)])
    scores = measure(["anomaly_score", "fraud_probability"], outputs)
    return ReferenceStatistics(
        columns={**measure(NAMES, frame.to_numpy(dtype=np.float32)).columns, **scores.columns}
    )


def publish_planted(models_dir: Path, *, seed: int = 0) -> Path:
    """Publish the small hybrid below a models folder."""
    models_dir.mkdir(parents=True, exist_ok=True)
    packed = packed_pipeline(seed)
    return publish_bundle(models_dir, manifest=packed.manifest, files=packed.files, day="2018-07-01")


def as_rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return rows as the API gives them: None where missing, attributes in a mapping of their own."""
    rows = []
    for values in frame.to_numpy(dtype=np.float64).tolist():
        row: dict[str, object] = {
            name: None if value != value else value for name, value in zip(frame.columns, values, strict=True)
        }
        attribute = row.pop("attribute.V1")
        row["attributes_number"] = {} if attribute is None else {"V1": attribute}
        row["currency"] = "EUR"
        rows.append(row)
    return rows
