"""Measures of answers with their intervals, beside the blind control."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.results.theme import COLOURS, INK, SIZES, Width, dress, legend_below, new_figure

_MOST_TYPES = 6


def measures(metrics: pl.DataFrame, *, percent: bool, width: Width = "column") -> Figure:
    """Every measure that is a share (`percent`) or has a scale of its own, over all examples and by type.

    Diamonds: the same with every image blanked. Types are drawn where they are at most six.
    """
    size = SIZES[width]
    rows = drawn(metrics, percent)
    scale = 100 if percent else 1
    places = list(rows.filter(pl.col("shown") == "image").iter_rows(named=True))
    figure = new_figure(width, 0.5 + 0.2 * len(places))
    axes = figure.add_subplot()
    labels = []
    for y, row in enumerate(places):
        whole = row["type"] == "all"
        title = ANSWER_METRICS[row["metric"]].title
        labels.append(f"{title if whole else '  ' + row['type']} (n = {row['n']})")
        value = scale * row["value"]
        spread = None if row["low"] is None else [[value - scale * row["low"]], [scale * row["high"] - value]]
        axes.errorbar(
            value, y, xerr=spread, fmt="o", color=INK if whole else COLOURS[5], markersize=4, linewidth=0.9, capsize=2
        )
        same = (pl.col("metric") == row["metric"]) & (pl.col("type") == row["type"]) & (pl.col("shown") == "blank")
        for blank in rows.filter(same)["value"]:
            axes.plot(scale * blank, y, "D", markersize=4, color="white", markeredgecolor=INK, zorder=1)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(0, 100 if percent else None)
    dress(axes, size, x="Share (%)" if percent else "Value (own scale)")
    handles = []
    if "blank" in rows["shown"]:
        handles = [Line2D([], [], marker="D", color="white", markeredgecolor=INK, markersize=4, label="image blanked")]
    legend_below(figure, handles, size, "dots: value, 95 % interval over inputs")
    return figure


def drawn(metrics: pl.DataFrame, percent: bool) -> pl.DataFrame:
    """The rows that `measures` draws: those with a value, of one kind of scale, types only where they are few."""
    names = [name for name, outcome in ANSWER_METRICS.items() if outcome.percent == percent and name != "accuracy"]
    rows = metrics.filter(pl.col("metric").is_in(names) & pl.col("value").is_not_null())
    types = rows.filter(pl.col("type") != "all")["type"].n_unique()
    return rows if types <= _MOST_TYPES else rows.filter(pl.col("type") == "all")


def caption(metrics: pl.DataFrame) -> str:
    """For `measures`."""
    blind = "blank" in metrics["shown"]
    beside = "Diamonds: the same questions with every image blanked." if blind else "No control was run (--blind)."
    return (
        "Measures of the answers, over all examples and by type, with 95 % intervals; all answers on one input are "
        f"resampled together. {beside}"
    )
