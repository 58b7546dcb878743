"""The report of a clustering below ``reports/clustering/``.

Files: ``clustering.json`` (method, quality, choice of k), ``segments.csv``, ``segments.png``,
``map_<projection>.png``, ``k_choice.png`` where k was chosen, ``linkage.csv`` and ``dendrogram.png`` of the
hierarchical method, and ``report.html`` with all of it. Files of an earlier report that this one does not
have are removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ml.customers.clustering import Fit
from ml.customers.methods import ClusterCodes
from ml.customers.plots import plot_dendrogram, plot_k_choice, plot_map, plot_traits
from ml.customers.space import Matrix
from ml.reports.files import write_csv, write_json
from ml.reports.html import HtmlPage

_OPTIONAL: Final = (
    "k_choice.png",
    "dendrogram.png",
    "linkage.csv",
    "map_pca.png",
    "map_tsne.png",
    "map_umap.png",
)
_TITLES: Final = {"pca": "Main directions (PCA)", "tsne": "t-SNE", "umap": "UMAP"}
_OWN_RULE: Final = ("kmeans", "dbscan")


def write_cluster_report(
    folder: Path, fit: Fit, *, codes: ClusterCodes, maps: Mapping[str, Matrix], as_of: str
) -> None:
    """Write the report.

    Parameters
    ----------
    folder : Path
    fit : Fit
    codes : ndarray of int64, shape (n_shown,)
        Segments of the customers on the maps.
    maps : mapping of str to ndarray, shape (n_shown, 2)
        Coordinates by projection.
    as_of : str
        The instant of the fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in _OPTIONAL:
        (folder / name).unlink(missing_ok=True)
    segments, found = fit.clustering.segments, fit.clusters
    pictures = {"what sets segments apart": plot_traits(segments, folder / "segments.png")}
    for name, coordinates in maps.items():
        title = f"Customers by segment: {_TITLES[name]}"
        pictures[title] = plot_map(coordinates, codes, segments, folder / f"map_{name}.png", title=title)
    if found.choice is not None:
        pictures["how many segments"] = plot_k_choice(found.choice, folder / "k_choice.png")
    if found.linkage is not None:
        cut = int(found.parameters["k"])
        pictures["dendrogram"] = plot_dendrogram(found.linkage, folder / "dendrogram.png", cut=cut)
        header = ("first", "second", "distance", "customers")
        write_csv(header, found.linkage.tolist(), folder / "linkage.csv")
    write_json(_summary(fit, as_of), folder / "clustering.json")
    columns = list(fit.clustering.columns)
    write_csv(
        ("code", "name", "customers", "radius", *columns),
        [
            (segment.code, segment.name, segment.customers, segment.radius, *segment.traits.values())
            for segment in segments
        ],
        folder / "segments.csv",
    )
    _write_page(folder / "report.html", fit, pictures, as_of)


def _summary(fit: Fit, as_of: str) -> dict[str, Any]:
    clustering = fit.clustering
    return {
        "method": clustering.method,
        "as_of": as_of,
        "columns": list(clustering.columns),
        "parameters": dict(clustering.parameters),
        "quality": dict(clustering.quality),
        "choice_of_k": None if fit.clusters.choice is None else asdict(fit.clusters.choice),
        "segments": [
            {"code": segment.code, "name": segment.name, "customers": segment.customers}
            for segment in clustering.segments
        ],
    }


def _write_page(path: Path, fit: Fit, pictures: Mapping[str, Path], as_of: str) -> None:
    clustering = fit.clustering
    page = HtmlPage("Segments of customers")
    page.text(f"Method {clustering.method}, on profiles as of {as_of}.")
    if clustering.method not in _OWN_RULE:
        page.text(
            "The method says nothing of customers that it did not see. So everybody, fitted or not, is "
            "assigned by one rule: the nearest centre (hierarchical), or the nearest member within the "
            "cluster's widest gap (hdbscan). 'agreement' is the share of fitted customers for whom it gives "
            "the method's own segment."
        )
    rows = [
        (segment.code, segment.name, segment.customers, segment.radius) for segment in clustering.segments
    ]
    page.table("Segments", ("code", "what sets it apart", "customers", "mean distance to its centre"), rows)
    quality = [(name.replace("_", " "), value) for name, value in clustering.quality.items()]
    page.table("Quality", ("figure", "value"), quality)
    page.table("Parameters", ("parameter", "value"), list(clustering.parameters.items()))
    page.pictures("Pictures", pictures)
    page.write(path)
