"""Maps: effects of image patches over the image, and effects of every window of layers."""

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Final

import numpy as np
import polars as pl
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
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
    _require_one(patches)
    change = patches.with_columns(shown=pl.col("logprob_cut") - pl.col("logprob_clean"))
    views = _views(change, "effect of each patch", alone=True)
    return _maps(image, views, boxes, (), (DIVERGING, "Change in\nlog-prob. (nat)"), width)


def patch_maps(
    image: UInt8[np.ndarray, "h w 3"],
    maps: Mapping[str, pl.DataFrame],
    boxes: Sequence[Box] = (),
    *,
    heading: Sequence[str] = (),
    width: Width = "page",
) -> Figure:
    """The image beside what each of its patches adds (nats) in every method, all on one scale of colours.

    `maps`: by title, the rows of one example in table `patches` with the column `value` of one method. `heading`: lines
    above, for the question and its answer.

    **Errors:** `ValueError` for rows of several examples or none, or without any method.
    """
    if not maps:
        raise ValueError("a patch map shows at least one method")
    for rows in maps.values():
        _require_one(rows)
    views = {
        title: rows
        for method, found in maps.items()
        for title, rows in _views(found.with_columns(shown="value"), method).items()
    }
    return _maps(image, views, boxes, heading, (f"{DIVERGING}_r", "Adds to the\nlog-prob. (nat)"), width)


def _require_one(rows: pl.DataFrame) -> None:
    if rows["example_id"].n_unique() != 1:
        raise ValueError(f"a patch map shows one example, found {rows['example_id'].n_unique()}")


def _views(rows: pl.DataFrame, name: str, alone: bool = False) -> dict[str, pl.DataFrame]:
    """The panels of one method by title: the whole image, and tiles where there are any. `alone`: of one method."""
    base = pl.col("tile") == "base"
    views = {"whole image": rows.filter(base), "tiles": rows.filter(~base)}
    views = {view: found for view, found in views.items() if found.height}
    if len(views) == 1:
        return {name: rows}
    return views if alone else {name: views["whole image"], f"{name}, tiles": views["tiles"]}


def _maps(
    image: UInt8[np.ndarray, "h w 3"],
    views: Mapping[str, pl.DataFrame],
    boxes: Sequence[Box],
    heading: Sequence[str],
    scale: tuple[str, str],
    width: Width,
) -> Figure:
    """The image and one panel for each of `views`, in the colours of their column `shown`; `scale`: colours, label."""
    size = SIZES[width]
    height, breadth = image.shape[:2]
    # In a column two panels abreast, or nothing in them could be told apart.
    columns = min(len(views) + 1, 2 if width == "column" and len(views) > 1 else 4)
    rows = -(-(len(views) + 1) // columns)
    # Panels keep the image's shape: the height that this needs, beside 0.75 in for the colour bar.
    panel = (size.inches - 0.75) / columns
    lines = [part for line in heading for part in wrap(writable(line), int(size.inches * 72 / (0.52 * size.text)))]
    above = len(lines) * 1.35 * size.text / 72
    figure = new_figure(width, rows * (panel * height / breadth + 2.6 * size.text / 72) + above)
    if lines:
        title = figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=size.text, color=INK)
        title.set_linespacing(1.25)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    # On a scale of its own a map without effects would show noise in full colours.
    largest = max(float(found["shown"].abs().max() or 0.0) for found in views.values())
    norm = Normalize(-max(largest, MIN_REACH), max(largest, MIN_REACH))
    colours, label = scale
    drawn = ScalarMappable(norm, colours)
    show_image(grid[0], image, boxes, size, "image")
    under = faded(image)
    for axes, (name, found) in zip(grid[1:], views.items(), strict=False):
        show_image(axes, under, boxes, size, name)
        colour_patches(axes, found, found["shown"], colours, norm)
        for x, y, w, h in unseen(found, breadth, height):
            axes.add_patch(Rectangle((x, y), w, h, fill=False, hatch="////", edgecolor=GREY, linewidth=0))
    for axes in grid[len(views) + 1 :]:
        axes.set_axis_off()
    colour_bar(figure, drawn, grid, label, size, **MAP_BAR)
    return figure


def writable(text: str) -> str:
    """The text as figures can write it: no mathematics, a dot for what the font lacks."""
    known = get_font(fontManager.findfont("DejaVu Sans"))
    clean = "".join(c if c.isprintable() and known.get_char_index(ord(c)) else "·" for c in text)
    return clean.replace("$", r"\$")


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
    clear = 0.02 * max(width, height)
    for box in boxes:
        # Clear of what it surrounds, which may be a few pixels wide.
        corner, sides = (box.x - clear, box.y - clear), (box.w + 2 * clear, box.h + 2 * clear)
        outline = Rectangle(corner, *sides, fill=False, edgecolor=_BOX, linewidth=1.0, zorder=5)
        outline.set_path_effects([withStroke(linewidth=2.0, foreground="white")])
        axes.add_patch(outline)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=size.text, color=INK, loc="left")
    axes.spines[:].set_color(GREY)
    axes.spines[:].set_linewidth(0.5)
