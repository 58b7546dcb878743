"""Laws of every clustering method on planted groups, and each part against a slow, obvious oracle."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, silhouette_score

from ml.customers.clustering import Clustering, Fit, fit_clustering, nearest_reference
from ml.customers.methods import CLUSTER_METHODS, OUTLIER, References, choose_k, mean_silhouette
from ml.customers.names import ORDINARY, name_segments
from ml.customers.projections import PROJECTIONS, project
from ml.customers.report import write_cluster_report
from ml.customers.space import ProfileSpace
from ml.errors import TrainingDataError

COLUMNS = (
    "profile_amount_mean_90d",
    "profile_transactions_per_day_90d",
    "profile_night_share_90d",
    "profile_weekend_share_90d",
)
SIZES = (150, 100, 60)
EVERY = sorted(CLUSTER_METHODS)


def planted(seed: int = 0) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Make three kinds: usual customers, night spenders of small amounts, frequent payers of large ones."""
    generator = np.random.default_rng(seed)
    truth = np.repeat(np.arange(3), SIZES)
    amount = np.asarray([3_000.0, 600.0, 40_000.0])[truth] * generator.lognormal(0, 0.2, len(truth))
    per_day = np.asarray([1.0, 1.0, 6.0])[truth] * generator.lognormal(0, 0.2, len(truth))
    night = np.asarray([0.1, 0.7, 0.1])[truth] + generator.normal(0, 0.03, len(truth))
    weekend = 0.28 + generator.normal(0, 0.03, len(truth))
    order = generator.permutation(len(truth))
    return np.column_stack([amount, per_day, night, weekend])[order], truth[order]


@cache
def fitted(method: str, seed: int = 0) -> Fit:
    """Cluster the planted customers; callers must not change it."""
    return fit_clustering(planted()[0], COLUMNS, method=method, seed=seed)


@pytest.mark.parametrize("method", EVERY)
def test_planted_kinds_are_found(method: str) -> None:
    profiles, truth = planted()
    codes = fitted(method).clustering.assign(profiles).codes
    inside = codes != OUTLIER
    assert inside.mean() > 0.9
    assert adjusted_rand_score(truth[inside], codes[inside]) > 0.95


@pytest.mark.parametrize("method", EVERY)
def test_segments_are_ordered_by_size_and_named_by_what_sets_them_apart(method: str) -> None:
    segments = {segment.code: segment for segment in fitted(method).clustering.segments}
    assert [segments[code].customers for code in (0, 1, 2)] == sorted(
        (segments[code].customers for code in (0, 1, 2)), reverse=True
    )
    assert set(segments[1].name.split(", ")) == {"night spenders", "small amounts"}
    assert set(segments[2].name.split(", ")) == {"large amounts", "frequent payments"}
    assert (OUTLIER in segments) == (method in ("dbscan", "hdbscan"))


@pytest.mark.parametrize("method", EVERY)
def test_the_same_seed_gives_the_same_clustering(method: str) -> None:
    again = fit_clustering(planted()[0], COLUMNS, method=method)
    assert again.clustering.as_dict() == fitted(method).clustering.as_dict()


@pytest.mark.parametrize("method", EVERY)
def test_a_customer_is_assigned_the_same_alone_or_among_others(method: str) -> None:
    clustering = fitted(method).clustering
    profiles = planted(seed=1)[0][:40]
    together = clustering.assign(profiles)
    for index, profile in enumerate(profiles):
        alone = clustering.assign(profile[None, :])
        assert alone.codes[0] == together.codes[index]
        assert alone.distances.tobytes() == together.distances[index : index + 1].tobytes()
        assert alone.points.tobytes() == together.points[index : index + 1].tobytes()


@pytest.mark.parametrize("method", EVERY)
def test_what_is_stored_assigns_alike(method: str) -> None:
    clustering = fitted(method).clustering
    read = Clustering.from_dict(json.loads(json.dumps(clustering.as_dict(), allow_nan=False)))
    profiles = planted(seed=1)[0]
    before, after = clustering.assign(profiles), read.assign(profiles)
    assert before.codes.tobytes() == after.codes.tobytes()
    assert before.typicality.tobytes() == after.typicality.tobytes()
    assert read.as_dict() == clustering.as_dict()


@pytest.mark.parametrize("method", EVERY)
def test_agreement_is_the_share_of_the_fit_with_the_methods_own_cluster(method: str) -> None:
    fit = fitted(method)
    own, codes = fit.clusters.labels, fit.clustering.assign(planted()[0]).codes
    inside = own != OUTLIER
    pairs = {(a, b) for a, b in zip(own[inside].tolist(), codes[inside].tolist(), strict=True)}
    agreement = fit.clustering.quality["agreement"]
    assert agreement > 0.98
    assert (agreement == 1.0) == (len(pairs) == len(np.unique(own[inside])))
    if method in ("kmeans", "hdbscan"):
        assert agreement == 1.0


