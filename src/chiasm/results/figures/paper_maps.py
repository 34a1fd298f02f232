"""The alignment paper's cones, its scatter of score and performance, and its tables of weights in common."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.core.correlation import correlate
from chiasm.results.figures.align import INTERVAL, STATE
from chiasm.results.figures.compare import LEAST
from chiasm.results.figures.paper import TWIN, cosines, perceptual, spread
from chiasm.results.figures.style import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    SIZES,
    Size,
    Width,
    control_key,
    counted,
    draw,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    marked,
    new_figure,
)
from chiasm.results.series import in_order

_HALF = " [first half]"


def two(rows: pl.DataFrame, places: pl.DataFrame, model: str, twin: str | None, *, width: Width = "page") -> Figure:
    """How near kinds of tokens are to their own kind and to others, over pairs of examples (left); t-SNE (right)."""
    size = SIZES[width]
    figure = new_figure(width, 2.7)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    rows = cosines(rows)
    handles: list[Line2D] = []
    ns: list[int] = []
    for index, (label, kind) in enumerate(_KINDS):
        own = _of_kind(rows.filter(pl.col("model") == model), kind)
        if own.height:
            curve = spread(own)
            handles.append(draw(left, curve, index, size, label))
            ns.append(curve.n)
            beside = _of_kind(rows.filter(pl.col("model") == (twin or "")), kind)
            if beside.height:
                draw_control(left, spread(beside), COLOURS[index], 0, size)
    left.axhline(0, color=INK, linewidth=0.7, zorder=1)
    layer_axis(left, int(rows["layer"].max() or 0), 0.6 * size.inches)
    dress(left, size, x=STATE, y="Cosine of mean tokens")
    handles += _cones(right, places.filter((pl.col("model") == model) & (pl.col("method") == "tsne")), size)
    handles += [] if twin is None else [control_key(f"control: {TWIN}", 0, size)]
    legend_below(figure, handles, size, f"{INTERVAL} (of several pairs: the widest), {counted(ns)}")
    return figure


_KINDS = (
    ("P vs P: other data", "PP"),
    ("T vs T: other data", "TT"),
    ("P vs T: same data", "PT"),
    ("p vs p: halves", "pp"),
    ("t vs t: halves", "tt"),
)


def _of_kind(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Pairs of spans of a kind. Spans of one model share what stands in brackets behind them."""

    def fits(row: dict[str, str]) -> bool:
        a, b = row["a"], row["b"]
        halves = a.endswith(_HALF)
        sides = f"{'P' if perceptual(a) else 'T'}{'P' if perceptual(b) else 'T'}"
        if kind in ("pp", "tt"):
            return halves and sides == kind.upper()
        one, other = (x.partition("[")[2] for x in (a, b))
        return not halves and a != b and sides == kind and ((one == other) == (kind == "PT"))

    return rows.filter(pl.struct("a", "b").map_elements(fits, pl.Boolean))


