"""Attention and words over pictures and frames."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from chiasm.core.example import Box
from chiasm.results.overlays import show_image
from chiasm.results.theme import INK, SIZES, Width, new_figure

# One hue, so that it is read without colours too; white where there is nothing, so that the picture shows.
_MUCH = "PuBu"
_DEPTHS = 3
_TALL = 1.35  # inches of a panel at most, where several stand below each other
MOST, MOST_READ = 6, 3
"""Pictures that are drawn side by side, and those with words."""


T = TypeVar("T")


class Shown(NamedTuple):
    """A picture or a frame, and the table's rows about it joined with their `places` (in its own pixels)."""

    name: str
    pixels: UInt8[np.ndarray, "h w 3"]
    boxes: tuple[Box, ...]
    rows: pl.DataFrame


def attention_map(shown: Sequence[Shown], *, width: Width = "page") -> Figure:
    """The attention (mean over heads) that patches get from one query, at three layers, over one or more pictures.

    One picture stands beside its layers; several stand side by side above theirs, at most six of them. `rows`: table
    `attention` of one example and query.
    """
    size, shown = SIZES[width], spread(shown, MOST)
    layers = spread(sorted({layer for one in shown for layer in one.rows["layer"]}), _DEPTHS)
    figure, cells = _cells(shown, 1 + len(layers), width)
    peak = max(float(one.rows["weight"].max() or 0) for one in shown)
    norm = PowerNorm(0.5, 0, max(100 * peak, 1e-9))
    for one, column in zip(shown, cells, strict=True):
        show_image(column[0], one.pixels, one.boxes, size, one.name)
        for panel, layer in zip(column[1:], layers, strict=True):
            part = one.rows.filter(pl.col("layer") == layer)
            show_image(panel, 1 - 0.45 * (1 - _grey(one.pixels)), one.boxes, size, "")
            drawn = PatchCollection(_squares(part), cmap=_MUCH, norm=norm, alpha=0.75, linewidth=0)
            drawn.set_array((part["weight"] * 100).to_numpy())
            panel.add_collection(drawn)
            for x0, y0, x1, y1 in part.filter("sink").select("x0", "y0", "x1", "y1").rows():
                panel.plot((x0 + x1) / 2, (y0 + y1) / 2, marker="x", color="#D55E00", markersize=4)
    _name_depths(cells, ["", *(f"layer {layer}" for layer in layers)], size.text)
    bar = figure.colorbar(
        drawn,
        ax=[axes for column in cells for axes in column],
        shrink=0.97,
        pad=0.015,
        aspect=18 if len(shown) == 1 else 40,
    )
    bar.solids.set_alpha(1)
    bar.set_label("Attention (%)", fontsize=size.text, color=INK)
    bar.ax.tick_params(labelsize=size.text - 0.5, colors=INK, width=0.6, length=2.5)
    bar.outline.set_linewidth(0.6)
    return figure


def lens_map(shown: Sequence[Shown], *, width: Width = "page") -> Figure:
    """The word that each patch is closest to, at three depths; those that stand in a caption are bold.

    At most three pictures or frames. `rows`: table `lens` of one example.
    """
    size, shown = SIZES[width], spread(shown, MOST_READ)
    states = spread(sorted({layer for one in shown for layer in one.rows["layer"] if layer > 0}), _DEPTHS)
    figure, cells = _cells(shown, len(states), width)
    across = len(states) if len(shown) == 1 else len(shown)
    for one, column in zip(shown, cells, strict=True):
        for panel, state in zip(column, states, strict=True):
            name = one.name if len(shown) > 1 and panel is column[0] else ""
            show_image(panel, 1 - 0.35 * (1 - _grey(one.pixels)), one.boxes, size, name)
            _write(panel, one.rows.filter(pl.col("layer") == state), 72 * size.inches / across / one.pixels.shape[1])
    _name_depths(cells, [f"hidden state {state}" for state in states], size.text)
    return figure


def spread(found: Sequence[T], most: int) -> list[T]:
    """At most so many of them, the first and the last among them, in equal steps."""
    steps = {round(k * (len(found) - 1) / max(most - 1, 1)) for k in range(most)}
    return [found[k] for k in sorted(steps)]


def _write(panel: Axes, rows: pl.DataFrame, points: float) -> None:
    """Every word over its patch; `points`: of a pixel of the picture."""
    wide = points * float(np.median((rows["x1"] - rows["x0"]).to_numpy()))
    # A bold letter is about 0.65 of the font's size wide.
    text = float(np.clip(wide / (0.65 * 6), 2.5, 6.5))
    fitting = max(2, int(wide / (0.65 * text)))
    for x0, y0, x1, y1, word, told in rows.select("x0", "y0", "x1", "y1", "word", "in_captions").rows():
        panel.text(
            (x0 + x1) / 2,
            (y0 + y1) / 2,
            _short(word, fitting),
            ha="center",
            va="center",
            fontsize=text,
            color=INK,
            fontweight="bold" if told else "normal",
            path_effects=[withStroke(linewidth=1.2, foreground="white")],
        )


def _short(word: str, fitting: int) -> str:
    """The word as it can be written: no mathematics, at most `fitting` letters, a dot for what the font lacks."""
    known = get_font(fontManager.findfont("DejaVu Sans"))
    clean = "".join(c if c.isprintable() and known.get_char_index(ord(c)) else "·" for c in word).replace("$", r"\$")
    return clean if len(clean) <= fitting else clean[: fitting - 1] + "…"


def _cells(shown: Sequence[Shown], depths: int, width: Width) -> tuple[Figure, list[list[Axes]]]:
    """The panels of every picture, by depth: beside each other for one, below each other for several."""
    size, one = SIZES[width], len(shown) == 1
    rows, columns = (1, depths) if one else (depths, len(shown))
    panel = (size.inches - 0.75) / columns if one else min((size.inches - 0.75) / columns, _TALL)
    shape = max(s.pixels.shape[0] / s.pixels.shape[1] for s in shown)
    figure = new_figure(width, rows * panel * shape + (2.6 if one else 3.5) * size.text / 72)
    grid = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(grid[0])] if one else [list(column) for column in grid.T]


def _name_depths(cells: Sequence[Sequence[Axes]], names: Sequence[str], text: float) -> None:
    for panel, name in zip(cells[0], names, strict=True):
        if len(cells) > 1:
            panel.set_ylabel(name, fontsize=text, color=INK)
        elif name:
            panel.set_title(name, fontsize=text, color=INK, loc="left")


def _grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2) / 255


def _squares(rows: pl.DataFrame) -> list[Rectangle]:
    return [Rectangle((x0, y0), x1 - x0, y1 - y0) for x0, y0, x1, y1 in rows.select("x0", "y0", "x1", "y1").rows()]
