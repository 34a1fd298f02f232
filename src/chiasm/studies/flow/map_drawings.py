"""The maps of a run's patches as figures: the image, every method beside it, and what was asked."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import polars as pl
from matplotlib.figure import Figure

from chiasm.results import overlays
from chiasm.results.images import KeptImage
from chiasm.results.report import Drawing
from chiasm.results.series import in_order
from chiasm.studies.flow import captions, maps

REPORTED = 6
"""Maps in a report: where there are more, at even steps from the weakest to the strongest."""


class MapOfOne(NamedTuple):
    """One example's map: the kept image, its rows of `patches`, and by method the same with `value`; the heading."""

    kept: KeptImage
    rows: pl.DataFrame
    methods: Mapping[str, pl.DataFrame] = MappingProxyType({})
    heading: tuple[str, ...] = ()


def map_drawings(
    kept: Mapping[str, KeptImage],
    patches: pl.DataFrame,
    values: pl.DataFrame | None,
    examples: pl.DataFrame | None,
) -> dict[str, Drawing]:
    """A figure for each example with an image, numbered as they were asked; `REPORTED` of them stand in the report.

    `values`: the table `patch_values`, which runs of the version before lack.
    """
    drawn = {}
    asked = in_order(patches, "example_id")
    ranked = asked if values is None else maps.by_strength(values)
    shown = asked if values is None else maps.at_even_steps(values, REPORTED)
    for number, example in enumerate(asked):
        if example in kept:
            place = partial(_map, kept[example], patches, values, examples, example)
            rank = None if len(shown) == len(asked) else (ranked.index(example) + 1, len(ranked), len(shown))
            drawn[f"patches-{number}"] = Drawing(
                partial(_draw, place), partial(_caption, place, rank), reported=example in shown
            )
    return drawn


def _map(
    kept: KeptImage,
    patches: pl.DataFrame,
    values: pl.DataFrame | None,
    examples: pl.DataFrame | None,
    example: str,
) -> MapOfOne:
    rows = kept.placed(patches.filter(pl.col("example_id") == example))
    if values is None:
        return MapOfOne(kept, rows)
    own = values.filter(pl.col("example_id") == example)
    methods = {
        method: rows.join(own.filter(pl.col("method") == method).select("patch", "value"), on="patch")
        for method in in_order(own, "method")
    }
    return MapOfOne(kept, rows, methods, _heading(examples, example, own["answer"][0]))


def _heading(examples: pl.DataFrame | None, example: str, answer: str) -> tuple[str, ...]:
    """The question, and its label beside what is followed of the answer."""
    asked = None if examples is None else examples.filter(pl.col("example_id") == example)
    if asked is None or not asked.height:
        return ()
    return asked["question"][0], f"Label: {asked['answer'][0]}. Followed: {answer}."


def _draw(place: Callable[[], MapOfOne]) -> Figure:
    one = place()
    if not one.methods:
        return overlays.patch_map(one.kept.pixels, one.rows, one.kept.boxes)
    return overlays.patch_maps(one.kept.pixels, one.methods, one.kept.boxes, heading=one.heading)


def _caption(place: Callable[[], MapOfOne], rank: tuple[int, int, int] | None) -> str:
    one = place()
    cropped = bool(overlays.unseen(one.rows, *one.kept.pixels.shape[1::-1]))
    return captions.patches(one.rows, cropped, one.methods, rank)
