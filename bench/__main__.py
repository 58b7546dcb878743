"""Run all benchmarks, or those that are named: ``python -m bench [NAME …]``."""

from __future__ import annotations

import importlib
import pkgutil

import click

import bench

_PARTS = ("__main__", "histories", "measuring", "pairs", "reporting", "velocity_peers")
NAMES = tuple(module.name for module in pkgutil.iter_modules(bench.__path__) if module.name not in _PARTS)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
def main(names: tuple[str, ...]) -> None:
    """Run the benchmarks NAMES, or all of them."""
    for name in names or NAMES:
        importlib.import_module(f"bench.{name}").run()


if __name__ == "__main__":
    main()
