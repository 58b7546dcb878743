"""Commands that bring payments in and make features of them."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Table

from cbp.terminal import console, progress_bar, stage_bar, time_option, watching
from warehouse.settings import Settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--customers", default=5_000, show_default=True, help="Number of customers.")
@click.option("--merchants", default=10_000, show_default=True, help="Number of merchants.")
@click.option("--days", default=183, show_default=True, help="Number of days.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same bytes.")
@click.option("--dirt", default=0.0, show_default=True, help="Share of payments that get dirt, 0 to 1.")
def simulate(file: Path, customers: int, merchants: int, days: int, seed: int, dirt: float) -> None:
    """Simulate payments with frauds into FILE (.parquet, .csv, .ndjson; text also .gz or .zst).

    Example: cbp simulate payments.parquet --customers 1000 --days 60 --dirt 0.01
    """
    from warehouse.simulation.simulate import simulate as run

    with watching.status("simulating"):
        result = run(file, customers=customers, merchants=merchants, days=days, seed=seed, dirt=dirt)
    share = result.frauds / max(result.payments, 1)
    console.print(f"{result.path}: {result.rows:,} rows, {result.frauds:,} frauds ({share:.2%} of payments)")
    for kind, count in result.dirt.items():
        console.print(f"  {kind}: {count:,}")


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--mapping", help="A preset's name or a YAML file; by default recognised from the columns.")
@click.pass_obj
def ingest(settings: Settings, files: tuple[Path, ...], mapping: str | None) -> None:
    """Land raw FILES (CSV, NDJSON, JSON, Parquet; plain, .gz or .zst).

    Example: cbp ingest payments.parquet more.csv.gz --mapping canonical
    """
    from warehouse.ingest.ingest import ingest as run
    from warehouse.live.landing_of_scored import NOTHING_LANDED

    with watching.status("ingesting"):
        report = run(settings, files, mapping=mapping)
    table = Table("file", "accepted", "duplicates", "quarantined", "batch")
    for file in report.files:
        batch = f"{file.batch} (already landed)" if file.already_landed else str(file.batch or "")
        table.add_row(file.file, f"{file.accepted:,}", f"{file.duplicates:,}", f"{file.quarantined:,}", batch)
    if report.scored != NOTHING_LANDED:
        console.print(
            f"landed {report.scored.events:,} scored transactions and {report.scored.labels:,} labels first"
        )
    if report.files:
        console.print(table)
    for file in report.files:
        if file.repeated:
            console.print(f"{file.file}: {file.repeated:,} rows say what an earlier one says; all were kept")
    report.raise_on_failure()


@click.command()
@time_option("--as-of", "Build as if it were this instant")
@click.option("--full-refresh", is_flag=True, help="Rebuild incremental models from nothing.")
@click.pass_obj
def build(settings: Settings, as_of_us: int | None, full_refresh: bool) -> None:
    """Land what was scored, run dbt with its tests, compile the live SQL, publish the warehouse.

    Example: cbp build
    """
    from warehouse.build.build import build as run

    with stage_bar("building") as update:
        result = run(
            settings,
            as_of_us=as_of_us,
            full_refresh=full_refresh,
            progress=update,
        )
    table = Table("published table", "rows")
    for name, rows in result.published.items():
        table.add_row(name, f"{rows:,}")
    console.print(table)
    if not result.is_new:
        console.print(
            f"nothing has changed since the last build: its {result.nodes} models and tests passed; "
            "to build anew: cbp build --full-refresh"
        )
        return
    console.print(
        f"{result.nodes} models and tests passed; landed {result.landed.events:,} scored transactions "
        f"and {result.landed.labels:,} labels"
    )


@click.command()
@time_option("--until", "Load the rows that count by this instant, newer ones stay; by default now")
@click.pass_obj
def materialize(settings: Settings, until_us: int | None) -> None:
    """Register the features, load profiles into the online store and history into the live store.

    Example: cbp materialize
    """
    from feature_repo import feast_store
    from warehouse.live.backfill import backfill_live_windows
    from warehouse.times import now_us

    until_us = now_us() if until_us is None else until_us
    with progress_bar("materializing") as update:
        feast_store.apply(settings)
        counts = feast_store.materialize(
            settings, until_us=until_us, progress=lambda view, rows: update(advance=rows, what=view)
        )
    with progress_bar("loading live history") as update:
        loaded = backfill_live_windows(settings, now_us=now_us(), progress=update)
    for view, rows in counts.items():
        console.print(f"{view}: {rows:,} rows online")
    console.print(f"live store: {loaded:,} transactions added")


COMMANDS = (simulate, ingest, build, materialize)
