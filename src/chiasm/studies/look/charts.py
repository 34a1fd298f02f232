"""Shares of attention by layer, how often tokens say what is there, and both over images and frames."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from chiasm.core.example import Box
from chiasm.results.overlays import MAP_BAR, colour_patches, faded, show_image, writable
from chiasm.results.panels import Panels
from chiasm.results.series import Curve, curve, in_order
from chiasm.results.theme import INK, SIZES, colour_bar, new_figure
from chiasm.studies.look.shares import IN_CAPTIONS, OBJECT_SHARE, SHARE, object_rows, percent_of_tokens, top_level

T = TypeVar("T")
# One hue, so that it is read without colours too; white where there is nothing, so that the image shows.
_COLOURS = "PuBu"
_DEPTHS = 3
_MAX_INCHES = 1.35  # height of a panel, where several stand below each other
MAX_IMAGES, MAX_READ = 6, 3
"""Images that are drawn side by side, and those with words."""


def attention_shares(shares: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """One panel per query: the share of its attention that each part of the sequence takes; dashed: the baseline."""
    queries = in_order(shares, "query")
    panels = Panels(2.4, len(queries), sharey=True)
    for query, axes in zip(queries, panels.axes, strict=True):
        for index, span in enumerate(top_level(shares)):
            rows = shares.filter(query=query, span=span)
            if rows.height:
                beside = None if controls is None else controls.filter(query=query, span=span)
                panels.curve(axes, span, _percent_curve(rows, SHARE), _known(beside, SHARE), index=index)
        axes.set_ylim(0, None)
        y = "Share of attention (%)" if query == queries[0] else ""
        panels.dress(axes, x="Layer", y=y, title=f"from {query}", layers=shares)
    return _finished(panels, controls)


def object_share(shares: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """How much of the image's attention falls on the object asked about, against its share of the image's tokens."""
    panels = Panels(2.2, width="column")
    (axes,) = panels.axes
    for index, query in enumerate(in_order(shares, "query")):
        rows = object_rows(shares, query)
        if rows.height:
            beside = None if controls is None else object_rows(controls, query)
            own = _percent_curve(rows, OBJECT_SHARE)
            panels.curve(axes, f"attention from {query}", own, _known(beside, OBJECT_SHARE), index=index)
    area, label = percent_of_tokens(rows, "area"), "its share of the tokens"
    panels.handles[label] = axes.axhline(area, color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)), label=label)
    axes.set_ylim(0, None)
    panels.dress(axes, x="Layer", y="Of the image's attention,\nshare on the object (%)", layers=shares)
    return _finished(panels, controls)


def caption_share(lens: pl.DataFrame, controls: pl.DataFrame | None = None, *, about: str = "image") -> Figure:
    """The share of tokens of what is perceived (`about`) whose nearest word is in a caption; dashed: the baseline."""
    panels = Panels(2.1, width="column")
    (axes,) = panels.axes
    panels.curve(axes, f"{about} tokens", _percent_curve(lens, IN_CAPTIONS), _known(controls, IN_CAPTIONS))
    axes.set_ylim(0, None)
    panels.dress(axes, x="Hidden state (0: embeddings)", y="Nearest word in\na caption (%)", layers=lens)
    return _finished(panels, controls)


def _known(rows: pl.DataFrame | None, value: pl.Expr) -> Curve | None:
    """The curve of a control, where there is one."""
    return None if rows is None or not rows.height else _percent_curve(rows, value)


def _percent_curve(rows: pl.DataFrame, value: pl.Expr) -> Curve:
    """Of a share in %, whose interval lies within 0 and 100 whatever the spread of a few inputs says."""
    found = curve(rows, value)
    return replace(found, low=np.clip(found.low, 0, 100), high=np.clip(found.high, 0, 100))


def _finished(panels: Panels, controls: pl.DataFrame | None) -> Figure:
    beside = [] if controls is None or not controls.height else ["random-weights baseline"]
    return panels.legend(f"mean and 95 % interval over all layers at once, {panels.counted}", *beside)


class ImageRows(NamedTuple):
    """An image or a frame, and the table's rows about it joined with their `places` (in its own pixels)."""

    name: str
    pixels: UInt8[np.ndarray, "h w 3"]
    boxes: tuple[Box, ...]
    rows: pl.DataFrame


