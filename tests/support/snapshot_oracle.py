"""Daily snapshots told the slow, obvious way: for each key and day, a loop over everything."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from typing import Any

from tests.support.limbs import deviation

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
LAG_US = 6 * HOUR_US
WINDOWS = (30, 90)
RISK_WINDOWS = (1, 7, 14, 30)
PARTS = ("night", "morning", "afternoon", "evening")
SHARE_SCALE = 1_048_576
WEIGHTS = (0.1, 10.0, 1000.0)
RISK_WEIGHT = 50.0

Row = dict[str, Any]
Table = dict[tuple[str, int], Row]


def day_of(instant_us: int) -> int:
    return instant_us // DAY_US


def counts_from(day: int) -> int:
    return (day + 1) * DAY_US + LAG_US


def whole(value: float) -> int:
    return int(Decimal(value).quantize(Decimal(1), rounding=ROUND_HALF_UP))


def double(number: float) -> float:
    """Turn a number into a double as the engine does a hugeint: its words rounded one by one, then summed."""
    if not isinstance(number, int):
        return number
    high, low = divmod(number, 2**64)
    return float(low) + float(high) * 2.0**64


def ratio(value: float, count: float) -> float | None:
    return double(value) / double(count) if count else None


def is_known_fraud(labels: Iterable[Row], day: int) -> bool:
    """Whether the last label that was said by the day's end says fraud."""
    said = [label for label in labels if day_of(label["known_us"]) <= day]
    return bool(said) and bool(max(said, key=lambda label: label["known_us"])["is_fraud"])


def is_known_genuine(labels: Iterable[Row], day: int) -> bool:
    """Whether the last label that was said by the day's end says that all was well."""
    said = [label for label in labels if day_of(label["known_us"]) <= day]
    return bool(said) and not is_known_fraud(said, day)


def verdict_since(labels: Iterable[Row], day: int) -> int | None:
    """When the verdict of `day` became known, the last time; None: nothing was said by then."""
    verdict, since = None, None
    for label in sorted(labels, key=lambda label: int(label["known_us"])):
        if day_of(label["known_us"]) > day:
            break
        if label["is_fraud"] != verdict:
            verdict, since = label["is_fraud"], int(label["known_us"])
    return since


