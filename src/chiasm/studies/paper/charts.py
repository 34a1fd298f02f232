"""The alignment paper's figures for one's own models, in its layout. Numbers in names are the paper's."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.core.spans import is_perceptual
from chiasm.core.statistics.correlation import correlate
from chiasm.results.series import Curve, in_order
from chiasm.results.theme import (
    COLOURS,
    DASHES,
    GREY,
    INK,
    MARKERS,
    SIZES,
    Size,
    Width,
    control_key,
    counted,
    draw,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    marked,
    new_figure,
)
from chiasm.studies.align.charts.panels import (
    BASELINE,
    INTERVAL,
    STATE,
    logarithmic,
    median_norms,
    pooled_curve,
    table_curve,
)
from chiasm.studies.compare.charts import model_point
from chiasm.studies.compare.findings import ENOUGH
from chiasm.studies.paper.findings import between_kinds, cosines

_SPANS = ("image", "question", "video", "audio")
"""In the order of their colours."""
_PAIRS = (
    ("P vs P: other data", "PP"),
    ("T vs T: other data", "TT"),
    ("P vs T: same data", "PT"),
    ("p vs p: halves", "pp"),
    ("t vs t: halves", "tt"),
)
_HALF = " [first half]"


def figure_2(
    rows: pl.DataFrame, places: pl.DataFrame, model: str, baseline: str | None, *, width: Width = "page"
) -> Figure:
    """How near kinds of tokens are to their own kind and to others, over pairs of examples (left); t-SNE (right)."""
    size = SIZES[width]
    figure = new_figure(width, 2.7)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    rows = cosines(rows)
    handles: list[Line2D] = []
    ns: list[int] = []
    for index, (label, kind) in enumerate(_PAIRS):
        own = _of_kind(rows.filter(pl.col("model") == model), kind)
        if own.height:
            curve = pooled_curve(own)
            handles.append(draw(left, curve, index, size, label))
            ns.append(curve.n)
            beside = _of_kind(_of_model(rows, baseline), kind)
            _draw_baseline(left, beside, COLOURS[index], size, pooled_curve)
    left.axhline(0, color=INK, linewidth=0.7, zorder=1)
    layer_axis(left, int(rows["layer"].max() or 0), 0.6 * size.inches)
    dress(left, size, x=STATE, y="Cosine of mean tokens")
    handles += _token_map(right, places.filter((pl.col("model") == model) & (pl.col("method") == "tsne")), size)
    _legend(figure, handles, size, baseline, f"{INTERVAL} (of several pairs: mean bounds), {counted(ns)}")
    return figure


def figure_3(
    norms: pl.DataFrame,
    drift: pl.DataFrame,
    models: Sequence[str],
    baselines: Mapping[str, str],
    *,
    width: Width = "page",
) -> Figure:
    """Norms (above) and change from one state to the next (below) of both kinds of tokens, one column per model.

    `baselines`: the model with random weights that stands beside a model, where there is one.
    """
    size = SIZES[width]
    figure = new_figure(width, 3.6)
    panels = figure.subplots(2, len(models), squeeze=False, sharex=True, sharey="row")
    drift = drift.filter(pl.col("gap") == drift["gap"].min())
    handles: dict[str, Line2D] = {}
    ns: list[int] = []
    for column, model in enumerate(models):
        for axes, rows, y in (
            (panels[0, column], median_norms(norms), "Norm (median)"),
            (panels[1, column], drift, "Cosine, one block later"),
        ):
            for span in in_order(_of_model(rows, model), "span"):
                root = span.partition("[")[0].strip().partition(".")[0]
                index = _SPANS.index(root) if root in _SPANS else 1
                of_span = rows.filter(pl.col("span") == span)
                own = table_curve(_of_model(of_span, model))
                handles[span] = draw(axes, own, index, size, span)
                ns.append(own.n)
                _draw_baseline(axes, _of_model(of_span, baselines.get(model)), COLOURS[index], size)
            layer_axis(axes, int(rows["layer"].max() or 0), size.inches / len(models))
            dress(axes, size, y=y if column == 0 else "", title=model if axes is panels[0, column] else "")
        panels[1, column].set_xlabel(STATE if len(models) < 3 else "Hidden state", fontsize=size.text, color=INK)
    logarithmic(panels[0, 0])
    title = f"norms: standard deviation over examples; else {INTERVAL}, {counted(ns)}"
    _legend(figure, list(handles.values()), size, next(iter(baselines.values()), None), title)
    return figure


def figure_7(
    rows: pl.DataFrame,
    score: pl.DataFrame,
    steps: Sequence[tuple[str, int]],
    baseline: str | None,
    *,
    width: Width = "page",
) -> Figure:
    """Cosine of perceptual and textual tokens by depth at several training steps (left), and its mean (right)."""
    size = SIZES[width]
    figure = new_figure(width, 2.4)
    left, right = figure.subplots(1, 2)
    rows = between_kinds(cosines(rows))
    ramp = colormaps["viridis"]
    handles, ns = [], []
    for index, (model, step) in enumerate(steps):
        own = table_curve(_of_model(rows, model))
        colour = ramp(0.9 * index / max(1, len(steps) - 1))
        left.fill_between(own.places, own.low, own.high, color=colour, alpha=0.15, linewidth=0)
        style = {"linewidth": size.line, "marker": MARKERS[index % len(MARKERS)], "markersize": size.marker}
        handles += left.plot(own.places, own.mean, color=colour, label=f"step {step}", **style)
        ns.append(own.n)
    _draw_baseline(left, _of_model(rows, baseline), GREY, size)
    layer_axis(left, int(rows["layer"].max() or 0), size.inches / 2)
    a, b = rows.select("a", "b").row(0)
    dress(left, size, x=STATE, y=f"Cosine of {a} and {b}")
    score = score.filter(pl.col("statistic") == "mean_token")
    for index, name in enumerate(in_order(score, "name")):
        own = score.filter(pl.col("name") == name)
        found = [_of_model(own, model).row(0, named=True) for model, _ in steps]
        places, values = [step for _, step in steps], [row["value"] for row in found]
        low, high = ([r[k] if r[k] is not None else r["value"] for r in found] for k in ("low", "high"))
        right.fill_between(places, low, high, color=COLOURS[index], alpha=0.2, linewidth=0)
        style = {"linewidth": size.line, "marker": MARKERS[index], "markersize": size.marker}
        handles += right.plot(places, values, color=COLOURS[index], label=name, **style)
        for value in _of_model(own, baseline)["value"]:
            right.axhline(value, color=COLOURS[index], linewidth=0.8 * size.line, linestyle=DASHES[0])
    dress(right, size, x="Training step", y="Alignment score")
    _legend(figure, handles, size, baseline, f"mean and 95 % interval, {counted(ns)}")
    return figure


def figure_8(
    inside: pl.DataFrame, rows: pl.DataFrame, model: str, baseline: str | None, *, width: Width = "page"
) -> Figure:
    """Inside the blocks: norms and change of either span, and their cosine, by tap; last panel: random weights."""
    size = SIZES[width]
    figure = new_figure(width, 4.4)
    panels = figure.subplots(2, 3)
    own, cross = _of_model(inside, model), between_kinds(cosines(rows, inside=True))
    spans = in_order(own, "span")
    spans = [next(s for s in spans if is_perceptual(s)), next(s for s in spans if not is_perceptual(s))]
    handles: dict[str, Line2D] = {}
    ns: list[int] = []

    def curves(axes: Axes, rows: pl.DataFrame, title: str, y: str) -> None:
        for index, tap in enumerate(in_order(own, "tap")):
            found = rows.filter(pl.col("tap") == tap)
            if found.height:
                curve = table_curve(found)
                handles.setdefault(tap, draw(axes, curve, index, size, tap.replace("_", " ")))
                ns.append(curve.n)
                layer_axis(axes, int(own["layer"].max() or 0), size.inches / 3)
        dress(axes, size, x="Block", y=y, title=title)

    for line, span in zip(panels, spans, strict=True):
        of_span = own.filter(pl.col("span") == span)
        curves(line[0], of_span.filter(pl.col("quantity") == "norm"), span, "Norm of a token")
        curves(line[1], of_span.filter(pl.col("quantity") == "change"), span, "Cosine, one block later")
        logarithmic(line[0])
    control = f"control: {baseline}" if baseline else "no baseline"
    for axes, name, title in zip(panels[:, 2], (model, baseline), (model, control), strict=True):
        curves(axes, _of_model(cross, name), title, "Cosine of both")
        axes.axhline(0, color=INK, linewidth=0.7, zorder=1)
    panels[0, 2].sharey(panels[1, 2])
    title = f"{INTERVAL}, {counted(ns)}; residual: at the hidden state before the block"
    legend_below(figure, list(handles.values()), size, title)
    return figure


def figure_9(
    models: pl.DataFrame,
    score: pl.DataFrame,
    groups: Mapping[str, Sequence[str]],
    baselines: Mapping[str, str],
    *,
    width: Width = "page",
) -> Figure:
    """Accuracy against both scores: a row for each group of models (checkpoints of one run, variants)."""
    size = SIZES[width]
    names = in_order(score, "name")
    figure = new_figure(width, 2.2 * len(groups))
    panels = figure.subplots(len(groups), len(names), squeeze=False, sharey="row")
    score = score.filter(pl.col("statistic") == "mean_token").join(models, on="model", suffix="_model")
    shown = list(dict.fromkeys(m for members in groups.values() for m in members))
    for line, (group, members) in zip(panels, groups.items(), strict=True):
        beside = {baselines[model] for model in members if model in baselines}
        for axes, name in zip(line, names, strict=True):
            own = score.filter((pl.col("name") == name) & pl.col("model").is_in([*members, *beside]))
            for row in own.iter_rows(named=True):
                model_point(axes, row, shown.index(row["model"]) if row["model"] in shown else None)
            inside = own.filter(pl.col("model").is_in(list(members)))
            title = f"{group}: {_correlation(inside)}"
            dress(axes, size, x=name, y="Right answers (%)" if name == names[0] else "", title=title)
    marks = [Line2D([], [], markersize=4, linestyle="none", label=model, **marked(k)) for k, model in enumerate(shown)]
    if baselines:
        label = f"control, not counted: {BASELINE}"
        marks.append(Line2D([], [], color=GREY, marker="x", linestyle="none", label=label))
    legend_below(figure, marks, size, f"bars: 95 % intervals over examples, {counted(models['n'].to_list())}")
    return figure


def figure_13(
    tables: Mapping[str, pl.DataFrame], models: Sequence[str], baseline: str | None, *, width: Width = "page"
) -> Figure:
    """Variants side by side: cosine of both kinds, change, norms, divergence and change of words."""
    size = SIZES[width]
    words = tables["paper_vocabulary"]
    seen = pl.col("span").map_elements(is_perceptual, pl.Boolean)
    later = pl.col("against").str.starts_with("state ")
    drift, norms = tables["paper_drift"], tables["paper_norms"]
    drawn = [
        ("Cosine of both kinds", between_kinds(cosines(tables["paper_similarity"]))),
        ("Perceptual, one block later", drift.filter(seen & (pl.col("gap") == drift["gap"].min()))),
        ("Norm, perceptual (median)", median_norms(norms).filter(seen)),
        ("KL from text (nat)", words.filter(seen & (pl.col("quantity") == "kl") & ~later)),
        ("Cosine of words, next read state", words.filter(seen & (pl.col("quantity") == "cosine") & later)),
    ]
    figure = new_figure(width, 4.2)
    panels = figure.subplots(2, 3)
    handles: dict[str, Line2D] = {}
    ns: list[int] = []
    for axes, (y, rows) in zip(panels.flat, drawn, strict=False):
        for index, model in enumerate(models):
            own = table_curve(_of_model(rows, model))
            handles.setdefault(model, draw(axes, own, index, size, model))
            ns.append(own.n)
        _draw_baseline(axes, _of_model(rows, baseline), GREY, size)
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / 3)
        dress(axes, size, x="Hidden state", y=y)
    logarithmic(panels[0, 2])
    panels[1, 2].set_axis_off()
    title = f"{INTERVAL} (norms: standard deviation), {counted(ns)}"
    _legend(figure, list(handles.values()), size, baseline, title)
    return figure


def figure_22_layers(
    rows: pl.DataFrame, baseline: pl.DataFrame | None = None, sparsity: float = 0.5, *, width: Width = "page"
) -> Figure:
    """Overlap of masks by layer, one panel per kind of matrix, between nulls and ceiling; dashed: random weights."""
    size = SIZES[width]
    rows = rows.filter(pl.col("sparsity") == sparsity)
    kinds = in_order(rows, "matrix")
    columns = min(4, len(kinds))
    lines = -(-len(kinds) // columns)
    figure = new_figure(width, 1.5 * lines)
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    drawn = (
        ("iou", 0, "masks of either"),
        ("ceiling", 2, "ceiling: halves of one span"),
        ("null_permuted", 1, "null: shuffled norms"),
        ("null_magnitude", 4, "null: magnitude"),
        ("null_random", 6, "null: random"),
    )
    handles: list[Line2D] = []
    for axes, kind in zip(panels.flat, kinds, strict=False):
        own = rows.filter(pl.col("matrix") == kind)
        # A model read on few examples has no ceiling; an empty line would still stand in the legend.
        present = [one for one in drawn if own[one[0]].null_count() < own.height]
        handles = [draw(axes, pooled_curve(own, column), k, size, label) for column, k, label in present]
        if baseline is not None:
            beside = baseline.filter((pl.col("sparsity") == sparsity) & (pl.col("matrix") == kind))
            draw_control(axes, pooled_curve(beside, "iou"), COLOURS[0], 0, size)
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / columns)
        dress(axes, size, title=kind.rpartition(".")[2])
    for axes in list(panels.flat)[len(kinds) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel("IoU", fontsize=size.text, color=INK)
    for axes in panels[-1]:
        axes.set_xlabel("Layer", fontsize=size.text, color=INK)
    pairs = rows.select("a", "b").unique().height
    about = f"{100 * sparsity:.0f} % left out; mean over {pairs} pair{'s' * (pairs > 1)} of spans"
    title = f"{about}; mean bounds of 95 % intervals, n = {rows['n'].min()} examples"
    _legend(figure, handles, size, None if baseline is None else BASELINE, title)
    return figure


def _of_model(rows: pl.DataFrame, model: str | None) -> pl.DataFrame:
    """The rows of a model; none without one."""
    return rows.filter(pl.col("model") == (model or ""))


def _of_kind(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Pairs of spans of a kind. Spans of one model share what stands in brackets behind them."""

    def fits(row: dict[str, str]) -> bool:
        a, b = row["a"], row["b"]
        halves = a.endswith(_HALF)
        sides = f"{'P' if is_perceptual(a) else 'T'}{'P' if is_perceptual(b) else 'T'}"
        if kind in ("pp", "tt"):
            return halves and sides == kind.upper()
        one, other = (x.partition("[")[2] for x in (a, b))
        return not halves and a != b and sides == kind and ((one == other) == (kind == "PT"))

    return rows.filter(pl.struct("a", "b").map_elements(fits, pl.Boolean))


