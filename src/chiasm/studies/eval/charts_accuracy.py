"""Accuracy by question type, beside what guessing would reach."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.results.findings import right_share
from chiasm.results.series import in_order, majority, of_type
from chiasm.results.theme import COLOURS, FAINT, INK, SIZES, Width, dress, legend_below, new_figure


def eval_bars(eval: pl.DataFrame, blind: pl.DataFrame | None = None, *, width: Width = "column") -> Figure:
    """Share of right answers by type with Wilson's 95 % interval, and the share of the type's most frequent answer.

    `blind`: the same table with the image blanked.
    """
    size = SIZES[width]
    types = in_order(eval, "type")
    groups = [("all", eval), *((t, of_type(eval, t)) for t in types)] if len(types) > 1 else [(types[0], eval)]
    figure = new_figure(width, 0.45 + 0.27 * len(groups))
    axes = figure.add_subplot()
    for y, (name, rows) in enumerate(groups):
        share = right_share(rows)
        mean, low, high = (100 * float(v) for v in (share.mean, share.low, share.high))
        axes.barh(y, mean, height=0.62, color=FAINT if name == "all" else COLOURS[5], linewidth=0, zorder=1)
        spread = [[mean - low], [high - mean]]
        axes.errorbar(mean, y, xerr=spread, color=INK, linewidth=0.9, capsize=2, capthick=0.9, zorder=3)
        axes.plot([100 * majority(rows)] * 2, [y - 0.31, y + 0.31], color=COLOURS[1], linewidth=1.6, zorder=2)
        if blind is not None:
            seen = blind if name == "all" else of_type(blind, name)
            if seen.height:
                axes.plot(
                    100 * int(seen["correct"].sum()) / seen.height,
                    y,
                    "D",
                    markersize=4,
                    color="white",
                    markeredgecolor=INK,
                    zorder=4,
                )
    axes.set_yticks(range(len(groups)), [f"{name} (n = {rows.height})" for name, rows in groups])
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    dress(axes, size, x="Right answers (%)")
    handles = [Line2D([], [], color=COLOURS[1], linewidth=1.6, label="always the most frequent answer")]
    if blind is not None:
        handles.append(
            Line2D([], [], marker="D", color="white", markeredgecolor=INK, markersize=4, label="image blanked")
        )
    legend_below(figure, handles, size, "bars: accuracy, 95 % Wilson interval")
    return figure
