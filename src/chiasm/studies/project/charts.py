"""The figures of `chiasm project`: settings, projectors by size, and what probes read of the model's states."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FormatStrFormatter, FuncFormatter, NullLocator

from chiasm.core.claims import Claim, of_kind
from chiasm.core.statistics.intervals import Estimate
from chiasm.measures.probes.kinds import CLS, POST, PRE
from chiasm.results.series import Curve, in_order
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
    dress,
    legend_below,
    marked,
    new_figure,
    point_key,
)
from chiasm.studies.project.choice import named
from chiasm.studies.project.findings import unusable
from chiasm.studies.project.levels import capacities, claimed, reference_mean, shown_score, swept
from chiasm.studies.project.scores import LINE, UNTUNED, ProbeAnswers, ProbeSite
from chiasm.studies.project.tables import IMAGE_MLP, OWN, RANDOM, RANDOM_PROJECTOR, SHUFFLED, TOWER

_REFERENCES = ((RANDOM, "uniform guessing", ":"), (TOWER, "tower zero-shot", "--"), (IMAGE_MLP, "MLP on CLS", "-"))
_SINGLE = "one seed, 95 % over images alone"
_TITLES = {LINE: "linear", "mlp-paper": "MLP, paper", "mlp-code": "MLP, code"}


def tuning_bars(
    tuning: pl.DataFrame, predictions: pl.DataFrame, references: pl.DataFrame | None, claims: Sequence[Claim] = ()
) -> Figure:
    """Bars: macro-F1 over seeds with an interval over images and seeds; dots: single seeds; diamonds: the most probable
    label; lines: references."""
    size = SIZES["page"]
    own = tuning.filter(projector=OWN)
    domains, settings = in_order(own, "domain"), in_order(own, "setting")
    figure = new_figure("page", 0.6 + 0.28 * len(settings))
    shown = []
    for place, domain in enumerate(domains):
        axes = figure.add_subplot(1, len(domains), place + 1)
        for y, name in enumerate(settings):
            score = shown_score(claims, predictions, domain, name)
            if score is None:
                continue
            mean = float(score.mean)
            axes.barh(y, mean, height=0.62, color=FAINT if name == UNTUNED else COLOURS[5], linewidth=0, zorder=1)
            bar = {"color": INK, "linewidth": 0.9, "capsize": 2, "capthick": 0.9}
            axes.errorbar(mean, y, xerr=_lengths(score), zorder=3, **bar)
            seeds = own.filter(domain=domain, setting=name)["macro_f1"]
            if len(seeds) > 1:
                axes.plot(seeds, [y + 0.22] * len(seeds), ".", color=INK, markersize=3, zorder=4)
            most = own.filter(domain=domain, setting=name)["constrained_macro_f1"].mean()
            axes.plot(most, y, "D", markersize=4, color="white", markeredgecolor=INK, zorder=3)
        for key, title, dash in _REFERENCES:
            level = reference_mean(references, domain, key)
            if level is not None:
                axes.axvline(level, color=COLOURS[1], linestyle=dash, linewidth=1.1, zorder=2)
                shown.append((title, dash))
        axes.set_yticks(range(len(settings)), settings if place == 0 else [""] * len(settings))
        axes.set_ylim(len(settings) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        dress(axes, size, x=f"Macro-F1, {domain}")
    handles = [Line2D([], [], color=COLOURS[1], linestyle=dash, label=title) for title, dash in dict.fromkeys(shown)]
    if own["seed"].n_unique() > 1:
        handles.append(point_key("one seed", color=INK, marker="."))
    handles.append(point_key("among labels", marker="D", color="white", markeredgecolor=INK, markersize=4))
    legend_below(figure, handles, size, f"bars: {_over(own)}")
    return figure


def tuning_caption(tuning: pl.DataFrame, references: pl.DataFrame | None) -> str:
    """What the figure shows, with its numbers of images and seeds."""
    beside = "" if references is None else " Lines: what needs no language model (of guessing, its expectation)."
    return (
        f"Macro-F1 of free greedy answers after tuning in each setting ({_counts(tuning.filter(projector=OWN))}). "
        "Answers that name no class count as wrong. Intervals hold for all settings at once. "
        "Diamonds: the most probable of all labels; dots below a bar: single seeds, where there are several."
        f"{beside}"
    )


def capacity_points(
    tuning: pl.DataFrame,
    predictions: pl.DataFrame,
    aligned: pl.DataFrame,
    references: pl.DataFrame | None,
    claims: Sequence[Claim] = (),
) -> Figure:
    """Points: one projector each, with an interval; dotted: uniform guessing. A panel per setting."""
    size, places = SIZES["page"], swept(tuning)
    names = sorted(set(aligned["projector"]) - {OWN})
    looks = {OWN: {"color": INK, "marker": "*", "markerfacecolor": INK}} | {n: marked(k) for k, n in enumerate(names)}
    columns = min(len(places), 2)
    lines = -(-len(places) // columns)
    figure = new_figure("page", 2.1 * lines)
    for number, (domain, setting) in enumerate(places):
        axes = figure.add_subplot(lines, columns, number + 1)
        for one in capacities(aligned, predictions, domain, setting, claims):
            bar = {"linestyle": "", "elinewidth": 0.8, "capsize": 1.5, "markersize": 7 if one.projector == OWN else 4}
            style = bar | looks[one.projector]
            axes.errorbar(one.parameters, float(one.score.mean), yerr=_lengths(one.score), **style)
        chance = reference_mean(references, domain, RANDOM)
        if chance is not None:
            axes.axhline(chance, color=GREY, linestyle=":", linewidth=1)
        # Below a thousand it is linear, so that a projector that learns nothing has a place.
        axes.set_xscale("symlog", linthresh=1000)
        axes.set_xlim(-200, 2 * max(1000, *aligned["parameters"]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
        axes.set_ylim(0, None)
        dress(axes, size, x="Parameters of the projector", y="Macro-F1", title=f"{domain}, {setting}")
    shown = [OWN, *names] if OWN in set(aligned["projector"]) else names
    handles = [point_key("the model's own" if n == OWN else n, markersize=5, **looks[n]) for n in shown]
    legend_below(figure, handles, size, f"{_over(tuning)}; dotted: guessing")
    return figure


def capacity_caption(tuning: pl.DataFrame, aligned: pl.DataFrame) -> str:
    """What the figure shows, with its numbers of images, seeds and steps of alignment."""
    others = tuning.filter(pl.col("projector") != OWN)
    steps = aligned.filter(pl.col("steps") > 0)["steps"]
    length = f"{steps.min()} steps of 32 captions" if len(steps) else "no step, as nothing in them is learned"
    return (
        f"Macro-F1 after tuning with other projectors (n = {others['n'].max()} images, "
        f"{others['seed'].n_unique()} seeds), each aligned for {length} with tower and decoder frozen. The model's own "
        "has seen many more images: compare the others with each other."
    )


def _lengths(of: Estimate) -> Float[np.ndarray, "2 n"]:
    return bar_lengths(of.mean, of.low, of.high)


def _short(value: float) -> str:
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e3 else f"{value:g}"


def richness_layers(probed: pl.DataFrame) -> Figure:
    """Macro-F1 of a linear probe by hidden state: mean image token (before it `cls`, `pre`), and last prompt token."""
    size = SIZES["page"]
    own = probed.filter(projector=OWN, probe=LINE)
    domains, settings = in_order(own, "domain"), in_order(own, "setting")
    figure = new_figure("page", 3.9)
    panels = figure.subplots(2, len(domains), sharey=True, squeeze=False)
    handles: list[Line2D] = []
    ns = []
    for column, domain in enumerate(domains):
        of = ProbeAnswers.of(own, domain)
        for row, span in enumerate(("image", "last")):
            axes, lines = panels[row][column], []
            for index, setting in enumerate(settings):
                curve = _by_state(of, setting, span)
                if curve is not None:
                    lines.append(draw(axes, curve, index, size, setting))
                    ns.append(curve.n)
            _controls(axes, of, span, size)
            _places(axes, of.rows, span)
            axes.set_ylim(0, 1)
            named = "mean image token" if span == "image" else "last prompt token"
            dress(axes, size, x="Hidden state", y="Macro-F1" if column == 0 else "", title=f"{domain}, {named}")
            handles = handles or lines
    if own["control"].is_not_null().any():
        handles = [*handles, *_keys(size)]
    legend_below(figure, handles, size, f"linear probe; {_over(own)}, {counted(ns)}")
    return figure


def richness_settings(probed: pl.DataFrame) -> Figure:
    """Macro-F1 of every probe on the projector's output by setting, between what it is compared with."""
    size = SIZES["page"]
    own = probed.filter(projector=OWN)
    domains, settings = in_order(own, "domain"), in_order(own, "setting")
    probes = in_order(own, "probe")
    places = [("tower's summary (cls)", UNTUNED, CLS, None), ("before the projector (pre)", UNTUNED, PRE, None)]
    places += [(name, name, POST, None) for name in settings]
    places.append(("projector, weights permuted", UNTUNED, POST, RANDOM_PROJECTOR))
    places.append(("shuffled labels", UNTUNED, POST, SHUFFLED))
    styles = [{"color": COLOURS[k], "marker": MARKERS[k], "markersize": size.marker} for k in range(len(probes))]
    figure = new_figure("page", 0.5 + 0.24 * len(places))
    panels = figure.subplots(1, len(domains), sharey=True, squeeze=False)[0]
    ns = []
    for column, (domain, axes) in enumerate(zip(domains, panels, strict=True)):
        of = ProbeAnswers.of(probed, domain)
        for y, (_, setting, where, control) in enumerate(places):
            for index, probe in enumerate(probes):
                score = of.score(ProbeSite(setting, where, probe, control))
                if score is None:
                    continue
                ns.append(score.n)
                at = y + 0.24 * (index - (len(probes) - 1) / 2)
                axes.errorbar(float(score.mean), at, xerr=_lengths(score), linewidth=0.8, capsize=1.5, **styles[index])
        for edge in (1.5, len(places) - 2.5):
            axes.axhline(edge, color=FAINT, linewidth=0.8, zorder=0)
        axes.set_yticks(range(len(places)), [title for title, *_ in places])
        axes.set_ylim(len(places) - 0.5, -0.5)
        axes.set_xlim(0, 1)
        dress(axes, size, x=f"Macro-F1 of the probe, {domain}")
        if column:
            axes.tick_params(left=False)
    handles = [Line2D([], [], label=_TITLES[probe], **style) for probe, style in zip(probes, styles, strict=True)]
    legend_below(figure, handles, size, f"{_over(own)}, {counted(ns)}")
    return figure


