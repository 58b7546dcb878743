"""The offline store against Feast's own DuckDB store, on the same random joins."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from feast import FeatureStore
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore
from feast.infra.offline_stores.offline_store import OfflineStore
from feast.infra.registry.base_registry import BaseRegistry
from feast.repo_config import RepoConfig

from tests.support.point_in_time import Case, expected_rows, random_case, repo_config
from warehouse.feature_store.offline_store import AsofOfflineStore

pytestmark = pytest.mark.services

CASES = 300
CASES_PER_TEST = 20


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> BaseRegistry:
    folder = tmp_path_factory.mktemp("registry")
    return FeatureStore(config=repo_config(folder, {"type": "duckdb"})).registry


def _join(store: type[OfflineStore], config: RepoConfig, case: Case, registry: BaseRegistry) -> pa.Table:
    return store.get_historical_features(
        config,
        list(case.views),
        case.refs,
        case.entity_rows.to_pandas(),
        registry,
        config.project,
        full_feature_names=case.full_names,
        filter_by_created_timestamp=case.by_created,
    ).to_arrow()


# ibis, which Feast's store is made of, calls DuckDB by an old name.
@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")
@pytest.mark.parametrize("first_seed", range(0, CASES, CASES_PER_TEST))
def test_random_joins_equal_those_of_feasts_own_store(
    first_seed: int, tmp_path: Path, registry: BaseRegistry
) -> None:
    peer_config = repo_config(tmp_path, {"type": "duckdb"})
    our_config = repo_config(
        tmp_path,
        {
            "type": "warehouse.feature_store.offline_store.AsofOfflineStore",
            "temp_directory": str(tmp_path / "spill"),
        },
    )
    for seed in range(first_seed, first_seed + CASES_PER_TEST):
        folder = tmp_path / str(seed)
        folder.mkdir()
        case = random_case(seed, folder)
        ours = _join(AsofOfflineStore, our_config, case, registry)
        peer = _join(DuckDBOfflineStore, peer_config, case, registry).sort_by("position")
        features = [name for name in ours.column_names if name not in case.entity_rows.column_names]
        assert ours["position"].to_pylist() == list(range(len(case.entity_rows)))
        assert ours.select(features).to_pylist() == peer.select(features).to_pylist(), seed
        assert ours.select(features).to_pylist() == expected_rows(case), seed
