"""Right answers and perplexity against sparsity, and which mask serves which question type."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.results.series import in_order
from chiasm.results.theme import (
    COLOURS,
    DASHES,
    FAINT,
    GREY,
    INK,
    MARKERS,
    colour_bar,
    counted,
    dress,
    legend_below,
    new_panel,
)
from chiasm.studies.prune.tables import DENSE, POOLED, TYPES, UNCALIBRATED

Value = Literal["score", "perplexity"]

# (mask, calibration) drawn against sparsity, the control (in grey) first; the rest is in the table and the map.
_LINES = {
    ("random", UNCALIBRATED): "random weights zeroed",
    ("wanda", POOLED): "Wanda",
    ("wanda-centred", POOLED): "Wanda, norms about the mean",
    ("magnitude-row", UNCALIBRATED): "magnitude per row",
    ("magnitude", UNCALIBRATED): "magnitude per matrix",
    ("intersection", TYPES): "intersection of types",
    ("majority", TYPES): "majority of types",
    ("mean-score", TYPES): "mean score of types",
}

# The rows of the map below those of single types: label, mask, calibration.
_COMBINED = (
    ("all types", "wanda", POOLED),
    ("intersection", "intersection", TYPES),
    ("majority", "majority", TYPES),
    ("mean score", "mean-score", TYPES),
    ("random mask", "random", UNCALIBRATED),
    ("untouched", DENSE, UNCALIBRATED),
)

# Drawn also for other parts of the model than the first one asked for.
_PARTED = ("wanda", "random")


def whole(masks: pl.DataFrame) -> pl.DataFrame:
    """The rows over all question types: those of `all`, or of the only type there is."""
    return masks.filter(
        pl.col("evaluation") == ("all" if "all" in set(masks["evaluation"]) else masks["evaluation"][0])
    )


def prune_curves(masks: pl.DataFrame, controls: pl.DataFrame | None = None, *, value: Value = "score") -> Figure:
    """`value` against sparsity for Wanda, what it is compared with, and the combined masks.

    Masks of one sparsity stand side by side. The grey band is the untouched model; `controls`: the random-weights
    baseline, dashed. N:M patterns are open markers at their sparsity; masks of one part alone are lines of their own.
    """
    figure, axes, size = new_panel(2.5)
    rows, read = whole(masks), _reader(value)
    dense = read(rows.filter(pl.col("mask") == DENSE))
    axes.axhspan(dense[1][0], dense[2][0], color=FAINT, linewidth=0, zorder=0)
    axes.axhline(dense[0][0], color=GREY, linewidth=0.8, zorder=1)
    handles = [Line2D([], [], color=GREY, linewidth=0.8, label="untouched")]
    parts = in_order(rows.filter(pl.col("mask") != DENSE), "part")
    lines = [
        (number, style, f"{label}{'' if part == 'all' else f', {part} only'}", chosen)
        for number, ((mask, calibration), label) in enumerate(_LINES.items(), -1)
        for style, part in enumerate(parts)
        if (chosen := _of(rows, mask, calibration, part)).height and (not style or mask in _PARTED)
    ]
    for place, (number, style, label, chosen) in enumerate(lines):
        # Colour and marker say which mask, dashes which part of the model.
        chance = label.startswith(_LINES["random", UNCALIBRATED])
        colour, marker = (GREY, "x") if chance else (COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)])
        dash = "-" if not style else DASHES[(style - 1) % len(DASHES)]
        dodge = 0.5 * (place - (len(lines) - 1) / 2)
        for pattern in in_order(chosen, "pattern"):
            part = chosen.filter(pl.col("pattern") == pattern).sort("sparsity")
            mean, low, high = read(part)
            plain = pattern == "unstructured"
            axes.errorbar(
                100 * part["sparsity"].to_numpy() + dodge,
                mean,
                yerr=[mean - low, high - mean],
                color=colour,
                marker=marker,
                markersize=size.marker,
                markerfacecolor=colour if plain else "white",
                linestyle=dash if plain else "none",
                linewidth=size.line,
                elinewidth=0.7,
                capsize=1.5,
                zorder=3,
            )
        key = {"color": colour, "marker": marker, "markersize": size.marker, "linestyle": dash}
        handles.append(Line2D([], [], linewidth=size.line, label=label, **key))
    if controls is not None:
        baseline = _of(whole(controls), "wanda", POOLED, parts[0]).filter(pl.col("pattern") == "unstructured")
        if baseline.height:
            baseline = baseline.sort("sparsity")
            x = 100 * baseline["sparsity"].to_numpy()
            key = {"color": GREY, "linestyle": DASHES[0], "marker": "_", "markersize": size.marker}
            axes.plot(x, read(baseline)[0], linewidth=0.8 * size.line, zorder=2, **key)
            handles.append(Line2D([], [], label="Wanda on random weights", **key))
    # Masks of one sparsity stand side by side: what stands beside a tick has the sparsity of that tick.
    levels = sorted(set(100 * rows.filter(pl.col("mask") != DENSE)["sparsity"]))
    axes.set_xticks(levels, [f"{level:g}" for level in levels])
    if len(levels) == 1:
        axes.set_xlim(levels[0] - 5, levels[0] + 5)
    if value == "perplexity":
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 103)
    label = "Right answers (%)" if value == "score" else "Perplexity of the labelled answers"
    dress(axes, size, x="Weights set to zero (%)", y=label)
    kind = "Wilson" if value == "score" else "bootstrap"
    legend_below(figure, handles, size, f"95 % {kind} interval, {counted(sorted(set(rows['n'])))}")
    return figure


def transfer_map(masks: pl.DataFrame, sparsity: float, pattern: str) -> Figure:
    """Right answers (%) by the mask's calibration (rows) and the question's type (columns) at one level.

    Each cell holds the share and half its 95 % interval; the untouched model and the random mask stand below as scale.
    """
    at = ((pl.col("sparsity") - sparsity).abs() < 1e-9) & (pl.col("pattern") == pattern)
    here = masks.filter((at & (pl.col("part") == masks.filter(at)["part"][0])) | (pl.col("mask") == DENSE))
    types = [name for name in in_order(here, "evaluation") if name != "all"]
    lines = [*((name, "wanda", name) for name in types), *_COMBINED]
    lines = [line for line in lines if _of(here, *line[1:]).height]
    figure, axes, size = new_panel(0.9 + 0.3 * len(lines))
    grid = np.zeros((len(lines), len(types)))
    ns = {}
    for y, (_, mask, calibration) in enumerate(lines):
        for x, name in enumerate(types):
            row = _of(here, mask, calibration).filter(pl.col("evaluation") == name).row(0, named=True)
            grid[y, x] = 100 * row["score"]
            ns[name] = row["n"]
            half = "" if row["low"] is None else f" ±{50 * (row['high'] - row['low']):.0f}"
            ink = "white" if grid[y, x] < 55 else INK
            axes.text(x, y, f"{grid[y, x]:.0f}{half}", ha="center", va="center", fontsize=size.text - 1, color=ink)
    drawn = axes.imshow(grid, cmap="cividis", vmin=0, vmax=100, aspect="auto")
    axes.set_xticks(range(len(types)), [f"{name}\n(n = {ns[name]})" for name in types])
    axes.set_yticks(range(len(lines)), [label for label, _, _ in lines])
    shape = "" if pattern == "unstructured" else f", {pattern}"
    title = f"{100 * sparsity:g} % of the weights zeroed{shape}"
    dress(axes, size, x="Question type", y="Mask calibrated on", title=title)
    colour_bar(figure, drawn, [axes], "Right answers (%)", size, pad=0.02)
    return figure


def _of(rows: pl.DataFrame, mask: str, calibration: str, part: str | None = None) -> pl.DataFrame:
    chosen = rows.filter(mask=mask, calibration=calibration)
    return chosen if part is None else chosen.filter(part=part)


def _reader(value: Value) -> Callable[[pl.DataFrame], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Mean, low and high of rows (scores in %); what one input has no interval for is its own bounds."""
    bounds, scale = (("low", "high"), 100) if value == "score" else (("perplexity_low", "perplexity_high"), 1)

    def read(rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mean = rows[value].to_numpy()
        low, high = (rows[name].fill_null(rows[value]).to_numpy() for name in bounds)
        # The ratio of all sums may lie outside the percentiles of few resamples.
        return scale * mean, scale * np.minimum(low, mean), scale * np.maximum(high, mean)

    return read
