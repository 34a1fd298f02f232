"""Weights in common: how far the masks that Wanda finds on two spans overlap, beside what must be exceeded."""

import polars as pl

from chiasm.results.charts.grid import Cell, Shades, Sides, grid_chart
from chiasm.results.charts.lines import Axes, Chart, Line, line_chart
from chiasm.results.charts.theme import Size
from chiasm.results.series import in_order
from chiasm.studies.align.charts.panels import (
    BASELINE,
    NO_INTERVAL,
    control_label,
    control_names,
    has_intervals,
    pooled_curve,
)

_NULLS = {"null_permuted": "shuffled norms", "null_magnitude": "magnitude alone", "null_random": "random masks"}
_BY_TASK = "Do question types, and the kinds within them, use the same weights?"
_MASKS = "masks of the two spans"


def overlap_curves(
    rows: pl.DataFrame, released: pl.DataFrame | None, controls: pl.DataFrame | None, size: Size
) -> Chart:
    """Overlap of the masks of two spans by layer, mean over matrices, with its nulls; one panel per sparsity.

    `controls`: the same of the random-weights baseline and of random tokens.
    """
    lines = []
    for sparsity in in_order(rows, "sparsity"):
        own, panel = rows.filter(sparsity=sparsity), f"{100 * sparsity:.0f} % left out"
        lines.append(Line(_MASKS, pooled_curve(own, "iou"), 0, panel=panel))
        lines += [Line(_MASKS, pooled_curve(own, null), 0, label, panel) for null, label in _NULLS.items()]
        for name in control_names(controls):
            assert controls is not None
            beside = controls.filter(sparsity=sparsity, control=name)
            if beside.height:
                lines.append(Line(_MASKS, pooled_curve(beside, "iou"), 0, control_label(name), panel))
        if (known := own.drop_nulls("ceiling")).height:
            lines.append(Line("ceiling: halves of one span", pooled_curve(known, "ceiling"), 2, panel=panel))
        if released is not None:
            padded = pooled_curve(released.filter(sparsity=sparsity), "iou")
            lines.append(Line("as released: padding counted", padded, 1, panel=panel))
    tokens = f"{rows['tokens_a'].max():,} and {rows['tokens_b'].max():,} tokens of n = {rows['n'].min()} examples"
    bounds = "bands: mean bounds of 95 % intervals" if has_intervals(rows) else NO_INTERVAL
    subtitle = f"Lines: means over matrices; {bounds}; norms from {tokens}."
    axes = Axes("Block", "Overlap of kept weights (IoU)", limits=(0.0, 1.0))
    title = f"Do {rows['a'][0]} and {rows['b'][0]} use the same weights?"
    return line_chart(lines, axes, size, title=title, subtitle=subtitle, columns=3)


def overlap_matrix(rows: pl.DataFrame, baseline: pl.DataFrame | None, size: Size, *, title: str = _BY_TASK) -> Chart:
    """Overlap of masks of half the weights, mean over matrices and layers, of every two spans, beside two nulls.

    `baseline`: the same table of the model with random weights; without it the last panel is what random masks give.
    """
    rows = rows.filter(sparsity=0.5)
    names = list(dict.fromkeys([*in_order(rows, "a"), *in_order(rows, "b")]))
    drawn = [(rows, "iou", "masks of either"), *((rows, null, f"null: {label}") for null, label in _NULLS.items())]
    if baseline is not None:
        drawn[-1] = (baseline.filter(sparsity=0.5), "iou", f"control: {BASELINE}")
    cells = [cell for shown, column, panel in drawn for cell in _cells(shown, column, panel, names)]
    matrices = rows.select("layer", "matrix").n_unique()
    subtitle = (
        f"Cells: overlap of the half of the weights that is kept, mean over {matrices} matrices; {_rests_on(rows)}."
    )
    shades = Shades("overlap (IoU)", limits=(0.33, 1.0), written=".2f")
    return grid_chart(cells, shades, Sides("", "", square=True), size, title=title, subtitle=subtitle, columns=2)


def _cells(rows: pl.DataFrame, column: str, panel: str, names: list[str]) -> list[Cell]:
    """Every two spans in both orders; NaN where they were not compared, so that all panels have all rows."""
    bounds = ("low", "high") if column == "iou" else (column, column)
    means = (pl.col(c).mean().alias(name) for c, name in zip((column, *bounds), ("mean", "low", "high"), strict=True))
    found = {
        (a, b): (mean, low, high, n)
        for a, b, mean, low, high, n in rows.group_by("a", "b").agg(*means, pl.col("n").min()).iter_rows()
    }
    nothing = float("nan")
    cells = []
    for a in names:
        for b in names:
            mean, low, high, n = found.get((a, b)) or found.get((b, a)) or (nothing, nothing, nothing, None)
            known = column == "iou" and low is not None
            cells.append(Cell(a, b, mean, low if known else nothing, high if known else nothing, n, panel))
    return cells


def _rests_on(rows: pl.DataFrame) -> str:
    """The widest interval of a cell, its number of examples and of tokens."""
    cells = rows.group_by("a", "b").agg(((pl.col("high") - pl.col("low")) / 2).mean().alias("half"))
    known = cells["half"].drop_nulls()
    widest = f"95 % intervals within ± {float(known.max() or 0.0):.2f}" if len(known) else "no interval"
    fewest = min(int(rows["tokens_a"].min() or 0), int(rows["tokens_b"].min() or 0))
    return f"{widest}, n = {rows['n'].min()} examples, {fewest:,} tokens at least"
