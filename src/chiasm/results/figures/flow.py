"""Where a cut hurts: change in probability against the layer at which attention is cut."""

import math

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from chiasm.results.figures.style import (
    COLOURS,
    FAINT,
    GREY,
    SIZES,
    Size,
    Width,
    arrow,
    control_key,
    counted,
    draw,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    new_figure,
    zero_line,
)
from chiasm.results.schemas import dose_share
from chiasm.results.series import Curve, control_for, control_label, curve, in_order, layers_of, of_type

_X = "Centre of the window (layer)"
_Y = "Change in probability (%)"
_BAND = "mean and 95 % bootstrap interval"


def flow_curves(
    effects: pl.DataFrame,
    controls: pl.DataFrame | None = None,
    *,
    type: str | None = None,
    noise: float = 0.0,
    width: Width = "page",
) -> Figure:
    """One line per cut, and dashed in its colour the control it is judged against.

    `noise` (%) is the half-width of the floor drawn around zero. Rows: tables `effects` and `controls`.
    """
    size = SIZES[width]
    figure = new_figure(width, 3.4 if width == "page" else 2.9)
    axes = figure.add_subplot()
    handles, ns = _overlay(axes, of_type(effects, type), _none_or_type(controls, type), size, in_order(effects, "cut"))
    _finish(axes, effects, size, noise, title=type or "")
    dress(axes, size, x=_X, y=_Y, title=type or "")
    legend_below(figure, [*handles, *_floor(noise)], size, f"{_BAND}, {counted(ns)}")
    return figure


def flow_by_type(
    effects: pl.DataFrame, controls: pl.DataFrame | None = None, *, noise: float = 0.0, width: Width = "page"
) -> Figure:
    """`flow_curves` as small multiples, one panel for each question type, on one scale."""
    types = in_order(effects, "type")
    size, panels, figure = _grid(len(types), width)
    cuts = in_order(effects, "cut")
    handles: dict[str, Line2D] = {}
    for name, axes in zip(types, panels, strict=True):
        lines, ns = _overlay(axes, of_type(effects, name), _none_or_type(controls, name), size, cuts)
        handles |= {str(line.get_label()): line for line in lines}
        _finish(axes, effects, size, noise, title=f"{name} ({counted(ns)})")
    legend_below(figure, [*handles.values(), *_floor(noise)], size, _BAND)
    return figure


def flow_controls(
    effects: pl.DataFrame, controls: pl.DataFrame, *, noise: float = 0.0, width: Width = "page"
) -> Figure:
    """One panel per cut, beside all of its controls in grey, on one scale.

    A control may leave the scale (a probability that was tiny can grow many times); the legend then says how far.
    """
    cuts = in_order(effects, "cut")
    # Doses are parts of the cut and have a figure of their own.
    names = [name for name in in_order(controls, "control") if dose_share(name) is None]
    size, panels, figure = _grid(len(cuts), width)
    reach: dict[str, float] = {}
    ns, lowest, highest = [], -noise, noise
    for index, (cut, axes) in enumerate(zip(cuts, panels, strict=True)):
        measured = curve(effects.filter(pl.col("cut") == cut))
        draw(axes, measured, index, size, "the cut")
        lowest, highest = _extent([measured], lowest, highest)
        ns.append(measured.n)
        for name in names:
            rows = controls.filter((pl.col("cut") == cut) & (pl.col("control") == name))
            if rows.height:
                control = curve(rows)
                draw_control(axes, control, GREY, names.index(name), size)
                reach[name] = max(reach.get(name, 0), float(control.mean.max()))
                lowest, _ = _extent([control], lowest, highest)
        _finish(axes, effects, size, noise, title=f"{arrow(cut)} (n = {measured.n})")
    # Losses end at -100 %; gains do not end, so the cuts alone set the upper limit.
    top = max(1.15 * highest, -0.25 * lowest)
    for axes in panels:
        axes.set_ylim(1.08 * lowest, top)
    lines = [Line2D([], [], color=COLOURS[0], linewidth=size.line, marker="o", markersize=size.marker, label="the cut")]
    for name in names:
        over = f" (off the scale: up to +{reach[name]:.0f} %)" if reach[name] > top else ""
        lines.append(control_key(control_label(name) + over, names.index(name), size))
    legend_below(figure, [*lines, *_floor(noise)], size, _BAND)
    return figure


