"""The simulated world: customers and merchants in a square, and which merchants each customer can reach.

After the simulator of "Reproducible Machine Learning for Credit Card Fraud Detection - Practical Handbook"
(Le Borgne et al.), chapter 3, "Transaction data simulator". Category, channel, country and coordinates are
ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

CATEGORIES: Final = (
    "grocery", "restaurant", "fuel", "transport", "fashion", "health",
    "electronics", "home", "leisure", "travel", "digital", "jewellery",
)  # fmt: skip
CHANNELS: Final = ("contactless", "chip", "magstripe", "online")
COUNTRIES: Final = ("FR", "BE", "DE", "CH")
ONLINE: Final = CHANNELS.index("online")

_CATEGORY_SHARES: Final = (0.22, 0.16, 0.10, 0.08, 0.09, 0.07, 0.06, 0.06, 0.06, 0.04, 0.04, 0.02)
_ONLINE_SHARE: Final = 0.15
_SIDE: Final = 100.0
_PUBLISHED_REACH: Final = 5.0
_PUBLISHED_MERCHANTS: Final = 10_000
_CUSTOMER_BLOCK: Final = 20_000

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Customers:
    """Customers: place, spending and pace; every array has shape ``(customers,)``.

    Parameters
    ----------
    x, y : ndarray of float64
        Place in the square, 0 to 100.
    mean_amount : ndarray of float64
        Mean amount of a payment, in major units.
    payments_per_day : ndarray of float64
        Mean number of payments a day.
    """

    x: Floats
    y: Floats
    mean_amount: Floats
    payments_per_day: Floats


@dataclass(frozen=True)
class Merchants:
    """Merchants; every array has shape ``(merchants,)``.

    Parameters
    ----------
    x, y : ndarray of float64
        Place in the square, 0 to 100.
    category, country : ndarray of int8
        Index into `CATEGORIES` and `COUNTRIES`.
    is_online : ndarray of bool
        Whether every payment there is made online.
    latitude, longitude : ndarray of float64
        Degrees, rounded to six decimals.
    """

    x: Floats
    y: Floats
    category: NDArray[np.int8]
    country: NDArray[np.int8]
    is_online: NDArray[np.bool_]
    latitude: Floats
    longitude: Floats


@dataclass(frozen=True)
class Reach:
    """Which merchants each customer uses.

    Parameters
    ----------
    first : ndarray of int64, shape (customers,)
        Where a customer's merchants begin in `merchants`.
    count : ndarray of int64, shape (customers,)
        How many there are; at least one.
    merchants : ndarray of int64
        Merchant numbers, rising within a customer.
    """

    first: Integers
    count: Integers
    merchants: Integers


def draw_customers(count: int, rng: np.random.Generator) -> Customers:
    """Draw customers: mean amount U(5, 100), payments a day U(0, 4)."""
    return Customers(
        x=rng.uniform(0, _SIDE, count),
        y=rng.uniform(0, _SIDE, count),
        mean_amount=rng.uniform(5, 100, count),
        payments_per_day=rng.uniform(0, 4, count),
    )


def draw_merchants(count: int, rng: np.random.Generator) -> Merchants:
    """Draw merchants, their place mapped onto a piece of western Europe with coarse borders."""
    x, y = rng.uniform(0, _SIDE, count), rng.uniform(0, _SIDE, count)
    latitude, longitude = np.round(43.0 + 0.08 * y, 6), np.round(0.5 + 0.12 * x, 6)
    country = np.select(
        [(latitude >= 49.5) & (longitude < 6.0), (longitude < 6.5), (latitude < 47.5)],
        [COUNTRIES.index("BE"), COUNTRIES.index("FR"), COUNTRIES.index("CH")],
        COUNTRIES.index("DE"),
    )
    return Merchants(
        x=x,
        y=y,
        category=rng.choice(len(CATEGORIES), count, p=_CATEGORY_SHARES).astype(np.int8),
        country=country.astype(np.int8),
        is_online=rng.random(count) < _ONLINE_SHARE,
        latitude=latitude,
        longitude=longitude,
    )


def find_reach(customers: Customers, merchants: Merchants) -> Reach:
    """Find the merchants around each customer; who has none uses the nearest.

    The published radius is 5 with 10,000 merchants. It widens or narrows with their number, so that a
    customer has about 78 merchants in a world of any size.
    """
    radius = min(_PUBLISHED_REACH * float(np.sqrt(_PUBLISHED_MERCHANTS / merchants.x.size)), _SIDE)
    blocks = [
        _find_block(customers, merchants, radius, first)
        for first in range(0, customers.x.size, _CUSTOMER_BLOCK)
    ]
    count = np.concatenate([block_count for block_count, _ in blocks])
    return Reach(
        first=np.concatenate([[0], np.cumsum(count)[:-1]]).astype(np.int64),
        count=count,
        merchants=np.concatenate([found for _, found in blocks]),
    )


def _find_block(
    customers: Customers, merchants: Merchants, radius: float, first: int
) -> tuple[Integers, Integers]:
    x, y = customers.x[first : first + _CUSTOMER_BLOCK], customers.y[first : first + _CUSTOMER_BLOCK]
    owner, merchant = _pair_neighbours(x, y, merchants, radius)
    near = (x[owner] - merchants.x[merchant]) ** 2 + (y[owner] - merchants.y[merchant]) ** 2 <= radius**2
    owner, merchant = owner[near], merchant[near]
    lonely = np.flatnonzero(np.bincount(owner, minlength=x.size) == 0)
    nearest = _find_nearest(x[lonely], y[lonely], merchants)
    owner, merchant = np.concatenate([owner, lonely]), np.concatenate([merchant, nearest])
    order = np.lexsort((merchant, owner))
    return np.bincount(owner, minlength=x.size).astype(np.int64), merchant[order]


def _pair_neighbours(x: Floats, y: Floats, merchants: Merchants, radius: float) -> tuple[Integers, Integers]:
    """Pair each customer with the merchants in its cell and the eight around it (cells are `radius` wide)."""
    cells = int(_SIDE // radius) + 1
    merchant_cell = (merchants.x // radius).astype(np.int64) * cells + (merchants.y // radius).astype(
        np.int64
    )
    by_cell = np.argsort(merchant_cell, kind="stable")
    cell_start = np.searchsorted(merchant_cell[by_cell], np.arange(cells * cells + 1))
    owners, found = [], []
    for step_x in (-1, 0, 1):
        for step_y in (-1, 0, 1):
            cell_x = (x // radius).astype(np.int64) + step_x
            cell_y = (y // radius).astype(np.int64) + step_y
            inside = np.flatnonzero((cell_x >= 0) & (cell_x < cells) & (cell_y >= 0) & (cell_y < cells))
            cell = cell_x[inside] * cells + cell_y[inside]
            size = cell_start[cell + 1] - cell_start[cell]
            before = np.cumsum(size) - size
            position = np.arange(size.sum()) + np.repeat(cell_start[cell] - before, size)
            owners.append(np.repeat(inside, size))
            found.append(by_cell[position])
    return np.concatenate(owners), np.concatenate(found)


def _find_nearest(x: Floats, y: Floats, merchants: Merchants) -> Integers:
    nearest = [
        np.argmin((merchants.x - place_x) ** 2 + (merchants.y - place_y) ** 2)
        for place_x, place_y in zip(x, y, strict=True)
    ]
    return np.asarray(nearest, dtype=np.int64)
