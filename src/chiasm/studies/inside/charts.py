"""Where inside: maps over the image, what they point at, deletion and insertion, neurons, concepts."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.core.example import Box
from chiasm.core.statistics.intervals import Estimate
from chiasm.results.overlays import MAP_BAR, colour_patches, faded, show_image
from chiasm.results.series import curve, in_order
from chiasm.results.theme import (
    COLOURS,
    DIVERGING,
    FAINT,
    GREY,
    INK,
    MARKERS,
    SIZES,
    Width,
    colour_bar,
    control_key,
    counted,
    draw,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    new_figure,
)
from chiasm.studies.inside.findings import estimate, pointing
from chiasm.studies.inside.tables import RANDOM_ORDER

_INTERVAL = "mean and 95 % bootstrap interval over images"
_FIRST = "integrated-gradients"
_ERROR_BAR: Final[dict[str, Any]] = {"markersize": 3.5, "linewidth": 0.9, "capsize": 2, "capthick": 0.9, "zorder": 3}


def attribution_map(
    image: UInt8[np.ndarray, "h w 3"], rows: pl.DataFrame, boxes: Sequence[Box] = (), *, width: Width = "page"
) -> Figure:
    """The image beside one panel per method: what each patch adds to the answer's log-probability (nat).

    `rows`: table `attribution_maps` of one example, corners in pixels of `image`.
    """
    size = SIZES[width]
    methods = in_order(rows, "method")
    panel = (size.inches - 0.75) / (len(methods) + 1)
    figure = new_figure(width, panel * image.shape[0] / image.shape[1] + 2.6 * size.text / 72)
    axes = figure.subplots(1, len(methods) + 1, squeeze=False)[0]
    show_image(axes[0], image, boxes, size, "image")
    reach = max(float(rows["value"].abs().max() or 0), 1e-6)
    norm, under = Normalize(-reach, reach), faded(image)
    for place, method in zip(axes[1:], methods, strict=True):
        show_image(place, under, boxes, size, method)
        part = rows.filter(pl.col("method") == method, pl.col("x0").is_not_null())
        # The colour map's brown end is below zero: turned round, so that what speaks for the answer is orange.
        drawn = colour_patches(place, part, part["value"], f"{DIVERGING}_r", norm)
    colour_bar(figure, drawn, axes, "Adds to the\nlog-prob. (nat)", size, **MAP_BAR)
    return figure


def pointing_bars(rows: pl.DataFrame, *, width: Width = "column") -> Figure:
    """Positive attribution on the boxes by method (and setting), beside other examples' maps and the boxes' area."""
    size = SIZES[width]
    several = rows["setting"].n_unique() > 1
    labels, found = [], []
    for setting in in_order(rows, "setting"):
        own = rows.filter(setting=setting)
        for method in in_order(rows, "method"):
            measured = pointing(own, method)
            if measured is not None:
                labels.append(f"{setting}, {method}" if several else method)
                found.append((measured, estimate(own.filter(method=method), pl.col("object_swapped") * 100)))
    figure = new_figure(width, 0.5 + 0.3 * len(labels))
    axes = figure.add_subplot()
    for y, (measured, swapped) in enumerate(found):
        axes.barh(y, float(measured.energy.mean), height=0.6, color=COLOURS[5], linewidth=0, zorder=1)
        _error(axes, measured.energy, y)
        if swapped is not None:
            _error(axes, swapped, y + 0.16, colour=COLOURS[1], marker="D")
    area = float(np.mean([float(measured.area.mean) for measured, _ in found]))
    handles = [
        Line2D([], [], color=COLOURS[1], marker="D", markersize=4, label="control: other examples' maps"),
        axes.axvline(area, color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)), label="area of the boxes"),
    ]
    _label_rows(axes, labels)
    axes.set_xlim(0, 100)
    dress(axes, size, x="Positive attribution on what is asked about (%)")
    legend_below(figure, handles, size, f"bars: {_INTERVAL}, {counted([measured.energy.n for measured, _ in found])}")
    return figure


def faithfulness(curves: pl.DataFrame, domain: str, *, width: Width = "page") -> Figure:
    """Deletion and insertion curves of one domain; dashed: random orders.

    One line per method; with several settings, one per setting by Integrated Gradients.
    """
    size = SIZES[width]
    rows = curves.filter(domain=domain)
    settings = in_order(rows, "setting")
    several = len(settings) > 1
    names = settings if several else [m for m in in_order(rows, "order") if m != RANDOM_ORDER]
    figure = new_figure(width, 2.2)
    panels, handles, ns = figure.subplots(1, 2, sharey=True), [], []
    for axes, kind in zip(panels, ("deletion", "insertion"), strict=True):
        part = rows.filter(kind=kind)
        for index, name in enumerate(names):
            own = part.filter(setting=name, order=_FIRST) if several else part.filter(order=name)
            if not own.height:
                continue
            measured = curve(own, "prob", over="share")
            line = draw(axes, measured, index, size, name)
            ns.append(measured.n)
            handles += [line] if kind == "deletion" else []
            beside = part.filter(order=RANDOM_ORDER)
            beside = beside.filter(setting=name) if several else beside
            if several or index == 0:
                colour = COLOURS[index % len(COLOURS)] if several else GREY
                draw_control(axes, curve(beside, "prob", over="share"), colour, 0, size)
        gone = "deleted" if kind == "deletion" else "put in"
        dress(axes, size, x=f"Share of the image's tokens {gone}", y="Probability of the answer" * (kind == "deletion"))
        axes.set_xlim(0, 1)
    handles.append(control_key("random order", 0, size))
    legend_below(figure, handles, size, f"{domain}, {_INTERVAL}, {counted(ns)}")
    return figure


def modality_bars(rows: pl.DataFrame, domain: str, *, width: Width = "column") -> Figure:
    """The image's share of the answer by setting: of two players (exact) and by Kernel SHAP; no image beside it."""

    def of(method: str, column: str) -> pl.Expr:
        return pl.when(pl.col("method") == method).then(pl.col(column) * 100)

    marks = (
        _Mark("two players, exact", of("two-players", "share"), -0.12, COLOURS[0], MARKERS[0]),
        _Mark("Kernel SHAP", of("kernel-shap", "share"), 0.12, COLOURS[1], MARKERS[1]),
        _Mark("Kernel SHAP, no image", of("kernel-shap", "blank"), 0.3, GREY, "x"),
    )
    parts = [(setting, rows.filter(setting=setting)) for setting in in_order(rows, "setting")]
    figure, axes = _marked(parts, marks, 0.32, "The image's share of the answer (%)", domain, width)
    axes.set_ylim(len(parts) - 0.4, -0.5)
    axes.set_xlim(0, 100)
    return figure


