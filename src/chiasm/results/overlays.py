"""Maps: effects of image patches over the image, and effects of every window of layers."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from chiasm.core.example import Box
from chiasm.results.theme import DIVERGING, GREY, INK, SIZES, Size, Width, colour_bar, new_figure

_BOX = "#D55E00"
MIN_REACH = 0.1
"""Nats at the ends of the colour scale, unless an effect is larger: less is hardly a change."""
MAP_BAR: Final = {"shrink": 0.97, "pad": 0.015, "aspect": 18}
_UNDER = 0.45  # how strongly the image shows through the colours


def patch_map(
    image: UInt8[np.ndarray, "h w 3"], patches: pl.DataFrame, boxes: Sequence[Box] = (), *, width: Width = "page"
) -> Figure:
    """The image beside the effect (nats) of cutting each of its patches alone, on one example.

    `patches` holds the rows of that example in table `patches`. Tiles of higher resolution get a panel of their own.

    **Errors:** `ValueError` for rows of several examples or none.
    """
    if patches["example_id"].n_unique() != 1:
        raise ValueError(f"a patch map shows one example, found {patches['example_id'].n_unique()}")
    size = SIZES[width]
    base = pl.col("tile") == "base"
    views = {"whole image": patches.filter(base), "tiles": patches.filter(~base)}
    views = {name: rows for name, rows in views.items() if rows.height}
    height, breadth = image.shape[:2]
    # Panels keep the image's shape: the height that this needs, beside 0.75 in for the colour bar.
    panel = (size.inches - 0.75) / (len(views) + 1)
    figure = new_figure(width, panel * height / breadth + 2.6 * size.text / 72)
    grid = figure.subplots(1, len(views) + 1, squeeze=False)[0]
    change = patches["logprob_cut"] - patches["logprob_clean"]
    # On a scale of its own a map without effects would show noise in full colours.
    reach = max(float(change.abs().max() or 0.0), MIN_REACH)
    norm = Normalize(-reach, reach)
    show_image(grid[0], image, boxes, size, "image")
    under = faded(image)
    for axes, (name, rows) in zip(grid[1:], views.items(), strict=True):
        show_image(axes, under, boxes, size, name if len(views) > 1 else "effect of each patch")
        drawn = colour_patches(axes, rows, rows["logprob_cut"] - rows["logprob_clean"], DIVERGING, norm)
        for x, y, w, h in unseen(rows, breadth, height):
            axes.add_patch(Rectangle((x, y), w, h, fill=False, hatch="////", edgecolor=GREY, linewidth=0))
    colour_bar(figure, drawn, list(grid), "Change in\nlog-prob. (nat)", size, **MAP_BAR)
    return figure


def unseen(rows: pl.DataFrame, width: float, height: float) -> list[tuple[float, float, float, float]]:
    """The strips (x, y, w, h) of an image that no patch looks at, where the model's processor crops it."""
    x0, y0 = max(0.0, float(rows["x0"].min() or 0)), max(0.0, float(rows["y0"].min() or 0))
    x1, y1 = min(width, float(rows["x1"].max() or 0)), min(height, float(rows["y1"].max() or 0))
    strips = [(0, 0, x0, height), (x1, 0, width - x1, height), (x0, 0, x1 - x0, y0), (x0, y1, x1 - x0, height - y1)]
    return [s for s in strips if s[2] > 0.01 * width and s[3] > 0.01 * height]


def faded(image: UInt8[np.ndarray, "h w 3"], strength: float = _UNDER) -> Float[np.ndarray, "h w 3"]:
    """The image in grey, as far as `strength`, for colours or words to stand over it."""
    return 1 - strength * (1 - np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) / 255)


def colour_patches(
    axes: Axes, patches: pl.DataFrame, values: pl.Series, colours: str, norm: Normalize
) -> PatchCollection:
    """Every patch (corners `x0`, `y0`, `x1`, `y1`) in the colour of its value, the image showing through."""
    corners = patches.select("x0", "y0", "x1", "y1").rows()
    squares = [Rectangle((x0, y0), x1 - x0, y1 - y0) for x0, y0, x1, y1 in corners]
    drawn = PatchCollection(squares, cmap=colours, norm=norm, alpha=0.75, linewidth=0)
    drawn.set_array(values.to_numpy())
    axes.add_collection(drawn)
    return drawn


def show_image(axes: Axes, image: np.ndarray, boxes: Sequence[Box], size: Size, title: str) -> None:
    """The image in its own pixels, boxes around what was asked about, no ticks."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0), interpolation="nearest", aspect="equal")
    for box in boxes:
        outline = Rectangle((box.x, box.y), box.w, box.h, fill=False, edgecolor=_BOX, linewidth=1.2, zorder=5)
        outline.set_path_effects([withStroke(linewidth=2.6, foreground="white")])
        axes.add_patch(outline)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=size.text, color=INK, loc="left")
    axes.spines[:].set_color(GREY)
    axes.spines[:].set_linewidth(0.5)
