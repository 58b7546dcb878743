"""Pictures of a clustering: the choice of k, the tree, the map, and what sets the segments apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from scipy.cluster.hierarchy import dendrogram

from ml.customers.clustering import Segment
from ml.customers.methods import OUTLIER, ClusterCodes, KChoice
from ml.customers.space import Matrix
from ml.reports.drawing import BLUE, GREY, ORANGE, PALETTE, draw

_LEAVES: Final = 30
_MARKERS: Final = "osD^vP*X"


def plot_k_choice(choice: KChoice, path: Path) -> Path:
    """Draw silhouette and inertia by the number of segments, and mark the one taken and the elbow."""

    def paint(axes: Axes) -> None:
        axes.plot(choice.ks, choice.silhouettes, "o-", color=BLUE, label="silhouette (left)")
        axes.axvline(choice.best, color=BLUE, linestyle=":", label=f"taken: {choice.best}")
        axes.set_xlabel("segments")
        axes.set_ylabel("mean silhouette")
        right = axes.twinx()
        right.plot(choice.ks, choice.inertias, "s--", color=ORANGE, label="inertia (right)")
        right.axvline(choice.elbow, color=ORANGE, linestyle=":", label=f"elbow: {choice.elbow}")
        right.set_ylabel("inertia")
        right.spines[["top"]].set_visible(False)
        lines = [*axes.get_legend_handles_labels()[0], *right.get_legend_handles_labels()[0]]
        axes.legend(lines, [str(line.get_label()) for line in lines], frameon=False)

    return draw(path, "How many segments", paint)


def plot_dendrogram(linkage: Matrix, path: Path, *, cut: int) -> Path:
    """Draw the last merges of a linkage matrix; the dashed line cuts the tree into `cut` segments."""
    tree = dendrogram(linkage, p=_LEAVES, truncate_mode="lastp", no_plot=True)

    def paint(axes: Axes) -> None:
        for across, up in zip(tree["icoord"], tree["dcoord"], strict=True):
            axes.plot(across, up, color=BLUE, linewidth=1.2)
        if 1 < cut <= len(linkage):
            height = (linkage[-cut, 2] + linkage[-cut + 1, 2]) / 2
            axes.axhline(height, color=ORANGE, linestyle="--", label=f"{cut} segments")
            axes.legend(frameon=False)
        places = np.arange(5, 10 * len(tree["ivl"]), 10)
        axes.set_xticks(places, tree["ivl"], rotation=90, fontsize=7)
        axes.set_xlabel("customers below each branch: (n) of several, otherwise one's number")
        axes.set_ylabel("distance of what is joined (Ward)")
        axes.set_ylim(bottom=0)

    return draw(path, f"Dendrogram, last {_LEAVES} branches", paint, size=(8.0, 4.8))


def plot_map(
    coordinates: Matrix, codes: ClusterCodes, segments: Sequence[Segment], path: Path, *, title: str
) -> Path:
    """Draw customers on a plane, coloured and shaped by segment; shape (n, 2)."""

    def paint(axes: Axes) -> None:
        for place, segment in enumerate(segments):
            members = coordinates[codes == segment.code]
            if not len(members):
                continue
            is_outlier = segment.code == OUTLIER
            axes.scatter(
                members[:, 0],
                members[:, 1],
                s=12,
                alpha=0.6,
                linewidths=0,
                color=GREY if is_outlier else PALETTE[place % len(PALETTE)],
                marker=_MARKERS[place % len(_MARKERS)],
                label=f"{segment.code}: {segment.name} ({len(members):,})",
            )
        axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08))
        axes.set_xticks([])
        axes.set_yticks([])

    return draw(path, title, paint, size=(7.0, 6.4))


def plot_traits(segments: Sequence[Segment], path: Path) -> Path:
    """Draw each segment's mean profile in deviations from the median of all customers."""
    shown = [segment for segment in segments if segment.customers]
    columns = list(shown[0].traits)
    values = np.asarray([[segment.traits[column] for column in columns] for segment in shown])
    reach = max(1.0, float(np.abs(values).max()))

    def paint(axes: Axes) -> None:
        # A map whose two ends are told apart with any colour vision.
        image = axes.imshow(values, cmap="PuOr_r", vmin=-reach, vmax=reach, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            ink = "white" if abs(value) > 0.7 * reach else "black"
            axes.text(column, row, f"{value:+.1f}", ha="center", va="center", fontsize=7, color=ink)
        axes.set_yticks(range(len(shown)), [f"{segment.code}: {segment.name}" for segment in shown])
        labels = [column.removeprefix("profile_").replace("_", " ") for column in columns]
        axes.set_xticks(range(len(columns)), labels, rotation=45, ha="right", fontsize=8)
        axes.spines[:].set_visible(False)
        axes.figure.colorbar(image, ax=axes, label="deviations from the median customer")

    size = (4.5 + 0.45 * len(columns), 2.6 + 0.45 * len(shown))
    return draw(path, "What sets segments apart", paint, size=size)
