"""What a chart draws, read from its specification."""

from collections.abc import Iterator
from typing import Any

import polars as pl

from chiasm.results.charts.files import specification


def datasets(chart: Any) -> list[pl.DataFrame]:
    """All the data of a chart."""
    return [pl.DataFrame(rows, infer_schema_length=None) for rows in specification(chart)["datasets"].values()]


def rows(chart: Any, *columns: str) -> pl.DataFrame:
    """The one data set of a chart that has these columns; of a chart of lines by default."""
    wanted = set(columns or ("role", "x", "y"))
    [found] = [frame for frame in datasets(chart) if wanted <= set(frame.columns)]
    return found


def found(chart: Any, key: str) -> Iterator[Any]:
    """Every value that stands under `key` in the specification, outermost first."""

    def walk(part: Any) -> Iterator[Any]:
        if isinstance(part, dict):
            if key in part:
                yield part[key]
            for name, inner in part.items():
                if name != "datasets":
                    yield from walk(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from walk(inner)

    yield from walk(specification(chart))


def pictured(chart: Any) -> list[tuple[str, list[pl.DataFrame]]]:
    """The panels of a chart of images: the title of each, and the data of its layers."""
    data = specification(chart)["datasets"]
    panels = []

    def walk(part: Any) -> None:
        if isinstance(part, dict) and "layer" in part:
            # What all layers share stands above them.
            names = [one.get("data", part.get("data"))["name"] for one in part["layer"]]
            layers = [pl.DataFrame(data[name], infer_schema_length=None) for name in names]
            panels.append((part["title"]["text"], layers))
        elif isinstance(part, dict):
            for name in ("vconcat", "hconcat"):
                for inner in part.get(name, []):
                    walk(inner)

    walk(specification(chart))
    return panels


def shown(chart: Any) -> dict[str, list[float]]:
    """What patches are said to do, by the title of their panel, for the first of what may be chosen."""
    return {
        title: [values[0] for values in frame["shown"]]
        for title, layers in pictured(chart)
        for frame in layers
        if "shown" in frame.columns
    }


def titles(chart: Any) -> list[str]:
    """Every title in a chart: its own, of axes, legends, and what hovering says."""
    texts = []
    for one in found(chart, "title"):
        text = one.get("text") if isinstance(one, dict) else one
        texts += [" ".join(text)] if isinstance(text, list) else [text] if text else []
    return texts


def subtitles(chart: Any) -> list[str]:
    """Every subtitle in a chart."""
    return [" ".join(one) for one in found(chart, "subtitle") if one]


def dashes(chart: Any) -> dict[str, list[float]]:
    """The dash of every control that a chart of lines shows."""
    scale = next(one["scale"] for one in found(chart, "strokeDash") if "scale" in one)
    return dict(zip(scale["domain"], scale["range"], strict=True))
