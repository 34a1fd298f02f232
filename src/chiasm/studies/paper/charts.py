"""The alignment paper's figures for one's own models, in its layout. Numbers in names are the paper's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.core.spans import is_perceptual
from chiasm.core.statistics.correlation import correlate
from chiasm.results.panels import Panels
from chiasm.results.series import Curve, in_order
from chiasm.results.theme import (
    COLOURS,
    DASHES,
    GREY,
    MARKERS,
    SIZES,
    Size,
    counted,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    marked,
    new_figure,
    zero_line,
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
from chiasm.studies.align.charts.words import draw_tokens
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


def figure_2(rows: pl.DataFrame, places: pl.DataFrame, model: str, baseline: str | None) -> Figure:
    """How near kinds of tokens are to their own kind and to others, over pairs of examples (left); t-SNE (right)."""
    panels = Panels(2.7, 2, width_ratios=(3, 2))
    left, right = panels.axes
    rows = cosines(rows)
    for index, (label, kind) in enumerate(_PAIRS):
        own, beside = (_of_kind(_of_model(rows, name), kind) for name in (model, baseline))
        if own.height:
            panels.curve(left, label, pooled_curve(own), _known(beside, pooled_curve), index=index)
    zero_line(left)
    layer_axis(left, int(rows["layer"].max() or 0), 0.6 * panels.size.inches)
    panels.dress(left, x=STATE, y="Cosine of mean tokens")
    marks = _token_map(right, places.filter(model=model, method="tsne"), panels.size)
    panels.handles |= {str(mark.get_label()): mark for mark in marks}
    return panels.legend(f"{INTERVAL} (of several pairs: mean bounds), {panels.counted}", *_control(baseline))


def figure_3(norms: pl.DataFrame, drift: pl.DataFrame, models: Sequence[str], baselines: Mapping[str, str]) -> Figure:
    """Norms (above) and change from one state to the next (below) of both kinds of tokens, one column per model.

    `baselines`: the model with random weights that stands beside a model, where there is one.
    """
    panels = Panels(3.6, len(models), 2, sharex=True, sharey="row")
    drift = drift.filter(gap=drift["gap"].min())
    x = STATE if len(models) < 3 else "Hidden state"
    for column, model in enumerate(models):
        for line, (rows, y) in enumerate(((median_norms(norms), "Norm (median)"), (drift, "Cosine, one block later"))):
            axes = panels.grid[line, column]
            for span in in_order(_of_model(rows, model), "span"):
                root = span.partition("[")[0].strip().partition(".")[0]
                index = _SPANS.index(root) if root in _SPANS else 1
                own, beside = (_of_model(rows.filter(span=span), name) for name in (model, baselines.get(model)))
                panels.curve(axes, span, table_curve(own), _known(beside), index=index)
            above, first = line == 0, column == 0
            panels.dress(axes, x="" if above else x, y=y if first else "", title=model if above else "", layers=rows)
    logarithmic(panels.axes[0])
    title = f"norms: standard deviation over examples; else {INTERVAL}, {panels.counted}"
    return panels.legend(title, *_control(next(iter(baselines.values()), None)))


def figure_7(rows: pl.DataFrame, score: pl.DataFrame, steps: Sequence[tuple[str, int]], baseline: str | None) -> Figure:
    """Cosine of perceptual and textual tokens by depth at several training steps (left), and its mean (right)."""
    panels = Panels(2.4, 2)
    left, right = panels.axes
    size = panels.size
    rows = between_kinds(cosines(rows))
    ramp = colormaps["viridis"]

    def line(axes: Axes, label: str, index: int, own: Curve, colour: Any, alpha: float) -> None:
        axes.fill_between(own.places, own.low, own.high, color=colour, alpha=alpha, linewidth=0)
        style = {"linewidth": size.line, "marker": MARKERS[index % len(MARKERS)], "markersize": size.marker}
        (panels.handles[label],) = axes.plot(own.places, own.mean, color=colour, label=label, **style)

    for index, (model, step) in enumerate(steps):
        own = table_curve(_of_model(rows, model))
        line(left, f"step {step}", index, own, ramp(0.9 * index / max(1, len(steps) - 1)), 0.15)
        panels.ns.append(own.n)
    _draw_baseline(left, _of_model(rows, baseline), size)
    a, b = rows.select("a", "b").row(0)
    panels.dress(left, x=STATE, y=f"Cosine of {a} and {b}", layers=rows)
    score = score.filter(statistic="mean_token")
    places = np.array([step for _, step in steps])
    for index, name in enumerate(in_order(score, "name")):
        own = score.filter(name=name)
        found = [_of_model(own, model).row(0, named=True) for model, _ in steps]
        mean, low, high = (
            np.array([row["value"] if row[k] is None else row[k] for row in found]) for k in ("value", "low", "high")
        )
        line(right, name, index, Curve(places, mean, low, high, found[0]["n"]), COLOURS[index], 0.2)
        for value in _of_model(own, baseline)["value"]:
            right.axhline(value, color=COLOURS[index], linewidth=0.8 * size.line, linestyle=DASHES[0])
    panels.dress(right, x="Training step", y="Alignment score")
    return panels.legend(f"mean and 95 % interval, {panels.counted}", *_control(baseline))


def figure_8(inside: pl.DataFrame, rows: pl.DataFrame, model: str, baseline: str | None) -> Figure:
    """Inside the blocks: norms and change of either span, and their cosine, at every place; random weights last."""
    panels = Panels(4.4, 3, 2)
    own, cross = _of_model(inside, model), between_kinds(cosines(rows, inside=True))
    spans = in_order(own, "span")
    spans = [next(s for s in spans if is_perceptual(s)), next(s for s in spans if not is_perceptual(s))]

    def curves(axes: Axes, rows: pl.DataFrame, title: str, y: str) -> None:
        for index, tap in enumerate(in_order(own, "tap")):
            found = rows.filter(tap=tap)
            if found.height:
                panels.curve(axes, tap.replace("_", " "), table_curve(found), index=index)
        panels.dress(axes, x="Block", y=y, title=title, layers=own if rows.height else None)

    for line, span in zip(panels.grid, spans, strict=True):
        of_span = own.filter(span=span)
        curves(line[0], of_span.filter(quantity="norm"), span, "Norm of a token")
        curves(line[1], of_span.filter(quantity="change"), span, "Cosine, one block later")
        logarithmic(line[0])
    control = f"control: {baseline}" if baseline else "no baseline"
    for axes, name, title in zip(panels.grid[:, 2], (model, baseline), (model, control), strict=True):
        curves(axes, _of_model(cross, name), title, "Cosine of both")
        zero_line(axes)
    panels.grid[0, 2].sharey(panels.grid[1, 2])
    return panels.legend(f"{INTERVAL}, {panels.counted}; residual: at the hidden state before the block")


def figure_9(
    models: pl.DataFrame, score: pl.DataFrame, groups: Mapping[str, Sequence[str]], baselines: Mapping[str, str]
) -> Figure:
    """Accuracy against both scores: a row for each group of models (checkpoints of one run, variants)."""
    size = SIZES["page"]
    names = in_order(score, "name")
    figure = new_figure("page", 2.2 * len(groups))
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


def figure_13(tables: Mapping[str, pl.DataFrame], models: Sequence[str], baseline: str | None) -> Figure:
    """Variants side by side: cosine of both kinds, change, norms, divergence and change of words."""
    words = tables["paper_vocabulary"]
    seen = pl.col("span").map_elements(is_perceptual, pl.Boolean)
    later = pl.col("against").str.starts_with("state ")
    drift, norms = tables["paper_drift"], tables["paper_norms"]
    drawn = [
        ("Cosine of both kinds", between_kinds(cosines(tables["paper_similarity"]))),
        ("Perceptual, one block later", drift.filter(seen, gap=drift["gap"].min())),
        ("Norm, perceptual (median)", median_norms(norms).filter(seen)),
        ("KL from text (nat)", words.filter(seen, ~later, quantity="kl")),
        ("Cosine of words, next read state", words.filter(seen, later, quantity="cosine")),
    ]
    panels = Panels(4.2, 3, 2)
    for axes, (y, rows) in zip(panels.axes, drawn, strict=False):
        for index, model in enumerate(models):
            panels.curve(axes, model, table_curve(_of_model(rows, model)), index=index)
        _draw_baseline(axes, _of_model(rows, baseline), panels.size)
        panels.dress(axes, x="Hidden state", y=y, layers=rows)
    logarithmic(panels.axes[2])
    panels.axes[-1].set_axis_off()
    return panels.legend(f"{INTERVAL} (norms: standard deviation), {panels.counted}", *_control(baseline))


def figure_22_layers(rows: pl.DataFrame, baseline: pl.DataFrame | None = None) -> Figure:
    """Overlap of masks by layer, one panel per kind of matrix, between nulls and ceiling; dashed: random weights."""
    rows = rows.filter(sparsity=0.5)
    kinds = in_order(rows, "matrix")
    columns = min(4, len(kinds))
    lines = -(-len(kinds) // columns)
    panels = Panels(1.5 * lines, columns, lines, sharex=True, sharey=True)
    drawn = (
        ("iou", 0, "masks of either"),
        ("ceiling", 2, "ceiling: halves of one span"),
        ("null_permuted", 1, "null: shuffled norms"),
        ("null_magnitude", 4, "null: magnitude"),
        ("null_random", 6, "null: random"),
    )
    for place, (axes, kind) in enumerate(zip(panels.axes, kinds, strict=False)):
        own = rows.filter(matrix=kind)
        for column, index, label in drawn:
            # A model read on few examples has no ceiling; an empty line would still stand in the legend.
            if own[column].null_count() < own.height:
                panels.curve(axes, label, pooled_curve(own, column), index=index)
        if baseline is not None:
            beside = baseline.filter(sparsity=0.5, matrix=kind)
            draw_control(axes, pooled_curve(beside, "iou"), COLOURS[0], 0, panels.size)
        x, y = "Layer" if place >= len(panels.axes) - columns else "", "IoU" if place % columns == 0 else ""
        panels.dress(axes, x=x, y=y, title=kind.rpartition(".")[2], layers=rows)
    for axes in panels.axes[len(kinds) :]:
        axes.set_axis_off()
    pairs = rows.select("a", "b").unique().height
    about = f"50 % left out; mean over {pairs} pair{'s' * (pairs > 1)} of spans"
    title = f"{about}; mean bounds of 95 % intervals, n = {rows['n'].min()} examples"
    return panels.legend(title, *_control(None if baseline is None else BASELINE))


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
        here = places.filter(layer=layer)
        spans = {span: k for k, span in enumerate(in_order(here, "span"), start=5)}
        marks = draw_tokens(axes, here, spans, 7)
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
    return f"n = {n}{few};\nSpearman {found.spearman:.2f}, p = {found.p:.2g}, uncorrected"


def _known(rows: pl.DataFrame, curve: Callable[[pl.DataFrame], Curve] = table_curve) -> Curve | None:
    """The curve of rows, where there are any."""
    return curve(rows) if rows.height else None


def _draw_baseline(axes: Axes, rows: pl.DataFrame, size: Size) -> None:
    if rows.height:
        draw_control(axes, table_curve(rows), GREY, 0, size)


def _control(baseline: str | None) -> tuple[str, ...]:
    """What the legend calls the baseline, where there is one."""
    return () if baseline is None else (f"control: {BASELINE}",)
