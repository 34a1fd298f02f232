"""The alignment paper's figures of curves, for one's own models and in its layout. Numbers in names are the paper's."""

from collections.abc import Callable, Sequence

import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, NullFormatter

from chiasm.results.figures.align import INTERVAL, STATE, table_curve
from chiasm.results.figures.style import (
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
from chiasm.results.series import Curve, in_order

TWIN = "random-weights twin"
Pick = Callable[[str], pl.DataFrame]


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
    norms: pl.DataFrame, drift: pl.DataFrame, models: Sequence[str], twin: str | None, *, width: Width = "page"
) -> Figure:
    """Norms (above) and change from one state to the next (below) of both kinds of tokens, one column per model."""
    size = SIZES[width]
    figure = new_figure(width, 3.6)
    panels = figure.subplots(2, len(models), squeeze=False, sharex=True, sharey="row")
    norms = norms.filter(pl.col("statistic") == "median")
    norms = norms.with_columns(
        (pl.col("mean") - pl.col("std")).alias("low"), (pl.col("mean") + pl.col("std")).alias("high")
    )
    norms = norms.with_columns(pl.max_horizontal("low", pl.col("mean") / 100).alias("low"))
    drift = drift.filter(pl.col("gap") == drift["gap"].min())
    handles: dict[str, Line2D] = {}
    ns: list[int] = []
    for column, model in enumerate(models):
        for axes, rows, y in (
            (panels[0, column], norms, "Norm (median)"),
            (panels[1, column], drift, "Cosine, one block later"),
        ):
            for span in in_order(rows.filter(pl.col("model") == model), "span"):
                index = 0 if perceptual(span) else 1
                own = table_curve(rows.filter((pl.col("model") == model) & (pl.col("span") == span)))
                handles[span] = draw(axes, own, index, size, span)
                ns.append(own.n)
                _control(
                    axes,
                    rows.filter((pl.col("model") == (twin or "")) & (pl.col("span") == span)),
                    COLOURS[index],
                    size,
                )
            layer_axis(axes, int(rows["layer"].max() or 0), size.inches / len(models))
            dress(axes, size, y=y if column == 0 else "", title=model if axes is panels[0, column] else "")
        panels[1, column].set_xlabel(STATE if len(models) < 3 else "Hidden state", fontsize=size.text, color=INK)
    panels[0, 0].set_yscale("log")
    panels[0, 0].yaxis.set_major_formatter(FormatStrFormatter("%g"))
    panels[0, 0].yaxis.set_minor_formatter(NullFormatter())
    _legend(
        figure,
        list(handles.values()),
        size,
        twin,
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
                panels[k, column].set_yscale("log")
                panels[k, column].yaxis.set_major_formatter(FormatStrFormatter("%g"))
                panels[k, column].yaxis.set_minor_formatter(NullFormatter())
    for k, name in enumerate((model, twin)):
        chosen = cross.filter(pl.col("model") == (name or ""))
        curves(panels[k, 2], lambda tap, c=chosen: c.filter(pl.col("tap") == tap), name or "no twin", "Cosine of both")
        panels[k, 2].axhline(0, color=INK, linewidth=0.7, zorder=1)
    panels[0, 2].sharey(panels[1, 2])
    legend_below(figure, handles, size, f"{INTERVAL}, {counted(ns)}; residual: at the hidden state before the block")
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
        ("Norm, perceptual (median)", norms.filter(first & (pl.col("statistic") == "median"))),
        ("KL from text (nat)", words.filter(first & (pl.col("quantity") == "kl") & ~later)),
        ("Cosine of words, next read state", words.filter(first & (pl.col("quantity") == "cosine") & later)),
    ]
    figure = new_figure(width, 4.2)
    panels = figure.subplots(2, 3)
    handles: list[Line2D] = []
    ns: list[int] = []
    for axes, (y, rows) in zip(panels.flat, drawn, strict=False):
        if "low" not in rows.columns:
            rows = rows.with_columns(
                (pl.col("mean") - pl.col("std")).alias("low"), (pl.col("mean") + pl.col("std")).alias("high")
            )
        lines = []
        for index, model in enumerate(models):
            own = table_curve(rows.filter(pl.col("model") == model))
            lines.append(draw(axes, own, index, size, model))
            ns.append(own.n)
        _control(axes, rows.filter(pl.col("model") == (twin or "")), GREY, size)
        handles = handles or lines
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / 3)
        dress(axes, size, x="Hidden state", y=y)
    panels[1, 2].set_axis_off()
    _legend(figure, handles, size, twin, f"{INTERVAL} (norms: standard deviation), {counted(ns)}")
    return figure


def spread(rows: pl.DataFrame) -> Curve:
    """One curve of several pairs: the mean over pairs, from the lowest to the highest of their bounds."""
    by = rows.group_by("layer").agg(pl.col("mean").mean(), pl.col("low").min(), pl.col("high").max(), pl.col("n").min())
    return table_curve(by)


def _control(axes: Axes, rows: pl.DataFrame, colour: str, size: Size) -> None:
    if rows.height:
        draw_control(axes, table_curve(rows), colour, 0, size)


def _legend(figure: Figure, handles: Sequence[Line2D], size: Size, twin: str | None, title: str) -> None:
    keys = [] if twin is None else [control_key(f"control: {TWIN}", 0, size)]
    legend_below(figure, [*handles, *keys], size, title)
