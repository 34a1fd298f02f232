"""What skipping costs and saves: each layer's contribution, and loss against operations and against seconds."""

import math
from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from chiasm.core.claims import Claim, of_kind
from chiasm.results.series import Curve, curve, in_order
from chiasm.results.theme import (
    COLOURS,
    DASHES,
    FAINT,
    GREY,
    INK,
    MARKERS,
    SIZES,
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
from chiasm.studies.skip.decision import BATCH, ONE_PROMPT
from chiasm.studies.skip.tables import (
    NONE,
    PEERS,
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


_PANELS = (
    "Right answers lost\n(points)",
    "Operations\nleft (%)",
    "Peak memory\nleft (%)",
    "Time left (%),\none prompt",
    "Time left (%),\na batch",
)


def contributions(
    contributions: pl.DataFrame,
    controls: pl.DataFrame | None = None,
    span: str = "image",
    claims: Sequence[Claim] = (),
) -> Figure:
    """Divergence of the answer when one part of one layer is left out for tokens of `span`, with 95 % intervals.

    `controls`: the same in the random-weights baseline, dashed. `claims`: of the run, whose intervals are drawn.
    """
    figure, axes, size = new_panel(2.3)
    parts = in_order(contributions, "part")
    handles = []
    for index, part in enumerate(parts):
        claimed = of_kind(claims, "contribution", part)
        own = _claimed(claimed) if claimed else curve(contributions.filter(pl.col("part") == part), "kl")
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
    legend_below(figure, handles, size, f"left out for {span} tokens; bands: 95 % over layers and parts at once, {n}")
    return figure


def _claimed(claims: Sequence[Claim]) -> Curve:
    """The claims about one part, by layer."""
    rows = sorted((int(one.where), one.effect, *_bounds(one)) for one in claims)
    return Curve(*np.array(rows, dtype=np.float64).T, n=claims[0].n)


def _bounds(one: Claim) -> tuple[float, float]:
    return (math.nan if one.low is None else one.low, math.nan if one.high is None else one.high)


def plans(plans: pl.DataFrame, claims: Sequence[Claim] = ()) -> Figure:
    """A line for every plan, by operations: right answers lost, operations and peak memory left, and time left.

    Losses with 95 % intervals: those of `claims`, over all plans that could be chosen at once; of controls each on its
    own; beyond one point on a logarithmic scale. Times are those of `claims`: controls have none. Dotted: the loss
    allowed, and two equal calls of the plain model. The name of the recommended plan is in bold.
    """
    size = SIZES["page"]
    plain = plans.filter(pl.col("kind") == NONE)["peak_bytes"][0]
    rows = plans.filter(pl.col("kind") != NONE).sort("operations_share", descending=False, maintain_order=True)
    kinds = [kind for kind in (SEARCH, *PEERS, RANDOM_LAYERS) if kind in set(rows["kind"])]
    figure = new_figure("page", 0.7 + 0.19 * rows.height)
    panels = figure.subplots(1, 5, sharey=True, width_ratios=(1.5, 1, 1, 1, 1)).ravel()
    for y, row in enumerate(rows.iter_rows(named=True)):
        look = {"linestyle": "", "markersize": 1.4 * size.marker, "elinewidth": 0.8}
        look |= _style(kinds.index(row["kind"]), row["kind"])
        loss = [one for one in of_kind(claims, "loss", row["plan"]) if one.low is not None]
        low, high = _bounds(loss[0]) if loss else (_percent(row["loss_low"]), _percent(row["loss_high"]))
        panels[0].errorbar(100 * row["loss"], y, xerr=bar_lengths(100 * row["loss"], low, high), **look)
        panels[1].errorbar(100 * row["operations_share"], y, **look)
        panels[2].errorbar(100 * row["peak_bytes"] / plain, y, **look)
        for panel, place in zip(panels[3:], (ONE_PROMPT, BATCH), strict=True):
            for one in (one for one in of_kind(claims, "time", row["plan"]) if one.where == place):
                panel.errorbar(100 + one.effect, y, xerr=bar_lengths(one.effect, *_bounds(one)), **look)
    for panel, label in zip(panels, _PANELS, strict=True):
        panel.axvline(0 if panel is panels[0] else 100, color=FAINT, linewidth=0.8, zorder=0)
        dress(panel, size, x=label)
    for panel, place in zip(panels[3:], (ONE_PROMPT, BATCH), strict=True):
        equal = {one.control_effect or 0.0 for one in of_kind(claims, "time") if one.where == place}
        for noise in equal:
            panel.axvline(100 + noise, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
        panel.set_xscale("log")
        panel.set_xlim(22, 450)
        panel.xaxis.set_major_locator(FixedLocator([25, 50, 100, 200, 400]))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_locator(NullLocator())
    if "max_loss" in plans.columns and plans["max_loss"][0] is not None:
        panels[0].axvline(100 * plans["max_loss"][0], color=GREY, linewidth=0.8, linestyle=":", zorder=1)
    panels[0].set_xscale("symlog", linthresh=1, linscale=0.6)
    panels[0].xaxis.set_major_locator(FixedLocator([-10, -1, 0, 1, 10, 100]))
    panels[0].xaxis.set_major_formatter("{x:g}")
    panels[0].xaxis.set_minor_locator(NullLocator())
    panels[0].set_yticks(range(rows.height), rows["plan"].to_list())
    panels[0].set_ylim(rows.height - 0.5, -0.5)
    for text, chosen in zip(panels[0].get_yticklabels(), rows["recommended"], strict=True):
        text.set_fontweight("bold" if chosen else "normal")
    for panel in panels[1:]:
        panel.tick_params(left=False)
    handles = [point_key(_KIND[kind], markersize=4, **_style(k, kind)) for k, kind in enumerate(kinds)]
    bars = "bars: 95 % intervals; dotted: loss allowed, two equal calls"
    legend_below(figure, handles, size, f"{bars}; {counted(plans['n'].to_list())}")
    return figure


def _percent(share: float | None) -> float:
    return math.nan if share is None else 100 * share


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