def _cones(axes: Axes, places: pl.DataFrame, size: Size) -> list[Line2D]:
    """The map at the depth next to three quarters; thin lines join the spans of one example."""
    layers = sorted(in_order(places, "layer"))
    marks: list[Line2D] = []
    if layers:
        layer = layers[len(layers) // 2]
        here = places.filter(pl.col("layer") == layer)
        for _, own in here.group_by("example_id", maintain_order=True):
            axes.plot(own["x"], own["y"], color=GREY, linewidth=0.25, alpha=0.5, zorder=1)
        for index, span in enumerate(in_order(here, "span")):
            own, colour, mark = here.filter(pl.col("span") == span), COLOURS[(index + 5) % 7], MARKERS[index % 7]
            axes.scatter(own["x"], own["y"], s=7, color=colour, marker=mark, linewidths=0, zorder=3)
            marks.append(Line2D([], [], color=colour, marker=mark, markersize=3, linestyle="none", label=span))
        n = here["example_id"].n_unique()
        dress(axes, size, title=f"t-SNE at state {layer}, n = {n} examples")
    axes.set_xticks([])
    axes.set_yticks([])
    return marks


def nine(
    models: pl.DataFrame,
    score: pl.DataFrame,
    groups: dict[str, Sequence[str]],
    twin: str | None,
    *,
    width: Width = "page",
) -> Figure:
    """Accuracy against both scores: a row for each group of models (checkpoints of one run, variants)."""
    size = SIZES[width]
    names = in_order(score, "name")
    figure = new_figure(width, 2.2 * len(groups))
    panels = figure.subplots(len(groups), len(names), squeeze=False, sharey="row")
    score = score.filter(pl.col("statistic") == "mean_token").join(models, on="model", suffix="_model")
    shown = list(dict.fromkeys(m for members in groups.values() for m in members))
    for row_of, (group, members) in zip(panels, groups.items(), strict=True):
        for axes, name in zip(row_of, names, strict=True):
            own = score.filter((pl.col("name") == name) & pl.col("model").is_in([*members, *([twin] if twin else [])]))
            for row in own.iter_rows(named=True):
                k = shown.index(row["model"]) if row["model"] in shown else None
                _point(axes, row, k)
            inside = own.filter(pl.col("model").is_in(list(members)))
            dress(axes, size, x=name, y="Right answers (%)" if name == names[0] else "", title=_told(group, inside))
    marks = [Line2D([], [], markersize=4, linestyle="none", label=model, **marked(k)) for k, model in enumerate(shown)]
    if twin:
        marks.append(Line2D([], [], color=GREY, marker="x", linestyle="none", label=f"control, not counted: {TWIN}"))
    legend_below(figure, marks, size, f"bars: 95 % intervals over examples, {counted(models['n'].to_list())}")
    return figure


def _point(axes: Axes, row: dict, k: int | None) -> None:
    across = None if row["low"] is None else [[row["value"] - row["low"]], [row["high"] - row["value"]]]
    up = [[100 * (row["accuracy"] - row["accuracy_low"])], [100 * (row["accuracy_high"] - row["accuracy"])]]
    axes.errorbar(
        row["value"], 100 * row["accuracy"], xerr=across, yerr=up, markersize=4, linewidth=0.8, capsize=2, **marked(k),
    )  # fmt: skip


def _told(group: str, rows: pl.DataFrame) -> str:
    n = rows.height
    few = ", too few" if n < LEAST else ""
    if n < 2:
        return f"{group}: n = {n}{few}"
    found = correlate(rows["value"].to_numpy(), rows["accuracy"].to_numpy())
    if np.isnan(found.spearman):
        return f"{group}: n = {n}, no spread"
    return f"{group}: n = {n}{few};\nSpearman {found.spearman:.2f}, p = {found.p:.2g}"


_NUMBERED = 8
"""Up to so many spans the overlaps are written into the cells; the colour bar tells them beyond."""


def twenty_two(rows: pl.DataFrame, sparsity: float = 0.5, *, width: Width = "page") -> Figure:
    """Overlap of masks, mean over matrices and layers, of every two spans, beside the three nulls.

    Numbers stand in the cells while there are few enough spans to read them; no interval, matrices are all there are.
    """
    size = SIZES[width]
    rows = rows.filter(pl.col("sparsity") == sparsity)
    names = list(dict.fromkeys([*in_order(rows, "a"), *in_order(rows, "b")]))
    drawn = (
        ("iou", "masks of either"),
        ("null_permuted", "null: shuffled norms"),
        ("null_magnitude", "null: magnitude alone"),
        ("null_random", "null: random masks"),
    )
    figure = new_figure(width, 1.6 + 0.46 * max(4, len(names)))
    panels = figure.subplots(2, 2, sharex=True, sharey=True).flatten()
    image = None
    for axes, (column, title) in zip(panels, drawn, strict=True):
        found = np.full((len(names), len(names)), np.nan)
        for row in rows.group_by("a", "b").agg(pl.col(column).mean(), pl.col("ceiling").mean()).iter_rows(named=True):
            i, j = names.index(row["a"]), names.index(row["b"])
            found[i, j] = found[j, i] = row[column]
        image = axes.imshow(found, vmin=0.33, vmax=1, cmap="cividis")
        for (i, j), value in np.ndenumerate(found):
            if not np.isnan(value) and len(names) <= _NUMBERED:
                axes.text(
                    j,
                    i,
                    f"{value:.2f}",
                    ha="center",
                    va="center",
                    fontsize=size.text - 2.5,
                    color="white" if value < 0.7 else INK,
                )
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right")
        axes.set_yticks(range(len(names)), names)
        dress(axes, size, title=title)
        axes.spines[:].set_visible(False)
    assert image is not None
    bar = figure.colorbar(image, ax=list(panels), shrink=0.8)
    bar.ax.tick_params(labelsize=size.text - 1)
    fewest = min(int(rows["tokens_a"].min() or 0), int(rows["tokens_b"].min() or 0))
    counted = rows.select("layer", "matrix").n_unique()
    bar.set_label(f"IoU, mean over n = {counted} matrices; norms from {fewest:,} tokens at least", fontsize=size.text)
    return figure


def twenty_two_layers(rows: pl.DataFrame, sparsity: float = 0.5, *, width: Width = "page") -> Figure:
    """Overlap of masks by layer, one panel per kind of matrix, between nulls and ceiling."""
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
        handles = []
        for column, index, label in drawn:
            by = (
                rows.filter(pl.col("matrix") == kind)
                .group_by("layer")
                .agg(
                    pl.col(column).mean().alias("mean"),
                    pl.col(column).min().alias("low"),
                    pl.col(column).max().alias("high"),
                    pl.len().alias("n"),
                )
            )
            handles.append(draw(axes, spread(by), index, size, label))
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / columns)
        dress(axes, size, title=kind.rpartition(".")[2])
    for axes in list(panels.flat)[len(kinds) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("IoU", fontsize=size.text, color=INK)
    for axes in panels[-1]:
        axes.set_xlabel("Layer", fontsize=size.text, color=INK)
    pairs = rows.select("a", "b").unique().height
    legend_below(
        figure,
        handles,
        size,
        f"{100 * sparsity:.0f} % left out; mean, least and largest over {pairs} pair{'s' * (pairs > 1)} of spans",
    )
    return figure
