"""The command line: it composes the parts and holds no logic of the product."""

from cbp.main import main

__all__ = ["main"]
