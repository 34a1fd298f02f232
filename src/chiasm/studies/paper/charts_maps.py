"""The alignment paper's cones, its view inside the blocks, and its scatter of score and performance."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.core.statistics.correlation import correlate
from chiasm.results.series import in_order
from chiasm.results.theme import (
    COLOURS,
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
from chiasm.studies.align.charts import INTERVAL, STATE, table_curve
from chiasm.studies.compare.charts import LEAST
from chiasm.studies.paper.charts import TWIN, cosines, crossing, logarithmic, perceptual, spread

Pick = Callable[[str], pl.DataFrame]
_HALF = " [first half]"


def two(rows: pl.DataFrame, places: pl.DataFrame, model: str, twin: str | None, *, width: Width = "page") -> Figure:
    """How near kinds of tokens are to their own kind and to others, over pairs of examples (left); t-SNE (right)."""
    size = SIZES[width]
    figure = new_figure(width, 2.7)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    rows = cosines(rows)
    handles: list[Line2D] = []
    ns: list[int] = []
    for index, (label, kind) in enumerate(_KINDS):
        own = _of_kind(rows.filter(pl.col("model") == model), kind)
        if own.height:
            curve = spread(own)
            handles.append(draw(left, curve, index, size, label))
            ns.append(curve.n)
            beside = _of_kind(rows.filter(pl.col("model") == (twin or "")), kind)
            if beside.height:
                draw_control(left, spread(beside), COLOURS[index], 0, size)
    left.axhline(0, color=INK, linewidth=0.7, zorder=1)
    layer_axis(left, int(rows["layer"].max() or 0), 0.6 * size.inches)
    dress(left, size, x=STATE, y="Cosine of mean tokens")
    handles += _cones(right, places.filter((pl.col("model") == model) & (pl.col("method") == "tsne")), size)
    handles += [] if twin is None else [control_key(f"control: {TWIN}", 0, size)]
    legend_below(figure, handles, size, f"{INTERVAL} (of several pairs: mean bounds), {counted(ns)}")
    return figure


_KINDS = (
    ("P vs P: other data", "PP"),
    ("T vs T: other data", "TT"),
    ("P vs T: same data", "PT"),
    ("p vs p: halves", "pp"),
    ("t vs t: halves", "tt"),
)


def _of_kind(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Pairs of spans of a kind. Spans of one model share what stands in brackets behind them."""

    def fits(row: dict[str, str]) -> bool:
        a, b = row["a"], row["b"]
        halves = a.endswith(_HALF)
        sides = f"{'P' if perceptual(a) else 'T'}{'P' if perceptual(b) else 'T'}"
        if kind in ("pp", "tt"):
            return halves and sides == kind.upper()
        one, other = (x.partition("[")[2] for x in (a, b))
        return not halves and a != b and sides == kind and ((one == other) == (kind == "PT"))

    return rows.filter(pl.struct("a", "b").map_elements(fits, pl.Boolean))


def _cones(axes: Axes, places: pl.DataFrame, size: Size) -> list[Line2D]:
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


def eight(inside: pl.DataFrame, rows: pl.DataFrame, model: str, twin: str | None, *, width: Width = "page") -> Figure:
    """Inside the blocks: norms and change of either span, and their cosine, by tap; the last panel is the twin's."""
    size = SIZES[width]
    figure = new_figure(width, 4.4)
    panels = figure.subplots(2, 3)
    own, cross = inside.filter(pl.col("model") == model), crossing(cosines(rows, "all"))
    spans = sorted(in_order(own, "span"), key=lambda span: not perceptual(span))
    spans = [next(s for s in spans if perceptual(s)), next(s for s in spans if not perceptual(s))]
    taps = in_order(own, "tap")
    handles: list[Line2D] = []
    ns: list[int] = []

    def curves(axes: Axes, pick: Pick, title: str, y: str) -> None:
        lines = []
        for index, tap in enumerate(taps):
            found = pick(tap)
            if found.height:
                curve = table_curve(found)
                lines.append(draw(axes, curve, index, size, tap.replace("_", " ")))
                ns.append(curve.n)
                layer_axis(axes, int(own["layer"].max() or 0), size.inches / 3)
        handles[:] = handles or lines
        dress(axes, size, x="Block", y=y, title=title)

    for k, span in enumerate(spans):
        for column, (quantity, y) in enumerate((("norm", "Norm of a token"), ("change", "Cosine, one block later"))):
            chosen = own.filter((pl.col("span") == span) & (pl.col("quantity") == quantity))
            curves(panels[k, column], lambda tap, c=chosen: c.filter(pl.col("tap") == tap), span, y)
            if quantity == "norm":
                logarithmic(panels[k, column])
    for k, name in enumerate((model, twin)):
        title = model if k == 0 else f"control: {twin}" if twin else "no twin"
        chosen = cross.filter(pl.col("model") == (name or ""))
        curves(panels[k, 2], lambda tap, c=chosen: c.filter(pl.col("tap") == tap), title, "Cosine of both")
        panels[k, 2].axhline(0, color=INK, linewidth=0.7, zorder=1)
    panels[0, 2].sharey(panels[1, 2])
    legend_below(figure, handles, size, f"{INTERVAL}, {counted(ns)}; residual: at the hidden state before the block")
    return figure


def nine(
    models: pl.DataFrame,
    score: pl.DataFrame,
    groups: dict[str, Sequence[str]],
    twins: Mapping[str, str],
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
    for row_of, (group, members) in zip(panels, groups.items(), strict=True):
        beside = {twins[model] for model in members if model in twins}
        for axes, name in zip(row_of, names, strict=True):
            own = score.filter((pl.col("name") == name) & pl.col("model").is_in([*members, *beside]))
            for row in own.iter_rows(named=True):
                k = shown.index(row["model"]) if row["model"] in shown else None
                _point(axes, row, k)
            inside = own.filter(pl.col("model").is_in(list(members)))
            dress(axes, size, x=name, y="Right answers (%)" if name == names[0] else "", title=_told(group, inside))
    marks = [Line2D([], [], markersize=4, linestyle="none", label=model, **marked(k)) for k, model in enumerate(shown)]
    if twins:
        marks.append(Line2D([], [], color=GREY, marker="x", linestyle="none", label=f"control, not counted: {TWIN}"))
    legend_below(figure, marks, size, f"bars: 95 % intervals over examples, {counted(models['n'].to_list())}")
    return figure


def _point(axes: Axes, row: dict, k: int | None) -> None:
    across = None if row["low"] is None else [[row["value"] - row["low"]], [row["high"] - row["value"]]]
    up = [[100 * (row["accuracy"] - row["accuracy_low"])], [100 * (row["accuracy_high"] - row["accuracy"])]]
    axes.errorbar(
        row["value"], 100 * row["accuracy"], xerr=across, yerr=up, markersize=4, linewidth=0.8, capsize=2, **marked(k),
    )  # fmt: skip


def _told(group: str, rows: pl.DataFrame) -> str:
    n = rows.height
    few = ", too few" if n < LEAST else ""
    if n < 2:
        return f"{group}: n = {n}{few}"
    found = correlate(rows["value"].to_numpy(), rows["accuracy"].to_numpy())
    if np.isnan(found.spearman):
        return f"{group}: n = {n}, no spread"
    return f"{group}: n = {n}{few};\nSpearman {found.spearman:.2f}, p = {found.p:.2g}"
