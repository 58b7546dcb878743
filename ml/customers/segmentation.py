"""Clustering of a home's customers: profiles in, segments back into the warehouse, a report beside.

A clustering is as of an instant: it sees the profiles that counted then, and its segments count from then.
Codes keep their meaning from one fit to the next: the fitted rule is stored with the segments, and later
profiles are assigned by it (every week after the fit, and whenever `assign_customers` is run).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ml.customers.clustering import Clustering, Segment, fit_clustering
from ml.customers.profiles import CustomerProfiles, ProfileReader, without_repeats
from ml.customers.projections import PROJECTIONS, project
from ml.customers.report import write_cluster_report
from ml.customers.space import Matrix
from ml.errors import TrainingDataError
from warehouse.landing.segments import SEGMENT_SCHEMA, read_segments, write_segments
from warehouse.settings import Settings
from warehouse.times import DAY_US, time_text

ClusterProgress = Callable[[str, int, int], None]
"""Called with what begins or goes on, how many steps of it are done, and how many there are."""

_REPORT_NAME: Final = "clustering"
_EVERY_DAYS: Final = 7
_MOST_ON_MAP: Final = 3_000


@dataclass(frozen=True)
class SegmentedCustomers:
    """What a run left in the home.

    Parameters
    ----------
    clustering : Clustering
        The rule that is in force.
    fitted_us : int
        As of when it was fitted, UTC microseconds.
    times : tuple of int
        Times of assignment that the file now holds.
    segments : tuple of Segment
        With the customers of the newest assignment.
    rows : int
        Rows of the file.
    report_dir : Path or None
        Where the report of the fit is; None where nothing was fitted.
    """

    clustering: Clustering
    fitted_us: int
    times: tuple[int, ...]
    segments: tuple[Segment, ...]
    rows: int
    report_dir: Path | None


def cluster_customers(
    settings: Settings,
    *,
    method: str = "kmeans",
    k: int | None = None,
    projection: str = "tsne",
    as_of_us: int | None = None,
    now_us: int,
    seed: int = 0,
    progress: ClusterProgress = lambda what, done, total: None,
) -> SegmentedCustomers:
    """Find segments of customers and write them back; what was there is replaced.

    Parameters
    ----------
    settings : Settings
        The home; `cbp build` must have run.
    method, k, seed
        See `ml.customers.clustering.fit_clustering`.
    projection : {'pca', 'tsne', 'umap'}
        Of the map beside the one of the main directions.
    as_of_us : int, optional
        The instant to see and to count from, UTC microseconds; by default now where the newest profiles still
        count, else when the newest ones began to.
    now_us : int
        The present: nothing can be computed after it.
    progress : callable, optional
        See `ClusterProgress`.

    Raises
    ------
    TrainingDataError
        When there are no customers, or too few, or an argument does not fit.
    """
    if projection not in PROJECTIONS:
        raise TrainingDataError(f"expected a projection among {', '.join(PROJECTIONS)}, got {projection!r}")
    progress("reading profiles", 0, 1)
    reader = ProfileReader(settings)
    fitted_us = _instant(reader, as_of_us, now_us)
    profiles = without_repeats(reader.read(fitted_us))
    fit = fit_clustering(
        profiles.values,
        profiles.columns,
        method=method,
        k=k,
        seed=seed,
        progress=lambda done, total: progress("choosing the number of segments", done, total),
    )
    progress("drawing the map", 0, 1)
    shown = _drawn(fit.rows, seed)
    assigned = fit.clustering.assign(profiles.values[shown])
    maps = {name: project(assigned.points, name, seed=seed) for name in dict.fromkeys(("pca", projection))}
    folder = settings.reports_dir / _REPORT_NAME
    write_cluster_report(folder, fit, codes=assigned.codes, maps=maps, as_of=time_text(fitted_us))
    times = _times(fitted_us, _latest(reader, now_us))
    tables = [
        _assigned(fit.clustering, reader, time_us, progress=progress, done=index, total=len(times))
        for index, time_us in enumerate(times)
    ]
    tables[0] = _with_fit(tables[0], profiles, fit.rows, shown, maps[projection])
    return _store(settings, fit.clustering, fitted_us, pa.concat_tables(tables), report_dir=folder)


def assign_customers(
    settings: Settings, *, now_us: int, progress: ClusterProgress = lambda what, done, total: None
) -> SegmentedCustomers:
    """Assign customers by the clustering that is in force, from the newest profiles; add that to the file.

    Raises
    ------
    TrainingDataError
        When nothing was clustered yet, or the profile's columns have changed since.
    """
    stored, values = read_segments(settings)
    if values is None:
        raise TrainingDataError("expected a clustering to assign by, found none: run `cbp cluster` first")
    clustering = Clustering.from_dict(values)
    reader = ProfileReader(settings)
    known = set(stored.column("assigned_us").to_pylist())
    newest = max(known)
    times = [time_us for time_us in _times(newest, _latest(reader, now_us)) if time_us not in known]
    tables = [
        _assigned(clustering, reader, time_us, progress=progress, done=index, total=len(times))
        for index, time_us in enumerate(times)
    ]
    table = pa.concat_tables([stored, *tables])
    return _store(settings, clustering, values["fitted_us"], table, report_dir=None)


def _instant(reader: ProfileReader, as_of_us: int | None, now_us: int) -> int:
    if as_of_us is not None:
        if as_of_us > now_us:
            raise TrainingDataError(f"expected an instant that has been, got {time_text(as_of_us)}")
        return as_of_us
    return _latest(reader, now_us)


def _latest(reader: ProfileReader, now_us: int) -> int:
    """Return now, or when the newest profiles began to count where they do no longer: history ended then."""
    return now_us if reader.newest_us <= now_us <= reader.newest_us + reader.ttl_us else reader.newest_us


def _times(first_us: int, last_us: int) -> list[int]:
    """Return the times of assignment: the first, every week after it, and the last."""
    times = list(range(first_us, last_us + 1, _EVERY_DAYS * DAY_US)) or [first_us]
    return times if times[-1] >= last_us else [*times, last_us]


def _drawn(rows: Any, seed: int) -> Any:
    """Return the rows to draw: all that were fitted, or a sample of them."""
    if len(rows) <= _MOST_ON_MAP:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, _MOST_ON_MAP, replace=False))


def _assigned(
    clustering: Clustering,
    reader: ProfileReader,
    time_us: int,
    *,
    progress: ClusterProgress,
    done: int,
    total: int,
) -> pa.Table:
    progress("assigning customers", done, total)
    profiles = reader.read(time_us, clustering.columns)
    assignment = clustering.assign(profiles.values)
    count = len(profiles.customers)
    names = {segment.code: segment.name for segment in clustering.segments}
    return pa.table(
        {
            "customer_id": pa.array(profiles.customers, pa.string()),
            "assigned_us": np.full(count, time_us, dtype=np.int64),
            "code": assignment.codes,
            "name": pa.array([names[code] for code in assignment.codes.tolist()], pa.string()),
            "distance": assignment.distances,
            "typicality": assignment.typicality,
            "x": assignment.points[:, 0],
            "y": assignment.points[:, 1],
            "map_x": pa.nulls(count, pa.float64()),
            "map_y": pa.nulls(count, pa.float64()),
            "was_fitted": np.zeros(count, dtype=bool),
        }
    ).cast(SEGMENT_SCHEMA)


def _with_fit(
    table: pa.Table, profiles: CustomerProfiles, fitted: Any, shown: Any, coordinates: Matrix
) -> pa.Table:
    """Fill in, at the time of the fit, who was fitted and where the map has them."""
    was_fitted = np.zeros(len(profiles.customers), dtype=bool)
    was_fitted[fitted] = True
    on_map = np.full((len(profiles.customers), 2), np.nan)
    on_map[shown] = coordinates
    for name, values in (("was_fitted", was_fitted), ("map_x", on_map[:, 0]), ("map_y", on_map[:, 1])):
        column = pa.array(values, from_pandas=True)
        table = table.set_column(table.schema.get_field_index(name), SEGMENT_SCHEMA.field(name), column)
    return table


def _store(
    settings: Settings, clustering: Clustering, fitted_us: int, table: pa.Table, *, report_dir: Path | None
) -> SegmentedCustomers:
    write_segments(settings, table, clustering={**clustering.as_dict(), "fitted_us": fitted_us})
    times = tuple(sorted(set(table.column("assigned_us").to_pylist())))
    newest = np.asarray(table.column("assigned_us")) == times[-1]
    codes = np.asarray(table.column("code"))[newest]
    segments = tuple(
        Segment(**{**vars(segment), "customers": int((codes == segment.code).sum())})
        for segment in clustering.segments
    )
    return SegmentedCustomers(clustering, fitted_us, times, segments, len(table), report_dir)