def _token_map(axes: Axes, places: pl.DataFrame, size: Size) -> list[Line2D]:
    """The map at the depth next to three quarters; thin lines join the spans of one example."""
    layers = sorted(in_order(places, "layer"))
    marks: list[Line2D] = []
    if layers:
        layer = layers[len(layers) // 2]
        here = places.filter(pl.col("layer") == layer)
        for _, own in here.group_by("example_id", maintain_order=True):
            axes.plot(own["x"], own["y"], color=GREY, linewidth=0.25, alpha=0.5, zorder=1)
        for index, span in enumerate(in_order(here, "span")):
            own, colour, mark = here.filter(pl.col("span") == span), COLOURS[(index + 5) % 7], MARKERS[index % 7]
            axes.scatter(own["x"], own["y"], s=7, color=colour, marker=mark, linewidths=0, zorder=3)
            marks.append(Line2D([], [], color=colour, marker=mark, markersize=3, linestyle="none", label=span))
        n = here["example_id"].n_unique()
        dress(axes, size, title=f"t-SNE at state {layer}, n = {n} examples")
    axes.set_xticks([])
    axes.set_yticks([])
    return marks


def _correlation(rows: pl.DataFrame) -> str:
    """How many models there are, and how their score goes with their accuracy."""
    n = rows.height
    few = ", too few" if n < ENOUGH else ""
    if n < 2:
        return f"n = {n}{few}"
    found = correlate(rows["value"].to_numpy(), rows["accuracy"].to_numpy())
    if np.isnan(found.spearman):
        return f"n = {n}, no spread"
    return f"n = {n}{few};\nSpearman {found.spearman:.2f}, p = {found.p:.2g}"


def _draw_baseline(
    axes: Axes,
    rows: pl.DataFrame,
    colour: str,
    size: Size,
    curve: Callable[[pl.DataFrame], Curve] = table_curve,
) -> None:
    if rows.height:
        draw_control(axes, curve(rows), colour, 0, size)


def _legend(figure: Figure, handles: Sequence[Line2D], size: Size, baseline: str | None, title: str) -> None:
    keys = [] if baseline is None else [control_key(f"control: {BASELINE}", 0, size)]
    legend_below(figure, [*handles, *keys], size, title)
