"""Planned dirt: which row of a simulated file is broken, how, and what ingest must make of it.

Rows that must be refused, and duplicates, are added to the clean payments, never put in their place: whatever
the share of dirt, the accepted payments are those of the clean file. Only late arrival, order and time zone
touch clean rows. No payment gets two kinds of dirt, so each kind can be counted exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from warehouse.quarantine import Problem
from warehouse.simulation.payments import DAY_SECONDS, MICROSECONDS
from warehouse.simulation.world import Integers


class Dirt(StrEnum):
    """Kinds of dirt."""

    DUPLICATE = "duplicate"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    NULL_TRANSACTION_ID = "null_transaction_id"
    NULL_EVENT_TIME = "null_event_time"
    NULL_AMOUNT = "null_amount"
    BAD_EVENT_TIME = "bad_event_time"
    FAR_EVENT_TIME = "far_event_time"
    NEGATIVE_AMOUNT = "negative_amount"
    NOT_A_NUMBER_AMOUNT = "not_a_number_amount"
    TOO_LARGE_AMOUNT = "too_large_amount"
    REFUND = "refund"
    LATE = "late"
    OUT_OF_ORDER = "out_of_order"
    TIME_ZONE = "time_zone"
    UNKNOWN_COLUMN = "unknown_column"


KINDS: Final = tuple(Dirt)
CLEAN: Final = -1
"""Index of a clean row, where an index into `KINDS` is expected."""

REASONS: Final[Mapping[Dirt, Problem]] = MappingProxyType(
    {
        Dirt.CONFLICTING_DUPLICATE: Problem.CONFLICT,
        Dirt.NULL_TRANSACTION_ID: Problem.TRANSACTION_ID_MISSING,
        Dirt.NULL_EVENT_TIME: Problem.EVENT_TIME_MISSING,
        Dirt.NULL_AMOUNT: Problem.AMOUNT_MISSING,
        Dirt.BAD_EVENT_TIME: Problem.EVENT_TIME_UNREADABLE,
        Dirt.FAR_EVENT_TIME: Problem.EVENT_TIME_OUT_OF_RANGE,
        Dirt.NEGATIVE_AMOUNT: Problem.AMOUNT_NEGATIVE,
        Dirt.NOT_A_NUMBER_AMOUNT: Problem.AMOUNT_NOT_A_NUMBER,
        Dirt.TOO_LARGE_AMOUNT: Problem.AMOUNT_TOO_LARGE,
        Dirt.REFUND: Problem.REFUND,
    }
)
"""Why ingest must refuse a row of that kind; kinds that are not named here are accepted or are duplicates."""

ADDED: Final = frozenset({Dirt.DUPLICATE, *REASONS})
"""Kinds whose rows are added to the file; the others change a row of the clean file."""

_HOUR_US: Final = 3_600 * MICROSECONDS
_MINUTE_US: Final = 60 * MICROSECONDS
_DAY_US: Final = DAY_SECONDS * MICROSECONDS


@dataclass(frozen=True)
class FilePlan:
    """The rows of a file in order; every array has shape ``(rows,)``.

    Parameters
    ----------
    payment : ndarray of int64
        The payment that the row tells of or was copied from.
    kind : ndarray of int8
        Index into `KINDS`, or `CLEAN`.
    ingested_us : ndarray of int64
        When the row arrived, UTC microseconds.
    """

    payment: Integers
    kind: NDArray[np.int8]
    ingested_us: Integers

    def counts(self) -> dict[str, int]:
        """Count the rows of each kind (a kind without rows counts zero)."""
        found = np.bincount(self.kind[self.kind != CLEAN], minlength=len(KINDS))
        return {kind.value: int(count) for kind, count in zip(KINDS, found, strict=True)}


def plan_clean_file(event_us: Integers) -> FilePlan:
    """Plan a file in which every payment arrives when it happens."""
    rows = event_us.size
    return FilePlan(payment=np.arange(rows), kind=np.full(rows, CLEAN, dtype=np.int8), ingested_us=event_us)


def plan_dirty_file(event_us: Integers, *, share: float, rng: np.random.Generator) -> FilePlan:
    """Plan a file in which `share` of the payments gives rise to dirt, all kinds alike, in order of arrival.

    Parameters
    ----------
    event_us : ndarray of int64, shape (payments,)
        Event times in rising order.
    share : float
        Share of the payments, above 0 and at most 1; each kind gets at least one row where there are enough.
    """
    payments = event_us.size
    struck = min(payments, max(round(share * payments), len(KINDS)))
    source = rng.choice(payments, struck, replace=False)
    # Dealt round robin: the kinds differ by one row at most.
    kind = (np.arange(struck) % len(KINDS)).astype(np.int8)
    is_added = np.isin(kind, [KINDS.index(added) for added in ADDED])

    clean_kind = np.full(payments, CLEAN, dtype=np.int8)
    clean_kind[source[~is_added]] = kind[~is_added]
    ingested, position = _arrive(event_us, clean_kind, rng=rng)

    added = source[is_added]
    added_kind = kind[is_added]
    added_position = event_us[added] + rng.integers(_MINUTE_US, _DAY_US, added.size)
    is_copy = added_kind == KINDS.index(Dirt.DUPLICATE)
    added_ingested = np.where(is_copy, event_us[added], added_position)

    order = np.argsort(np.concatenate([position, added_position]), kind="stable")
    return FilePlan(
        payment=np.concatenate([np.arange(payments), added])[order],
        kind=np.concatenate([clean_kind, added_kind])[order],
        ingested_us=np.concatenate([ingested, added_ingested])[order],
    )


def _arrive(
    event_us: Integers, kind: NDArray[np.int8], *, rng: np.random.Generator
) -> tuple[Integers, Integers]:
    """Say when each payment arrives and when it is written to the file.

    A late one arrives an hour to three days after the event and is written then. One that is out of order
    arrives in time but is written up to two hours behind its neighbours.
    """
    is_late = kind == KINDS.index(Dirt.LATE)
    is_displaced = kind == KINDS.index(Dirt.OUT_OF_ORDER)
    lateness = np.where(is_late, rng.integers(_HOUR_US, 3 * _DAY_US, kind.size), 0)
    displacement = np.where(is_displaced, rng.integers(_MINUTE_US, 2 * _HOUR_US, kind.size), 0)
    ingested = event_us + lateness
    return ingested, ingested + displacement
