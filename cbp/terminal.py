"""What all commands share: where they print, how they show progress, how they fail, and how they read times.

Exit codes: 0 done, 1 the work failed, 2 the input was wrong.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from warehouse.errors import CbpError, InputError

# What a person watches goes to standard error, what a program reads goes to standard output.
console = Console()
watching = Console(stderr=True)
LOG_SECONDS: Final = 10.0
"""How often a log, where no bar can move, says how far work is."""


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


def _time_us(context: click.Context, parameter: click.Parameter, value: datetime | None) -> int | None:
    del context, parameter
    return None if value is None else int(value.replace(tzinfo=UTC).timestamp()) * 1_000_000


def time_option(name: str, text: str, *, required: bool = False) -> Callable[[Any], Any]:
    """Make an option that takes a date or time; --as-of gives `as_of_us`, UTC microseconds."""
    formats = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]
    parameter = f"{name.removeprefix('--').replace('-', '_')}_us"
    return click.option(
        name,
        parameter,
        type=click.DateTime(formats),
        callback=_time_us,
        required=required,
        help=f"{text} (UTC).",
    )


@contextmanager
def progress_bar(
    title: str, total: int | None = None, *, log_seconds: float = LOG_SECONDS
) -> Iterator[Callable[..., None]]:
    """Show progress; the yielded function takes `done`, `total`, `what` or `advance`.

    A log gets a line every `log_seconds` instead of a bar that moves.
    """
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
        told_s = time.monotonic()

        def update(
            done: int | None = None, total: int | None = None, what: str = "", advance: int | None = None
        ) -> None:
            nonlocal told_s
            bar.update(task, completed=done, total=total, what=what, advance=advance)
            if not watching.is_terminal and time.monotonic() - told_s >= log_seconds:
                told_s, shown = time.monotonic(), bar.tasks[task]
                watching.print(_line(shown.description, shown.completed, shown.total, what), highlight=False)

        yield update


def _line(title: str, done: float, total: float | None, what: str) -> str:
    """Say progress in a log's line."""
    extent = f"{done:,.0f}" if total is None else f"{done:,.0f} of {total:,.0f}"
    return f"{title}: {extent} {what}".rstrip()


@contextmanager
def stage_bar(title: str, *, log_seconds: float = LOG_SECONDS) -> Iterator[Callable[[str, int, int], None]]:
    """Show the progress of stages; the yielded function takes what is done, how many are, and of how many."""
    with progress_bar(title, log_seconds=log_seconds) as update:
        yield lambda what, done, total: update(done, total, what)


def figure(value: float | None) -> str:
    """Show a figure that may not exist: without customers there is no card precision."""
    return "none" if value is None else f"{value:.3f}"


def instant(time_us: int | None) -> str:
    """Show an instant, UTC microseconds, as ISO 8601; nothing for None."""
    return "" if time_us is None else datetime.fromtimestamp(time_us // 1_000_000, UTC).isoformat()
