"""Feast's import without what we have no use for: a second and a half instead of seven (ADR 0009).

Two things that Feast does as it is imported, undone before that:

- It loads PyTorch where that is installed, for frames as tensors (``feast.torch_wrapper``): 190 MB for each
  of the server's workers. Here PyTorch is loaded when somebody asks for tensors.
- It lets typeguard write its classes anew, with checks of the arguments; typeguard parses a whole module for
  each method. Here Feast's classes stay as they are written; other packages' are checked as before.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, Final

import typeguard

_WRAPPER: Final = "feast.torch_wrapper"
_typechecked = typeguard.typechecked


def lighten() -> None:
    """Prepare for Feast's import; where Feast is there already, do nothing."""
    if "feast" in sys.modules:
        return
    wrapper = ModuleType(_WRAPPER, __doc__)
    vars(wrapper)["get_torch"] = _get_torch
    sys.modules[_WRAPPER] = wrapper
    vars(typeguard)["typechecked"] = _leave_feast


def _get_torch() -> Any:
    return importlib.import_module("torch")


def _leave_feast(target: Any = None, **options: Any) -> Any:
    """Decorate as typeguard does, but for what Feast defines."""
    if target is None:
        return lambda later: _leave_feast(later, **options)
    if target.__module__.partition(".")[0] == "feast":
        return target
    return _typechecked(target, **options)
