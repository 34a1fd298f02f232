"""Weights in common: how far the masks that Wanda finds on two spans overlap, beside what must be exceeded."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chiasm.results.panels import Panels
from chiasm.results.series import Curve, in_order
from chiasm.results.theme import COLOURS, GREY, INK, SIZES, control_key, draw_control, dress, new_figure
from chiasm.studies.align.charts.panels import (
    BASELINE,
    NO_INTERVAL,
    control_label,
    control_names,
    has_intervals,
    pooled_curve,
)

_NULLS = {"null_permuted": "shuffled norms", "null_magnitude": "magnitude alone", "null_random": "random masks"}
_NUMBERED = 8
"""Up to so many spans the overlaps are written into the cells; beyond, only the colour bar gives them."""


def overlap_curves(
    rows: pl.DataFrame, released: pl.DataFrame | None = None, controls: pl.DataFrame | None = None
) -> Figure:
    """Overlap of the masks of two spans by layer, mean over matrices, with its nulls; one panel per sparsity.

    `controls`: the same of the random-weights baseline and of random tokens, drawn as lines of their own.
    """
    sparsities = in_order(rows, "sparsity")
    panels = Panels(2.3, len(sparsities), sharey=True)

    def dashed(axes: Axes, label: str, curve: Curve, colour: str, dash: int) -> None:
        draw_control(axes, curve, colour, dash, panels.size)
        key = control_key(label, dash, panels.size)
        key.set_color(colour)
        panels.handles.setdefault(label, key)

    for sparsity, axes in zip(sparsities, panels.axes, strict=True):
        own = rows.filter(sparsity=sparsity)
        panels.curve(axes, "masks of either span", pooled_curve(own, "iou"), index=0)
        for dash, (null, label) in enumerate(_NULLS.items()):
            dashed(axes, f"null: {label}", pooled_curve(own, null), GREY, dash)
        if (known := own.drop_nulls("ceiling")).height:
            panels.curve(axes, "ceiling: halves of one span", pooled_curve(known, "ceiling"), index=2)
        if released is not None:
            padded = pooled_curve(released.filter(sparsity=sparsity), "iou")
            panels.curve(axes, "as released: padding counted", padded, index=1)
        for dash, name in enumerate(control_names(controls), start=len(_NULLS)):
            assert controls is not None
            beside = controls.filter(sparsity=sparsity, control=name)
            if beside.height:
                dashed(axes, control_label(name), pooled_curve(beside, "iou"), COLOURS[0], dash)
        axes.set_ylim(0, 1)
        y = "Overlap of kept weights (IoU)" if sparsity == sparsities[0] else ""
        panels.dress(axes, x="Block", y=y, title=f"{100 * sparsity:.0f} % left out", layers=rows)
    tokens = f"{rows['tokens_a'].max():,} and {rows['tokens_b'].max():,} tokens of n = {rows['n'].min()} examples"
    bounds = "mean bounds of 95 % intervals" if has_intervals(rows) else NO_INTERVAL
    return panels.legend(f"mean over matrices, {bounds}; norms from {tokens}")


def overlap_matrix(rows: pl.DataFrame, baseline: pl.DataFrame | None = None) -> Figure:
    """Overlap of masks of half the weights, mean over matrices and layers, of every two spans, beside two nulls.

    `baseline`: the same table of the model with random weights; without it the last panel is what random masks give.
    Numbers stand in the cells while there are few enough spans to read them.
    """
    size = SIZES["page"]
    rows = rows.filter(sparsity=0.5)
    names = list(dict.fromkeys([*in_order(rows, "a"), *in_order(rows, "b")]))
    drawn = [(rows, "iou", "masks of either"), *((rows, null, f"null: {label}") for null, label in _NULLS.items())]
    if baseline is not None:
        drawn[-1] = (baseline.filter(sparsity=0.5), "iou", f"control: {BASELINE}")
    # Cells are square, so the height follows from what labels and colour bar leave of the width.
    label = 0.5 * size.text / 72 * max(len(name) for name in names)
    figure = new_figure("page", 2 * (size.inches - label - 1.1) / 2 + 0.9 * label + 0.6)
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
    bar.set_label(f"IoU, mean over {matrices} matrices{_rests_on(rows)}", fontsize=size.text)
    return figure


def _rests_on(rows: pl.DataFrame) -> str:
    """The widest interval of a cell, its number of examples and of tokens, for the label of the colour bar."""
    cells = rows.group_by("a", "b").agg(((pl.col("high") - pl.col("low")) / 2).mean().alias("half"))
    known = cells["half"].drop_nulls()
    widest = f"95 % intervals within ± {float(known.max() or 0.0):.2f}" if len(known) else "no interval"
    fewest = min(int(rows["tokens_a"].min() or 0), int(rows["tokens_b"].min() or 0))
    return f";\n{widest}, n = {rows['n'].min()} examples, {fewest:,} tokens at least"