def attention_map(shown: Sequence[ImageRows]) -> Figure:
    """The attention (mean over heads) that patches get from one query, at three layers, over one or more images.

    One image stands beside its layers; several stand side by side above theirs, at most six of them. `rows`: table
    `attention` of one example and query.
    """
    size, shown = SIZES["page"], evenly(shown, MAX_IMAGES)
    layers = evenly(sorted({layer for one in shown for layer in one.rows["layer"]}), _DEPTHS)
    figure, cells = _cells(shown, 1 + len(layers))
    peak = max(float(one.rows["weight"].max() or 0) for one in shown)
    norm = PowerNorm(0.5, 0, max(100 * peak, 1e-9))
    for one, column in zip(shown, cells, strict=True):
        show_image(column[0], one.pixels, one.boxes, size, one.name)
        under = faded(one.pixels)
        for panel, layer in zip(column[1:], layers, strict=True):
            part = one.rows.filter(layer=layer)
            show_image(panel, under, one.boxes, size, "")
            drawn = colour_patches(panel, part, part["weight"] * 100, _COLOURS, norm)
            for x0, y0, x1, y1 in part.filter("sink").select("x0", "y0", "x1", "y1").rows():
                panel.plot((x0 + x1) / 2, (y0 + y1) / 2, marker="x", color="#D55E00", markersize=4)
    _name_depths(cells, ["", *(f"layer {layer}" for layer in layers)], size.text)
    every = [axes for column in cells for axes in column]
    colour_bar(figure, drawn, every, "Attention (%)", size, **MAP_BAR | {"aspect": 18 if len(shown) == 1 else 40})
    return figure


def lens_map(shown: Sequence[ImageRows]) -> Figure:
    """The word that each patch is closest to, at three depths; those that stand in a caption are bold.

    At most three images or frames. `rows`: table `lens` of one example.
    """
    size, shown = SIZES["page"], evenly(shown, MAX_READ)
    known = sorted({layer for one in shown for layer in one.rows["layer"]})
    states = evenly([state for state in known if state > 0] or known, _DEPTHS)
    figure, cells = _cells(shown, len(states))
    across = len(states) if len(shown) == 1 else len(shown)
    for one, column in zip(shown, cells, strict=True):
        under, pixel = faded(one.pixels, 0.35), 72 * size.inches / across / one.pixels.shape[1]
        for panel, state in zip(column, states, strict=True):
            name = one.name if len(shown) > 1 and panel is column[0] else ""
            show_image(panel, under, one.boxes, size, name)
            _write(panel, one.rows.filter(layer=state), pixel)
    _name_depths(cells, [f"hidden state {state}" for state in states], size.text)
    return figure


def evenly(found: Sequence[T], at_most: int) -> list[T]:
    """At most so many of them, the first and the last among them, in equal steps."""
    steps = {round(k * (len(found) - 1) / max(at_most - 1, 1)) for k in range(at_most)}
    return [found[k] for k in sorted(steps)]


def _write(panel: Axes, rows: pl.DataFrame, points: float) -> None:
    """Every word over its patch; `points`: of a pixel of the image."""
    wide = points * float(np.median((rows["x1"] - rows["x0"]).to_numpy()))
    # A bold letter is about 0.65 of the font's size wide.
    text = float(np.clip(wide / (0.65 * 6), 2.5, 6.5))
    letters = max(2, int(wide / (0.65 * text)))
    for x0, y0, x1, y1, word, in_captions in rows.select("x0", "y0", "x1", "y1", "word", "in_captions").rows():
        panel.text(
            (x0 + x1) / 2,
            (y0 + y1) / 2,
            _short(word, letters),
            ha="center",
            va="center",
            fontsize=text,
            color=INK,
            fontweight="bold" if in_captions else "normal",
            path_effects=[withStroke(linewidth=1.2, foreground="white")],
        )


def _short(word: str, letters: int) -> str:
    """The word as it can be written: no mathematics, at most so many `letters`, a dot for what the font lacks."""
    clean = writable(word)
    return clean if len(clean) <= letters else clean[: letters - 1] + "…"


def _cells(shown: Sequence[ImageRows], depths: int) -> tuple[Figure, list[list[Axes]]]:
    """The panels of every image, by depth: beside each other for one, below each other for several."""
    size, one = SIZES["page"], len(shown) == 1
    rows, columns = (1, depths) if one else (depths, len(shown))
    panel = (size.inches - 0.75) / columns
    panel = panel if one else min(panel, _MAX_INCHES)
    shape = max(s.pixels.shape[0] / s.pixels.shape[1] for s in shown)
    figure = new_figure("page", rows * panel * shape + (2.6 if one else 3.5) * size.text / 72)
    grid = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(grid[0])] if one else [list(column) for column in grid.T]


def _name_depths(cells: Sequence[Sequence[Axes]], names: Sequence[str], text: float) -> None:
    for panel, name in zip(cells[0], names, strict=True):
        if len(cells) > 1:
            panel.set_ylabel(name, fontsize=text, color=INK)
        elif name:
            panel.set_title(name, fontsize=text, color=INK, loc="left")
