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
from chiasm.results.panels import Panels, label_rows
from chiasm.results.series import curve, in_order
from chiasm.results.theme import (
    COLOURS,
    DIVERGING,
    FAINT,
    GREY,
    INK,
    MARKERS,
    SIZES,
    colour_bar,
    counted,
    draw_control,
    dress,
    legend_below,
    new_figure,
    new_panel,
)
from chiasm.studies.inside.means import complete, estimate, pointing
from chiasm.studies.inside.tables import RANDOM_ORDER

_INTERVAL = "mean and 95 % bootstrap interval over images"
_FIRST = "integrated-gradients"
_ERROR_BAR: Final[dict[str, Any]] = {"markersize": 3.5, "linewidth": 0.9, "capsize": 2, "capthick": 0.9, "zorder": 3}


def attribution_map(image: UInt8[np.ndarray, "h w 3"], rows: pl.DataFrame, boxes: Sequence[Box] = ()) -> Figure:
    """The image beside one panel per method: what each patch adds to the answer's log-probability (nat).

    `rows`: table `attribution_maps` of one example, corners in pixels of `image`.
    """
    size = SIZES["page"]
    methods = in_order(rows, "method")
    panel = (size.inches - 0.75) / (len(methods) + 1)
    figure = new_figure("page", panel * image.shape[0] / image.shape[1] + 2.6 * size.text / 72)
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


def pointing_bars(rows: pl.DataFrame) -> Figure:
    """Positive attribution on the boxes by method (and setting), beside other examples' maps and the boxes' area."""
    several = rows["setting"].n_unique() > 1
    labels, found = [], []
    for setting in in_order(rows, "setting"):
        own = rows.filter(setting=setting)
        for method in in_order(rows, "method"):
            measured = pointing(own, method)
            if measured is not None:
                labels.append(f"{setting}, {method}" if several else method)
                found.append((measured, estimate(complete(own).filter(method=method), pl.col("object_swapped") * 100)))
    figure, axes, size = new_panel(0.5 + 0.3 * len(labels), "column")
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
    label_rows(axes, labels)
    axes.set_xlim(0, 100)
    dress(axes, size, x="Positive attribution on what is asked about (%)")
    legend_below(figure, handles, size, f"bars: {_INTERVAL}, {counted([measured.energy.n for measured, _ in found])}")
    return figure


def faithfulness(curves: pl.DataFrame, domain: str) -> Figure:
    """Deletion and insertion curves of one domain; dashed: random orders.

    One line per method; with several settings, one per setting by Integrated Gradients.
    """
    rows = curves.filter(domain=domain)
    settings = in_order(rows, "setting")
    several = len(settings) > 1
    names = settings if several else [m for m in in_order(rows, "order") if m != RANDOM_ORDER]
    panels = Panels(2.2, 2, sharey=True)
    for axes, kind in zip(panels.axes, ("deletion", "insertion"), strict=True):
        part = rows.filter(kind=kind)
        for index, name in enumerate(names):
            own = part.filter(setting=name, order=_FIRST) if several else part.filter(order=name)
            if not own.height:
                continue
            panels.curve(axes, name, curve(own, "prob", over="share"), index=index)
            beside = part.filter(order=RANDOM_ORDER)
            beside = beside.filter(setting=name) if several else beside
            if several or index == 0:
                colour = COLOURS[index % len(COLOURS)] if several else GREY
                draw_control(axes, curve(beside, "prob", over="share"), colour, 0, panels.size)
        x = f"Share of the image's tokens {'deleted' if kind == 'deletion' else 'put in'}"
        panels.dress(axes, x=x, y="Probability of the answer" * (kind == "deletion"))
        axes.set_xlim(0, 1)
    return panels.legend(f"{domain}, {_INTERVAL}, {panels.counted}", "random order")


