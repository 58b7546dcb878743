"""Draws the pictures of ``docs/architecture.md`` from the code: ``make pictures``.

The rooms and their floors come from the tables that ``tests/contract/test_architecture.py`` enforces. The
steps of a payment stand below, each with the file where it happens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path
from typing import Final

from tests.support.rooms import PACKAGES, ROOMS, SQL_ROOMS, SQL_ROOT, folders
from warehouse.settings import PROJECT_ROOT

FOLDER: Final = PROJECT_ROOT / "docs" / "img"
_WIDTH: Final = 900
_SANS: Final = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
_ROOT_FILES: Final = "root files"
_MONO: Final = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


@dataclass(frozen=True)
class Theme:
    """Colours of a picture: `packages` are those of the packages, from the bottom up, `sql` is dbt's."""

    name: str
    ink: str
    soft: str
    line: str
    ground: str
    box: str
    sql: str
    packages: tuple[str, ...]


LIGHT: Final = Theme(
    name="light",
    ink="#1f2328",
    soft="#59636e",
    line="#8b949e",
    ground="#ffffff",
    box="#ffffff",
    sql="#eceff2",
    packages=("#e7f0fb", "#e5f4ea", "#fdf1df", "#f3e9fb", "#fbe8e8"),
)
DARK: Final = Theme(
    name="dark",
    ink="#e6edf3",
    soft="#9da7b1",
    line="#7d8590",
    ground="#0d1117",
    box="#161b22",
    sql="#262c34",
    packages=("#12263d", "#12301f", "#38290d", "#2b1a3d", "#3b1a1d"),
)


@dataclass(frozen=True)
class Step:
    """A step of a payment's way: what it is called, what happens, and the file where it does."""

    title: str
    words: tuple[str, str]
    file: str


STEPS: Final = (
    Step("Raw file", ("read to its end,", "mapped, judged"), "warehouse/ingest/ingest.py"),
    Step("Landing", ("one batch, whole", "or not at all"), "warehouse/landing/batches.py"),
    Step("dbt", ("cleans, aggregates,", "tests, publishes"), "warehouse/build/build.py"),
    Step("Features", ("a file for history,", "a row to serve"), "feature_repo/feast_store.py"),
    Step("Training frame", ("each feature as of", "the payment"), "ml/features/training_frame.py"),
    Step("Bundle", ("the model as data,", "verified, promoted"), "ml/bundles/store.py"),
    Step("/predict", ("claimed, scored,", "decided, answered"), "api/serving/scoring.py"),
    Step("Audit log", ("sealed, chained,", "shipped once"), "api/audit/shipper.py"),
    Step("Label", ("a verdict, and when", "it became known"), "api/resources/labels.py"),
    Step("Next build", ("lands what was scored", "and told"), "warehouse/live/landing_of_scored.py"),
)
"""The way of one payment, in order: five steps to the right, then five back."""