@dataclass(frozen=True)
class Window:
    """A customer's transactions in one window, in order, and its days since the customer's first one."""

    payments: list[Row]
    observed_days: int

    @property
    def amounts(self) -> list[int]:
        """Their amounts."""
        return [payment["amount_minor"] for payment in self.payments]

    @property
    def day_squares(self) -> int:
        """Sum of the squares of the transactions of each day."""
        days = Counter(day_of(payment["event_us"]) for payment in self.payments)
        return sum(number * number for number in days.values())

    @property
    def squares_within(self) -> int:
        """Squares of the amounts that their mean leaves unexplained."""
        if not self.payments:
            return 0
        squares = sum(amount * amount for amount in self.amounts)
        return max(squares - whole(explained([sum(self.amounts)], len(self.amounts))), 0)

    @property
    def freedom(self) -> int:
        """Degrees of freedom of the amounts' variance."""
        return max(len(self.payments) - 1, 0)

    def quantile(self, numerator: int, denominator: int) -> int | None:
        """Smallest amount that a share of all does not exceed."""
        ordered = sorted(self.amounts)
        return ordered[max(math.ceil(len(ordered) * numerator / denominator), 1) - 1] if ordered else None

    @property
    def usual(self) -> list[int]:
        """Amounts of at most 2.75 times the median."""
        median = self.quantile(1, 2)
        return [] if median is None else [amount for amount in self.amounts if 4 * amount <= 11 * median]

    def hits(self) -> list[int]:
        """Count the transactions by part of the day."""
        parts = Counter(int(payment["event_us"]) % DAY_US // (6 * HOUR_US) for payment in self.payments)
        return [parts[number] for number in range(4)]

    @property
    def weekend(self) -> int:
        """How many were at a weekend."""
        # 1970-01-01 was a Thursday.
        return sum(day_of(payment["event_us"]) % 7 in (2, 3) for payment in self.payments)

    def counts(self, column: str) -> list[int]:
        """Count the transactions by what a column says, where it says something."""
        return sorted(Counter(payment[column] for payment in self.payments if payment[column]).values())


def explained(sums: Sequence[int], count: int) -> float:
    total = 0.0
    for number in sums:
        total += double(number) * double(number)
    return total / double(count)


def prior_weight(groups: Sequence[tuple[list[int], int, int]], scale: int) -> float:
    """Prior weight from each customer's sums, count and sum of squares (Bühlmann and Straub)."""
    smallest, default, largest = WEIGHTS
    groups = [group for group in groups if group[1]]
    customers, count = len(groups), sum(number for _, number, _ in groups)
    if customers < 2 or count <= customers:
        return default
    own = [whole(explained(sums, number) * scale) for sums, number, _ in groups]
    within = sum(max(squares - mine, 0) for mine, (_, _, squares) in zip(own, groups, strict=True))
    totals = [sum(column) for column in zip(*(sums for sums, _, _ in groups), strict=True)]
    overall = explained(totals, count) * scale
    variance_within = double(within) / double(count - customers)
    between = double(sum(own)) - overall - double(customers - 1) * variance_within
    spread = double(count) - double(sum(number * number for _, number, _ in groups)) / double(count)
    if between <= 0:
        return largest
    return min(max(variance_within * spread / between, smallest), largest)


def variance_prior_weight(windows: Sequence[Window], pooled: float | None) -> float:
    """Prior weight of the pooled variance: that of normal observations has the error 2 v^2 / freedom."""
    smallest, default, largest = WEIGHTS
    if not pooled:
        return default
    total = 0
    for window in windows:
        if window.freedom:
            freedom = double(window.freedom)
            multiple = double(window.squares_within) / (freedom * pooled)
            total += whole(multiple * multiple * freedom * freedom / (freedom + 2) * SHARE_SCALE)
    mean_square = double(total) / double(sum(window.freedom for window in windows) * SHARE_SCALE)
    if mean_square <= 1:
        return largest
    return min(max(2 * mean_square / (mean_square - 1), smallest), largest)


@dataclass(frozen=True)
class Population:
    """What is usual among the customers of one day, in one window."""

    per_day: float | None
    per_day_weight: float
    mean: float | None
    mean_weight: float
    variance: float | None
    variance_weight: float
    robust_mean: float | None
    amount_weight: float
    shares: list[float | None]
    part_weight: float
    weekend_share: float | None
    weekend_weight: float

    @classmethod
    def of(cls, windows: Sequence[Window]) -> Population:
        """Sum up the customers' windows."""
        usual = [window.usual for window in windows]
        counts = [len(window.payments) for window in windows]
        hits = [window.hits() for window in windows]
        weekends = [window.weekend for window in windows]
        squares = [sum(amount * amount for amount in amounts) for amounts in usual]
        variance = ratio(
            sum(window.squares_within for window in windows), sum(window.freedom for window in windows)
        )
        return cls(
            per_day=ratio(sum(counts), sum(window.observed_days for window in windows)),
            per_day_weight=prior_weight(
                [
                    ([len(window.payments)], window.observed_days, window.day_squares * SHARE_SCALE)
                    for window in windows
                ],
                SHARE_SCALE,
            ),
            mean=ratio(sum(sum(window.amounts) for window in windows), sum(counts)),
            mean_weight=prior_weight(
                [
                    ([sum(window.amounts)], len(window.amounts), sum(amount**2 for amount in window.amounts))
                    for window in windows
                ],
                1,
            ),
            variance=variance,
            variance_weight=variance_prior_weight(windows, variance),
            robust_mean=ratio(sum(map(sum, usual)), sum(map(len, usual))),
            amount_weight=prior_weight(
                [
                    ([sum(amounts)], len(amounts), square)
                    for amounts, square in zip(usual, squares, strict=True)
                ],
                1,
            ),
            shares=[ratio(sum(column), sum(counts)) for column in zip(*hits, strict=True)],
            part_weight=prior_weight(
                [(hit, count, count * SHARE_SCALE) for hit, count in zip(hits, counts, strict=True)],
                SHARE_SCALE,
            ),
            weekend_share=ratio(sum(weekends), sum(counts)),
            weekend_weight=prior_weight(
                [
                    ([weekend, count - weekend], count, count * SHARE_SCALE)
                    for weekend, count in zip(weekends, counts, strict=True)
                ],
                SHARE_SCALE,
            ),
        )


def shrunk(total: float, count: int, mean: float | None, weight: float) -> float | None:
    return None if mean is None else (double(total) + weight * mean) / (double(count) + weight)


class Oracle:
    """All snapshots of some transactions and labels."""

    def __init__(self, transactions: Sequence[Row], labels: Sequence[Row]) -> None:
        self.transactions = sorted(transactions, key=lambda row: (row["event_us"], row["transaction_id"]))
        self.labels: dict[str, list[Row]] = {row["transaction_id"]: [] for row in transactions}
        for label in labels:
            self.labels[label["transaction_id"]].append(label)
        days = [day_of(row["event_us"]) for row in transactions]
        self.days = range(min(days), max(days) + 1)

    def profiles(self) -> Table:
        """Rows of ``feat_customer_profile``."""
        found = {}
        customers = sorted({row["customer_id"] for row in self.transactions} - {None})
        for day in self.days:
            present = [name for name in customers if self._past(name, day, 91)]
            windows = {
                (name, days): Window(
                    self._past(name, day, days), min(days, day - day_of(self._first_us(name)) + 1)
                )
                for name in present
                for days in WINDOWS
            }
            population = {days: Population.of([windows[name, days] for name in present]) for days in WINDOWS}
            for name in present:
                found[name, counts_from(day)] = self._profile(
                    name, day, {days: windows[name, days] for days in WINDOWS}, population
                )
        return found

    def _first_us(self, customer: str) -> int:
        return min(row["event_us"] for row in self.transactions if row["customer_id"] == customer)

    def _past(self, customer: str, day: int, days: int) -> list[Row]:
        return [
            row
            for row in self.transactions
            if row["customer_id"] == customer and day - days < day_of(row["event_us"]) <= day
        ]

    def _profile(
        self, name: str, day: int, windows: dict[int, Window], population: dict[int, Population]
    ) -> Row:
        past = self._past(name, day, day + 1)
        end_us = (day + 1) * DAY_US
        row: Row = {
            "profile_tenure_days": (end_us - past[0]["event_us"]) / DAY_US,
            "profile_recency_days": (end_us - past[-1]["event_us"]) / DAY_US,
        }
        for days, window in windows.items():
            values = {
                **self._amounts(window, population[days]),
                **self._habits(window, population[days]),
                "active_days": len({day_of(payment["event_us"]) for payment in window.payments}),
                "transactions_per_day": len(window.payments) / days,
                "transactions_per_day_weight": window.observed_days
                / (window.observed_days + population[days].per_day_weight),
                "fraud_count": self._frauds(past, day, days),
            }
            row |= {f"profile_{key}_{days}d": value for key, value in values.items()}
            row[f"profile_shrunk_transactions_per_day_{days}d"] = shrunk(
                len(window.payments),
                window.observed_days,
                population[days].per_day,
                population[days].per_day_weight,
            )
        return row

    @staticmethod
    def _amounts(window: Window, population: Population) -> Row:
        amounts, usual = window.amounts, window.usual
        weight = population.amount_weight
        variance = shrunk(
            window.squares_within, window.freedom, population.variance, population.variance_weight
        )
        stddev = deviation(amounts) if amounts else None
        return {
            "transaction_count": len(amounts),
            "amount_mean": ratio(sum(amounts), len(amounts)),
            "amount_shrunk_mean": shrunk(sum(amounts), len(amounts), population.mean, population.mean_weight),
            "amount_mean_weight": len(amounts) / (len(amounts) + population.mean_weight),
            "amount_robust_mean": shrunk(sum(usual), len(usual), population.robust_mean, weight),
            "amount_weight": len(usual) / (len(usual) + weight),
            "amount_stddev": stddev,
            "amount_shrunk_stddev": None if variance is None else math.sqrt(variance),
            "amount_stddev_weight": window.freedom / (window.freedom + population.variance_weight),
            "amount_median": window.quantile(1, 2),
            "amount_p95": window.quantile(19, 20),
            "amount_max": max(amounts, default=None),
        }

    @staticmethod
    def _habits(window: Window, population: Population) -> Row:
        count = len(window.payments)
        times = [int(payment["event_us"]) for payment in window.payments]
        merchants, categories = window.counts("merchant_id"), window.counts("category")
        row: Row = {
            f"{part}_share": shrunk(hits, count, share, population.part_weight)
            for part, hits, share in zip(PARTS, window.hits(), population.shares, strict=True)
        }
        total = sum(categories)
        return row | {
            "part_of_day_weight": count / (count + population.part_weight),
            "weekend_share": shrunk(
                window.weekend, count, population.weekend_share, population.weekend_weight
            ),
            "weekend_weight": count / (count + population.weekend_weight),
            "gap_seconds_mean": (times[-1] - times[0]) / (count - 1) / 1_000_000 if count > 1 else None,
            "gap_seconds_max": max((after - before for before, after in pairwise(times)), default=0)
            / 1_000_000
            if count > 1
            else None,
            "merchant_distinct": len(merchants),
            "top_merchant_share": ratio(max(merchants, default=0), sum(merchants)),
            "category_entropy": -sum(number / total * math.log(number / total) for number in categories)
            if categories
            else None,
        }

    def _known_frauds(self, rows: Iterable[Row], day: int) -> list[Row]:
        return [row for row in rows if is_known_fraud(self.labels[row["transaction_id"]], day)]

    def _frauds(self, rows: Iterable[Row], day: int, days: int) -> int:
        known = self._known_frauds(rows, day)
        return self._verdicts(known, day, days)

    def _verdicts(self, rows: Iterable[Row], day: int, days: int) -> int:
        """Count the rows whose verdict of `day` became known in the last days."""
        since = [verdict_since(self.labels[row["transaction_id"]], day) for row in rows]
        return sum(known_us is not None and day_of(known_us) > day - days for known_us in since)

    def risk(self, column: str, prefix: str) -> Table:
        """Rows of ``feat_category_risk``, and those columns of ``feat_merchant_risk``."""
        found = {}
        keys = sorted({row[column] for row in self.transactions} - {None})
        for day in self.days:
            counts = {}
            for key in keys:
                rows = [row for row in self.transactions if row[column] == key]
                said = [label for row in rows for label in self.labels[row["transaction_id"]]]
                if any(day - 31 < day_of(label["known_us"]) <= day for label in said):
                    counts[key] = {days: self._labels(rows, day, days) for days in RISK_WINDOWS}
            for key, own in counts.items():
                row: Row = {}
                for days, (labels, frauds) in own.items():
                    overall = ratio(
                        sum(each[days][1] for each in counts.values()),
                        sum(each[days][0] for each in counts.values()),
                    )
                    row[f"{prefix}_label_count_{days}d"] = labels
                    row[f"{prefix}_fraud_count_{days}d"] = frauds
                    row[f"{prefix}_fraud_rate_{days}d"] = shrunk(frauds, labels, overall, RISK_WEIGHT)
                found[key, counts_from(day)] = row
        return found

    def _labels(self, rows: Sequence[Row], day: int, days: int) -> tuple[int, int]:
        return self._verdicts(rows, day, days), self._frauds(rows, day, days)

    def merchant_risk(self, profiles: Table) -> Table:
        """Rows of ``feat_merchant_risk``."""
        found = self.risk("merchant_id", "merchant_risk")
        for (merchant, timestamp), row in found.items():
            day = day_of(timestamp) - 1
            rows = [each for each in self.transactions if each["merchant_id"] == merchant]
            unexplained = [each for each in rows if not self._is_explained(each, profiles)]
            for days in RISK_WINDOWS:
                row[f"merchant_risk_unexplained_count_{days}d"] = self._frauds(unexplained, day, days)
            row |= self._latest_run(rows, day) | self._streak(rows, day)
        return found

    @staticmethod
    def _is_explained(fraud: Row, profiles: Table) -> bool:
        event_us = fraud["event_us"]
        earlier = [
            timestamp
            for customer, timestamp in profiles
            if customer == fraud["customer_id"] and event_us - 7 * DAY_US <= timestamp <= event_us
        ]
        if not earlier:
            return False
        profile, amount = profiles[fraud["customer_id"], max(earlier)], fraud["amount_minor"]
        mean, p95 = profile["profile_amount_robust_mean_90d"], profile["profile_amount_p95_90d"]
        return (mean is not None and 4 * amount > 11 * mean) or (p95 is not None and amount > p95)

    def _latest_run(self, rows: Iterable[Row], day: int) -> Row:
        frauds = [row for row in self._known_frauds(rows, day) if day_of(row["event_us"]) > day - 90]
        run: list[int] = []
        for fraud in frauds:
            if run and fraud["event_us"] - run[-1] > 14 * DAY_US:
                run = []
            run.append(fraud["event_us"])
        return {
            "merchant_risk_run_fraud_count": len(run) or None,
            "merchant_risk_run_age_days": ((day + 1) * DAY_US - run[0]) / DAY_US if run else None,
            "merchant_risk_run_length_days": (run[-1] - run[0]) / DAY_US if run else None,
        }

    def _streak(self, rows: Iterable[Row], day: int) -> Row:
        recent = [row for row in rows if day_of(row["event_us"]) > day - 90]
        frauds = [row["event_us"] for row in self._known_frauds(recent, day)]
        genuine = [
            row["event_us"] for row in recent if is_known_genuine(self.labels[row["transaction_id"]], day)
        ]
        last = max(genuine, default=None)
        streak = [event_us for event_us in frauds if last is None or event_us > last]
        return {
            "merchant_risk_streak_fraud_count": len(streak) if frauds else None,
            "merchant_risk_streak_age_days": ((day + 1) * DAY_US - streak[0]) / DAY_US if streak else None,
            "merchant_risk_genuine_age_days": ((day + 1) * DAY_US - last) / DAY_US
            if frauds and last is not None
            else None,
        }
