"""The declared velocity features in pandas, Polars and Spark SQL: payments in, features out, both as Parquet.

``python -m bench.velocity_peers PEER PAYMENTS FEATURES DECLARED`` prints the seconds from the first
byte read to the last one written: the start of the interpreter and of the JVM, and compiling, are apart, as
dbt's own start is.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from warehouse.velocity.declarations import LiveFeature

OPERATIONS = ("count", "sum", "mean", "max", "stddev", "distinct", "since_last")


def by_keys(features: Sequence[LiveFeature]) -> Mapping[tuple[str, ...], Mapping[int, Sequence[LiveFeature]]]:
    """Group features by their keys, then by the length of their window."""
    grouped: dict[tuple[str, ...], dict[int, list[LiveFeature]]] = {}
    for feature in features:
        grouped.setdefault(feature.keys, {}).setdefault(feature.window_us, []).append(feature)
    return grouped


def texts_of(features: Sequence[LiveFeature]) -> Sequence[str]:
    """Columns of text: keys, and what is told apart."""
    told_apart = {feature.column for feature in features if feature.operation == "distinct"}
    return sorted(told_apart | {key for feature in features for key in feature.keys})


def in_polars(payments: str, written: str, features: Sequence[LiveFeature]) -> None:
    """Compute by `DataFrame.rolling`, once for each entity and window."""
    import polars as pl

    def aggregate(feature: LiveFeature) -> pl.Expr:
        column = pl.col(feature.column)
        expressions: dict[str, Callable[[], pl.Expr]] = {
            "count": lambda: pl.len().cast(pl.Int64),
            "sum": lambda: pl.when(pl.len() > 0).then(column.sum()),
            "mean": column.mean,
            "max": column.max,
            "stddev": lambda: column.std(ddof=0),
            "distinct": lambda: (column.drop_nulls() if feature.column in gaps else column).n_unique(),
            "since_last": lambda: pl.col("event_us").max(),
        }
        return expressions[feature.operation]().alias(feature.name)

    texts = sorted({key for feature in features for key in feature.keys})
    rows = (
        pl.read_parquet(payments)
        .with_columns(pl.col(texts).cast(pl.Categorical).to_physical())
        .with_row_index("row")
    )
    gaps = {name for name in texts if rows[name].null_count()}
    found = []
    for keys, windows in by_keys(features).items():
        ordered = rows.sort(*keys, "event_us")
        parts = [ordered.select("row")]
        for window_us, wanted in windows.items():
            rolled = ordered.rolling("event_us", period=f"{window_us}i", group_by=keys, closed="left").agg(
                aggregate(feature) for feature in wanted
            )
            if not rolled["event_us"].equals(ordered["event_us"]):
                raise RuntimeError("expected the rows in the order of their keys and times")
            times = [feature.name for feature in wanted if feature.operation == "since_last"]
            rolled = rolled.with_columns(
                ((pl.col("event_us") - pl.col(name)) / 1e6).alias(name) for name in times
            )
            parts.append(rolled.select(feature.name for feature in wanted))
        found.append(pl.concat(parts, how="horizontal").sort("row").drop("row"))
    pl.concat([rows.select("transaction_id"), *found], how="horizontal").write_parquet(written)


def in_pandas(payments: str, written: str, features: Sequence[LiveFeature]) -> None:
    """Compute by `groupby().rolling()`; distinct counts by a compiled function, its fastest."""
    import pandas as pd
    from numba import njit

    @njit(cache=True)
    def different(values: Any) -> int:
        ordered = np.sort(values[~np.isnan(values)])
        changes: int = np.sum(ordered[1:] != ordered[:-1])
        return (1 if len(ordered) else 0) + changes

    def rolled(grouped: Any, feature: LiveFeature) -> Any:
        def window(least: int = 1) -> Any:
            length = pd.Timedelta(feature.window_us, unit="us")
            return grouped.rolling(length, on="time", closed="left", min_periods=least)

        return {
            "count": lambda: window(0)["amount_minor"].count(),
            "sum": lambda: window()[feature.column].sum(),
            "mean": lambda: window()[feature.column].mean(),
            "max": lambda: window()[feature.column].max(),
            "stddev": lambda: window()[feature.column].std(ddof=0),
            "distinct": lambda: window()[feature.column].apply(different, raw=True, engine="numba").fillna(0),
            "since_last": lambda: window()["event_us"].max(),
        }[feature.operation]()

    rows = pd.read_parquet(payments)
    rows["time"] = pd.to_datetime(rows["event_us"], unit="us")
    for text in texts_of(features):
        codes = pd.Series(pd.factorize(rows[text])[0], index=rows.index)
        rows[text] = codes.where(codes >= 0) if (codes < 0).any() else codes
    found = {"transaction_id": rows["transaction_id"]}
    for keys, windows in by_keys(features).items():
        group = rows.groupby(list(keys), sort=False).ngroup()
        ordered = rows.assign(group=group).sort_values(["group", "event_us"])
        grouped = ordered.groupby("group", sort=False)
        for feature in (feature for wanted in windows.values() for feature in wanted):
            values = pd.Series(rolled(grouped, feature).to_numpy(), index=ordered.index)
            found[feature.name] = (
                (rows["event_us"] - values) / 1e6 if feature.operation == "since_last" else values
            )
    pd.DataFrame(found).to_parquet(written)


def in_spark(payments: str, written: str, features: Sequence[LiveFeature], session: Any) -> None:
    """Compute by window functions of Spark SQL, which counts distinct values by the size of a set."""
    texts = {
        "count": "count(*) over {w}",
        "sum": "sum({c}) over {w}",
        "mean": "avg({c}) over {w}",
        "max": "max({c}) over {w}",
        "stddev": "stddev_pop({c}) over {w}",
        "distinct": "size(collect_set({c}) over {w})",
        "since_last": "(event_us - max({c}) over {w}) / 1e6",
    }
    session.read.parquet(payments).createOrReplaceTempView("payments")
    names, columns = {}, []
    for feature in features:
        over = f"{'_'.join(feature.keys)}_{feature.window_us}"
        names[over] = (
            f"(partition by {', '.join(feature.keys)} order by event_us"
            f" range between {feature.window_us} preceding and 1 preceding)"
        )
        columns.append(texts[feature.operation].format(c=feature.column, w=over) + f" as {feature.name}")
    windows = ", ".join(f"{name} as {text}" for name, text in names.items())
    query = f"select transaction_id, {', '.join(columns)} from payments window {windows}"  # noqa: S608 - declared names
    session.sql(query).write.mode("overwrite").parquet(written)


def _open_spark() -> Any:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[*]").config("spark.driver.memory", "6g")
    settings = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "8", "spark.log.level": "ERROR"}
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.range(10).count()
    return session


def main(peer: str, payments: str, written: str, declared: str) -> None:
    """Compute the declared features by a peer and print the seconds."""
    features = [LiveFeature(**(values | {"keys": tuple(values["keys"])})) for values in json.loads(declared)]
    compute: Callable[[str, str, Sequence[LiveFeature]], None]
    if peer == "Spark SQL":
        compute = partial(in_spark, session=_open_spark())
    else:
        compute = {"pandas": in_pandas, "Polars": in_polars}[peer]
    few = f"{payments}.few"
    pq.write_table(pq.read_table(payments).slice(0, 1_000), few)
    compute(few, f"{written}.few", features)  # compiles what is to be compiled
    started = time.perf_counter()
    compute(payments, written, features)
    print(json.dumps(time.perf_counter() - started))  # noqa: T201 - what the benchmark reads


if __name__ == "__main__":
    main(*sys.argv[1:])
