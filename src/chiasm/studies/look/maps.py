"""Attention and nearest words over images and frames, by layer and head."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl
from jaxtyping import UInt8

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.pictures import Choice, Panel, Row, Tint, picture_chart
from chiasm.results.charts.theme import SCREEN, Size
from chiasm.results.series import in_order
from chiasm.studies.look.tables import CONTEXT, INPUT, OUTPUT

T = TypeVar("T")
_DEPTHS, _IN_COLUMN = 3, 2
MAX_IMAGES, MAX_READ = 6, 3
"""Images that are drawn, and those with words."""
_MOST = 120_000
"""Numbers in one chart, at most: beyond it heads are left out, those that look least at the image first."""
_MEAN = "mean"
_CORNERS = ("x0", "y0", "x1", "y1")


class ImageRows(NamedTuple):
    """An image or a frame, and the table's rows about it joined with their corners (in its own pixels)."""

    name: str
    pixels: UInt8[np.ndarray, "h w 3"]
    boxes: tuple[Box, ...]
    rows: pl.DataFrame


class Asked(NamedTuple):
    """What an example asks, and its label."""

    question: str = ""
    answer: str = ""

    def rows(self, lines: Sequence[Sequence[Panel]]) -> list[Row]:
        """Lines of panels under it."""
        first = Row(lines[0], self.question, f"Label: {self.answer}." if self.answer else "")
        return [first, *map(Row, lines[1:])]


def attention_map(
    shown: Sequence[ImageRows], size: Size, asked: Asked | None = None, *, layers: Sequence[int] = ()
) -> Chart:
    """The attention that patches get from every query, over one or more images, at most six of them.

    On a screen the reader chooses layer and head; on paper three `layers` stand side by side (mean over heads), or
    those that are named. `rows`: table `attention` of one example.
    """
    shown = evenly(shown, MAX_IMAGES)
    every = pl.concat([one.rows.select("query", "layer", "head", "weight") for one in shown])
    known, queries = sorted(every["layer"].unique()), in_order(every, "query")
    heads = [_MEAN, *_strongest(every, len(known) * sum(one.rows.select("index").n_unique() for one in shown))]
    fixed = _chosen("layer", layers, known) or ([] if size is SCREEN else evenly(known, _depths(size)))
    asked, tint, title = asked or Asked(), Tint("attention (%)", diverging=False), "Where in the image is attention?"
    end = "Colours follow the square root, on one scale. Crosses: attention sinks. n = 1 example: no interval."
    if fixed:
        lines = []
        for one, query in ((one, query) for one in shown for query in queries):
            of = one.rows.filter(query=query)
            layered = [_attention(one, of, f"from {query}, layer {layer}", [layer], [_MEAN]) for layer in fixed]
            lines.append([Panel(one.name, one.pixels, one.boxes), *layered])
        said = f"Mean over the query's tokens and over heads. {end}"
        return picture_chart(asked.rows(lines), size, title=title, subtitle=said, tint=tint)
    most = every.group_by("layer").agg(pl.col("weight").sum()).sort("weight", "layer")["layer"][-1]
    by_layer, by_head = Choice("layer", "Layer", known, known.index(most)), Choice("head", "Head", heads)
    panels = []
    for one in shown:
        panels.append(Panel(one.name, one.pixels, one.boxes))
        panels += [_attention(one, one.rows.filter(query=query), f"from {query}", known, heads) for query in queries]
    left = every["head"].n_unique() - len(heads)
    without = f" ({left} heads that look less at the image are left out)" if left > 0 else ""
    several = len(heads) > 1
    what = f"Layer and head{without}" if several else "The layer"
    said = f"Mean over the query's tokens{'' if several else ' and over heads'}. {what} stand{'' if several else 's'} "
    said += f"above each picture; on a screen {'they are' if several else 'it is'} chosen below. {end}"
    choices = [by_layer, by_head] if several else [by_layer]
    together = 1 + len(queries)
    made = asked.rows([panels])
    return picture_chart(made, size, title=title, subtitle=said, tint=tint, choices=choices, together=together)


def _strongest(every: pl.DataFrame, numbers: int) -> list[str]:
    """The heads that look most at the image, as many as a chart has room for; `numbers`: that each one takes."""
    room = _MOST // max(1, numbers * every["query"].n_unique()) - 1
    of = every.filter(pl.col("head") != _MEAN).group_by("head").agg(pl.col("weight").sum())
    kept = of.sort("weight", "head", descending=[True, False])["head"].head(max(0, room)).to_list()
    return sorted(kept, key=int)


