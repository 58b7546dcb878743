"""The live features as declared in ``dbt_project.yml``, read without dbt and without its macros."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml

from warehouse.settings import PROJECT_ROOT
from warehouse.times import DAY_US

_UNIT_US: Final = {"m": 60_000_000, "h": 3_600_000_000, "d": DAY_US}


@dataclass(frozen=True)
class LiveFeature:
    """One declared feature.

    Parameters
    ----------
    name : str
    keys : tuple of str
        Columns whose values its events share with the transaction.
    column : str
        What is aggregated.
    operation : str
        How.
    window_us : int
        Length of its window, microseconds.
    """

    name: str
    keys: tuple[str, ...]
    column: str
    operation: str
    window_us: int


@dataclass(frozen=True)
class Declarations:
    """What is read of them: live features, and how long after its snapshot a profile row begins to count."""

    live: tuple[LiveFeature, ...]
    profile_lag_us: int

    def customer_counts(self) -> list[str]:
        """Names of the features that count a customer's transactions."""
        return [
            feature.name
            for feature in self.live
            if feature.keys == ("customer_id",) and feature.operation == "count"
        ]


def read_declarations() -> Declarations:
    """Read the live features and the lag of profiles."""
    variables = read_variables()
    live = tuple(
        LiveFeature(
            name=f"{entity['prefix']}{declared['measure']}_{declared['operation']}_{window}",
            keys=tuple(entity["keys"]),
            column=variables["measures"][declared["measure"]],
            operation=declared["operation"],
            window_us=duration_us(window),
        )
        for declared in variables["velocity_features"]
        for entity in [variables["entities"][declared["entity"]]]
        for window in declared["windows"]
    )
    return Declarations(live=live, profile_lag_us=duration_us(variables["profile_lag"]))


def read_variables() -> dict[str, Any]:
    """Read the variables of ``dbt_project.yml``, in which everything is declared."""
    text = (PROJECT_ROOT / "dbt_project.yml").read_text(encoding="utf-8")
    variables: dict[str, Any] = yaml.safe_load(text)["vars"]
    return variables


def duration_us(text: str) -> int:
    """Return the microseconds of a duration such as 10m, 24h or 30d."""
    return int(text[:-1]) * _UNIT_US[text[-1]]
