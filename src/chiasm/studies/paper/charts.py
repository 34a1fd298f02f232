"""The alignment paper's figures of curves, for one's own models and in its layout. Numbers in names are the paper's."""

from collections.abc import Mapping, Sequence

import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, NullFormatter

from chiasm.results.series import Curve, in_order
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
    new_figure,
)
from chiasm.studies.align.charts import INTERVAL, STATE, table_curve

TWIN = "random-weights twin"
_KINDS = ("image", "question", "video", "audio")
"""In the order of their colours."""


def perceptual(span: str) -> bool:
    """Whether a span, however qualified, is of what an encoder saw or heard."""
    return span.partition("[")[0].strip().partition(".")[0] in ("image", "video", "audio")


def cosines(rows: pl.DataFrame, tap: str = "residual", variant: str = "raw") -> pl.DataFrame:
    """Cosines of mean tokens of `a` and `b`, over all pairs of examples, as published."""
    chosen = (pl.col("mode") == "avg") & (pl.col("variant") == variant) & ~pl.col("paired")
    return rows.filter(chosen if tap == "all" else chosen & (pl.col("tap") == tap))


def crossing(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of `cosines` between a perceptual and a textual span."""
    return rows.filter(
        pl.col("a").map_elements(perceptual, pl.Boolean) & ~pl.col("b").map_elements(perceptual, pl.Boolean)
    )


def three(
    norms: pl.DataFrame, drift: pl.DataFrame, models: Sequence[str], twins: Mapping[str, str], *, width: Width = "page"
) -> Figure:
    """Norms (above) and change from one state to the next (below) of both kinds of tokens, one column per model.

    `twins`: the model with random weights that stands beside a model, where there is one.
    """
    size = SIZES[width]
    figure = new_figure(width, 3.6)
    panels = figure.subplots(2, len(models), squeeze=False, sharex=True, sharey="row")
    norms = _median_norms(norms)
    drift = drift.filter(pl.col("gap") == drift["gap"].min())
    handles: dict[str, Line2D] = {}
    ns: list[int] = []
    for column, model in enumerate(models):
        for axes, rows, y in (
            (panels[0, column], norms, "Norm (median)"),
            (panels[1, column], drift, "Cosine, one block later"),
        ):
            for span in in_order(rows.filter(pl.col("model") == model), "span"):
                root = span.partition("[")[0].strip().partition(".")[0]
                index = _KINDS.index(root) if root in _KINDS else 1
                own = table_curve(rows.filter((pl.col("model") == model) & (pl.col("span") == span)))
                handles[span] = draw(axes, own, index, size, span)
                ns.append(own.n)
                _control(
                    axes,
                    rows.filter((pl.col("model") == twins.get(model, "")) & (pl.col("span") == span)),
                    COLOURS[index],
                    size,
                )
            layer_axis(axes, int(rows["layer"].max() or 0), size.inches / len(models))
            dress(axes, size, y=y if column == 0 else "", title=model if axes is panels[0, column] else "")
        panels[1, column].set_xlabel(STATE if len(models) < 3 else "Hidden state", fontsize=size.text, color=INK)
    logarithmic(panels[0, 0])
    _legend(
        figure,
        list(handles.values()),
        size,
        next(iter(twins.values()), None),
        f"norms: standard deviation over examples; else {INTERVAL}, {counted(ns)}",
    )
    return figure


def seven(
    rows: pl.DataFrame,
    score: pl.DataFrame,
    steps: Sequence[tuple[str, int]],
    twin: str | None,
    *,
    width: Width = "page",
) -> Figure:
    """Cosine of perceptual and textual tokens by depth at several training steps (left), and its mean (right)."""
    size = SIZES[width]
    figure = new_figure(width, 2.4)
    left, right = figure.subplots(1, 2)
    rows = crossing(cosines(rows))
    ramp = colormaps["viridis"]
    handles, ns = [], []
    for index, (model, step) in enumerate(steps):
        own = table_curve(rows.filter(pl.col("model") == model))
        colour = ramp(0.9 * index / max(1, len(steps) - 1))
        left.fill_between(own.places, own.low, own.high, color=colour, alpha=0.15, linewidth=0)
        mark = MARKERS[index % len(MARKERS)]
        handles += left.plot(
            own.places,
            own.mean,
            color=colour,
            linewidth=size.line,
            marker=mark,
            markersize=size.marker,
            label=f"step {step}",
        )
        ns.append(own.n)
    _control(left, rows.filter(pl.col("model") == (twin or "")), GREY, size)
    layer_axis(left, int(rows["layer"].max() or 0), size.inches / 2)
    a, b = rows.select("a", "b").row(0)
    dress(left, size, x=STATE, y=f"Cosine of {a} and {b}")
    score = score.filter(pl.col("statistic") == "mean_token")
    for index, name in enumerate(in_order(score, "name")):
        own = score.filter(pl.col("name") == name)
        found = [own.filter(pl.col("model") == model).row(0, named=True) for model, _ in steps]
        places = [step for _, step in steps]
        low, high = ([r[k] if r[k] is not None else r["value"] for r in found] for k in ("low", "high"))
        right.fill_between(places, low, high, color=COLOURS[index], alpha=0.2, linewidth=0)
        handles += right.plot(
            places,
            [r["value"] for r in found],
            color=COLOURS[index],
            marker=MARKERS[index],
            markersize=size.marker,
            linewidth=size.line,
            label=name,
        )
        for row in own.filter(pl.col("model") == (twin or "")).iter_rows(named=True):
            right.axhline(row["value"], color=COLOURS[index], linewidth=0.8 * size.line, linestyle=(0, (4, 2)))
    dress(right, size, x="Training step", y="Alignment score")
    _legend(figure, handles, size, twin, f"mean and 95 % interval, {counted(ns)}")
    return figure


def thirteen(
    tables: dict[str, pl.DataFrame], models: Sequence[str], twin: str | None, *, width: Width = "page"
) -> Figure:
    """Variants side by side: cosine of both kinds, change, norms, divergence and change of words."""
    size = SIZES[width]
    words = tables["paper_vocabulary"]
    first = pl.col("span").map_elements(perceptual, pl.Boolean)
    later = pl.col("against").str.starts_with("state ")
    drift, norms = tables["paper_drift"], tables["paper_norms"]
    drawn = [
        ("Cosine of both kinds", crossing(cosines(tables["paper_similarity"]))),
        ("Perceptual, one block later", drift.filter(first & (pl.col("gap") == drift["gap"].min()))),
        ("Norm, perceptual (median)", _median_norms(norms).filter(first)),
        ("KL from text (nat)", words.filter(first & (pl.col("quantity") == "kl") & ~later)),
        ("Cosine of words, next read state", words.filter(first & (pl.col("quantity") == "cosine") & later)),
    ]
    figure = new_figure(width, 4.2)
    panels = figure.subplots(2, 3)
    handles: list[Line2D] = []
    ns: list[int] = []
    for axes, (y, rows) in zip(panels.flat, drawn, strict=False):
        lines = []
        for index, model in enumerate(models):
            own = table_curve(rows.filter(pl.col("model") == model))
            lines.append(draw(axes, own, index, size, model))
            ns.append(own.n)
        _control(axes, rows.filter(pl.col("model") == (twin or "")), GREY, size)
        handles = handles or lines
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / 3)
        dress(axes, size, x="Hidden state", y=y)
        if y.startswith("Norm"):
            logarithmic(axes)
    panels[1, 2].set_axis_off()
    _legend(figure, handles, size, twin, f"{INTERVAL} (norms: standard deviation), {counted(ns)}")
    return figure


def spread(rows: pl.DataFrame) -> Curve:
    """One curve of several pairs: their mean, and the mean of their bounds, as if all were wrong together."""
    by = rows.group_by("layer").agg(pl.col("mean", "low", "high").mean(), pl.col("n").min())
    return table_curve(by)


def _median_norms(norms: pl.DataFrame) -> pl.DataFrame:
    """Bounds are one standard deviation away; on a logarithmic axis a band must not reach zero."""
    mean, std = pl.col("mean"), pl.col("std")
    norms = norms.filter(pl.col("statistic") == "median")
    return norms.with_columns(pl.max_horizontal(mean - std, mean / 100).alias("low"), (mean + std).alias("high"))


def logarithmic(axes: Axes) -> None:
    """A logarithmic scale whose ticks are plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _control(axes: Axes, rows: pl.DataFrame, colour: str, size: Size) -> None:
    if rows.height:
        draw_control(axes, table_curve(rows), colour, 0, size)


def _legend(figure: Figure, handles: Sequence[Line2D], size: Size, twin: str | None, title: str) -> None:
    keys = [] if twin is None else [control_key(f"control: {TWIN}", 0, size)]
    legend_below(figure, [*handles, *keys], size, title)
