"""The alignment paper's Figure 22: weights in common, of every two spans and by layer, beside nulls and the twin."""

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.results.series import Curve, in_order
from chiasm.results.theme import (
    COLOURS,
    INK,
    SIZES,
    Width,
    control_key,
    draw,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    new_figure,
)
from chiasm.studies.paper.charts import TWIN, spread

_NUMBERED = 8
"""Up to so many spans the overlaps are written into the cells; the colour bar tells them beyond."""


def twenty_two(
    rows: pl.DataFrame, twin: pl.DataFrame | None = None, sparsity: float = 0.5, *, width: Width = "page"
) -> Figure:
    """Overlap of masks, mean over matrices and layers, of every two spans, beside two nulls and the random twin.

    `twin`: the same table of the model with random weights; without it the last panel is what random masks give.
    Numbers stand in the cells while there are few enough spans to read them.
    """
    size = SIZES[width]
    rows = rows.filter(pl.col("sparsity") == sparsity)
    names = list(dict.fromkeys([*in_order(rows, "a"), *in_order(rows, "b")]))
    drawn = [
        (rows, "iou", "masks of either"),
        (rows, "null_permuted", "null: shuffled norms"),
        (rows, "null_magnitude", "null: magnitude alone"),
        (rows, "null_random", "null: random masks"),
    ]
    if twin is not None:
        drawn[-1] = (twin.filter(pl.col("sparsity") == sparsity), "iou", f"control: {TWIN}")
    # Cells are square, so the height follows from what labels and colour bar leave of the width.
    label = 0.5 * size.text / 72 * max(len(name) for name in names)
    figure = new_figure(width, 2 * (size.inches - label - 1.1) / 2 + 0.9 * label + 0.6)
    panels = figure.subplots(2, 2, sharex=True, sharey=True).flatten()
    image = None
    for axes, (shown, column, title) in zip(panels, drawn, strict=True):
        found = np.full((len(names), len(names)), np.nan)
        for a, b, value in shown.group_by("a", "b").agg(pl.col(column).mean()).iter_rows():
            if a in names and b in names:
                i, j = names.index(a), names.index(b)
                found[i, j] = found[j, i] = value
        image = axes.imshow(found, vmin=0.33, vmax=1, cmap="cividis")
        for (i, j), value in np.ndenumerate(found if len(names) <= _NUMBERED else found[:0]):
            if not np.isnan(value):
                colour = "white" if value < 0.7 else INK
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=size.text - 2.5, color=colour)
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names)
        dress(axes, size, title=title)
        axes.spines[:].set_visible(False)
    assert image is not None
    bar = figure.colorbar(image, ax=list(panels), shrink=0.8)
    bar.ax.tick_params(labelsize=size.text - 1)
    matrices = rows.select("layer", "matrix").n_unique()
    bar.set_label(f"IoU, mean over {matrices} matrices{_spread(rows)}", fontsize=size.text)
    return figure


def _spread(rows: pl.DataFrame) -> str:
    """The widest interval of a cell, its number of examples and of tokens, as the label of the colour bar."""
    cells = rows.group_by("a", "b").agg(((pl.col("high") - pl.col("low")) / 2).mean().alias("half"))
    known = cells["half"].drop_nulls()
    widest = f"95 % intervals within ± {float(known.max() or 0.0):.2f}" if len(known) else "no interval"
    fewest = min(int(rows["tokens_a"].min() or 0), int(rows["tokens_b"].min() or 0))
    return f";\n{widest}, n = {rows['n'].min()} examples, {fewest:,} tokens at least"


def twenty_two_layers(
    rows: pl.DataFrame, twin: pl.DataFrame | None = None, sparsity: float = 0.5, *, width: Width = "page"
) -> Figure:
    """Overlap of masks by layer, one panel per kind of matrix, between nulls and ceiling; dashed: the random twin."""
    size = SIZES[width]
    rows = rows.filter(pl.col("sparsity") == sparsity)
    kinds = in_order(rows, "matrix")
    columns = min(4, len(kinds))
    lines = -(-len(kinds) // columns)
    figure = new_figure(width, 1.5 * lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    drawn = (
        ("iou", 0, "masks of either"),
        ("ceiling", 2, "ceiling: halves of one span"),
        ("null_permuted", 1, "null: shuffled norms"),
        ("null_magnitude", 4, "null: magnitude"),
        ("null_random", 6, "null: random"),
    )
    handles: list[Line2D] = []
    for axes, kind in zip(panels.flat, kinds, strict=False):
        own = rows.filter(pl.col("matrix") == kind)
        # A model read on few examples has no ceiling; an empty line would still stand in the legend.
        present = [one for one in drawn if own[one[0]].null_count() < own.height]
        handles = [draw(axes, _over_pairs(own, column), k, size, label) for column, k, label in present]
        if twin is not None:
            beside = twin.filter((pl.col("sparsity") == sparsity) & (pl.col("matrix") == kind))
            draw_control(axes, _over_pairs(beside, "iou"), COLOURS[0], 0, size)
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / columns)
        dress(axes, size, title=kind.rpartition(".")[2])
    for axes in list(panels.flat)[len(kinds) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("IoU", fontsize=size.text, color=INK)
    for axes in panels[-1]:
        axes.set_xlabel("Layer", fontsize=size.text, color=INK)
    keys = [] if twin is None else [control_key(f"control: {TWIN}", 0, size)]
    pairs = rows.select("a", "b").unique().height
    told = f"{100 * sparsity:.0f} % left out; mean over {pairs} pair{'s' * (pairs > 1)} of spans;"
    legend_below(
        figure, [*handles, *keys], size, f"{told} mean bounds of 95 % intervals, n = {rows['n'].min()} examples"
    )
    return figure


def _over_pairs(rows: pl.DataFrame, column: str) -> Curve:
    """The mean over pairs of spans; nulls and ceiling have no interval."""
    low, high = ("low", "high") if column == "iou" else (column, column)
    return spread(rows.select("layer", "n", pl.col(column).alias("mean"), low=low, high=high))
