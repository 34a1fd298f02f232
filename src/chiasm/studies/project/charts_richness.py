"""What probes read: by place and layer, of the projector's output by setting, and against how far it moved."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from chiasm.results.series import Curve
from chiasm.results.theme import (
    COLOURS,
    DASHES,
    FAINT,
    GREY,
    INK,
    MARKERS,
    SIZES,
    Size,
    Width,
    counted,
    draw,
    dress,
    legend_below,
    new_figure,
)
from chiasm.studies.project.richness_summary import CLS, LINE, POST, PRE, Place, Probed
from chiasm.studies.project.richness_tables import RANDOM_PROJECTOR, SHUFFLED
from chiasm.studies.project.tables import OWN

_TITLES = {LINE: "linear", "mlp-paper": "MLP, paper", "mlp-code": "MLP, code"}
_BASE = "zero-shot"


def richness_layers(richness: pl.DataFrame, controls: pl.DataFrame | None, *, width: Width = "page") -> Figure:
    """Macro-F1 of a line by hidden state: mean image token (before it `cls` and `pre`), and last prompt token."""
    size = SIZES[width]
    own = richness.filter(projector=OWN, probe=LINE)
    domains = own["domain"].unique(maintain_order=True).to_list()
    settings = own["setting"].unique(maintain_order=True).to_list()
    figure = new_figure(width, 3.9)
    panels = figure.subplots(2, len(domains), sharey=True, squeeze=False)
    handles: list[Line2D] = []
    ns = []
    for column, domain in enumerate(domains):
        rows = own.filter(domain=domain)
        beside = None if controls is None else controls.filter(domain=domain, projector=OWN, probe=LINE)
        for row, span in enumerate(("image", "last")):
            axes, lines = panels[row][column], []
            for index, setting in enumerate(settings):
                curve = _by_state(rows.filter(setting=setting), span)
                if curve is not None:
                    lines.append(draw(axes, curve, index, size, setting))
                    ns.append(curve.n)
            _controls(axes, beside, span, size)
            _places(axes, rows, span)
            axes.set_ylim(0, 1)
            named = "mean image token" if span == "image" else "last prompt token"
            dress(axes, size, x="Hidden state", y="Macro-F1" if column == 0 else "", title=f"{domain}, {named}")
            handles = handles or lines
    if controls is not None:
        handles = [*handles, *_keys(size)]
    legend_below(figure, handles, size, f"linear probe; mean over seeds, 95 % bootstrap over pictures, {counted(ns)}")
    return figure


def richness_settings(probed: pl.DataFrame, *, width: Width = "page") -> Figure:
    """Macro-F1 of every probe on the projector's output by setting, between what it is compared with."""
    size = SIZES[width]
    own = probed.filter(projector=OWN)
    domains = own["domain"].unique(maintain_order=True).to_list()
    settings = own["setting"].unique(maintain_order=True).to_list()
    probes = own["probe"].unique(maintain_order=True).to_list()
    places = [("tower's summary (cls)", _BASE, CLS, None), ("before the projector (pre)", _BASE, PRE, None)]
    places += [(name, name, POST, None) for name in settings]
    places += [
        ("projector, weights permuted", _BASE, POST, RANDOM_PROJECTOR),
        ("shuffled labels", _BASE, POST, SHUFFLED),
    ]
    figure = new_figure(width, 0.5 + 0.24 * len(places))
    panels = figure.subplots(1, len(domains), sharey=True, squeeze=False)[0]
    ns = []
    for column, (domain, axes) in enumerate(zip(domains, panels, strict=True)):
        of = Probed.of(probed, domain)
        for y, (_, setting, where, control) in enumerate(places):
            for index, probe in enumerate(probes):
                score = of.score(Place(setting, where, probe, control))
                if score is None:
                    continue
                ns.append(score.n)
                at = y + 0.24 * (index - (len(probes) - 1) / 2)
                spread = [[max(0.0, float(score.mean - score.low))], [max(0.0, float(score.high - score.mean))]]
                style = {"color": COLOURS[index], "marker": MARKERS[index], "markersize": size.marker}
                axes.errorbar(float(score.mean), at, xerr=spread, linewidth=0.8, capsize=1.5, **style)
        for edge in (1.5, len(places) - 2.5):
            axes.axhline(edge, color=FAINT, linewidth=0.8, zorder=0)
        axes.set_yticks(range(len(places)), [title for title, *_ in places])
        axes.set_ylim(len(places) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        dress(axes, size, x=f"Macro-F1 of the probe, {domain}")
        if column:
            axes.tick_params(left=False)
    handles = [
        Line2D([], [], color=COLOURS[k], marker=MARKERS[k], markersize=size.marker, label=_TITLES[probe])
        for k, probe in enumerate(probes)
    ]
    legend_below(figure, handles, size, f"mean over seeds, 95 % bootstrap over pictures, {counted(ns)}")
    return figure


def richness_drift(tuning: pl.DataFrame, probed: pl.DataFrame, *, width: Width = "page") -> Figure:
    """Change in what probes read of the projector's output, against how far tuning moved the projector's weights."""
    size = SIZES[width]
    own = tuning.filter(projector=OWN)
    domains = own["domain"].unique(maintain_order=True).to_list()
    probes = probed["probe"].unique(maintain_order=True).to_list()
    settings = [name for name in own["setting"].unique(maintain_order=True) if name != _BASE]
    figure = new_figure(width, 2.4)
    panels = figure.subplots(1, len(domains), sharey=True, squeeze=False)[0]
    ns = []
    for column, (domain, axes) in enumerate(zip(domains, panels, strict=True)):
        of = Probed.of(probed, domain)
        moved = False
        for place, setting in enumerate(settings):
            drift = own.filter(domain=domain, setting=setting)["projector_drift"]
            for index, probe in enumerate(probes):
                gap = of.gap(Place(setting, POST, probe), Place(_BASE, POST, probe))
                if gap is None or not len(drift):
                    continue
                ns.append(gap.n)
                spread = [[max(0.0, float(gap.mean - gap.low))], [max(0.0, float(gap.high - gap.mean))]]
                # Probes of one setting share its drift: a little apart, so that intervals do not hide each other.
                moved = moved or float(drift.mean()) > 0  # type: ignore[arg-type]
                x = float(drift.mean()) * (1 + 0.05 * (index - (len(probes) - 1) / 2))  # type: ignore[arg-type]
                style = {
                    "color": COLOURS[index],
                    "marker": MARKERS[place % len(MARKERS)],
                    "markersize": size.marker + 1,
                }
                axes.errorbar(x, float(gap.mean), yerr=spread, linewidth=0.8, capsize=1.5, linestyle="", **style)
        if moved:
            axes.set_xscale("log", nonpositive="mask")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 4)))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.axhline(0, color=INK, linewidth=0.7, zorder=0)
        title = "Change in macro-F1 of the probe" if column == 0 else ""
        dress(axes, size, x="Weights moved, share of their size", y=title, title=domain)
    handles = [Line2D([], [], color=COLOURS[k], linewidth=2, label=_TITLES[p]) for k, p in enumerate(probes)]
    handles += [
        Line2D(
            [], [], color=INK, marker=MARKERS[k % len(MARKERS)], linestyle="", markersize=size.marker + 1, label=name
        )
        for k, name in enumerate(settings)
    ]
    legend_below(figure, handles, size, f"against the untouched projector; 95 % paired bootstrap, {counted(ns)}")
    return figure


