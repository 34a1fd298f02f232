"""Where a model looks: shares of attention by layer, attention and words over the image."""

from collections.abc import Sequence

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
from chiasm.results.figures.maps import show_image
from chiasm.results.figures.style import (
    COLOURS,
    INK,
    SIZES,
    Width,
    control_key,
    counted,
    draw,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    new_figure,
)
from chiasm.results.look_tables import OBJECT_SHARE, object_rows, spans_of
from chiasm.results.series import curve, in_order

_BAND = "mean and 95 % bootstrap interval"
_X = "Layer"
# One hue, so that it is read without colours too; white where there is nothing, so that the picture shows.
_MUCH = "PuBu"
_PANELS = 3


def attention_shares(shares: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """One panel per query: the share of its attention that each part of the sequence takes, twin dashed."""
    size = SIZES[width]
    queries, spans = in_order(shares, "query"), spans_of(shares)
    figure = new_figure(width, 2.4)
    panels = figure.subplots(1, len(queries), sharey=True, squeeze=False)[0]
    percent, handles, ns = pl.col("share") * 100, [], []
    for query, axes in zip(queries, panels, strict=True):
        for index, span in enumerate(spans):
            chosen = (pl.col("query") == query) & (pl.col("span") == span)
            rows = shares.filter(chosen)
            if not rows.height:
                continue
            measured = curve(rows, percent)
            line = draw(axes, measured, index, size, span)
            ns.append(measured.n)
            if query == queries[0]:
                handles.append(line)
            if controls is not None and controls.filter(chosen).height:
                draw_control(axes, curve(controls.filter(chosen), percent), COLOURS[index % len(COLOURS)], 0, size)
        axes.set_ylim(0, None)
        layer_axis(axes, int(shares["layer"].max() or 0), size.inches / len(queries))
        dress(axes, size, x=_X, y="Share of attention (%)" if axes is panels[0] else "", title=f"from {query}")
    if controls is not None:
        handles.append(control_key("random-weights twin", 0, size))
    legend_below(figure, handles, size, f"{_BAND}, {counted(ns)}")
    return figure


def object_share(shares: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "column") -> Figure:
    """How much of the image's attention falls on the object asked about, against its share of the image's tokens."""
    size = SIZES[width]
    figure = new_figure(width, 2.2)
    axes = figure.add_subplot()
    handles, ns = [], []
    for index, query in enumerate(in_order(shares, "query")):
        rows = object_rows(shares, query)
        if not rows.height:
            continue
        measured = curve(rows, OBJECT_SHARE)
        handles.append(draw(axes, measured, index, size, f"attention from {query}"))
        ns.append(measured.n)
        if controls is not None and (beside := object_rows(controls, query)).height:
            draw_control(axes, curve(beside, OBJECT_SHARE), COLOURS[index % len(COLOURS)], 0, size)
    area = 100 * float(rows.unique("example_id")["area"].mean() or 0)
    handles.append(
        axes.axhline(area, color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)), label="its share of the tokens")
    )
    if controls is not None:
        handles.append(control_key("random-weights twin", 0, size))
    axes.set_ylim(0, None)
    layer_axis(axes, int(shares["layer"].max() or 0), size.inches)
    dress(axes, size, x=_X, y="Of the image's attention,\nshare on the object (%)")
    legend_below(figure, handles, size, f"{_BAND}, {counted(ns)}")
    return figure