@pytest.mark.parametrize("method", EVERY)
def test_who_is_far_from_everybody_is_an_outlier_or_untypical(method: str) -> None:
    clustering = fitted(method).clustering
    odd = clustering.assign(np.asarray([[3_000.0, 40.0, 0.9, 0.9]]))
    if method in ("dbscan", "hdbscan"):
        assert odd.codes.tolist() == [OUTLIER]
    else:
        assert odd.typicality[0] > 3
    assert clustering.name_of(int(odd.codes[0]))


@pytest.mark.parametrize("method", EVERY)
def test_a_missing_profile_is_assigned_too(method: str) -> None:
    found = fitted(method).clustering.assign(np.full((1, len(COLUMNS)), np.nan))
    assert np.isfinite(found.distances).all()
    assert np.isfinite(found.points).all()


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.integers(1, 12))
def test_the_nearest_reference_within_reach_decides(seed: int, references: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    known = References(
        generator.integers(0, 4, (references, 2)).astype(float),
        generator.integers(0, 3, references),
        generator.choice([0.0, 1.0, np.inf], references),
    )
    points = generator.integers(0, 4, (rows, 2)).astype(float)
    expected = []
    for point in points:
        distances = [float(np.hypot(*(point - place))) for place in known.points]
        nearest = min(range(references), key=lambda index: distances[index], default=None)
        within = nearest is not None and distances[nearest] <= known.reach[nearest]
        expected.append(int(known.clusters[nearest]) if within else OUTLIER)
    assert nearest_reference(known, points).tolist() == expected


def test_blocks_change_nothing() -> None:
    generator = np.random.default_rng(0)
    known = References(generator.normal(size=(2_500, 3)), np.arange(2_500), np.full(2_500, 0.5))
    points = generator.normal(size=(3_000, 3))
    found = nearest_reference(known, points)
    one_by_one = [nearest_reference(known, point[None, :])[0] for point in points[::100]]
    assert found[::100].tolist() == one_by_one


@pytest.mark.parametrize("method", ["kmeans", "hierarchical"])
def test_the_number_of_segments_is_that_of_the_highest_silhouette(method: str) -> None:
    fit = fitted(method)
    choice = fit.clusters.choice
    assert choice is not None
    assert choice.best == 3
    slope = (choice.inertias[-1] - choice.inertias[0]) / (choice.ks[-1] - choice.ks[0])
    below = {
        k: choice.inertias[0] + slope * (k - choice.ks[0]) - inertia
        for k, inertia in zip(choice.ks, choice.inertias, strict=True)
    }
    assert choice.elbow == max(below, key=lambda k: below[k])
    points = fit.clustering.space.points(planted()[0])
    assert max(choice.silhouettes) == pytest.approx(silhouette_score(points, fit.clusters.labels))
    centres = np.stack([points[fit.clusters.labels == code].mean(axis=0) for code in range(3)])
    inertia = np.sum((points - centres[fit.clusters.labels]) ** 2)
    assert choice.inertias[choice.ks.index(3)] == pytest.approx(inertia)


def test_a_given_number_of_segments_is_kept() -> None:
    fit = fit_clustering(planted()[0], COLUMNS, k=5)
    assert fit.clusters.choice is None
    assert len(fit.clustering.segments) == 5


def test_progress_counts_the_numbers_tried() -> None:
    told: list[tuple[int, int]] = []
    fit_clustering(planted()[0], COLUMNS, progress=lambda *step: told.append(step))
    assert told == [(done, 9) for done in range(10)]


def test_equal_customers_are_one_segment() -> None:
    fit = fit_clustering(np.ones((30, 2)), COLUMNS[:2])
    assert [segment.customers for segment in fit.clustering.segments] == [30]
    assert fit.clustering.segments[0].name == ORDINARY


def test_a_silhouette_needs_two_clusters() -> None:
    points = np.arange(8.0)[:, None]
    assert mean_silhouette(points, np.zeros(8, dtype=np.int64), seed=0) is None
    assert mean_silhouette(points, np.asarray([0, 0, OUTLIER, 1, 1, 1, 1, 1]), seed=0) is not None


def test_few_different_points_allow_few_clusters() -> None:
    points = np.asarray([[0.0], [0.0], [1.0], [1.0], [5.0]])
    choice = choose_k(
        points,
        lambda k: np.asarray([0, 0, 1, 1, 1]) if k == 2 else np.arange(5) % k,
        seed=0,
        progress=lambda done, total: None,
    )
    assert choice.ks == (2,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "spectral"}, "a method among kmeans"),
        ({"profiles": np.ones((19, 4))}, "20 customers or more"),
        ({"columns": COLUMNS[:2]}, "a name for each"),
        ({"profiles": np.ones((30, 1)), "columns": COLUMNS[:1]}, "2 profile columns"),
        ({"k": 1}, "k from 2"),
        ({"k": 200}, "k from 2"),
        ({"k": 3, "method": "dbscan"}, "leave k out"),
    ],
)
def test_what_can_not_be_clustered_is_refused(changes: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"profiles": planted()[0], "columns": COLUMNS, **changes}
    with pytest.raises(TrainingDataError, match=message):
        fit_clustering(given.pop("profiles"), given.pop("columns"), **given)


