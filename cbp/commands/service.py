"""Commands that run the API and look after its secrets, clients and audit log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from cbp.terminal import console, instant, watching


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="Port to listen on.")
@click.option("--workers", default=1, show_default=True, help="Processes.")
@click.option("--cert", type=click.Path(path_type=Path, exists=True), help="TLS certificate (PEM).")
@click.option("--key", type=click.Path(path_type=Path, exists=True), help="TLS key (PEM).")
@click.option("--parent", type=int, hidden=True, help="Process to end with.")
def serve(
    host: str, port: int, workers: int, cert: Path | None, key: Path | None, parent: int | None
) -> None:
    """Serve the API. Secrets come from the environment or the file .env.

    Example: cbp serve --port 8000 --workers 2
    """
    from api.server import serve as run
    from api.settings import ApiSettings

    settings = ApiSettings.from_environment()
    run(settings, host=host, port=port, workers=workers, certificate=cert, key=key, parent=parent)


@click.group()
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


@click.group()
def apikeys() -> None:
    """Manage API keys: who may ask for a token."""


@apikeys.command("create")
@click.argument("name")
@click.option("--role", default="scorer", show_default=True, help="scorer, analyst or label_source.")
def apikeys_create(name: str, role: str) -> None:
    """Create a client called NAME and print its API key, once.

    Example: cbp apikeys create checkout
    """
    from api.access.clients import create_api_key

    with _live_store() as (store, settings, now_us):
        key = create_api_key(store, settings.api_key_secret, name=name, role=role, now_us=now_us)
    click.echo(key)


@apikeys.command("list")
def apikeys_list() -> None:
    """List the clients.

    Example: cbp apikeys list
    """
    from warehouse.live.clients import list_clients

    table = Table("client", "name", "role", "created", "revoked")
    with _live_store() as (store, _, _):
        for client in list_clients(store):
            created, revoked = instant(client.created_us), instant(client.revoked_us)
            table.add_row(client.client_id, client.name, client.role, created, revoked)
    console.print(table)


@apikeys.command("revoke")
@click.argument("client_id")
def apikeys_revoke(client_id: str) -> None:
    """Give the client CLIENT_ID no more tokens.

    Example: cbp apikeys revoke 0f1e2d3c4b5a6978
    """
    from warehouse.live.clients import revoke_client

    with _live_store() as (store, _, now_us):
        revoke_client(store, client_id, now_us=now_us)
    console.print(f"{client_id} is revoked")


@click.group()
def audit() -> None:
    """Check the sealed log of decisions."""


@audit.command("verify")
def audit_verify() -> None:
    """Check every record: seal, chain, and that none is missing.

    Example: cbp audit verify
    """
    from api.audit.log import AuditKeys, verify_log

    with _live_store() as (store, settings, _), watching.status("verifying"):
        head = store.audit_head()
        count = verify_log(settings.prediction_log, AuditKeys(settings.aes_keys), head)
    console.print(f"{count:,} records, unbroken and complete ({len(head.unshipped):,} still in the outbox)")


@contextmanager
def _live_store() -> Iterator[tuple[Any, Any, int]]:
    """Open the live store with the API's settings and the time in UTC microseconds."""
    from api.settings import ApiSettings
    from warehouse.live.store import LiveStore
    from warehouse.times import now_us

    settings = ApiSettings.from_environment()
    settings.home.create_folders()
    store = LiveStore.open(settings.home)
    try:
        store.create_tables()
        yield store, settings, now_us()
    finally:
        store.close()


COMMANDS = (serve, keys, apikeys, audit)
