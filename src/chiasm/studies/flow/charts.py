"""Curves of a sweep by cut, type and control; windows; answers and words tracked through the layers."""

import textwrap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from chiasm.core.statistics.bands import mean_bands
from chiasm.results.series import Curve, curve, in_order, inputs_of, of_type
from chiasm.results.theme import (
    DIVERGING,
    GREY,
    INK,
    SIZES,
    Size,
    Width,
    arrow,
    colour_bar,
    control_key,
    counted,
    draw,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    new_panel,
    zero_line,
)
from chiasm.studies.flow.curves import left
from chiasm.studies.flow.sweep import LOGPROB
from chiasm.studies.flow.tables import ERROR_SHARE, SMALLEST, dose_share

_X = {
    "centred": "Centre of the window (layer)",
    "prefix": "Last layer cut (all from 0 on)",
    "suffix": "First layer cut (all to the end)",
}
_Y = "Probability left (%)"
_NAT = "Change in log-probability (nat)"
_BAND = "geometric mean and 95 % interval over all layers at once"
_CLAIMED = "geometric mean and 95 % interval over all cuts and layers at once (controls: over all layers)"
_DOSED = "geometric mean, 95 % interval over all shares"
_TRACKED = "mean and 95 % interval over all states at once"
# Changes of a log-probability that are marked on the right.
_MARKS = (0, *(sign * size for size in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4) for sign in (-1, 1)))
# Of the probability; beyond it curves leave the scale, so that one that gains does not flatten the others.
_TOP = 250.0
# Changes (nat) above it are drawn as it: far above the scale, as bounds from a few examples can be.
_HIGHEST = 20.0
# Behind bands that no claim rests on (controls, types, doses): a page has dozens, and should be there in seconds.
_RESAMPLES = 499
_FITS = 150.0
_ERROR = ERROR_SHARE * SMALLEST  # nat


def dose_curve(
    effects: pl.DataFrame, controls: pl.DataFrame, *, cuts: Sequence[str] | None = None, width: Width = "column"
) -> Figure:
    """The probability left against the random share of a cut's own keys, where the whole cut hurts most.

    `cuts`: which to draw; all that have doses by default.
    """
    figure, axes, size = new_panel(2.1, width)
    doses = controls.with_columns(
        pl.col("control").map_elements(dose_share, return_dtype=pl.Float64, skip_nulls=False).alias("share")
    ).filter(pl.col("share").is_not_null())
    chosen, handles, ns = [], [], []
    for index, cut in enumerate(in_order(effects, "cut")):
        part = doses.filter(pl.col("cut") == cut)
        if not part.height or (cuts is not None and cut not in cuts):
            continue
        # Doses stand beside a cut only in examples that have no size-matched control.
        dosed = pl.col("example_id").is_in(part["example_id"].unique().to_list())
        whole = effects.filter(pl.col("cut") == cut).filter(dosed)
        measured = left(whole)
        most = min((i for i, x in enumerate(measured.places) if x in set(part["layer"])), key=measured.mean.__getitem__)
        chosen.append((index, cut, part, whole, int(measured.places[most]), float(measured.mean[most])))
    # Of a cut that costs nothing at any layer no dose costs anything: drawn only where all are such.
    costly = [one for one in chosen if one[-1] < 100] or chosen
    for index, cut, part, whole, layer, _ in costly:
        columns = ["example_id", "share", "logprob_clean", "logprob_cut"]
        shares = (part, whole.with_columns(share=pl.lit(1.0)))
        rows = pl.concat([one.filter(pl.col("layer") == layer).select(columns) for one in shares])
        response = left(rows.with_columns(pl.col("share") * 100), over="share")
        handles.append(draw(axes, response, index, size, f"{arrow(cut)}, at layer {layer}"))
        ns.append(response.n)
    axes.axhline(100, color=INK, linewidth=0.7, zorder=1)
    axes.set_xlim(0, 103)
    dress(axes, size, x="Share of the cut's keys, drawn at random (%)", y=_Y)
    legend_below(figure, handles, size, _title(f"{_DOSED}, {counted(ns)}", size))
    return figure


def _title(text: str, size: Size) -> str:
    """The title of a legend in lines that fit."""
    kept = text.replace(" = ", "\u00a0=\u00a0")  # no line ends within `n = 48`
    lines = textwrap.wrap(kept, int(size.inches * 72 / (0.54 * size.text)))
    return "\n".join(lines).replace("\u00a0", " ")


def _within(found: Curve, highest: float = 100.0) -> Curve:
    """Means of what lies between 0 and `highest`: their intervals do too."""
    return replace(found, low=np.clip(found.low, 0.0, highest), high=np.clip(found.high, 0.0, highest))


_STATE = "Hidden state (0 = embeddings)"
_NAMES = {"lower": "answer, lower case", "capital": "answer, capitalised"}
# Options whose names are the words themselves differ from question to question: beyond this they are drawn as one.
_MOST_FORMS = 6