def attention_map(
    image: UInt8[np.ndarray, "h w 3"],
    rows: pl.DataFrame,
    boxes: Sequence[Box] = (),
    *,
    width: Width = "page",
) -> Figure:
    """The image beside the attention (mean over heads) that its patches get from one query, at three layers.

    `rows`: table `attention` of one example and query joined with its `places` (corners in pixels of `image`).
    """
    size = SIZES[width]
    layers = _spread(rows["layer"])
    figure, axes = _row_of_panels(image, len(layers) + 1, width)
    show_image(axes[0], image, boxes, size, "image")
    percent = rows["weight"] * 100
    norm = PowerNorm(0.5, 0, max(float(percent.max() or 0), 1e-9))
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) / 255
    for panel, layer in zip(axes[1:], layers, strict=True):
        part = rows.filter(pl.col("layer") == layer)
        show_image(panel, 1 - 0.45 * (1 - grey), boxes, size, f"layer {layer}")
        drawn = PatchCollection(_squares(part), cmap=_MUCH, norm=norm, alpha=0.75, linewidth=0)
        drawn.set_array((part["weight"] * 100).to_numpy())
        panel.add_collection(drawn)
        for x0, y0, x1, y1 in part.filter("sink").select("x0", "y0", "x1", "y1").rows():
            panel.plot((x0 + x1) / 2, (y0 + y1) / 2, marker="x", color="#D55E00", markersize=4)
    bar = figure.colorbar(drawn, ax=list(axes), shrink=0.97, pad=0.015, aspect=18)
    bar.solids.set_alpha(1)
    bar.set_label("Attention (%)", fontsize=size.text, color=INK)
    bar.ax.tick_params(labelsize=size.text - 0.5, colors=INK, width=0.6, length=2.5)
    bar.outline.set_linewidth(0.6)
    return figure


def lens_map(
    image: UInt8[np.ndarray, "h w 3"], rows: pl.DataFrame, boxes: Sequence[Box] = (), *, width: Width = "page"
) -> Figure:
    """The word that each patch is closest to, at three depths; those that stand in a caption are bold.

    `rows`: table `lens` of one example joined with its `places`.
    """
    size = SIZES[width]
    states = _spread(rows["layer"].filter(rows["layer"] > 0))
    figure, axes = _row_of_panels(image, len(states), width)
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2) / 255
    for panel, state in zip(axes, states, strict=True):
        show_image(panel, 1 - 0.35 * (1 - grey), boxes, size, f"hidden state {state}")
        part = rows.filter(pl.col("layer") == state)
        wide = float(np.median((part["x1"] - part["x0"]).to_numpy()))
        points = 72 * size.inches / len(states) * wide / image.shape[1]
        # A bold letter is about 0.65 of the font's size wide.
        text = float(np.clip(points / (0.65 * 6), 2.5, 6.5))
        fitting = max(2, int(points / (0.65 * text)))
        for x0, y0, x1, y1, word, told in part.select("x0", "y0", "x1", "y1", "word", "in_captions").rows():
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
    return figure


def caption_share(lens: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "column") -> Figure:
    """The share of the image's tokens whose nearest word stands in a caption, by depth, twin dashed."""
    size = SIZES[width]
    figure = new_figure(width, 2.1)
    axes = figure.add_subplot()
    told = pl.col("in_captions").cast(pl.Float64) * 100
    measured = curve(lens, told)
    handles = [draw(axes, measured, 0, size, "image tokens")]
    if controls is not None and controls.height:
        draw_control(axes, curve(controls, told), COLOURS[0], 0, size)
        handles.append(control_key("random-weights twin", 0, size))
    axes.set_ylim(0, None)
    layer_axis(axes, int(lens["layer"].max() or 0), size.inches)
    dress(axes, size, x="Hidden state (0: embeddings)", y="Nearest word in\na caption (%)")
    legend_below(figure, handles, size, f"{_BAND}, {counted([measured.n])}")
    return figure


def _short(word: str, fitting: int) -> str:
    """The word as it can be written: no mathematics, at most `fitting` letters, a dot for what the font lacks."""
    known = get_font(fontManager.findfont("DejaVu Sans"))
    clean = "".join(c if c.isprintable() and known.get_char_index(ord(c)) else "·" for c in word).replace("$", r"\$")
    return clean if len(clean) <= fitting else clean[: fitting - 1] + "…"


def _spread(layers: pl.Series) -> list[int]:
    """At most three of the layers: an early one, the middle, the last."""
    found = sorted(set(layers))
    return sorted({found[round(k * (len(found) - 1) / (_PANELS - 1))] for k in range(_PANELS)})


def _row_of_panels(image: np.ndarray, count: int, width: Width) -> tuple[Figure, Sequence[Axes]]:
    size = SIZES[width]
    panel = (size.inches - 0.75) / count
    figure = new_figure(width, panel * image.shape[0] / image.shape[1] + 2.6 * size.text / 72)
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _squares(rows: pl.DataFrame) -> list[Rectangle]:
    return [Rectangle((x0, y0), x1 - x0, y1 - y0) for x0, y0, x1, y1 in rows.select("x0", "y0", "x1", "y1").rows()]
