"""Commands that look at models, customers and payments from outside: reports and files."""

from __future__ import annotations

from pathlib import Path

import click
from rich.table import Column, Table

from cbp.terminal import console, figure, instant, stage_bar, time_option
from warehouse.settings import Settings


@click.command()
@click.argument("reference", required=False)
@click.option("--protocol", help="How time is split; by default as the bundle was trained.")
@click.option(
    "--external-home",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Another home, built: its test rows are measured apart.",
)
@click.option("--folds", default=0, show_default=True, help="Stratified folds to refit on; 0: none.")
@click.option("--prequential", default=0, show_default=True, help="Folds over time to refit on; 0: none.")
@click.option(
    "--review-cost", default=1_000, show_default=True, help="What looking at an alert costs, minor units."
)
@click.option(
    "--raw-file",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="With --protocol handbook: the raw Parquet file, for figures by scenario and an ideal observer's.",
)
@click.option("--seed", default=0, show_default=True, help="Same seed, same figures.")
@click.pass_obj
def evaluate(
    settings: Settings,
    reference: str | None,
    protocol: str | None,
    external_home: Path | None,
    folds: int,
    prequential: int,
    review_cost: int,
    raw_file: Path | None,
    seed: int,
) -> None:
    """Evaluate a bundle (name/version or a name; by default the promoted one) on its test rows.

    With --protocol handbook and no bundle, the published protocol of the Fraud Detection Handbook is run
    whole: settings chosen on earlier folds, single split, prequential folds, detectors without labels.

    Example: cbp evaluate hybrid --folds 5 --prequential 4
    """
    if protocol == "handbook" and reference is None:
        _evaluate_handbook(settings, raw_file, seed)
        return
    from ml.studies.bundle_evaluation import evaluate_bundle

    with stage_bar("evaluating") as update:
        report = evaluate_bundle(
            settings,
            reference=reference,
            protocol=protocol,
            external_home=external_home,
            folds=folds,
            prequential=prequential,
            review_cost_minor=review_cost,
            seed=seed,
            progress=update,
        )
    intervals = report.metrics.get("intervals", {})
    table = Table("figure", "value", "95 % interval")
    for name, value in (
        ("AUC ROC", "auc_roc"),
        ("average precision", "average_precision"),
        ("CP@100", "card_precision_at_100"),
    ):
        interval = intervals.get(value)
        between = "" if interval is None else f"{interval['low']:.3f} to {interval['high']:.3f}"
        table.add_row(name, figure(getattr(report.evaluation, value)), between)
    console.print(table)
    console.print(f"{report.evaluation.rows:,} rows, {report.evaluation.frauds:,} frauds")
    console.print(f"report {report.folder / 'report.html'}")


def _evaluate_handbook(settings: Settings, raw_file: Path | None, seed: int) -> None:
    from ml.studies.handbook.protocol import evaluate_handbook

    with stage_bar("evaluating") as update:
        result = evaluate_handbook(
            settings,
            raw_file=raw_file,
            seed=seed,
            progress=update,
        )
    table = Table("handbook data (simulated)", "AUC ROC", "average precision", "CP@100")
    figures = result.figures
    lines = {"single split": figures["single"]}
    lines |= {f"fold from {fold['train_start']}": fold for fold in figures["prequential"]["folds"]}
    lines |= {
        "prequential, mean": figures["prequential"],
        "prequential, deviation": figures["prequential"]["deviation"],
    }
    for seen, detectors in figures["label_free"].items():
        found = {name: one for name, one in detectors.items() if name != "features"}
        lines |= {f"{name}, {seen.replace('_', ' ')}": one for name, one in found.items()}
    if "ceiling" in figures:
        lines["ideal observer, prequential, mean"] = figures["ceiling"]
        observed = figures["ceiling"]["label_free"]
        lines |= {f"ideal observer, {seen.replace('_', ' ')}": one for seen, one in observed.items()}
    for name, one in lines.items():
        table.add_row(
            name, *(figure(one[key]) for key in ("auc_roc", "average_precision", "card_precision_at_100"))
        )
    console.print(table)
    console.print(f"written {result.path} and {result.page}")


