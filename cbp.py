"""The command line: composes the parts, holds no logic.

Exit codes: 0 done, 1 the work failed, 2 the input was wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from dotenv import load_dotenv
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from warehouse.errors import CbpError, InputError, OperationError
from warehouse.settings import PROJECT_ROOT, Settings

# What a person watches goes to standard error, what a program reads goes to standard output.
console = Console()
watching = Console(stderr=True)


class Commands(click.Group):
    """A group that turns our errors into one line and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except InputError as error:
            _fail(error, 2)
        except CbpError as error:
            _fail(error, 1)


def _fail(error: CbpError, code: int) -> None:
    watching.print(f"[bold red]error:[/] {error}", highlight=False, soft_wrap=True)
    sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Profile customers' behaviour and score payments for fraud.

    State lives below CBP_HOME (by default data/), models below CBP_MODELS, reports below CBP_REPORTS.
    Settings may stand in a file .env in the project's root.
    """
    load_dotenv(PROJECT_ROOT / ".env")
    context.obj = Settings.from_environment()


def _time_us(context: click.Context, parameter: click.Parameter, value: datetime | None) -> int | None:
    del context, parameter
    return None if value is None else int(value.replace(tzinfo=UTC).timestamp()) * 1_000_000


def _time_option(name: str, text: str) -> Callable[[Any], Any]:
    formats = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
    return click.option(name, type=click.DateTime(formats), callback=_time_us, help=f"{text} (UTC).")


@contextmanager
def _progress(title: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Show progress; the yielded function takes `done`, `total`, `what` or `advance`."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[what]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=watching, transient=True) as bar:
        task = bar.add_task(title, total=total, what="")

        def update(
            done: int | None = None, total: int | None = None, what: str = "", advance: int | None = None
        ) -> None:
            bar.update(task, completed=done, total=total, what=what, advance=advance)

        yield update


@main.command()
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
    from warehouse.simulate import simulate as run

    with watching.status("simulating"):
        result = run(file, customers=customers, merchants=merchants, days=days, seed=seed, dirt=dirt)
    share = result.frauds / max(result.payments, 1)
    console.print(f"{result.path}: {result.rows:,} rows, {result.frauds:,} frauds ({share:.2%} of payments)")
    for kind, count in result.dirt.items():
        console.print(f"  {kind}: {count:,}")


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--mapping", help="A preset's name or a YAML file; by default recognised from the columns.")
@click.pass_obj
def ingest(settings: Settings, files: tuple[Path, ...], mapping: str | None) -> None:
    """Land raw FILES (CSV, NDJSON, JSON, Parquet; plain, .gz or .zst).

    Example: cbp ingest payments.parquet more.csv.gz --mapping canonical
    """
    from warehouse.ingest import ingest as run

    with watching.status("ingesting"):
        report = run(settings, files, mapping=mapping)
    table = Table("file", "accepted", "duplicates", "quarantined", "batch")
    for file in report.files:
        batch = f"{file.batch} (already landed)" if file.already_landed else str(file.batch or "")
        table.add_row(file.file, f"{file.accepted:,}", f"{file.duplicates:,}", f"{file.quarantined:,}", batch)
    if report.files:
        console.print(table)
    report.raise_on_failure()


@main.command()
@_time_option("--as-of", "Build as if it were this instant")
@click.option("--full-refresh", is_flag=True, help="Rebuild incremental models from nothing.")
@click.pass_obj
def build(settings: Settings, as_of: int | None, full_refresh: bool) -> None:
    """Land what was scored, run dbt with its tests, compile the live SQL, publish the warehouse.

    Example: cbp build
    """
    from warehouse.building import build as run

    with _progress("building") as update:
        result = run(
            settings,
            as_of_us=as_of,
            full_refresh=full_refresh,
            progress=lambda what, done, total: update(done, total, what),
        )
    table = Table("published table", "rows")
    for name, rows in result.published.items():
        table.add_row(name, f"{rows:,}")
    console.print(table)
    console.print(
        f"{result.nodes} models and tests passed; landed {result.landed.events:,} scored transactions "
        f"and {result.landed.labels:,} labels"
    )


@main.command()
@_time_option("--until", "Serve the profiles that count at this instant; by default now")
@click.pass_obj
def materialize(settings: Settings, until: int | None) -> None:
    """Register the features, load profiles into the online store and history into the live store.

    Example: cbp materialize
    """
    from api.clock import now_us
    from ml import features
    from warehouse.live_backfill import backfill_live_windows

    until_us = now_us() if until is None else until
    with _progress("materializing") as update:
        features.apply(settings)
        counts = features.materialize(
            settings, until_us=until_us, progress=lambda view, rows: update(advance=rows, what=view)
        )
    with _progress("loading live history") as update:
        loaded = backfill_live_windows(settings, now_us=now_us(), progress=update)
    for view, rows in counts.items():
        console.print(f"{view}: {rows:,} rows online")
    console.print(f"live store: {loaded:,} transactions added")


@main.command()
@click.option("--protocol", help="How time is split: handbook or latest; by default as the mapping says.")
@_time_option("--as-of", "Only labels known by this instant train; by default the last transaction's time")
@click.option("--seed", default=0, show_default=True, help="Same seed, same hashes.")
@click.option("--promote/--no-promote", default=True, show_default=True, help="Serve the new model at once.")
@click.pass_obj
def train(settings: Settings, protocol: str | None, as_of: int | None, seed: int, promote: bool) -> None:
    """Train the hybrid model, evaluate it, and publish it as a bundle.

    Example: cbp train --as-of 2018-08-01
    """
    from ml import bundles
    from ml.training import train as run

    with _progress("training") as update:
        result = run(
            settings,
            protocol=protocol,
            as_of_us=as_of,
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
        f"CP@100 {_figure(result.evaluation.card_precision_at_100)}"
    )
    if promote:
        bundles.promote(settings, result.bundle_dir)
    console.print(f"bundle {result.bundle_dir}{' (promoted)' if promote else ''}")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on.")
@click.option("--workers", default=1, show_default=True, help="Processes.")
@click.option("--cert", type=click.Path(path_type=Path, exists=True), help="TLS certificate (PEM).")
@click.option("--key", type=click.Path(path_type=Path, exists=True), help="TLS key (PEM).")
def serve(host: str, port: int, workers: int, cert: Path | None, key: Path | None) -> None:
    """Serve the API. Secrets come from the environment or the file .env.

    Example: cbp serve --port 8000 --workers 2
    """
    from api.server import serve as run
    from api.settings import ApiSettings

    settings = ApiSettings.from_environment()
    run(settings, host=host, port=port, workers=workers, certificate=cert, key=key)


@main.group()
def keys() -> None:
    """Make secrets for the API."""


@keys.command("generate")
def keys_generate() -> None:
    """Print a fresh set of secrets for the file .env.

    Example: cbp keys generate > .env
    """
    from api.settings import generate_keys

    for name, value in generate_keys().items():
        click.echo(f"{name}={value}")


@main.group()
def apikeys() -> None:
    """Manage API keys: who may ask for a token."""


@apikeys.command("create")
@click.argument("name")
@click.option("--role", default="scorer", show_default=True, help="What the client may do.")
def apikeys_create(name: str, role: str) -> None:
    """Create a client called NAME and print its API key, once.

    Example: cbp apikeys create checkout
    """
    from api.clients import create_api_key

    with _live_store() as (store, settings, now_us):
        key = create_api_key(store, settings.api_key_secret, name=name, role=role, now_us=now_us)
    click.echo(key)


@apikeys.command("list")
def apikeys_list() -> None:
    """List the clients.

    Example: cbp apikeys list
    """
    from api.clients import list_clients

    table = Table("client", "name", "role", "created", "revoked")
    with _live_store() as (store, _, _):
        for client in list_clients(store):
            created, revoked = _instant(client.created_us), _instant(client.revoked_us)
            table.add_row(client.client_id, client.name, client.role, created, revoked)
    console.print(table)


@apikeys.command("revoke")
@click.argument("client_id")
def apikeys_revoke(client_id: str) -> None:
    """Give the client CLIENT_ID no more tokens.

    Example: cbp apikeys revoke 0f1e2d3c4b5a6978
    """
    from api.clients import revoke

    with _live_store() as (store, _, now_us):
        revoke(store, client_id, now_us=now_us)
    console.print(f"{client_id} is revoked")


@main.group()
def audit() -> None:
    """Check the sealed log of decisions."""


@audit.command("verify")
def audit_verify() -> None:
    """Check every record: seal, chain, and that none is missing.

    Example: cbp audit verify
    """
    from api.audit import AuditKeys, verify

    with _live_store() as (store, settings, _), watching.status("verifying"):
        head = store.audit_head()
        count = verify(settings.prediction_log, AuditKeys(settings.aes_keys), head)
    console.print(f"{count:,} records, unbroken and complete ({len(head.unshipped):,} still in the outbox)")


@main.command()
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
    table.add_row("CP@100", _figure(report["card_precision_at_100"]))
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


@contextmanager
def _live_store() -> Iterator[tuple[Any, Any, int]]:
    """Open the live store with the API's settings and the time in UTC microseconds."""
    from api.clock import now_us
    from api.settings import ApiSettings
    from warehouse.live_store import LiveStore

    settings = ApiSettings.from_environment()
    settings.home.create_folders()
    store = LiveStore.open(settings.home)
    try:
        store.create_tables()
        yield store, settings, now_us()
    finally:
        store.close()


def _figure(value: float | None) -> str:
    """Show a figure that may not exist: without customers there is no card precision."""
    return "none" if value is None else f"{value:.3f}"


def _instant(time_us: int | None) -> str:
    return "" if time_us is None else datetime.fromtimestamp(time_us // 1_000_000, UTC).isoformat()


if __name__ == "__main__":
    main()
