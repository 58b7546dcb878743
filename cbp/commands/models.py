"""Commands that train, compare, publish and promote models."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click
from rich.table import Column, Table

from cbp.terminal import console, figure, instant, stage_bar, time_option
from warehouse.settings import Settings

_Command = Callable[..., Any]
_MODEL_HELP = "Name of a model of the suite, or all."


def _training_options(command: _Command) -> _Command:
    for option in (
        click.option("--seed", default=0, show_default=True, help="Same seed, same hashes."),
        time_option(
            "--as-of",
            "Only labels known by this instant exist; by default the last transaction's time, or no limit",
        ),
        click.option(
            "--history-days", type=click.IntRange(1), help="Days that train, instead of the protocol's."
        ),
        click.option(
            "--protocol", help="How time is split: handbook, latest or ulb; by default the mapping's."
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.option("--model", default="hybrid", show_default=True, help=_MODEL_HELP)
@_training_options
@click.option(
    "--search", "trials", default=0, show_default=True, help="Settings to try on folds of the past."
)
@click.option("--promote/--no-promote", default=True, show_default=True, help="Serve the new model at once.")
@click.pass_obj
def train(
    settings: Settings,
    model: str,
    protocol: str | None,
    history_days: int | None,
    as_of_us: int | None,
    seed: int,
    trials: int,
    promote: bool,
) -> None:
    """Train a model, evaluate it, and publish it as a bundle; of all models the hybrid is promoted.

    Example: cbp train --model lightgbm --search 20
    """
    from ml.bundles.store import promote_bundle
    from ml.training.suite import DEFAULT_MODEL, names_of
    from ml.training.train import train_models

    with stage_bar("training") as update:
        results = train_models(
            settings,
            names_of(model),
            protocol=protocol,
            history_days=history_days,
            as_of_us=as_of_us,
            seed=seed,
            trials=trials,
            progress=update,
        )
    name, state = Column("bundle", no_wrap=True), Column("", no_wrap=True)
    table = Table(name, "AUC ROC", "average precision", "CP@100", state)
    for result in results:
        chosen = promote and (len(results) == 1 or result.model == DEFAULT_MODEL)
        if chosen:
            promote_bundle(settings, result.bundle_dir)
        table.add_row(
            f"{result.model}/{result.bundle_dir.name}",
            f"{result.evaluation.auc_roc:.3f}",
            f"{result.evaluation.average_precision:.3f}",
            figure(result.evaluation.card_precision_at_100),
            "promoted" if chosen else "",
        )
    split = results[0]
    console.print(f"train: {split.train_rows:,} rows, {split.train_frauds:,} frauds")
    console.print(f"test: {split.test_rows:,} rows, {split.test_frauds:,} frauds")
    console.print(table)


@click.command("benchmark-models")
@click.option("--model", "models", multiple=True, help="Repeat for several; by default all.")
@_training_options
@click.pass_obj
def benchmark_models(
    settings: Settings,
    models: tuple[str, ...],
    protocol: str | None,
    history_days: int | None,
    as_of_us: int | None,
    seed: int,
) -> None:
    """Train models on the same rows and rank them: a table, a picture and JSON; nothing is promoted.

    Example: cbp benchmark-models --model lightgbm --model random_forest
    """
    from ml.studies.leaderboard import measure_standings, write_leaderboard
    from ml.training.suite import ALL_MODELS, names_of
    from ml.training.train import train_models

    with stage_bar("benchmarking") as update:
        results = train_models(
            settings,
            models or names_of(ALL_MODELS),
            protocol=protocol,
            history_days=history_days,
            as_of_us=as_of_us,
            seed=seed,
            progress=update,
        )
    standings = measure_standings(results)
    table = Table("model", "average precision", "AUC ROC", "CP@100", "fit s", "one row µs", "rows/s", "MB")
    for standing in standings:
        table.add_row(
            standing.model,
            f"{standing.average_precision:.3f}",
            f"{standing.auc_roc:.3f}",
            figure(standing.card_precision_at_100),
            f"{standing.fit_seconds:.1f}",
            f"{standing.row_microseconds:.0f}",
            f"{standing.rows_a_second:,.0f}",
            f"{standing.bundle_bytes / 1e6:.1f}",
        )
    console.print(table)
    for path in write_leaderboard(settings, standings, results):
        console.print(f"written {path}")


@click.group("models")
def models_group() -> None:
    """List, show, check, promote and roll back bundles."""


@models_group.command("list")
@click.pass_obj
def list_models(settings: Settings) -> None:
    """List every bundle, each checked byte by byte.

    Example: cbp models list
    """
    from ml.bundles.listing import list_bundles

    entries = list_bundles(settings)
    name, state = Column("bundle", no_wrap=True), Column("", no_wrap=True)
    table = Table(name, "trained until", "AUC ROC", "average precision", "hash", state)
    for entry in entries:
        if entry.bundle is None:
            table.add_row(entry.reference, "", "", "", "", "[red]refused[/]")
            continue
        manifest = entry.bundle.manifest
        table.add_row(
            entry.reference,
            instant(manifest.training.train_end_us),
            figure(manifest.metrics.get("auc_roc")),
            figure(manifest.metrics.get("average_precision")),
            entry.bundle.sha256[:12],
            "promoted" if entry.is_promoted else "",
        )
    console.print(table)
    for entry in entries:
        if entry.problem is not None:
            console.print(f"[red]{entry.reference}[/]: {entry.problem}", highlight=False, soft_wrap=True)


@models_group.command()
@click.argument("reference", required=False)
@click.pass_obj
def show(settings: Settings, reference: str | None) -> None:
    """Show what a bundle says of itself, as JSON; by default the promoted one.

    Example: cbp models show hybrid
    """
    from ml.bundles.listing import describe, find_bundle
    from ml.bundles.store import verify_bundle

    bundle = verify_bundle(find_bundle(settings, reference))
    click.echo(json.dumps(describe(bundle), indent=2))


@models_group.command()
@click.argument("reference")
@click.pass_obj
def promote(settings: Settings, reference: str) -> None:
    """Serve a bundle, by one rename, after loading it once: name/version, or a name for its newest.

    Example: cbp models promote hybrid/2018-08-14-0a1b2c
    """
    from ml.bundles.listing import find_bundle
    from ml.bundles.store import promote_bundle
    from ml.scoring.scorer import Scorer

    path = find_bundle(settings, reference)
    Scorer.load(path)
    promotion = promote_bundle(settings, path)
    console.print(f"promoted {path} ({promotion.sha256[:12]})")


@models_group.command()
@click.pass_obj
def rollback(settings: Settings) -> None:
    """Serve the bundle again that was promoted before the present one.

    Example: cbp models rollback
    """
    from ml.bundles.store import roll_back

    promotion = roll_back(settings)
    console.print(f"promoted {promotion.path} ({promotion.sha256[:12]})")


@models_group.command()
@click.argument("reference", required=False)
@click.pass_obj
def verify(settings: Settings, reference: str | None) -> None:
    """Check every byte of a bundle and score its sample; by default the promoted one.

    Example: cbp models verify ensemble
    """
    from ml.bundles.listing import find_bundle
    from ml.scoring.scorer import Scorer

    scorer = Scorer.load(find_bundle(settings, reference))
    console.print(f"verified {scorer.bundle.name}/{scorer.bundle.version} ({scorer.bundle.sha256[:12]})")


COMMANDS = (train, benchmark_models, models_group)
