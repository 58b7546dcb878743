"""How far back the live windows look: said by the compiled live SQL itself (law 4 of the design)."""

from __future__ import annotations

import re
from typing import Final

from warehouse.errors import BuildError
from warehouse.settings import LIVE_SQL_FILE, Settings

_HORIZON: Final = re.compile(r"^-- live_horizon_us = ([1-9][0-9]{0,17})$", re.MULTILINE | re.ASCII)


def live_horizon_us(settings: Settings) -> int:
    """Read the longest declared window of a home, in microseconds.

    Raises
    ------
    BuildError
        When the live SQL has not been compiled, or does not say.
    """
    path = settings.compiled_sql_dir / LIVE_SQL_FILE
    try:
        found = _HORIZON.search(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = None
    if found is None:
        raise BuildError(f"expected a compiled live SQL that names its horizon at {path}: run `cbp build`")
    return int(found[1])
