"""What skipping costs and saves: each layer's contribution, and loss against operations and against seconds."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from chiasm.results.series import curve, in_order
from chiasm.results.theme import (
    COLOURS,
    DASHES,
    FAINT,
    GREY,
    INK,
    MARKERS,
    SIZES,
    Size,
    bar_lengths,
    counted,
    draw,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    new_figure,
    new_panel,
    point_key,
)
from chiasm.studies.skip.tables import (
    NONE,
    PEERS,
    RANDOM_DROP,
    RANDOM_LAYERS,
    SEARCH,
    TRAINED_PLAIN,
    TRAINED_WITH_PLAN,
    UNTRAINED,
)

_PART = {"ffn": "feed-forward", "attention": "attention", "block": "both"}
_KIND = {
    SEARCH: "search",
    RANDOM_LAYERS: "random layers (control)",
    "visual-ffn": "visual feed-forward",
    "text-ffn": "textual feed-forward, the last token's too",
    "short-v": "ShortV",
    "v-skip": "V-Skip",
    "fast-v": "FastV",
    "random-drop": "random tokens dropped (control)",
    "companion": "companion paper",
}


_LEFT = {
    "operations_share": "Operations left (%)",
    "peak_share": "Peak memory left (%)",
    "prefill_share": "Time left, one prompt (%)",
    "batch_share": "Time left, a batch (%)",
}


def contributions(contributions: pl.DataFrame, controls: pl.DataFrame | None = None, span: str = "image") -> Figure:
    """Divergence of the answer when one part of one layer is left out for tokens of `span`, with 95 % intervals.

    `controls`: the same in the random-weights baseline, dashed.
    """
    figure, axes, size = new_panel(2.3)
    parts = in_order(contributions, "part")
    handles = []
    for index, part in enumerate(parts):
        own = curve(contributions.filter(pl.col("part") == part), "kl")
        handles.append(draw(axes, own, index, size, _PART[part]))
        if controls is not None and controls.height:
            baseline = curve(controls.filter(pl.col("part") == part), "kl")
            draw_control(axes, baseline, COLOURS[index % len(COLOURS)], 0, size)
    if controls is not None and controls.height:
        handles.append(Line2D([], [], color=GREY, linewidth=size.line, linestyle=DASHES[0], label="random weights"))
    layer_axis(axes, int(contributions["layer"].max() or 0), size.inches)
    # Layers differ by orders of magnitude; below a thousandth of a nat the scale is linear, so that 0 is on it.
    axes.set_yscale("symlog", linthresh=1e-3, linscale=0.5)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_minor_locator(NullLocator())
    dress(axes, size, x="Layer", y="KL of the answer (nat)")
    n = counted([contributions.filter(pl.col("part") == part)["example_id"].n_unique() for part in parts])
    legend_below(figure, handles, size, f"left out for {span} tokens; bands: 95 % over all layers at once, {n}")
    return figure


def plans(plans: pl.DataFrame) -> Figure:
    """Loss of right answers against what is left: operations, time of one prompt, of a batch, and peak memory.

    Bars upward: 95 % score intervals of paired shares; sideways: quartiles of time. Grey band: two equal calls of the
    plain model; dotted: the loss allowed. The ring is the recommended plan, if there is one; the control is grey.
    Losses beyond one point are on a logarithmic scale.
    """
    size = SIZES["page"]
    figure = new_figure("page", 4.2)
    panels = figure.subplots(2, 2, sharey=True).ravel()
    kinds = [kind for kind in (SEARCH, *PEERS, RANDOM_LAYERS) if kind in set(plans["kind"])]
    plain = plans.filter(pl.col("kind") == NONE)["peak_bytes"][0]
    plans = plans.with_columns(peak_share=pl.col("peak_bytes") / plain)
    chosen = plans.filter(pl.col("recommended"), pl.col("kind") != NONE)
    for number, (panel, (column, label)) in enumerate(zip(panels, _LEFT.items(), strict=True)):
        panel.axhline(0, color=FAINT, linewidth=0.8, zorder=0)
        panel.axvline(100, color=FAINT, linewidth=0.8, zorder=0)
        if f"{column}_low" in plans.columns:
            none = plans.filter(pl.col("kind") == NONE).row(0, named=True)
            panel.axvspan(100 * none[f"{column}_low"], 100 * none[f"{column}_high"], color=FAINT, alpha=0.5, lw=0)
        for index, kind in enumerate(kinds):
            _points(panel, plans.filter(pl.col("kind") == kind), column, index, kind, size)
        if "max_loss" in plans.columns and plans["max_loss"][0] is not None:
            panel.axhline(100 * plans["max_loss"][0], color=GREY, linewidth=0.8, linestyle=":", zorder=1)
        for share, loss in chosen.select(column, "loss").iter_rows():
            panel.plot(100 * share, 100 * loss, "o", markersize=9, markerfacecolor="none", markeredgecolor=INK)
        panel.set_yscale("symlog", linthresh=1, linscale=0.6)
        panel.yaxis.set_major_locator(FixedLocator([-10, -3, -1, 0, 1, 3, 10, 30, 100]))
        panel.yaxis.set_major_formatter("{x:g}")
        panel.yaxis.set_minor_locator(NullLocator())
        dress(panel, size, x=label, y="Right answers lost (points)" if number % 2 == 0 else "")
    handles = [point_key(_KIND[kind], markersize=4, **_style(k, kind)) for k, kind in enumerate(kinds)]
    if chosen.height:
        handles.append(point_key("recommended", marker="o", markersize=7, markerfacecolor="none", color=INK))
    bars = "bars: 95 % paired score interval, quartiles of time; grey band: two equal calls; dotted: loss allowed"
    legend_below(figure, handles, size, f"{bars}; {counted(plans['n'].to_list())}")
    return figure


def recovery(recovery: pl.DataFrame) -> Figure:
    """Right answers before and after training with the plan, with it and without it in effect; 95 % Wilson bars.

    Training as long without the plan is the control.
    """
    figure, axes, size = new_panel(1.9)
    names = {
        UNTRAINED: "untrained",
        TRAINED_PLAIN: "trained without\nthe plan (control)",
        TRAINED_WITH_PLAN: "trained with\nthe plan",
    }
    there = [name for name in names if name in set(recovery["trained"])]
    handles = []
    plan = next(name for name in recovery["plan"] if name)
    for index, (own, label) in enumerate((("", "answering without the plan"), (plan, f"answering under {plan}"))):
        rows = [recovery.filter(trained=name, plan=own).row(0, named=True) for name in there]
        score, low, high = (
            100 * np.array([row[name] for row in rows]) for name in ("score", "score_low", "score_high")
        )
        places = np.arange(len(there)) + (index - 0.5) * 0.16
        look = {"marker": MARKERS[index], "color": COLOURS[index], "linestyle": ""}
        bars = bar_lengths(score, low, high)
        axes.errorbar(places, score, yerr=bars, markersize=1.4 * size.marker, elinewidth=0.8, **look)
        handles.append(point_key(label, markersize=4, **look))
    axes.set_xticks(range(len(there)), [names[name] for name in there])
    axes.set_xlim(-0.5, len(there) - 0.5)
    dress(axes, size, x="", y="Right answers (%)")
    legend_below(figure, handles, size, f"bars: 95 % Wilson, {counted(recovery['n'].to_list())}")
    return figure


def _points(axes: Axes, rows: pl.DataFrame, column: str, index: int, kind: str, size: Size) -> None:
    loss, low, high = (rows[name].cast(pl.Float64).to_numpy() for name in ("loss", "loss_low", "loss_high"))
    share, across = rows[column].to_numpy(), None
    if f"{column}_low" in rows.columns:
        across = 100 * bar_lengths(share, rows[f"{column}_low"], rows[f"{column}_high"])
    axes.errorbar(
        100 * share,
        100 * loss,
        xerr=across,
        yerr=100 * bar_lengths(loss, low, high),
        linestyle="",
        markersize=1.4 * size.marker,
        elinewidth=0.6,
        **_style(index, kind),
        zorder=2 if kind in (RANDOM_LAYERS, RANDOM_DROP) else 3,
    )


def _style(index: int, kind: str) -> dict[str, str]:
    """Colour and shape of a kind. Controls are grey, or open in the colour of what they are a control of."""
    colour = COLOURS[index % len(COLOURS)]
    drawn = {"color": colour, "marker": MARKERS[index % len(MARKERS)], "markerfacecolor": colour}
    match kind:
        case "random-layers":
            return drawn | {"color": GREY, "marker": "x", "markerfacecolor": GREY}
        case "random-drop":
            return drawn | {"color": COLOURS[(index - 1) % len(COLOURS)], "marker": "o", "markerfacecolor": "white"}
        case "companion":
            return drawn | {"color": INK, "marker": "*", "markerfacecolor": INK}
    return drawn