def layers_caption(richness: pl.DataFrame) -> str:
    """What the figure by layer shows."""
    own = richness.filter(projector=OWN, probe=LINE)
    return (
        f"Macro-F1 on test pictures of a linear probe ({_counts(own)}) on the mean image token (above) and on the last "
        "prompt token (below) at every hidden state: 0 is what enters the decoder, K what leaves block K - 1. Above, "
        "left of it: the tower's summary and the mean token before the projector. Dashed: probes that have learned "
        "shuffled labels; cross: behind a projector whose weights are in random order."
    )


def settings_caption(probed: pl.DataFrame) -> str:
    """What the figure by setting shows."""
    return (
        "Macro-F1 on test pictures of each probe on the mean image token behind the projector after tuning in each "
        "setting (zero-shot: untouched), beside what goes into it, and beside two controls of the untouched model "
        f"({_counts(probed.filter(projector=OWN))}). MLPs are narrower than published where the decoder is."
    )


def drift_caption(probed: pl.DataFrame) -> str:
    """What the figure of drift shows."""
    return (
        "How what probes read of the projector's output changed, against ||after - before|| / ||before|| of its "
        f"weights ({_counts(probed.filter(projector=OWN))}); means over seeds. Below 0: tuning made it poorer for that "
        "probe."
    )