def richness_drift(tuning: pl.DataFrame, probed: pl.DataFrame, claims: Sequence[Claim] = ()) -> Figure:
    """Change in what probes read of the projector's output, against how far tuning moved the projector's weights.

    With `claims`: theirs, with their intervals; open where the interval is all that a change can be.
    """
    size = SIZES["page"]
    own = tuning.filter(projector=OWN)
    domains = in_order(own, "domain")
    probes = [name for name in in_order(probed, "probe") if not claims or _changes(claims, name)]
    settings = [name for name in in_order(own, "setting") if name != UNTUNED]
    figure = new_figure("page", 2.4)
    panels = figure.subplots(1, len(domains), sharey=True, squeeze=False)[0]
    ns = []
    for column, (domain, axes) in enumerate(zip(domains, panels, strict=True)):
        of = ProbeAnswers.of(probed, domain)
        places = []
        for place, setting in enumerate(settings):
            drift = own.filter(domain=domain, setting=setting)["projector_drift"]
            for index, probe in enumerate(probes):
                one = named(claims, "richness", domain, setting, probe)
                gap = claimed(claims, "richness", domain, setting, probe)
                if not claims:
                    gap = of.gap(ProbeSite(setting, POST, probe), ProbeSite(UNTUNED, POST, probe))
                if gap is None or not len(drift):
                    continue
                none = one is not None and unusable(one)
                ns.append(gap.n if one is None else one.inputs or one.n)
                # Probes of one setting share its drift: a little apart, so that intervals do not hide each other.
                x = float(drift.mean()) * (1 + 0.05 * (index - (len(probes) - 1) / 2))  # type: ignore[arg-type]
                places.append(x)
                style = {"color": COLOURS[index], "marker": MARKERS[place % len(MARKERS)], "linestyle": ""}
                size_of = {"markersize": size.marker + 1, "linewidth": 0.8, "capsize": 1.5}
                size_of |= {"markerfacecolor": "white" if none else COLOURS[index]}
                bars = None if none else _lengths(gap)
                axes.errorbar(x, float(gap.mean), yerr=bars, **style, **size_of)
        moved = [x for x in places if x > 0]
        if moved:
            axes.set_xscale("log", nonpositive="mask")
            axes.set_xlim(min(moved) / 1.15, max(moved) * 1.15)
            axes.xaxis.set_major_locator(FixedLocator(_ticks(min(moved) / 1.15, max(moved) * 1.15)))
            axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        axes.axhline(0, color=INK, linewidth=0.7, zorder=0)
        title = "Change in macro-F1 of the probe" if column == 0 else ""
        dress(axes, size, x="Weights moved, share of their size", y=title, title=domain)
    handles = [Line2D([], [], color=COLOURS[k], linewidth=2, label=_TITLES[p]) for k, p in enumerate(probes)]
    look = {"color": INK, "markersize": size.marker + 1}
    handles += [point_key(name, marker=MARKERS[k % len(MARKERS)], **look) for k, name in enumerate(settings)]
    legend_below(figure, handles, size, f"against the untouched projector, paired; {_over(own)}, {counted(ns)}")
    return figure


