"""How pictures are drawn: without pyplot, so that nothing is shared between calls and no window opens.

Colours are those of Okabe and Ito, which people with any colour vision tell apart; lines differ in style too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from warehouse.durable import write_whole

BLUE: Final = "#0072B2"
ORANGE: Final = "#D55E00"
GREEN: Final = "#009E73"
GREY: Final = "#666666"
PALETTE: Final = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#000000")

_DPI: Final = 110
_SIZE: Final = (6.4, 4.8)


def draw(path: Path, title: str, paint: Callable[[Axes], None], *, size: tuple[float, float] = _SIZE) -> Path:
    """Draw one picture: `paint` fills its axes; `path` (.png) is replaced in one rename."""
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    canvas: Any = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    paint(axes)
    # Without the program's name the same data gives the same bytes.
    write_whole(path, lambda file: canvas.print_png(file, metadata={"Software": None}), is_durable=False)
    return path