def answer_tracking(
    answers: pl.DataFrame,
    control: pl.DataFrame | None = None,
    *,
    as_released: bool = False,
    width: Width = "column",
) -> Figure:
    """Probability (%) of the answer's forms, read from every hidden state at the last prompt position.

    `control`: the same table from a model that cannot know, such as the random-weights baseline, drawn dashed.
    `as_released` reads `prob_raw`, which leaves out the final norm as the released code of Zhang et al. 2025 does.
    """
    figure, axes, size = new_panel(2.5 if width == "page" else 2.0, width)
    value = 100 * pl.col("prob_raw" if as_released else "prob")
    rows, baseline = _pooled(answers), None if control is None else _pooled(control)
    handles, ns = [], []
    for index, form in enumerate(in_order(rows, "form")):
        measured = _within(curve(rows.filter(pl.col("form") == form), value))
        handles.append(draw(axes, measured, index, size, _NAMES.get(form, form)))
        ns.append(measured.n)
        if baseline is not None and baseline.filter(pl.col("form") == form).height:
            colour = str(handles[-1].get_color())
            other = _within(curve(baseline.filter(pl.col("form") == form), value))
            draw_control(axes, other, colour, 0, size)
    if baseline is not None:
        handles.append(control_key("control: random-weights baseline", 0, size))
    zero_line(axes)
    layer_axis(axes, int(rows["layer"].max() or 0), size.inches)
    dress(axes, size, x=_STATE, y="Probability (%)")
    legend_below(figure, handles, size, _title(f"{_TRACKED}, {counted(ns)}", size))
    return figure


def _pooled(answers: pl.DataFrame) -> pl.DataFrame:
    if answers["form"].n_unique() <= _MOST_FORMS:
        return answers
    form = pl.when(pl.col("form").is_in(list(_NAMES))).then(pl.col("form")).otherwise(pl.lit("other options"))
    return answers.with_columns(form)


def caption_words(words: pl.DataFrame, *, width: Width = "column") -> Figure:
    """Share (%) of the question positions whose decoded word stands in the image's captions, per hidden state."""
    figure, axes, size = new_panel(2.1, width)
    handles, ns = [], []
    for index, name in enumerate(in_order(words, "type")):
        measured = _within(curve(of_type(words, name), 100 * pl.col("in_captions").cast(pl.Float64)))
        handles.append(draw(axes, measured, index, size, name))
        ns.append(measured.n)
    zero_line(axes)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    layer_axis(axes, int(words["layer"].max() or 0), size.inches)
    dress(axes, size, x=_STATE, y="Words found in captions (%)")
    legend_below(figure, handles, size, _title(f"{_TRACKED}, {counted(ns)}", size))
    return figure


def flow_heatmap(effects: pl.DataFrame, cut: str, *, width: Width = "column") -> Figure:
    """Mean change in log-probability (nat) for every window of layers (rows of a sweep over all windows).

    A dot marks windows whose 95 % interval, which holds for all windows at once, takes in zero.
    """
    figure, axes, size = new_panel(0.88 * SIZES[width].inches, width)
    rows = effects.filter(pl.col("cut") == cut)
    windows = rows.select("start", "stop").unique().sort("start", "stop")
    index = [name for name in ("example_id", "input") if name in rows.columns]
    wide = rows.with_columns(change=LOGPROB).pivot(on=["start", "stop"], index=index, values="change")
    order = [f"{{{start},{stop}}}" for start, stop in windows.rows()]
    estimate = mean_bands(wide.select(order).to_numpy(), clusters=inputs_of(wide))
    layers = int(windows["stop"].max() or 0)
    grid = np.full((layers, layers), np.nan)
    starts, lasts = windows["start"].to_numpy(), windows["stop"].to_numpy() - 1
    grid[lasts, starts] = estimate.mean
    reach = float(np.nanmax(np.abs(grid))) or 1.0
    drawn = axes.imshow(grid, origin="lower", cmap=DIVERGING, vmin=-reach, vmax=reach, interpolation="nearest")
    open_ = ~((estimate.high < 0) | (estimate.low > 0))
    dot = 10.0 * size.inches / layers
    axes.scatter(starts[open_], lasts[open_], s=dot, color=GREY, linewidth=0)
    title = f"{arrow(cut)} (n = {int(estimate.n.min())})"
    dress(axes, size, x="First layer of the window", y="Last layer of the window", title=title)
    step = next(s for s in (1, 2, 4, 5, 8, 10, 20) if layers / s <= 12)
    axes.set_xticks(range(0, layers, step))
    axes.set_yticks(range(0, layers, step))
    corner = {"ha": "right", "va": "bottom", "transform": axes.transAxes}
    axes.text(0.98, 0.03, "dot: the 95 % interval\ntakes in zero", fontsize=size.text - 0.5, color=INK, **corner)
    colour_bar(figure, drawn, [axes], _NAT, size, shrink=0.9, pad=0.02)
    return figure