def _over(rows: pl.DataFrame) -> str:
    """Over what means and intervals are."""
    return "mean over seeds, 95 % over images and seeds" if rows["seed"].n_unique() > 1 else _SINGLE


def _changes(claims: Sequence[Claim], probe: str) -> bool:
    return any(one.about.endswith(f", {probe}") for one in of_kind(claims, "richness"))


def _ticks(low: float, high: float) -> list[float]:
    """Up to seven round numbers between two, about evenly on a logarithmic scale."""
    power = np.floor(np.log10(low))
    for steps in (
        (1,),
        (1, 3),
        (1, 2, 5),
        (1, 1.5, 2, 3, 4, 6, 8),
        np.arange(10, 100, 5) / 10,
        np.arange(100, 1000) / 100,
    ):
        found = [float(f"{step * 10**k:.3g}") for k in (power, power + 1, power + 2) for step in steps]
        found = sorted(x for x in set(found) if low <= x <= high)
        if len(found) > 2:
            return found[:: -(-len(found) // 7)]
    return found


def layers_caption(probed: pl.DataFrame) -> str:
    """What the figure by layer shows."""
    own = probed.filter(projector=OWN, probe=LINE)
    return (
        f"Macro-F1 on test images of a linear probe ({_counts(own)}) on the mean image token (above) and on the last "
        "prompt token (below) at every hidden state: 0 is what enters the decoder, K what leaves block K - 1. Above, "
        "left of it: the tower's summary and the mean token before the projector. Dashed: untouched, with probes "
        "that have learned shuffled labels; cross: behind a projector whose weights are in random order. Each "
        "interval holds on its own; differences with intervals for all at once are in the claims."
    )


def settings_caption(probed: pl.DataFrame) -> str:
    """What the figure by setting shows."""
    return (
        "Macro-F1 on test images of each probe on the mean image token behind the projector after tuning in each "
        "setting (zero-shot: untouched), beside what goes into it, and beside two controls of the untouched model "
        f"({_counts(probed.filter(projector=OWN))}). MLPs are narrower than published where the decoder is."
    )


def drift_caption(probed: pl.DataFrame) -> str:
    """What the figure of drift shows."""
    return (
        "How what probes read of the projector's output changed, against ||after - before|| / ||before|| of its "
        f"weights ({_counts(probed.filter(projector=OWN))}); means over seeds. Intervals hold for all changes shown; "
        "open: the seeds give no usable interval."
    )


def _by_state(of: ProbeAnswers, setting: str, span: str, control: str | None = None) -> Curve | None:
    """What a linear probe reads, with intervals over images and seeds: `pre` stands at -1, `cls` at -2."""
    sites = of.rows.select("where", place=_place(span)).drop_nulls().unique().sort("place").rows()
    scored = [(place, of.score(ProbeSite(setting, where, LINE, control))) for where, place in sites]
    found = [(float(place), score) for place, score in scored if score is not None]
    if not found:
        return None
    values = [[place, float(s.mean), float(s.low), float(s.high)] for place, s in found]
    return Curve(*np.array(values).T, n=found[0][1].n)


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


def _controls(axes: Axes, of: ProbeAnswers, span: str, size: Size) -> None:
    """Of the untouched model, or of the first setting there is."""
    settings = in_order(of.rows, "setting")
    chance = _by_state(of, UNTUNED if UNTUNED in settings else settings[0], span, SHUFFLED)
    if chance is not None:
        axes.fill_between(chance.places, chance.low, chance.high, color=GREY, alpha=0.15, linewidth=0, zorder=1)
        axes.plot(chance.places, chance.mean, color=GREY, linewidth=0.8 * size.line, linestyle=DASHES[0], zorder=2)
    random = of.score(ProbeSite(UNTUNED, POST, LINE, RANDOM_PROJECTOR))
    if span == "image" and random is not None:
        axes.errorbar(0, float(random.mean), yerr=_lengths(random), fmt="x", color=INK, markersize=5, zorder=5)


def _keys(size: Size) -> list[Line2D]:
    dashed = Line2D([], [], color=GREY, linewidth=0.8 * size.line, linestyle=DASHES[0], label="shuffled labels")
    return [dashed, point_key("projector, weights permuted", color=INK, marker="x")]


def _counts(rows: pl.DataFrame) -> str:
    counts = rows.group_by("domain", maintain_order=True).agg(
        pl.col("seed").n_unique(), n=pl.col("n").first() if "n" in rows.columns else pl.col("example_id").n_unique()
    )
    return "; ".join(f"{r['domain']}: n = {r['n']} images, seeds: {r['seed']}" for r in counts.iter_rows(named=True))
