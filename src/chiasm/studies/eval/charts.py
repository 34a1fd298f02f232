"""Right answers by type beside what guessing would reach, and other measures, each beside the blind control."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.results.panels import label_rows
from chiasm.results.series import in_order, majority, of_type, right_share
from chiasm.results.theme import COLOURS, FAINT, INK, dress, legend_below, new_panel

_MAX_TYPES = 6
_BLANKED = {"marker": "D", "markersize": 4, "color": "white", "markeredgecolor": INK}


def accuracy(answers: pl.DataFrame, blind: pl.DataFrame | None = None) -> Figure:
    """Share of right answers by type with Wilson's 95 % interval, and the share of the type's most frequent answer.

    `blind`: the same table with the image blanked.
    """
    types = in_order(answers, "type")
    groups = [("all", answers), *((t, of_type(answers, t)) for t in types)] if len(types) > 1 else [(types[0], answers)]
    figure, axes, size = new_panel(0.45 + 0.27 * len(groups), "column")
    for y, (name, rows) in enumerate(groups):
        share = right_share(rows)
        mean, low, high = (100 * float(v) for v in (share.mean, share.low, share.high))
        axes.barh(y, mean, height=0.62, color=FAINT if name == "all" else COLOURS[5], linewidth=0, zorder=1)
        bounds = [[mean - low], [high - mean]]
        axes.errorbar(mean, y, xerr=bounds, color=INK, linewidth=0.9, capsize=2, capthick=0.9, zorder=3)
        axes.plot([100 * majority(rows)] * 2, [y - 0.31, y + 0.31], color=COLOURS[1], linewidth=1.6, zorder=2)
        unseen = None if blind is None else blind if name == "all" else of_type(blind, name)
        if unseen is not None and unseen.height:
            axes.plot(100 * int(unseen["correct"].sum()) / unseen.height, y, linestyle="", zorder=4, **_BLANKED)
    label_rows(axes, [f"{name} (n = {rows.height})" for name, rows in groups])
    axes.set_xlim(0, 100)
    dress(axes, size, x="Right answers (%)")
    handles = [Line2D([], [], color=COLOURS[1], linewidth=1.6, label="always the most frequent answer")]
    handles += [] if blind is None else [_blanked_key()]
    legend_below(figure, handles, size, "bars: accuracy, 95 % Wilson interval")
    return figure


def accuracy_caption(answers: pl.DataFrame, blind: bool = False) -> str:
    """For `accuracy`."""
    return (
        f"Right answers by question type with Wilson's 95 % intervals (n = {answers.height} in all). The upright mark "
        "is the share of the most frequent answer of the type, which needs no image"
        + ("; the diamond is the same model with the image blanked." if blind else ".")
    )


def measures(metrics: pl.DataFrame, *, percent: bool) -> Figure:
    """Every measure that is a share (`percent`) or has a scale of its own, over all examples and by type.

    Diamonds: the same with every image blanked. Types are drawn where they are at most six.
    """
    rows = drawn(metrics, percent)
    scale = 100 if percent else 1
    places = list(rows.filter(shown="image").iter_rows(named=True))
    figure, axes, size = new_panel(0.5 + 0.2 * len(places), "column")
    labels = []
    for y, row in enumerate(places):
        whole = row["type"] == "all"
        title = ANSWER_METRICS[row["metric"]].title
        labels.append(f"{title if whole else '  ' + row['type']} (n = {row['n']})")
        value = scale * row["value"]
        bounds = None if row["low"] is None else [[value - scale * row["low"]], [scale * row["high"] - value]]
        colour = INK if whole else COLOURS[5]
        axes.errorbar(value, y, xerr=bounds, fmt="o", color=colour, markersize=4, linewidth=0.9, capsize=2)
        for blank in rows.filter(metric=row["metric"], type=row["type"], shown="blank")["value"]:
            axes.plot(scale * blank, y, linestyle="", zorder=1, **_BLANKED)
    label_rows(axes, labels)
    axes.set_xlim(0, 100 if percent else None)
    dress(axes, size, x="Share (%)" if percent else "Value (own scale)")
    handles = [_blanked_key()] if "blank" in rows["shown"] else []
    legend_below(figure, handles, size, "dots: value, 95 % interval over inputs")
    return figure


def drawn(metrics: pl.DataFrame, percent: bool) -> pl.DataFrame:
    """The rows that `measures` draws: those with a value, of one kind of scale, types only where they are few."""
    names = [name for name, metric in ANSWER_METRICS.items() if metric.percent == percent and name != "accuracy"]
    rows = metrics.filter(pl.col("metric").is_in(names) & pl.col("value").is_not_null())
    types = rows.filter(pl.col("type") != "all")["type"].n_unique()
    return rows if types <= _MAX_TYPES else rows.filter(type="all")


def measures_caption(metrics: pl.DataFrame) -> str:
    """For `measures`."""
    blind = "blank" in metrics["shown"]
    beside = "Diamonds: the same questions with every image blanked." if blind else "No control was run (--blind)."
    return (
        "Measures of the answers, over all examples and by type, with 95 % intervals; all answers on one input are "
        f"resampled together. {beside}"
    )


def _blanked_key() -> Line2D:
    return Line2D([], [], label="image blanked", **_BLANKED)