def floors(rooms: Sequence[str], table: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Order rooms by floors, the lowest first: each stands above all that it uses."""
    below = {room: {other for other in table[room] if other in rooms} for room in rooms}
    floor: dict[str, int] = {}
    for room in TopologicalSorter(below).static_order():
        floor[room] = 1 + max((floor[other] for other in below[room]), default=-1)
    return [[room for room in rooms if floor[room] == level] for level in range(max(floor.values()) + 1)]


def floors_of_package(package: str) -> list[list[str]]:
    """Return the rooms of a package by floors, named as the picture shows them."""
    rooms = [room for room in folders() if room.split(".")[0] == package]
    shown = {room: room.removeprefix(f"{package}.").replace(".", "/") for room in rooms}
    shown[package] = _ROOT_FILES
    return [[shown[room] for room in level] for level in floors(rooms, ROOMS)]


def floors_of_sql() -> list[list[str]]:
    """Return the rooms of the dbt project by floors; all others are written with the macros."""
    macros = sorted(f"macros/{folder.name}" for folder in (SQL_ROOT / "macros").iterdir() if folder.is_dir())
    return [macros, *floors([room for room in SQL_ROOMS if room != "macros"], SQL_ROOMS)]


def draw_rooms(theme: Theme) -> str:
    """Draw the packages as a house: what stands higher imports only what stands lower."""
    between = 28
    parts: list[str] = []
    top = 2.0
    for package, colour in reversed(list(zip(PACKAGES, theme.packages, strict=True))):
        drawn, bottom = _house(f"{package}/", floors_of_package(package), top, colour, theme)
        parts += drawn
        top = bottom + between
        parts.append(_arrow([(_WIDTH / 2, bottom + 2), (_WIDTH / 2, top - 3)], theme))
    parts.append(_text(_WIDTH / 2 + 12, top - between / 2 + 4, "runs dbt", theme.soft, size=12))
    drawn, bottom = _house("dbt_project/", floors_of_sql(), top, theme.sql, theme)
    description = f"From top to bottom: {', '.join(reversed(PACKAGES))}, dbt_project."
    return _picture(bottom + 2, parts + drawn, theme, title="Rooms of the code", description=description)


def _house(
    name: str, levels: Sequence[Sequence[str]], top: float, colour: str, theme: Theme
) -> tuple[list[str], float]:
    """Draw rooms by floors in a box with a name; returns the parts and where the box ends."""
    pad, row, gap, left = 12, 31, 7, 166
    height = len(levels) * (row + gap) - gap + 2 * pad
    parts = [
        _box(2, top, _WIDTH - 4, height, fill=colour, stroke=theme.line, radius=10),
        _text(20, top + height / 2 + 6, name, theme.ink, size=17, weight=600, font=_MONO),
    ]
    for number, level in enumerate(reversed(levels)):
        y = top + pad + number * (row + gap)
        width = (_WIDTH - 2 - pad - left - gap * (len(level) - 1)) / len(level)
        for index, room in enumerate(level):
            x = left + index * (width + gap)
            ink = theme.soft if room == _ROOT_FILES else theme.ink
            parts.append(_box(x, y, width, row, fill=theme.box, stroke=theme.line, radius=6))
            parts.append(_text(x + width / 2, y + 20.5, room, ink, size=14, font=_MONO, anchor="middle"))
    return parts, top + height


def draw_payment(theme: Theme) -> str:
    """Draw the way of one payment: out along the top, back along the bottom."""
    side, width, height, gap, lane = 4, 160, 126, 23, 84
    half = len(STEPS) // 2
    places = [(side + index * (width + gap), side) for index in range(half)]
    places += [(x, side + height + lane) for x, _ in reversed(places)]
    parts: list[str] = []
    for number, (step, (x, y)) in enumerate(zip(STEPS, places, strict=True), start=1):
        colour = theme.packages[list(PACKAGES).index(step.file.split("/")[0])]
        folder, _, name = step.file.rpartition("/")
        parts.append(_box(x, y, width, height, fill=colour, stroke=theme.line, radius=10))
        parts.append(_text(x + 12, y + 26, f"{number}  {step.title}", theme.ink, size=16, weight=600))
        parts += [
            _text(x + 12, y + 48 + 18 * n, words, theme.ink, size=13.5) for n, words in enumerate(step.words)
        ]
        parts.append(_text(x + 12, y + 94, f"{folder}/", theme.soft, size=11.5, font=_MONO))
        parts.append(_text(x + 12, y + 110, name, theme.soft, size=11.5, font=_MONO))
    for index in range(half - 1):
        x, y = places[index]
        parts.append(_arrow([(x + width + 2, y + height / 2), (x + width + gap - 2, y + height / 2)], theme))
        x, y = places[half + index]
        parts.append(_arrow([(x - 2, y + height / 2), (x - gap + 2, y + height / 2)], theme))
    bottom, below, turn = side + height, side + height + lane, side + height + lane / 2
    centre = [x + width / 2 for x, _ in places[:half]]
    parts.append(_arrow([(centre[4], bottom + 2), (centre[4], below - 2)], theme))
    parts.append(_text(centre[4] + 10, turn + 5, "cbp train", theme.soft, size=12, font=_MONO))
    parts.append(_arrow([(centre[3], bottom + 2), (centre[3], below - 2)], theme))
    parts.append(_text(centre[3] + 10, turn - 3, "cbp materialize", theme.soft, size=12, font=_MONO))
    parts.append(_text(centre[3] + 10, turn + 13, "(online store)", theme.soft, size=12))
    parts.append(
        _arrow([(centre[0], below - 2), (centre[0], turn), (centre[1], turn), (centre[1], bottom + 2)], theme)
    )
    parts.append(_text(centre[0] + 12, turn - 8, "cbp build", theme.soft, size=12, font=_MONO))
    description = "; ".join(
        f"{number}. {step.title}: {step.file}" for number, step in enumerate(STEPS, start=1)
    )
    return _picture(
        below + height + side, parts, theme, title="The way of one payment", description=description
    )


def pictures() -> dict[str, str]:
    """Draw all pictures; returns the content of each by its file's name."""
    return {
        f"{name}-{theme.name}.svg": draw(theme)
        for name, draw in (("rooms", draw_rooms), ("payment", draw_payment))
        for theme in (LIGHT, DARK)
    }


def _picture(height: float, parts: Iterable[str], theme: Theme, *, title: str, description: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_number(height)}" role="img" '
        f'aria-labelledby="title description" font-family="{escape(_SANS)}">'
    )
    marker = (
        '<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0 L10 5 L0 10 z" fill="{theme.line}"/></marker></defs>'
    )
    ground = f'<rect width="100%" height="100%" fill="{theme.ground}"/>'
    words = f'<title id="title">{escape(title)}</title><desc id="description">{escape(description)}</desc>'
    return "\n".join([head, words, marker, ground, *parts, "</svg>", ""])


def _box(x: float, y: float, width: float, height: float, *, fill: str, stroke: str, radius: int) -> str:
    return (
        f'<rect x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_number(height)}" '
        f'rx="{radius}" fill="{fill}" stroke="{stroke}" stroke-width="1"/>'
    )


def _text(
    x: float,
    y: float,
    words: str,
    ink: str,
    *,
    size: float,
    weight: int = 400,
    font: str = _SANS,
    anchor: str = "start",
) -> str:
    family = "" if font == _SANS else f' font-family="{escape(font)}"'
    return (
        f'<text x="{_number(x)}" y="{_number(y)}" fill="{ink}" font-size="{_number(size)}" '
        f'font-weight="{weight}" text-anchor="{anchor}"{family}>{escape(words)}</text>'
    )


def _arrow(points: Sequence[tuple[float, float]], theme: Theme) -> str:
    way = " L".join(f"{_number(x)} {_number(y)}" for x, y in points)
    return f'<path d="M{way}" fill="none" stroke="{theme.line}" stroke-width="1.6" marker-end="url(#head)"/>'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in pictures().items():
        Path(FOLDER / name).write_text(content, encoding="utf-8")
