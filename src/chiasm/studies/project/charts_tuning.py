"""Macro-F1 of every setting by domain, beside what needs no language model."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.results.theme import COLOURS, FAINT, INK, SIZES, Width, dress, legend_below, new_figure
from chiasm.studies.project.scores import pooled
from chiasm.studies.project.tables import IMAGE_MLP, OWN, RANDOM, TOWER

_LINES = ((RANDOM, "chance", ":"), (TOWER, "tower zero-shot", "--"), (IMAGE_MLP, "MLP on CLS", "-"))


def tuning_bars(
    tuning: pl.DataFrame, predictions: pl.DataFrame, references: pl.DataFrame | None, *, width: Width = "page"
) -> Figure:
    """Bars: macro-F1 over seeds with a bootstrap interval; dots: single seeds; diamonds: the most probable
    label; lines: references."""
    size = SIZES[width]
    own = tuning.filter(projector=OWN)
    domains = own["domain"].unique(maintain_order=True).to_list()
    settings = own["setting"].unique(maintain_order=True).to_list()
    figure = new_figure(width, 0.6 + 0.28 * len(settings))
    shown = []
    for place, domain in enumerate(domains):
        axes = figure.add_subplot(1, len(domains), place + 1)
        for y, name in enumerate(settings):
            score = pooled(predictions, domain, name)
            if score is None:
                continue
            mean, low, high = float(score.mean), float(score.low), float(score.high)
            axes.barh(y, mean, height=0.62, color=FAINT if name == "zero-shot" else COLOURS[5], linewidth=0, zorder=1)
            spread = [[max(0.0, mean - low)], [max(0.0, high - mean)]]
            axes.errorbar(mean, y, xerr=spread, color=INK, linewidth=0.9, capsize=2, capthick=0.9, zorder=3)
            seeds = own.filter(domain=domain, setting=name)["macro_f1"]
            axes.plot(seeds, [y] * len(seeds), ".", color=INK, markersize=3, zorder=4)
            most = own.filter(domain=domain, setting=name)["constrained_macro_f1"].mean()
            axes.plot(most, y, "D", markersize=4, color="white", markeredgecolor=INK, zorder=3)
        for key, title, dash in _LINES:
            rows = pl.DataFrame() if references is None else references.filter(domain=domain, reference=key)
            if rows.height:
                axes.axvline(rows["macro_f1"].mean(), color=COLOURS[1], linestyle=dash, linewidth=1.1, zorder=2)  # type: ignore[arg-type]
                shown.append((title, dash))
        axes.set_yticks(range(len(settings)), settings if place == 0 else [""] * len(settings))
        axes.set_ylim(len(settings) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        dress(axes, size, x=f"Macro-F1, {domain}")
    handles = [Line2D([], [], color=COLOURS[1], linestyle=dash, label=title) for title, dash in dict.fromkeys(shown)]
    handles.append(Line2D([], [], color=INK, marker=".", linestyle="", label="one seed"))
    handles.append(
        Line2D([], [], marker="D", color="white", markeredgecolor=INK, markersize=4, linestyle="", label="among labels")
    )
    legend_below(figure, handles, size, "bars: all seeds, 95 % interval over pictures")
    return figure


def tuning_caption(tuning: pl.DataFrame, references: pl.DataFrame | None) -> str:
    """What the figure shows, with its numbers of pictures and seeds."""
    own = tuning.filter(projector=OWN)
    counts = own.group_by("domain", maintain_order=True).agg(pl.col("n").first(), pl.col("seed").n_unique())
    told = "; ".join(f"{r['domain']}: n = {r['n']} pictures, {r['seed']} seeds" for r in counts.iter_rows(named=True))
    beside = "" if references is None else " Lines: what needs no language model."
    return (
        f"Macro-F1 of free greedy answers after tuning in each setting ({told}). Answers that name no class count as "
        f"wrong. Diamonds: the most probable of all labels, mean over seeds.{beside}"
    )