def test_a_clustering_of_another_format_is_refused() -> None:
    values = fitted("kmeans").clustering.as_dict()
    with pytest.raises(TrainingDataError, match="cbp cluster"):
        Clustering.from_dict({**values, "format_version": 2})


def test_the_space_straightens_skewed_columns_and_keeps_distances_between_kinds() -> None:
    profiles, _ = planted()
    space = ProfileSpace.fit(profiles)
    assert space.is_logarithmic.tolist() == [True, True, False, False]
    scaled = space.scaled(profiles)
    assert np.median(scaled, axis=0) == pytest.approx(np.zeros(4), abs=1e-9)
    assert np.abs(scaled).max() <= 4
    products = space.directions @ space.directions.T
    assert products == pytest.approx(np.eye(len(products)), abs=1e-9)
    assert space.points(profiles) == pytest.approx((scaled - space.mean) @ space.directions.T)
    assert 0.9 <= space.explained.sum() <= 1.0


def test_a_column_that_is_never_known_is_nobodys_difference() -> None:
    profiles = np.column_stack([planted()[0], np.full(sum(SIZES), np.nan)])
    space = ProfileSpace.fit(profiles)
    assert np.array_equal(space.scaled(profiles)[:, 4], np.zeros(sum(SIZES)))


@given(st.dictionaries(st.integers(-1, 20), st.dictionaries(st.sampled_from(COLUMNS), st.floats(-4, 4))))
def test_no_two_segments_share_a_name(traits: dict[int, dict[str, float]]) -> None:
    names = name_segments(traits)
    assert set(names) == set(traits)
    assert len(set(names.values())) == len(names)


def test_names_say_the_strongest_of_a_theme_and_words_for_any_column() -> None:
    names = name_segments(
        {
            0: {
                "profile_amount_mean_90d": -1.0,
                "profile_amount_max_90d": 2.0,
                "profile_risk_taste_30d": 0.5,
            },
            1: {"profile_gap_seconds_mean_90d": 3.0, "profile_night_share_90d": 0.1},
        }
    )
    assert names == {0: "large amounts, high risk taste", 1: "rare payments"}


@pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=[pytest.mark.slow] if name == "umap" else []) for name in sorted(PROJECTIONS)],
)
def test_maps_repeat_with_the_seed_and_keep_kinds_apart(method: str) -> None:
    profiles, truth = planted()
    points = ProfileSpace.fit(profiles).points(profiles)[:120]
    first = project(points, method, seed=3)
    assert first.shape == (120, 2)
    assert np.isfinite(first).all()
    assert first.tobytes() == project(points, method, seed=3).tobytes()
    assert silhouette_score(first, truth[:120]) > 0.4


def test_an_unknown_map_is_refused() -> None:
    with pytest.raises(TrainingDataError, match="pca, tsne, umap"):
        project(np.zeros((9, 2)), "mds")


def test_the_report_has_its_files_and_none_of_an_earlier_one(tmp_path: Path) -> None:
    profiles = planted()[0]
    for method in ("hierarchical", "dbscan"):
        fit = fitted(method)
        assigned = fit.clustering.assign(profiles)
        maps = {"pca": project(assigned.points, "pca")}
        write_cluster_report(tmp_path, fit, codes=assigned.codes, maps=maps, as_of="2018-08-01")
        files = {path.name for path in tmp_path.iterdir()}
        always = {"clustering.json", "segments.csv", "segments.png", "map_pca.png", "report.html"}
        tree = {"k_choice.png", "linkage.csv", "dendrogram.png"}
        assert files == always | (tree if method == "hierarchical" else set())
        if method == "hierarchical":
            lines = (tmp_path / "linkage.csv").read_text().splitlines()
            assert len(lines) == len(profiles)
            assert "nothing of customers that it did not see" in (tmp_path / "report.html").read_text()
    summary = json.loads((tmp_path / "clustering.json").read_text())
    assert summary["method"] == "dbscan"
    assert sum(segment["customers"] for segment in summary["segments"]) == len(profiles)