def _attention(one: ImageRows, rows: pl.DataFrame, title: str, layers: Sequence[int], heads: Sequence[str]) -> Panel:
    places = rows.select("span", "index", *_CORNERS, "sink").unique(["span", "index"], maintain_order=True)
    order = (
        pl.DataFrame({"layer": list(layers)})
        .join(pl.DataFrame({"head": list(heads)}), how="cross")
        .with_row_index("at")
    )
    weights = (
        rows.join(order, on=["layer", "head"])
        .sort("at")
        .group_by("span", "index", maintain_order=True)
        .agg((100 * pl.col("weight")).alias("shown"))
    )
    found = places.join(weights, on=["span", "index"], maintain_order="left").with_columns(place=pl.col("index"))
    return Panel(title, one.pixels, one.boxes, found.select(*_CORNERS, "shown", "place", "sink"), crossed="sink")


_LENS_TITLES = {OUTPUT: "output head", INPUT: "input embeddings", CONTEXT: "words in texts"}


def lens_map(
    shown: Sequence[ImageRows],
    size: Size,
    asked: Asked | None = None,
    *,
    states: Sequence[int] = (),
    lens: str | None = None,
) -> Chart:
    """The word that each patch is closest to; those that stand in a caption are bold. At most three images or frames.

    On a screen the reader chooses the hidden state and how words are found; on paper three `states` stand side by
    side, or those that are named, in one line for each way, or for the one `lens` that is named. `rows`: table `lens`
    of one example.
    """
    shown = evenly(shown, MAX_READ)
    known = sorted({state for one in shown for state in one.rows["layer"]})
    lenses = [one for one in _LENS_TITLES if any(one in part.rows["lens"] for part in shown) and lens in (None, one)]
    if not lenses:
        found = f"there are {', '.join(_LENS_TITLES)}"
        raise ChiasmError(f"words by the lens `{lens}`", found, "Name one of these")
    fixed = _chosen("state", states, known) or (
        [] if size is SCREEN else evenly([one for one in known if one] or known, _depths(size))
    )
    state = Choice("state", "Hidden state", known, len(known) // 2)
    way = [Choice("lens", "Words by", [_LENS_TITLES[one] for one in lenses])] if len(lenses) > 1 else []
    choices = [] if fixed else [*way, state]
    lines = []
    for one in shown:
        picture = Panel(one.name, one.pixels, one.boxes)
        if fixed:
            lines += [
                [picture, *(_words(one, f"{_LENS_TITLES[way]}, state {k}", [way], [k]) for k in fixed)]
                for way in lenses
            ]
        else:
            lines.append([picture, _words(one, "nearest words", lenses, known)])
    what = "The hidden state (0 = embeddings) stands" if len(lenses) == 1 else "How, and the hidden state, stand"
    chosen = "" if fixed else f" {what} above; on a screen {'it is' if len(lenses) == 1 else 'they are'} chosen below."
    said = f"By {_either(lenses)}; bold: the word stands in a caption.{chosen} n = 1 example."
    title = "Which word is each patch of the image nearest to?"
    rows = (asked or Asked()).rows(lines)
    return picture_chart(rows, size, title=title, subtitle=said, choices=choices, wide=True)


def _either(lenses: Sequence[str]) -> str:
    names = {OUTPUT: "the final norm and the output head", INPUT: "rows of the input embeddings"}
    said = [names.get(one, "states of words in texts") for one in lenses]
    return said[0] if len(said) == 1 else f"{', '.join(said[:-1])}, or {said[-1]}"


def _words(one: ImageRows, title: str, lenses: Sequence[str], states: Sequence[int]) -> Panel:
    places = one.rows.select("position", *_CORNERS).unique("position", maintain_order=True)
    order = (
        pl.DataFrame({"lens": list(lenses)})
        .join(pl.DataFrame({"layer": list(states)}), how="cross")
        .with_row_index("at")
    )
    words = (
        one.rows.join(order, on=["lens", "layer"])
        .sort("at")
        .group_by("position", maintain_order=True)
        .agg(pl.col("word").alias("shown"), pl.col("in_captions").fill_null(value=False).alias("strong"))
    )
    found = places.join(words, on="position", maintain_order="left")
    return Panel(title, one.pixels, one.boxes, found.select(*_CORNERS, "shown", "strong"), strong="strong")


def _chosen(what: str, asked: Sequence[int], known: Sequence[int]) -> list[int]:
    """The depths that were named.

    **Errors:** `ChiasmError` for one that the run has not.
    """
    unknown = [one for one in asked if one not in known]
    if unknown:
        there = ", ".join(map(str, known))
        raise ChiasmError(f"draw {what} {unknown[0]}", f"this run has {what}s {there}", "Name some of those")
    return list(asked)


def _depths(size: Size) -> int:
    """How many layers stand side by side on paper."""
    return _IN_COLUMN if size.width < 400 else _DEPTHS


def evenly(found: Sequence[T], at_most: int) -> list[T]:
    """At most so many of them, the first and the last among them, in equal steps."""
    steps = {round(k * (len(found) - 1) / max(at_most - 1, 1)) for k in range(at_most)}
    return [found[k] for k in sorted(steps)]
