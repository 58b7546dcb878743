"""Profiles of all customers at an instant, from the published warehouse."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from feature_repo.dbt_manifest import FeatureModel, read_feature_models
from ml.customers.space import Matrix
from ml.errors import TrainingDataError
from ml.runtimes.matrix import column_to_float64
from warehouse.published import open_published
from warehouse.settings import Settings
from warehouse.times import DAY_US, time_text, to_us

PROFILE_VIEW: Final = "customer_profile"
_NUMBERS: Final = ("bigint", "double")
# Behaviour alone: neither what labels said, nor how much of a value is the customer's own.
_NOT_BEHAVIOUR: Final = re.compile(r"fraud|_weight_")
_WINDOW_DAYS: Final = re.compile(r"_(\d+)d$")
_SAME: Final = 0.999

_PROFILES: Final = """
select {key} as customer, {columns}
from {table}
where event_timestamp <= make_timestamp($as_of) and event_timestamp >= make_timestamp($as_of - $ttl)
qualify row_number() over (partition by {key} order by event_timestamp desc) = 1
order by customer
"""


@dataclass(frozen=True)
class CustomerProfiles:
    """Profiles at one instant.

    Parameters
    ----------
    as_of_us : int
        The instant, UTC microseconds: rows that count later are not seen, nor rows past their TTL.
    customers : ndarray of object, shape (n,)
        Ids, sorted.
    columns : tuple of str
        Of `values`.
    values : ndarray of float64, shape (n, n_columns)
        NaN where missing.
    """

    as_of_us: int
    customers: npt.NDArray[Any]
    columns: tuple[str, ...]
    values: Matrix


class ProfileReader:
    """Reads profiles of one home.

    Parameters
    ----------
    settings : Settings
        The home; `cbp build` must have run.

    Raises
    ------
    TrainingDataError
        When nothing is published, or it holds no customer.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        with open_published(settings, refused=TrainingDataError):
            models = read_feature_models(settings.manifest_file)
        self._model = next(model for model in models if model.view == PROFILE_VIEW)
        newest = self._query("select max(event_timestamp) as newest from {table}").column("newest")[0].as_py()
        if newest is None:
            raise TrainingDataError(
                "expected customers to cluster, got none: the payments name no customer (their mapping has "
                "no customer_id), or no day of theirs is complete"
            )
        self.newest_us = to_us(newest)
        """When the newest profile begins to count."""
        self.ttl_us = int(self._model.ttl_days * DAY_US)
        """For how long a profile counts."""

    def read(self, as_of_us: int, columns: tuple[str, ...] | None = None) -> CustomerProfiles:
        """Read the profile of each customer that counts at an instant.

        Parameters
        ----------
        as_of_us : int
            UTC microseconds.
        columns : tuple of str, optional
            By default behaviour over the longest window.
        """
        chosen = behaviour_columns(self._model) if columns is None else columns
        known = [feature.name for feature in self._model.features]
        unknown = sorted(set(chosen) - set(known))
        if unknown:
            raise TrainingDataError(
                f"expected columns of the customer profile, got {', '.join(unknown)}: the profile has "
                "changed, fit the segments again"
            )
        table = self._query(
            _PROFILES.format(key=self._model.join_key.name, columns=", ".join(chosen), table="{table}"),
            {"as_of": as_of_us, "ttl": self.ttl_us},
        )
        values = [column_to_float64(table.column(name)) for name in chosen]
        if not len(table):
            raise TrainingDataError(f"expected profiles that count at {time_text(as_of_us)}, got none")
        return CustomerProfiles(
            as_of_us=as_of_us,
            customers=table.column("customer").to_numpy(zero_copy_only=False),
            columns=tuple(chosen),
            values=np.column_stack(values),
        )

    def _query(self, query: str, parameters: dict[str, int] | None = None) -> Any:
        # names of dbt's manifest; every value is bound
        text = query.format(table=f"features.{self._model.name}")
        with open_published(self._settings, refused=TrainingDataError) as connection:
            return connection.execute(text, parameters or {}).to_arrow_table()


def behaviour_columns(model: FeatureModel) -> tuple[str, ...]:
    """Return the numeric columns of a profile over its longest window that say how somebody behaves."""
    names = [feature.name for feature in model.features if feature.data_type in _NUMBERS]
    days = {name: int(match[1]) for name in names if (match := _WINDOW_DAYS.search(name))}
    longest = max(days.values(), default=0)
    return tuple(name for name in names if days.get(name) == longest and not _NOT_BEHAVIOUR.search(name))


def without_repeats(profiles: CustomerProfiles) -> CustomerProfiles:
    """Drop columns that say nothing, or what an earlier one says: each behaviour shall count once."""
    filled = np.where(np.isnan(profiles.values), np.nanmean(_known(profiles.values), axis=0), profiles.values)
    centred = filled - filled.mean(axis=0)
    lengths = np.sqrt(np.sum(centred**2, axis=0))
    kept: list[int] = []
    for index in np.flatnonzero(lengths > 0).tolist():
        directions = centred[:, kept] / lengths[kept]
        if not kept or np.abs(directions.T @ centred[:, index] / lengths[index]).max() < _SAME:
            kept.append(index)
    columns = tuple(profiles.columns[index] for index in kept)
    return CustomerProfiles(profiles.as_of_us, profiles.customers, columns, profiles.values[:, kept])


def _known(values: Matrix) -> Matrix:
    """Return the values, with 0 in columns where nothing is known at all."""
    return np.where(np.isnan(values).all(axis=0), 0.0, values)