def dose_curve(effects: pl.DataFrame, controls: pl.DataFrame, *, width: Width = "column") -> Figure:
    """Change in probability against the random share of a cut's own keys, where the whole cut hurts most."""
    size = SIZES[width]
    figure = new_figure(width, 2.9)
    axes = figure.add_subplot()
    doses = controls.with_columns(
        pl.col("control").map_elements(dose_share, return_dtype=pl.Float64, skip_nulls=False).alias("share")
    ).filter(pl.col("share").is_not_null())
    handles, ns = [], []
    for index, cut in enumerate(in_order(effects, "cut")):
        whole = effects.filter(pl.col("cut") == cut)
        part = doses.filter(pl.col("cut") == cut)
        if not part.height:
            continue
        measured = curve(whole)
        shared = [i for i, place in enumerate(measured.places) if place in set(part["layer"])]
        layer = int(measured.places[min(shared, key=lambda i: measured.mean[i])])
        columns = ["example_id", "share", "change_percent"]
        rows = pl.concat([part.filter(pl.col("layer") == layer).select(columns), _full(whole, layer).select(columns)])
        response = curve(rows.with_columns(100 * pl.col("share")), over="share")
        handles.append(draw(axes, response, index, size, f"{arrow(cut)}, at layer {layer}"))
        ns.append(response.n)
    zero_line(axes)
    axes.set_xlim(0, 103)
    dress(axes, size, x="Share of the cut's keys, drawn at random (%)", y=_Y)
    legend_below(figure, handles, size, f"{_BAND}, {counted(ns)}")
    return figure


def _full(whole: pl.DataFrame, layer: int) -> pl.DataFrame:
    return whole.filter(pl.col("layer") == layer).with_columns(pl.lit(1.0).alias("share"))


def _overlay(
    axes: Axes, effects: pl.DataFrame, controls: pl.DataFrame | None, size: Size, cuts: list[str]
) -> tuple[list[Line2D], list[int]]:
    lines, dashed, ns = [], {}, []
    for index, cut in enumerate(cuts):
        rows = effects.filter(pl.col("cut") == cut)
        if not rows.height:
            continue
        measured = curve(rows)
        lines.append(draw(axes, measured, index, size, arrow(cut)))
        ns.append(measured.n)
        name = control_for(controls, cut)
        if controls is not None and name is not None:
            rows = controls.filter((pl.col("cut") == cut) & (pl.col("control") == name))
            dash = in_order(controls, "control").index(name)
            draw_control(axes, curve(rows), COLOURS[index % len(COLOURS)], dash, size)
            dashed[name] = control_key(f"control: {control_label(name)}", dash, size)
    return [*lines, *dashed.values()], ns


def _finish(axes: Axes, effects: pl.DataFrame, size: Size, noise: float, title: str) -> None:
    zero_line(axes, noise)
    layer_axis(axes, 0, layers_of(effects) - 1, size)
    dress(axes, size, title=title)


def _grid(count: int, width: Width) -> tuple[Size, list[Axes], Figure]:
    size = SIZES[width]
    columns = min(count, 3 if width == "page" else 2)
    lines = math.ceil(count / columns)
    figure = new_figure(width, 0.75 + (1.75 if width == "page" else 1.4) * lines)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    panels = [axes for row in grid for axes in row]
    for axes in panels[count:]:
        axes.set_visible(False)
    figure.supxlabel(_X, fontsize=size.text)
    figure.supylabel(_Y, fontsize=size.text)
    return size, panels[:count], figure


def _extent(curves: list[Curve], low: float, high: float) -> tuple[float, float]:
    """The bounds that take in means and bands (a band is missing where n is 1)."""
    for c in curves:
        finite = [v for values in (c.mean, c.low, c.high) for v in values if math.isfinite(v)]
        low, high = min(low, *finite), max(high, *finite)
    return low, high


def _floor(noise: float) -> list[Patch]:
    return [Patch(color=FAINT, label=f"noise floor, ±{noise:.2g} %")] if noise > 0 else []


def _none_or_type(controls: pl.DataFrame | None, type: str | None) -> pl.DataFrame | None:
    return None if controls is None else of_type(controls, type)