def modality_bars(rows: pl.DataFrame, domain: str) -> Figure:
    """The image's share of the answer by setting: of two players (exact) and by Kernel SHAP; no image beside it."""

    def of(method: str, column: str) -> pl.Expr:
        return pl.when(pl.col("method") == method).then(pl.col(column) * 100)

    marks = (
        _Mark("two players, exact", of("two-players", "share"), -0.12, COLOURS[0], MARKERS[0]),
        _Mark("Kernel SHAP", of("kernel-shap", "share"), 0.12, COLOURS[1], MARKERS[1]),
        _Mark("Kernel SHAP, no image", of("kernel-shap", "blank"), 0.3, GREY, "x"),
    )
    parts = [(setting, rows.filter(setting=setting)) for setting in in_order(rows, "setting")]
    figure, axes = _marked(parts, marks, 0.32, "The image's share of the answer (%)", domain)
    axes.set_ylim(len(parts) - 0.4, -0.5)
    axes.set_xlim(0, 100)
    return figure


def ablation_bars(rows: pl.DataFrame, domain: str) -> Figure:
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
    figure, axes = _marked(parts, marks, 0.26, "Change in the answer's lead (nat)", domain)
    axes.axvline(0, color=INK, linewidth=0.7)
    return figure


def concept_lines(rows: pl.DataFrame, domain: str, setting: str) -> Figure:
    """TCAV of every concept by layer; grey: where random concepts lie; filled markers: p of at most 0.05, corrected."""
    own = rows.filter(setting=setting).sort("layer")
    panels = Panels(2.3, width="column")
    (axes,) = panels.axes
    band = own.group_by("layer", maintain_order=True).agg(pl.col("random_low").min(), pl.col("random_high").max())
    axes.fill_between(band["layer"], band["random_low"], band["random_high"], color=FAINT, linewidth=0, zorder=0)
    for index, concept in enumerate(in_order(own, "concept")):
        part, colour = own.filter(concept=concept), COLOURS[index % len(COLOURS)]
        (panels.handles[concept],) = axes.plot(
            part["layer"], part["value"], color=colour, linewidth=panels.size.line, label=concept
        )
        known = part.filter(pl.col("low").is_not_null())
        axes.vlines(known["layer"], known["low"], known["high"], color=colour, linewidth=0.6, alpha=0.6)
        for sure, face in ((True, colour), (False, "white")):
            some = part.filter((pl.col("p") <= 0.05) == sure)
            marker = MARKERS[index % len(MARKERS)]
            axes.scatter(some["layer"], some["value"], s=14, marker=marker, color=face, edgecolor=colour, zorder=4)
    axes.axhline(0.5, color=INK, linewidth=0.6, linestyle=(0, (1, 1.5)))
    axes.set_ylim(-0.04, 1.04)
    x = "State before layer (0: projector's output)"
    panels.dress(axes, x=x, y="TCAV", title=f"{domain}, {setting}", layers=own)
    return panels.legend(f"filled: p ≤ 0.05; grey: 95 % of random concepts; {counted(own['n'].to_list())} answers each")


class _Mark(NamedTuple):
    """A mean that every row shows, `shift` below the row's middle."""

    label: str
    value: pl.Expr
    shift: float
    colour: str
    marker: str


def _marked(
    parts: Sequence[tuple[str, pl.DataFrame]], marks: Sequence[_Mark], height: float, x: str, title: str
) -> tuple[Figure, Axes]:
    """A row, `height` inches high, for each part of the table, with the means that `marks` name."""
    figure, axes, size = new_panel(0.5 + height * len(parts), "column")
    ns = []
    for y, (_, part) in enumerate(parts):
        for mark in marks:
            found = estimate(part, mark.value)
            if found is not None:
                _error(axes, found, y + mark.shift, colour=mark.colour, marker=mark.marker)
                ns.append(found.n)
    label_rows(axes, [label for label, _ in parts])
    dress(axes, size, x=x, title=title)
    handles = [Line2D([], [], color=m.colour, marker=m.marker, markersize=4, label=m.label) for m in marks]
    legend_below(figure, handles, size, f"{_INTERVAL}, {counted(ns)}")
    return figure, axes


def _error(axes: Axes, found: Estimate, y: float, *, colour: str = INK, marker: str = "") -> None:
    """A mean with its interval, where it has one."""
    mean, low, high = float(found.mean), float(found.low), float(found.high)
    bounds = None if np.isnan(low) else [[max(0.0, mean - low)], [max(0.0, high - mean)]]
    axes.errorbar(mean, y, xerr=bounds, color=colour, marker=marker, **_ERROR_BAR)
