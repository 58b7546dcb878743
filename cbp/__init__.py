"""The command line: composes the parts, holds no logic."""

from cbp.main import main

__all__ = ["main"]
