"""Score against accuracy, one point per model."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.results.figures.style import COLOURS, INK, MARKERS, SIZES, Width, dress, legend_below, new_figure

LEAST = 8
"""With fewer models the figure says that they are too few."""


def score_against_accuracy(
    rows: pl.DataFrame, related: pl.DataFrame, statistic: str = "mean_token", *, width: Width = "page"
) -> Figure:
    """Accuracy (%) against each alignment score, with both intervals; the coefficients stand above."""
    size = SIZES[width]
    rows = rows.filter(pl.col("statistic") == statistic)
    names = rows["name"].unique(maintain_order=True).to_list()
    models = rows["model"].unique(maintain_order=True).to_list()
    figure = new_figure(width, 2.6)
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for name, axes in zip(names, panels, strict=True):
        for row in rows.filter(pl.col("name") == name).iter_rows(named=True):
            k = models.index(row["model"])
            across = None if row["low"] is None else [[row["value"] - row["low"]], [row["high"] - row["value"]]]
            up = [[100 * (row["accuracy"] - row["accuracy_low"])], [100 * (row["accuracy_high"] - row["accuracy"])]]
            axes.errorbar(
                row["value"], 100 * row["accuracy"], xerr=across, yerr=up, color=COLOURS[k % len(COLOURS)],
                marker=MARKERS[k % len(MARKERS)], markersize=4, linewidth=0.8, capsize=2,
            )  # fmt: skip
        chosen = (pl.col("name") == name) & (pl.col("statistic") == statistic)
        told = related.filter(chosen).row(0, named=True)
        dress(axes, size, x=f"{name}, {statistic.replace('_', ' ')}", title=_coefficients(told))
    panels[0].set_ylabel("Right answers (%)", fontsize=size.text, color=INK)
    marks = [
        Line2D([], [], color=COLOURS[k % len(COLOURS)], marker=MARKERS[k % len(MARKERS)], markersize=4, label=model)
        for k, model in enumerate(models)
    ]
    few = ": too few to establish a relation" if len(models) < LEAST else ""
    legend_below(figure, marks, size, f"n = {len(models)} models{few}; bars: 95 % intervals")
    return figure


def _coefficients(row: dict) -> str:
    if row["spearman"] is None:
        return "no spread, no correlation"
    bounds = "" if row["spearman_low"] is None else f" ({row['spearman_low']:.2f} to {row['spearman_high']:.2f})"
    return f"Spearman {row['spearman']:.2f}{bounds}, p = {row['p']:.2g}"
