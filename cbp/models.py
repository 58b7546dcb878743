"""Commands that train and publish models."""

from __future__ import annotations

import click
from rich.table import Table

from cbp.terminal import console, figure, progress_bar, time_option
from warehouse.settings import Settings


@click.command()
@click.option("--protocol", help="How time is split: handbook or latest; by default as the mapping says.")
@time_option("--as-of", "Only labels known by this instant train; by default the last transaction's time")
@click.option("--seed", default=0, show_default=True, help="Same seed, same hashes.")
@click.option("--promote/--no-promote", default=True, show_default=True, help="Serve the new model at once.")
@click.pass_obj
def train(settings: Settings, protocol: str | None, as_of_us: int | None, seed: int, promote: bool) -> None:
    """Train the hybrid model, evaluate it, and publish it as a bundle.

    Example: cbp train --as-of 2018-08-01
    """
    from ml import bundles
    from ml.training import train as run

    with progress_bar("training") as update:
        result = run(
            settings,
            protocol=protocol,
            as_of_us=as_of_us,
            seed=seed,
            progress=lambda what, done, total: update(done, total, what),
        )
    table = Table("", "rows", "frauds")
    table.add_row("train", f"{result.train_rows:,}", f"{result.train_frauds:,}")
    table.add_row("test", f"{result.test_rows:,}", f"{result.test_frauds:,}")
    console.print(table)
    console.print(
        f"on the test days: AUC ROC {result.evaluation.auc_roc:.3f}, "
        f"average precision {result.evaluation.average_precision:.3f}, "
        f"CP@100 {figure(result.evaluation.card_precision_at_100)}"
    )
    if promote:
        bundles.promote(settings, result.bundle_dir)
    console.print(f"bundle {result.bundle_dir}{' (promoted)' if promote else ''}")


COMMANDS = (train,)
