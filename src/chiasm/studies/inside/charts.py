"""Where inside: maps over the image, what they point at, deletion and insertion, neurons, concepts."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.core.example import Box
from chiasm.core.statistics.intervals import Estimate
from chiasm.results.overlays import colour_bar, colour_patches, faded, show_image
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
    colour_bar(figure, drawn, axes, "Adds to the\nlog-prob. (nat)", size)
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
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
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
    size = SIZES[width]
    settings = in_order(rows, "setting")
    figure = new_figure(width, 0.5 + 0.32 * len(settings))
    axes, ns = figure.add_subplot(), []
    for y, setting in enumerate(settings):
        part = rows.filter(setting=setting)
        for k, method in enumerate(("two-players", "kernel-shap")):
            share = estimate(part.filter(method=method), pl.col("share") * 100)
            if share is not None:
                _error(axes, share, y - 0.12 + 0.24 * k, colour=COLOURS[k], marker=MARKERS[k])
                ns.append(share.n)
        blank = estimate(part.filter(method="kernel-shap"), pl.col("blank") * 100)
        if blank is not None:
            _error(axes, blank, y + 0.3, colour=GREY, marker="x")
    handles = [
        Line2D([], [], color=COLOURS[k], marker=MARKERS[k], markersize=4, label=label)
        for k, label in enumerate(("two players, exact", "Kernel SHAP"))
    ]
    handles.append(Line2D([], [], color=GREY, marker="x", markersize=4, label="Kernel SHAP, no image"))
    axes.set_yticks(range(len(settings)), settings)
    axes.set_ylim(len(settings) - 0.4, -0.5)
    axes.set_xlim(0, 100)
    dress(axes, size, x="The image's share of the answer (%)", title=domain)
    legend_below(figure, handles, size, f"{_INTERVAL}, {counted(ns)}")
    return figure


def ablation_bars(rows: pl.DataFrame, domain: str, *, width: Width = "column") -> Figure:
    """What is lost without the neurons of each score, beside as many random ones of the same layers."""
    size = SIZES[width]
    keys = rows.select("setting", "score", "group", "own").unique(maintain_order=True).rows()
    several = rows["setting"].n_unique() > 1
    figure = new_figure(width, 0.5 + 0.26 * len(keys))
    axes, ns = figure.add_subplot(), []
    for y, (setting, score, group, own) in enumerate(keys):
        part = rows.filter(setting=setting, score=score, group=group, own=own)
        for value, shift, colour, marker in (
            ("change", -0.1, COLOURS[0], "o"),
            ("change_random", 0.15, COLOURS[1], "D"),
        ):
            found = estimate(part, value)
            if found is not None:
                _error(axes, found, y + shift, colour=colour, marker=marker)
                ns.append(found.n)
    axes.axvline(0, color=INK, linewidth=0.7)
    labels = [f"{f'{s}, ' if several else ''}{score}{f' ({group})' if group else ''}" for s, score, group, _ in keys]
    axes.set_yticks(range(len(keys)), labels)
    axes.set_ylim(len(keys) - 0.5, -0.5)
    dress(axes, size, x="Change in the answer's lead (nat)", title=domain)
    handles = [
        Line2D([], [], color=COLOURS[0], marker="o", markersize=4, label="these neurons at zero"),
        Line2D([], [], color=COLOURS[1], marker="D", markersize=4, label="random ones, same layers"),
    ]
    legend_below(figure, handles, size, f"{_INTERVAL}, {counted(ns)}")
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


def _error(axes: Axes, found: Estimate, y: float, *, colour: str = INK, marker: str = "") -> None:
    mean = float(found.mean)
    known = not np.isnan(found.low)
    bounds = [[max(0.0, mean - float(found.low))], [max(0.0, float(found.high) - mean)]] if known else None
    axes.errorbar(
        mean,
        y,
        xerr=bounds,
        color=colour,
        marker=marker,
        markersize=3.5,
        linewidth=0.9,
        capsize=2,
        capthick=0.9,
        zorder=3,
    )
