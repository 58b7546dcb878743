"""Feature definitions from dbt's manifest."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from feast import ValueType
from feast.types import Bool, Float64, Int64, String, UnixTimestamp

from feature_repo.repository import Repository, build_repository
from feature_repo.services import FRAUD_SCORING
from tests.support.feature_home import (
    CATEGORY,
    MERCHANT,
    MODELS,
    PROFILE,
    VELOCITY,
    Model,
    make_settings,
    write_manifest,
)
from warehouse.errors import BuildError


def _build(folder: Path, *models: Model) -> Repository:
    settings = make_settings(folder)
    write_manifest(settings, *models)
    return build_repository(settings)


def test_views_have_the_columns_types_and_meanings_of_the_contract(tmp_path: Path) -> None:
    repository = _build(tmp_path, *MODELS)
    views = {view.name: view for view in repository.views}
    assert list(views) == ["category_risk", "customer_profile", "merchant_risk", "transaction_velocity"]
    profile = views["customer_profile"]
    assert {field.name: field.dtype for field in profile.features} == {
        "profile_count": Int64,
        "profile_mean": Float64,
        "profile_is_new": Bool,
        "profile_country": String,
    }
    assert profile.features[0].description == "What profile_count means."
    assert profile.description == "One row per customer."
    assert (profile.ttl, profile.online, profile.entities) == (timedelta(days=7), True, ["customer"])
    assert [field.name for field in profile.entity_columns] == ["customer_id"]
    assert profile.batch_source is not None
    assert profile.batch_source.path == str(tmp_path / "home" / "features" / "feat_customer_profile")
    assert profile.batch_source.timestamp_field == "event_timestamp"
    assert views["transaction_velocity"].online is False
    assert views["merchant_risk"].ttl == timedelta(0)


def test_the_service_holds_every_view(tmp_path: Path) -> None:
    (service,) = _build(tmp_path, *MODELS).services
    assert service.name == FRAUD_SCORING == FRAUD_SCORING
    assert [view.name for view in service.feature_view_projections] == [
        "category_risk",
        "customer_profile",
        "merchant_risk",
        "transaction_velocity",
    ]


def test_entities_take_the_key_column_that_the_model_has(tmp_path: Path) -> None:
    by_number = Model(
        "feat_device",
        {"view": "device", "entity": "device", "ttl_days": 1, "join_key": "serial"},
        {"serial": "bigint", "event_timestamp": "timestamp", "device_first_seen": "timestamp"},
    )
    repository = _build(tmp_path, *MODELS, by_number)
    keys = {entity.name: (entity.join_key, entity.value_type) for entity in repository.entities}
    assert keys == {
        "category": ("category", ValueType.STRING),
        "customer": ("customer_id", ValueType.STRING),
        "device": ("serial", ValueType.INT64),
        "merchant": ("merchant_id", ValueType.STRING),
        "transaction": ("transaction_id", ValueType.STRING),
    }
    device = next(view for view in repository.views if view.name == "device")
    assert [field.dtype for field in device.features] == [UnixTimestamp]
    assert device.online is True


def test_a_created_time_is_no_feature(tmp_path: Path) -> None:
    dated = replace(
        MERCHANT,
        feast={**MERCHANT.feast, "created_timestamp": "built_at"},
        columns={**MERCHANT.columns, "built_at": "timestamp"},
    )
    (view,) = _build(tmp_path, dated).views
    assert view.batch_source is not None
    assert view.batch_source.created_timestamp_column == "built_at"
    assert [field.name for field in view.features] == ["merchant_risk_30d"]


def test_without_a_manifest_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="run `dbt run` or `cbp build` first"):
        build_repository(make_settings(tmp_path))


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([], "expected a model with a `feast` entry"),
        ([replace(PROFILE, contract=False)], "needs `contract: {enforced: true}`"),
        ([PROFILE.without("customer_id")], "expected a join key column customer_id or customer"),
        ([PROFILE.without("event_timestamp")], "expected a column event_timestamp of type timestamp"),
        ([replace(PROFILE, feast={"view": "v"})], "lacks entity, ttl_days"),
        ([replace(PROFILE, columns={**PROFILE.columns, "profile_x": "decimal(18,2)"})], "got decimal"),
        ([replace(PROFILE, columns={**PROFILE.columns, "profile_x": ""})], "got none"),
        (
            [PROFILE, replace(CATEGORY, columns={**CATEGORY.columns, "profile_mean": "double"})],
            "profile_mean",
        ),
        ([PROFILE, replace(MERCHANT, feast=PROFILE.feast | {"entity": "merchant"})], "customer_profile"),
        ([replace(PROFILE, columns={**PROFILE.columns, "customer_id": "double"})], "varchar or bigint"),
        ([replace(MERCHANT, feast={**MERCHANT.feast, "created_timestamp": "x"})], "not one of its columns"),
        (
            [
                VELOCITY,
                replace(
                    MERCHANT, feast={**MERCHANT.feast, "entity": "transaction", "join_key": "merchant_id"}
                ),
            ],
            "as the join key of transaction",
        ),
    ],
)
def test_a_model_that_breaks_a_rule_is_named(models: list[Model], message: str, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=message):
        _build(tmp_path, *models)
