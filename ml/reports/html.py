"""A report of one HTML page: text, tables and pictures in one file that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from ml.reports.files import write_text

_STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .25rem .8rem .25rem 0; text-align: left; }
td { border-top: 1px solid #ddd; font-variant-numeric: tabular-nums; }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)); }
img { width: 100%; }
"""


class HtmlPage:
    """Collects the parts of a page, in order.

    Parameters
    ----------
    title : str
        Of the page.
    """

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts = [f"<h1>{escape(title)}</h1>"]

    def text(self, text: str) -> None:
        """Add a paragraph."""
        self._parts.append(f"<p>{escape(text)}</p>")

    def table(self, heading: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table under a heading; numbers are shown with at most four decimals, None as "none"."""
        head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in header)
        body = "".join(
            "<tr>" + "".join(f"<td>{escape(shown(value))}</td>" for value in row) + "</tr>" for row in rows
        )
        self._parts.append(
            f"<h2>{escape(heading)}</h2><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def pictures(self, heading: str, pictures: Mapping[str, Path]) -> None:
        """Add pictures (.png), each with a text for who can't see it."""
        images = "".join(
            f"<img alt='{escape(text)}' src='data:image/png;base64,"
            f"{base64.b64encode(path.read_bytes()).decode()}'>"
            for text, path in pictures.items()
        )
        self._parts.append(f"<h2>{escape(heading)}</h2><div class='pictures'>{images}</div>")

    def write(self, path: Path) -> None:
        """Write the page, replacing `path` in one rename."""
        head = (
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
            "<meta name='viewport' content='width=device-width, initial-scale=1'>"
            f"<title>{escape(self._title)}</title><style>{_STYLE}</style></head>"
        )
        write_text(f"{head}<body>{''.join(self._parts)}</body></html>\n", path)


def shown(value: Any) -> str:
    """Show a value of a table: a float with at most four decimals, None as "none"."""
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) < 1e6 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
