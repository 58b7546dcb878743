"""Run all benchmarks, or those that are named: ``python -m bench [NAME …]``."""

from __future__ import annotations

import importlib
import pkgutil
import time

import click

import bench
from bench.summary import write_summary

_PARTS = ("__main__", "histories", "measuring", "pairs", "reporting", "summary", "velocity_peers")
NAMES = tuple(module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in _PARTS)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
def main(names: tuple[str, ...]) -> None:
    """Run the benchmarks NAMES, or all of them, and sum up all reports in docs/benchmarks.md."""
    for name in names or NAMES:
        started = time.monotonic()
        importlib.import_module(f"bench.{name}").run()
        write_summary()
        click.echo(f"{name}: {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
