"""What Feast serves is what the project's dbt models promise."""

from __future__ import annotations

import pytest

from feature_repo.dbt_manifest import FeatureModel, read_feature_models
from feature_repo.repository import Repository, build_repository
from feature_repo.services import FRAUD_SCORING
from warehouse.build.dbt import run_dbt
from warehouse.settings import PROJECT_ROOT, Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Parse the project into a home without data."""
    settings = Settings.from_environment({"CBP_HOME": str(tmp_path_factory.mktemp("home"))})
    settings.create_folders()
    run_dbt(settings, ["parse"])
    return settings


@pytest.fixture(scope="module")
def models(settings: Settings) -> tuple[FeatureModel, ...]:
    return read_feature_models(settings.manifest_file)


@pytest.fixture(scope="module")
def repository(settings: Settings) -> Repository:
    return build_repository(settings)


def test_the_service_serves_profile_and_risks_and_computes_velocity_live(repository: Repository) -> None:
    assert {view.name: view.online for view in repository.views} == {
        "category_risk": True,
        "customer_profile": True,
        "customer_segment": True,
        "merchant_risk": True,
        "transaction_velocity": False,
    }
    (service,) = repository.services
    assert service.name == FRAUD_SCORING


def test_every_feature_has_a_meaning_and_every_view_too(models: tuple[FeatureModel, ...]) -> None:
    silent = [feature.name for model in models for feature in model.features if not feature.description]
    silent += [model.name for model in models if not model.description]
    assert silent == []


def test_what_is_served_online_expires(models: tuple[FeatureModel, ...]) -> None:
    assert [model.view for model in models if model.is_online and not model.ttl_days] == []


def test_snapshot_features_are_named_after_their_view(models: tuple[FeatureModel, ...]) -> None:
    prefixes = {
        "customer_profile": "profile_",
        "customer_segment": "segment_",
        "merchant_risk": "merchant_risk_",
        "category_risk": "category_risk_",
    }
    for model in models:
        wrong = [
            name.name for name in model.features if not name.name.startswith(prefixes.get(model.view, ""))
        ]
        assert wrong == [], model.view


def test_neither_feast_nor_the_stores_name_a_feature(models: tuple[FeatureModel, ...]) -> None:
    names = {feature.name for model in models for feature in model.features}
    for package in ("feature_repo", "warehouse"):
        for file in (PROJECT_ROOT / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            named = sorted(name for name in names if f'"{name}"' in text)
            assert named == [], file.relative_to(PROJECT_ROOT)
