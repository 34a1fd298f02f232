"""Alignment by layer: how large tokens are, how fast they change, how near spans are to each other."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from chiasm.results.series import Curve, in_order
from chiasm.results.theme import (
    COLOURS,
    INK,
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

STATE = "Hidden state (0 = embeddings)"
INTERVAL = "mean and 95 % jackknife interval"
CONTROL_NAMES = {
    "noise": "random perceptual tokens",
    "twin": "random-weights twin",
    "apart": "modalities apart at first",
}


def norm_curves(norms: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "column") -> Figure:
    """Median norm over the tokens of each span, against depth; bands are one standard deviation over examples."""
    size, figure, axes = _panel(width)
    handles, ns = [], []
    rows = norms.filter(pl.col("statistic") == "median")
    beside = None if controls is None else controls.filter(pl.col("statistic") == "median")
    for index, span in enumerate(in_order(rows, "span")):
        own = _spread(rows.filter(pl.col("span") == span))
        handles.append(draw(axes, own, index, size, span))
        ns.append(own.n)
        _beside(axes, beside, pl.col("span") == span, index, size, _spread)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    _finish(axes, rows, size, "Norm of a token (median)")
    handles += _control_keys(beside, size)
    legend_below(figure, handles, size, f"mean and standard deviation over examples, {counted(ns)}")
    return figure


def drift_curves(drift: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """Cosine of tokens with themselves some layers later, one panel per gap."""
    size = SIZES[width]
    figure = new_figure(width, 2.2)
    gaps = in_order(drift, "gap")
    panels = figure.subplots(1, len(gaps), sharey=True, squeeze=False)[0]
    handles: list[Line2D] = []
    ns = []
    for gap, axes in zip(gaps, panels, strict=True):
        rows = drift.filter(pl.col("gap") == gap)
        beside = None if controls is None else controls.filter(pl.col("gap") == gap)
        lines = []
        for index, span in enumerate(in_order(drift, "span")):
            own = table_curve(rows.filter(pl.col("span") == span))
            lines.append(draw(axes, own, index, size, span))
            ns.append(own.n)
            _beside(axes, beside, pl.col("span") == span, index, size, table_curve)
        handles = handles or lines
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / len(gaps))
        dress(axes, size, x=STATE, y="Cosine" if gap == gaps[0] else "", title=f"state k with state k + {gap}")
    legend_below(figure, [*handles, *_control_keys(controls, size)], size, f"{INTERVAL}, {counted(ns)}")
    return figure


def released_gap(rows: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """Drift of mean tokens as released (all pairs of examples, dashed) and paired by example, one layer apart.

    One panel for the model, one for each control.
    """
    size = SIZES[width]
    names = [] if controls is None else in_order(controls, "control")
    figure = new_figure(width, 2.2)
    panels = figure.subplots(1, 1 + len(names), sharey=True, squeeze=False)[0]
    handles: dict[str, Line2D] = {}
    ns = []
    for axes, name in zip(panels, ("", *names), strict=True):
        of_one = rows if controls is None or not name else controls.filter(pl.col("control") == name)
        first = of_one.filter(pl.col("gap") == rows["gap"].min())
        for index, span in enumerate(in_order(rows, "span")):
            released = table_curve(first.filter(pl.col("span") == span))
            paired = table_curve(first.filter(pl.col("span") == span).with_columns(mean="paired", low=None, high=None))
            handles[span] = draw(axes, paired, index, size, f"{span}, paired")
            draw_control(axes, released, COLOURS[index], 0, size)
            ns.append(released.n)
        layer_axis(axes, int(first["layer"].max() or 0), size.inches / len(panels))
        # Four panels share the width: on one line the titles would run into each other.
        title = f"control:\n{CONTROL_NAMES.get(name, name)}" if name else "model"
        dress(axes, size, x="Hidden state", y="Cosine of mean tokens" if not name else "", title=title)
    keys = [*handles.values(), control_key("as released: all pairs of examples", 0, size)]
    legend_below(figure, keys, size, f"bands: 95 % jackknife interval, {counted(ns)}")
    return figure


def score_bars(score: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "column") -> Figure:
    """The alignment scores with their intervals, and the controls as open marks."""
    size = SIZES[width]
    kinds = list(dict.fromkeys(score.select("a", "b", "name", "statistic").iter_rows()))
    figure = new_figure(width, 0.5 + 0.22 * len(kinds))
    axes = figure.add_subplot()
    several = len({kind[:2] for kind in kinds}) > 1
    for y, (a, b, name, statistic) in enumerate(kinds):
        chosen = (pl.col("a") == a) & (pl.col("b") == b) & (pl.col("name") == name) & (pl.col("statistic") == statistic)
        _mark(axes, score.filter(chosen), y, COLOURS[0], "o")
        for k, control in enumerate([] if controls is None else in_order(controls, "control")):
            assert controls is not None
            _mark(
                axes, controls.filter(chosen & (pl.col("control") == control)), y + 0.2 * (k + 1), COLOURS[1 + k], "s"
            )
    labels = [f"{name}, {s.replace('_', ' ')}" + (f" ({a}, {b})" if several else "") for a, b, name, s in kinds]
    axes.set_yticks(range(len(kinds)), labels)
    axes.set_ylim(len(kinds) - 0.2, -0.5)
    axes.axvline(0, color=INK, linewidth=0.7, zorder=1)
    dress(axes, size, x="Cosine of perceptual and textual tokens")
    names = [] if controls is None else in_order(controls, "control")
    handles = [_key("model", COLOURS[0], "o")]
    handles += [_key(CONTROL_NAMES.get(name, name), COLOURS[1 + k], "s") for k, name in enumerate(names)]
    legend_below(figure, handles, size, f"95 % intervals, n = {score['n'].min()}")
    return figure


def table_curve(rows: pl.DataFrame) -> Curve:
    """The curve that a table of means by layer holds."""
    rows = rows.sort("layer")
    return Curve(
        rows["layer"].to_numpy().astype(float),
        rows["mean"].to_numpy(),
        _bounds(rows, "low"),
        _bounds(rows, "high"),
        int(rows["n"].min() or 0),
    )


def _bounds(rows: pl.DataFrame, name: str) -> np.ndarray:
    return rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _spread(rows: pl.DataFrame) -> Curve:
    rows = rows.sort("layer")
    mean, std = rows["mean"].to_numpy(), rows["std"].cast(pl.Float64).fill_null(0.0).to_numpy()
    # The axis is logarithmic: a band that reaches zero would leave it.
    low = np.maximum(mean - std, mean / 100)
    return Curve(rows["layer"].to_numpy().astype(float), mean, low, mean + std, int(rows["n"].min() or 0))


def _panel(width: Width) -> tuple[Size, Figure, Axes]:
    figure = new_figure(width, 2.5 if width == "page" else 2.0)
    return SIZES[width], figure, figure.add_subplot()


def _finish(axes: Axes, rows: pl.DataFrame, size: Size, y: str, x: str = STATE) -> None:
    layer_axis(axes, int(rows["layer"].max() or 0), size.inches)
    dress(axes, size, x=x, y=y)


def _beside(
    axes: Axes,
    controls: pl.DataFrame | None,
    chosen: pl.Expr,
    index: int,
    size: Size,
    curve: Callable[[pl.DataFrame], Curve],
) -> None:
    if controls is None:
        return
    for dash, name in enumerate(in_order(controls, "control")):
        rows = controls.filter(chosen & (pl.col("control") == name))
        if rows.height:
            draw_control(axes, curve(rows), COLOURS[index % len(COLOURS)], dash, size)


def _control_keys(controls: pl.DataFrame | None, size: Size) -> Sequence[Line2D]:
    if controls is None:
        return []
    names = in_order(controls, "control")
    return [control_key(f"control: {CONTROL_NAMES.get(n, n)}", dash, size) for dash, n in enumerate(names)]


def _mark(axes: Axes, rows: pl.DataFrame, y: float, colour: str, marker: str) -> None:
    for row in rows.iter_rows(named=True):
        low, high = row["low"], row["high"]
        spread = None if low is None else [[row["value"] - low], [high - row["value"]]]
        axes.errorbar(
            row["value"], y, xerr=spread, color=colour, marker=marker, markersize=3, linewidth=0.9, capsize=2, zorder=3
        )


def _key(label: str, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, markersize=3, linewidth=0.9, label=label)