def ablation_bars(rows: pl.DataFrame, domain: str, *, width: Width = "column") -> Figure:
    """What is lost without the neurons of each score, beside as many random ones of the same layers."""
    several = rows["setting"].n_unique() > 1
    parts = []
    for part in rows.partition_by("setting", "score", "group", "own", maintain_order=True):
        setting, score, group = part.select("setting", "score", "group").row(0)
        parts.append((f"{f'{setting}, ' if several else ''}{score}{f' ({group})' if group else ''}", part))
    marks = (
        _Mark("these neurons at zero", pl.col("change"), -0.1, COLOURS[0], "o"),
        _Mark("random ones, same layers", pl.col("change_random"), 0.15, COLOURS[1], "D"),
    )
    figure, axes = _marked(parts, marks, 0.26, "Change in the answer's lead (nat)", domain, width)
    axes.axvline(0, color=INK, linewidth=0.7)
    return figure


def concept_lines(rows: pl.DataFrame, domain: str, setting: str, *, width: Width = "column") -> Figure:
    """TCAV of every concept by layer; grey: where random concepts lie; filled markers: p of at most 0.05, corrected."""
    size = SIZES[width]
    own = rows.filter(setting=setting).sort("layer")
    figure = new_figure(width, 2.3)
    axes, handles = figure.add_subplot(), []
    band = own.group_by("layer", maintain_order=True).agg(pl.col("random_low").min(), pl.col("random_high").max())
    axes.fill_between(band["layer"], band["random_low"], band["random_high"], color=FAINT, linewidth=0, zorder=0)
    for index, concept in enumerate(in_order(own, "concept")):
        part, colour = own.filter(concept=concept), COLOURS[index % len(COLOURS)]
        (line,) = axes.plot(part["layer"], part["value"], color=colour, linewidth=size.line, label=concept)
        known = part.filter(pl.col("low").is_not_null())
        axes.vlines(known["layer"], known["low"], known["high"], color=colour, linewidth=0.6, alpha=0.6)
        for sure, face in ((True, colour), (False, "white")):
            some = part.filter((pl.col("p") <= 0.05) == sure)
            marker = MARKERS[index % len(MARKERS)]
            axes.scatter(some["layer"], some["value"], s=14, marker=marker, color=face, edgecolor=colour, zorder=4)
        handles.append(line)
    axes.axhline(0.5, color=INK, linewidth=0.6, linestyle=(0, (1, 1.5)))
    axes.set_ylim(-0.04, 1.04)
    layer_axis(axes, int(own["layer"].max() or 0), size.inches)
    dress(axes, size, x="State before layer (0: projector's output)", y="TCAV", title=f"{domain}, {setting}")
    title = f"filled: p ≤ 0.05; grey: 95 % of random concepts; {counted(sorted(set(own['n'])))} answers each"
    legend_below(figure, handles, size, title)
    return figure


class _Mark(NamedTuple):
    """A mean that every row shows, `shift` below the row's middle."""

    label: str
    value: pl.Expr
    shift: float
    colour: str
    marker: str


def _marked(
    parts: Sequence[tuple[str, pl.DataFrame]], marks: Sequence[_Mark], height: float, x: str, title: str, width: Width
) -> tuple[Figure, Axes]:
    """A row, `height` inches high, for each part of the table, with the means that `marks` name."""
    size = SIZES[width]
    figure = new_figure(width, 0.5 + height * len(parts))
    axes, ns = figure.add_subplot(), []
    for y, (_, part) in enumerate(parts):
        for mark in marks:
            found = estimate(part, mark.value)
            if found is not None:
                _error(axes, found, y + mark.shift, colour=mark.colour, marker=mark.marker)
                ns.append(found.n)
    _label_rows(axes, [label for label, _ in parts])
    dress(axes, size, x=x, title=title)
    handles = [Line2D([], [], color=m.colour, marker=m.marker, markersize=4, label=m.label) for m in marks]
    legend_below(figure, handles, size, f"{_INTERVAL}, {counted(ns)}")
    return figure, axes


def _label_rows(axes: Axes, labels: Sequence[str]) -> None:
    """A label for each row, the first at the top."""
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def _error(axes: Axes, found: Estimate, y: float, *, colour: str = INK, marker: str = "") -> None:
    """A mean with its interval, where it has one."""
    mean, low, high = float(found.mean), float(found.low), float(found.high)
    bounds = None if np.isnan(low) else [[max(0.0, mean - low)], [max(0.0, high - mean)]]
    axes.errorbar(mean, y, xerr=bounds, color=colour, marker=marker, **_ERROR_BAR)
