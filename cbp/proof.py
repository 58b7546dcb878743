"""Commands that prove the product on its own machine."""

from __future__ import annotations

import click
from rich.table import Table

from cbp.terminal import console, figure, watching
from warehouse.errors import OperationError
from warehouse.settings import Settings


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
    from api.replay.demo import run_demo

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
        for difference in comparison.examples:
            watching.print(f"{difference}", highlight=False)
        raise OperationError("values used by decisions differ from the warehouse's: see above")


COMMANDS = (demo,)
