"""Macro-F1 after tuning against the number of parameters of the projector."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from chiasm.results.theme import GREY, INK, SIZES, Width, dress, legend_below, marked, new_figure
from chiasm.studies.project.capacity import capacities, swept
from chiasm.studies.project.tables import OWN, RANDOM


def capacity_points(
    tuning: pl.DataFrame,
    predictions: pl.DataFrame,
    aligned: pl.DataFrame,
    references: pl.DataFrame | None,
    *,
    width: Width = "page",
) -> Figure:
    """Points: one projector each, with a bootstrap interval over pictures; dotted: chance. A panel per setting."""
    size, places = SIZES[width], swept(tuning)
    names = sorted(set(aligned["projector"]) - {OWN})
    looks = {OWN: {"color": INK, "marker": "*", "markerfacecolor": INK}} | {n: marked(k) for k, n in enumerate(names)}
    columns = min(len(places), 2)
    lines = -(-len(places) // columns)
    figure = new_figure(width, 2.1 * lines)
    for number, (domain, setting) in enumerate(places):
        axes = figure.add_subplot(lines, columns, number + 1)
        for one in capacities(aligned, predictions, domain, setting):
            mean, low, high = (float(v) for v in (one.score.mean, one.score.low, one.score.high))
            spread = [[max(0.0, mean - low)], [max(0.0, high - mean)]]
            axes.errorbar(
                one.parameters, mean, yerr=spread, linestyle="", elinewidth=0.8, capsize=1.5, **looks[one.projector],
                markersize=7 if one.projector == OWN else 4,
            )  # fmt: skip
        chance = pl.DataFrame() if references is None else references.filter(domain=domain, reference=RANDOM)
        if chance.height:
            axes.axhline(chance["macro_f1"].mean(), color=GREY, linestyle=":", linewidth=1)  # type: ignore[arg-type]
        # Below a thousand it is linear, so that a projector that learns nothing has a place.
        axes.set_xscale("symlog", linthresh=1000)
        axes.set_xlim(-200, 2 * max(1000, *aligned["parameters"]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axes.set_ylim(0, None)
        dress(axes, size, x="Parameters of the projector", y="Macro-F1", title=f"{domain}, {setting}")
    shown = [OWN, *names] if OWN in set(aligned["projector"]) else names
    handles = [
        Line2D([], [], linestyle="", markersize=5, label="the model's own" if n == OWN else n, **looks[n])
        for n in shown
    ]  # fmt: skip
    legend_below(figure, handles, size, "bars: 95 % over pictures, all seeds; dotted: chance")
    return figure


def capacity_caption(tuning: pl.DataFrame, aligned: pl.DataFrame) -> str:
    """What the figure shows, with its numbers of pictures, seeds and steps of alignment."""
    others = tuning.filter(pl.col("projector") != OWN)
    steps = aligned.filter(pl.col("steps") > 0)["steps"]
    told = f"{steps.min()} steps of 32 captions" if len(steps) else "no step, as nothing in them is learned"
    return (
        f"Macro-F1 after tuning with other projectors (n = {others['n'].max()} pictures, "
        f"{others['seed'].n_unique()} seeds), each aligned for {told} with tower and decoder frozen. The model's own "
        "has seen many more pictures: compare the others with each other."
    )


def _short(value: float) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"
