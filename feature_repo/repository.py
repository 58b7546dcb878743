"""All definitions of one home, put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from feast import Entity, FeatureService, FeatureView, FileSource, Project

from feature_repo.dbt_manifest import read_feature_models
from feature_repo.entities import build_entities
from feature_repo.services import build_services
from feature_repo.sources import build_source
from feature_repo.views import build_view
from warehouse.settings import Settings

PROJECT = "customer_behavior_profiling"


@dataclass(frozen=True)
class Repository:
    """Feast's objects for one home; entities, sources and views are sorted by the name of their view."""

    project: Project
    entities: tuple[Entity, ...]
    sources: tuple[FileSource, ...]
    views: tuple[FeatureView, ...]
    services: tuple[FeatureService, ...]

    def __iter__(self) -> Iterator[Project | Entity | FileSource | FeatureView | FeatureService]:
        yield self.project
        yield from self.entities
        yield from self.sources
        yield from self.views
        yield from self.services


def build_repository(settings: Settings) -> Repository:
    """Build Feast's objects from the manifest of a home.

    Raises
    ------
    BuildError
        See `feature_repo.dbt_manifest.read_feature_models`.
    """
    models = read_feature_models(settings.manifest_file)
    entities = build_entities(models)
    sources = {model.name: build_source(model, settings.features_dir) for model in models}
    views = tuple(
        build_view(model, entity=entities[model.entity], source=sources[model.name]) for model in models
    )
    return Repository(
        project=Project(name=PROJECT, description="Behavioural features for payment fraud"),
        entities=tuple(entities.values()),
        sources=tuple(sources.values()),
        views=views,
        services=build_services(views),
    )
