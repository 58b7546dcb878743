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
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any, Final

_WRAPPER: Final = "feast.torch_wrapper"


def lighten() -> None:
    """Lighten Feast's import, should it come; where Feast is there already, do nothing."""
    if "feast" not in sys.modules:
        sys.meta_path.insert(0, _BeforeFeast())


class _BeforeFeast(MetaPathFinder):
    """Finds no module, and prepares as Feast is looked for: who imports none need not import typeguard."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        """Prepare once for Feast; what is looked for, others find."""
        if fullname == "feast" and _WRAPPER not in sys.modules:
            _load_torch_late()
            _leave_classes()


def _load_torch_late() -> None:
    wrapper = ModuleType(_WRAPPER, __doc__)
    vars(wrapper)["get_torch"] = lambda: importlib.import_module("torch")
    sys.modules[_WRAPPER] = wrapper


def _leave_classes() -> None:
    import typeguard

    checked = typeguard.typechecked

    def typechecked(target: Any = None, **options: Any) -> Any:
        """Decorate as typeguard does, but for what Feast defines."""
        if target is None:
            return lambda later: typechecked(later, **options)
        if target.__module__.partition(".")[0] == "feast":
            return target
        return checked(target, **options)

    vars(typeguard)["typechecked"] = typechecked