@click.command()
@click.option(
    "--method",
    default="kmeans",
    show_default=True,
    help="kmeans, hierarchical, dbscan or hdbscan.",
)
@click.option("-k", "k", type=int, help="Number of segments; by default chosen by silhouette.")
@click.option("--projection", default="tsne", show_default=True, help="pca, tsne or umap, for the map.")
@click.option("--assign-only", is_flag=True, help="Fit nothing: assign by the segments that are there.")
@time_option("--as-of", "Fit on the profiles that counted then, and count from then")
@click.option("--seed", default=0, show_default=True, help="Same seed, same segments.")
@click.pass_obj
def cluster(
    settings: Settings,
    method: str,
    k: int | None,
    projection: str,
    assign_only: bool,
    as_of_us: int | None,
    seed: int,
) -> None:
    """Find segments of customers, name them, and write them back: `cbp build` makes features of them.

    Example: cbp cluster --method hierarchical --projection umap
    """
    from ml.customers.segmentation import assign_customers, cluster_customers
    from warehouse.times import now_us

    with stage_bar("clustering") as update:
        if assign_only:
            result = assign_customers(settings, now_us=now_us(), progress=update)
        else:
            result = cluster_customers(
                settings,
                method=method,
                k=k,
                projection=projection,
                as_of_us=as_of_us,
                now_us=now_us(),
                seed=seed,
                progress=update,
            )
    table = Table("segment", "customers", "what sets it apart")
    for segment in result.segments:
        table.add_row(str(segment.code), f"{segment.customers:,}", segment.name)
    console.print(table)
    console.print(
        f"fitted as of {instant(result.fitted_us)}, assigned {len(result.times)} times, last "
        f"{instant(result.times[-1])}: run `cbp build` and `cbp materialize` to serve them"
    )
    if result.report_dir is not None:
        console.print(f"report {result.report_dir / 'report.html'}")


@click.command()
@click.option("--protocol", help="How time is split; by default what the newest batch's mapping says.")
@click.option("--history-days", type=int, help="How many days train; the test stays the same.")
@time_option("--as-of", "Labels known later do not exist")
@click.option(
    "--weeks",
    type=click.IntRange(1),
    help="Weeks to test on, each before the other; by default 3, and 1 where the protocol has one split.",
)
@click.option("--seeds", default=2, show_default=True, help="Fits of each variant a week.")
@click.option("--classifier", default="lightgbm", show_default=True, help="What stands behind the parts.")
@click.pass_obj
def ablate(
    settings: Settings,
    protocol: str | None,
    history_days: int | None,
    as_of_us: int | None,
    weeks: int | None,
    seeds: int,
    classifier: str,
) -> None:
    """Leave out each part of the hybrid in turn, and show with its spread what it brings.

    Example: cbp ablate --weeks 4 --seeds 3
    """
    from ml.studies.ablation import run_ablation

    with stage_bar("comparing") as update:
        result = run_ablation(
            settings,
            protocol=protocol,
            history_days=history_days,
            as_of_us=as_of_us,
            weeks=weeks,
            seeds=seeds,
            classifier=classifier,
            progress=update,
        )
    names = ("left out", "gain (deviation)", "least to most")
    left_out, gained, extent = (Column(name, no_wrap=True) for name in names)
    table = Table(left_out, "figure", "without", gained, extent)
    for gain in result.gains:
        table.add_row(
            gain.left_out,
            gain.figure.replace("_", " "),
            f"{gain.without:.3f}",
            f"{gain.gain:+.4f} ({gain.deviation:.4f})",
            f"{gain.low:+.4f} to {gain.high:+.4f}",
        )
    console.print(table)
    console.print(f"{result.gains[0].pairs} pairs of fits each: the whole hybrid, and one without the part")
    console.print(f"report {result.folder / 'report.html'}")


@click.command()
@click.option(
    "--processed-dir",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the files; made where it is not there.",
)
@click.option("--no-split", is_flag=True, help="Write no transactions_split; scale by all payments.")
@click.option(
    "--format", "file_format", default="csv", show_default=True, type=click.Choice(["csv", "parquet"])
)
@click.option(
    "--target-column", default="is_fraud", show_default=True, help='Name of the label; "" leaves it out.'
)
@click.pass_obj
def export(
    settings: Settings, processed_dir: Path, no_split: bool, file_format: str, target_column: str
) -> None:
    """Write payments model-ready, customers' profiles, and payments split by time, as files.

    Example: cbp export --processed-dir processed --format parquet
    """
    from ml.rows.export import export_files

    with stage_bar("exporting") as update:
        result = export_files(
            settings,
            processed_dir,
            split=not no_split,
            file_format=file_format,
            target_column=target_column,
            progress=update,
        )
    for path, rows in result.rows.items():
        console.print(f"{path}: {rows:,} rows", soft_wrap=True)


COMMANDS = (evaluate, cluster, ablate, export)
