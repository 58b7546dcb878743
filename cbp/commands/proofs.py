"""Commands that prove the product on its own machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.table import Table

from cbp.terminal import console, figure, stage_bar, time_option, watching
from warehouse.errors import OperationError
from warehouse.settings import Settings

if TYPE_CHECKING:
    from cbp.proof.report import ReplayReport


@click.command()
@click.option("--customers", default=1_000, show_default=True, help="Number of customers.")
@click.option("--merchants", default=2_000, show_default=True, help="Number of merchants.")
@click.option("--days", default=120, show_default=True, help="Number of days.")
@click.option("--seed", default=0, show_default=True, help="Same seed, same payments.")
@click.pass_obj
def demo(settings: Settings, customers: int, merchants: int, days: int, seed: int) -> None:
    """Run the main job end to end in a home of its own, and print a scorecard.

    Example: cbp demo --customers 500 --days 90
    """
    from cbp.proof.demo import run_demo

    result = run_demo(
        settings,
        customers=customers,
        merchants=merchants,
        days=days,
        seed=seed,
        announce=lambda stage: watching.print(f"[bold]{stage}[/] …"),
    )
    report, comparison = result.report, result.comparison
    table = Table(title="Demo (simulated payments)", show_header=False)
    table.add_row("payments simulated", f"{report['rows']:,}, {report['frauds']:,} frauds")
    table.add_row("trained on", f"{result.training.train_rows:,}, {result.training.train_frauds:,} frauds")
    table.add_row("tested on", f"{result.training.test_rows:,}, {result.training.test_frauds:,} frauds")
    table.add_row("AUC ROC", f"{report['auc_roc']:.3f}")
    table.add_row("average precision", f"{report['average_precision']:.3f}")
    table.add_row("CP@100", figure(report["card_precision_at_100"]))
    table.add_row("scored over HTTP", f"{report['scored']:,}, in event order")
    table.add_row("decisions", ", ".join(f"{count:,} {kind}" for kind, count in result.decisions.items()))
    table.add_row("frauds of that day", f"{result.caught} of {result.frauds} alerted")
    latency = report["latency_ms"]
    table.add_row("latency", f"p50 {latency['p50']} ms, p99 {latency['p99']} ms")
    table.add_row("audit log", f"{result.audit_records:,} records, unbroken and complete")
    table.add_row("values compared with dbt", f"{comparison.values:,}, {comparison.mismatched:,} mismatched")
    table.add_row("seconds", ", ".join(f"{stage} {time:g}" for stage, time in report["seconds"].items()))
    console.print(table)
    if result.example:
        example = result.example
        console.print(
            f"An alert: {example['transaction_id']}, probability {example['fraud_probability']:.3f}"
        )
        for reason in example["reasons"]:
            console.print(f"  - {reason['text']}", highlight=False)
    console.print(f"report {result.path}")
    if comparison.mismatched or comparison.missing:
        for difference in comparison.examples():
            watching.print(f"{difference}", highlight=False)
        raise OperationError("values used by decisions differ from the warehouse's: see above")


@click.command()
@time_option("--from", "What became known from then on is sent", required=True)
@time_option("--to", "Up to before this; by default to the end")
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Replayed seconds in a second; by default as fast as possible.",
)
@click.option(
    "--sample",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of the customers whose payments are scored; the others' are loaded.",
)
@click.option(
    "--seed", default=0, show_default=True, help="Of the model that is trained when no promoted one fits."
)
@click.pass_obj
def replay(
    settings: Settings, from_us: int, to_us: int | None, speed: float | None, sample: float, seed: int
) -> None:
    """Send history through the real API and compare every value with what dbt computes.

    Example: cbp replay --from 2018-08-01 --to 2018-08-08 --sample 0.1
    """
    from cbp.proof.proving import replay as run
    from cbp.proof.replay import ReplayOptions
    from cbp.proof.report import write_report

    options = ReplayOptions(from_us=from_us, to_us=to_us, speed=speed, sample=sample, seed=seed)
    with stage_bar("replay") as update:
        outcome = run(
            settings,
            options,
            announce=lambda stage: watching.print(f"[bold]{stage}[/] …"),
            progress=update,
        )
    tell_replay(write_report(settings.reports_dir, outcome, options), is_proven=outcome.is_proven)


def tell_replay(written: ReplayReport, *, is_proven: bool) -> None:
    """Print what a replay found.

    Raises
    ------
    OperationError
        When live and historical values differ.
    """
    report = written.content
    table = Table(title="Replay", show_header=False)
    table.add_row("became known", f"from {report['from']} to before {report['to']}")
    table.add_row("model", report["model"])
    table.add_row("scored over HTTP", f"{report['scored']:,}, {report['throughput']:,} a second")
    table.add_row("decisions", ", ".join(f"{count:,} {kind}" for kind, count in report["decisions"].items()))
    table.add_row("audit log", f"{report['audit_records']:,} records, unbroken and complete")
    table.add_row(
        "compared with what had arrived",
        f"{report['compared_with_oracle']:,} values, {report['mismatched_values']:,} mismatched",
    )
    table.add_row(
        "compared with the warehouse",
        f"{report['values']:,} values, {report['missing']:,} transactions missing",
    )
    table.add_row("rows that came late", f"{report['late']:,}")
    table.add_row(
        "differences",
        f"{report['explained']:,} that a late row explains, {report['unexplained']:,} unexplained",
    )
    freshness = report["freshness_ms"]
    table.add_row("freshness", f"p50 {freshness['p50']} ms, p99 {freshness['p99']} ms")
    table.add_row("seconds", ", ".join(f"{stage} {time:g}" for stage, time in report["seconds"].items()))
    console.print(table)
    for path in (written.json, written.html, written.late_rows):
        console.print(f"report {path}")
    if not is_proven:
        raise OperationError(f"live and historical values differ: see {written.html}")


COMMANDS = (demo, replay)