def _by_state(rows: pl.DataFrame, span: str) -> Curve | None:
    """Means over seeds, of the bounds too: `pre` stands at -1, `cls` at -2."""
    found = rows.with_columns(place=_place(span)).filter(pl.col("place").is_not_null())
    if not found.height:
        return None
    meant = found.group_by("place").agg(pl.col("macro_f1", "macro_f1_low", "macro_f1_high").mean(), pl.col("n").first())
    meant = meant.sort("place")
    values = (meant[name].to_numpy() for name in ("place", "macro_f1", "macro_f1_low", "macro_f1_high"))
    return Curve(*(np.asarray(v, dtype=np.float64) for v in values), n=int(meant["n"][0]))


def _place(span: str) -> pl.Expr:
    state = pl.col("where").str.extract(rf"^layer\.(\d+)\.{span}$", 1).cast(pl.Int64)
    if span == "last":
        return state
    return pl.when(pl.col("where") == PRE).then(-1).when(pl.col("where") == CLS).then(-2).otherwise(state)


def _places(axes: Axes, rows: pl.DataFrame, span: str) -> None:
    found = sorted(set(rows.select(place=_place(span))["place"].drop_nulls()))
    states = [place for place in found if place >= 0]
    step = max(1, len(states) // 9)
    shown = [place for place in found if place < 0 or place % step == 0]
    axes.set_xticks(shown, [{-1: PRE, -2: CLS}.get(place, f"{place}") for place in shown])


def _controls(axes: Axes, controls: pl.DataFrame | None, span: str, size: Size) -> None:
    if controls is None:
        return
    chance = _by_state(controls.filter(control=SHUFFLED), span)
    if chance is not None:
        axes.fill_between(chance.places, chance.low, chance.high, color=GREY, alpha=0.15, linewidth=0, zorder=1)
        axes.plot(chance.places, chance.mean, color=GREY, linewidth=0.8 * size.line, linestyle=DASHES[0], zorder=2)
    random = controls.filter(control=RANDOM_PROJECTOR)
    if span == "image" and random.height:
        axes.plot([0], [random["macro_f1"].mean()], "x", color=INK, markersize=5, zorder=5)


def _keys(size: Size) -> list[Line2D]:
    dashed = Line2D([], [], color=GREY, linewidth=0.8 * size.line, linestyle=DASHES[0], label="shuffled labels")
    return [dashed, Line2D([], [], color=INK, marker="x", linestyle="", label="projector, weights permuted")]


def _counts(rows: pl.DataFrame) -> str:
    counts = rows.group_by("domain", maintain_order=True).agg(
        pl.col("seed").n_unique(), n=pl.col("n").first() if "n" in rows.columns else pl.col("example_id").n_unique()
    )
    return "; ".join(f"{r['domain']}: n = {r['n']} pictures, seeds: {r['seed']}" for r in counts.iter_rows(named=True))
