"""Curves of a sweep by cut, type and control; windows; answers and words tracked through the layers."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from chiasm.core.claims import Claim, of_kind
from chiasm.core.statistics.bands import mean_bands
from chiasm.results import series
from chiasm.results.series import Curve, curve, in_order, inputs_of, matrix, of_type
from chiasm.results.theme import (
    COLOURS,
    DIVERGING,
    FAINT,
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
    new_figure,
    new_panel,
    zero_line,
)
from chiasm.studies.flow.judgement import SEEN, control_for, control_label, layers_of, style_of
from chiasm.studies.flow.sweep import LOGPROB
from chiasm.studies.flow.tables import AVERAGED, ERROR_SHARE, SMALLEST, SWAPS, dose_share

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


def flow_curves(
    effects: pl.DataFrame,
    controls: pl.DataFrame | None = None,
    *,
    noise: float = 0.0,
    claims: Sequence[Claim] = (),
    width: Width = "page",
) -> Figure:
    """One line per cut, and dashed in its colour the control it is judged against.

    `noise` (nat) is the half-width of the floor drawn around zero. Rows: tables `effects` and `controls`. `claims`:
    those of kind `effect`; bands of cuts are then their intervals, else those of each line on its own.
    """
    figure, axes, size = new_panel(2.5 if width == "page" else 2.0, width)
    drawn = _Drawn(size, controls, noise, claims)
    drawn.overlay(axes, effects, controls)
    _frame(axes, effects, size, noise, size.inches)
    dress(axes, size, x=_X[style_of(effects)], y=_Y)
    drawn.scale([axes], [axes])
    legend_below(figure, drawn.keys(), size, _title(f"{_CLAIMED if claims else _BAND}, {counted(drawn.ns)}", size))
    return figure


def flow_by_type(
    effects: pl.DataFrame, controls: pl.DataFrame | None = None, *, noise: float = 0.0, width: Width = "page"
) -> Figure:
    """`flow_curves` as small multiples, one panel for each question type, on one scale."""
    types = in_order(effects, "type")
    size, panels, figure = _grid(len(types), width)
    drawn = _Drawn(size, controls, noise)
    for name, axes in zip(types, panels, strict=True):
        before = len(drawn.ns)
        drawn.overlay(axes, of_type(effects, name), None if controls is None else of_type(controls, name), effects)
        _frame(axes, effects, size, noise, _panel_inches(width, len(types)), f"{name} ({counted(drawn.ns[before:])})")
    drawn.scale(panels)
    legend_below(figure, drawn.keys(), size, _BAND)
    return figure


def flow_controls(
    effects: pl.DataFrame,
    controls: pl.DataFrame,
    *,
    noise: float = 0.0,
    claims: Sequence[Claim] = (),
    width: Width = "page",
) -> Figure:
    """One panel per cut, beside all of its controls in grey, on one scale (doses have a figure of their own).

    `claims` as in `flow_curves`.
    """
    cuts = in_order(effects, "cut")
    size, panels, figure = _grid(len(cuts), width)
    drawn = _Drawn(size, controls, noise, claims)
    for index, (cut, axes) in enumerate(zip(cuts, panels, strict=True)):
        drawn.cut(axes, effects, cut, index)
        for name in in_order(controls, "control"):
            if dose_share(name) is None:
                drawn.control(axes, controls, cut, name, GREY)
        inches = _panel_inches(width, len(cuts))
        _frame(axes, effects, size, noise, inches, "\n".join(textwrap.wrap(arrow(cut), int(15 * inches))))
    drawn.scale(panels)
    legend_below(
        figure, drawn.keys(one_cut=True), size, _title(f"{_CLAIMED if claims else _BAND}, {counted(drawn.ns)}", size)
    )
    return figure


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


def left(rows: pl.DataFrame, over: str = "layer") -> Curve:
    """What is left of the clean probability (%), as the geometric mean over examples: never below 0.

    The interval is that of the mean difference of log-probabilities, put on this scale; a standard error counts as at
    least so much as in the claims.
    """
    data = matrix(rows, LOGPROB, over)
    bands = mean_bands(
        data.values, clusters=data.inputs, smallest_error=_ERROR, resamples=min(_RESAMPLES, series.RESAMPLES)
    )
    mean, low, high = (100 * np.exp(np.minimum(part, _HIGHEST)) for part in (bands.mean, bands.low, bands.high))
    return Curve(data.places, mean, low, high, len(data.examples), len(set(data.inputs)))


class _Drawn:
    """What has been drawn so far in one figure, for its legend and its scale."""

    def __init__(self, size: Size, controls: pl.DataFrame | None, noise: float, claims: Sequence[Claim] = ()) -> None:
        self.size, self.controls, self.noise = size, controls, noise
        self.claimed = {(one.about, one.where): one for one in of_kind(claims, "effect")}
        drawn = [] if controls is None else in_order(controls, "control")
        # Doses have a figure of their own: each of the others gets a dash of its own.
        self.names = [name for name in drawn if dose_share(name) is None]
        self.lines: dict[str, Line2D] = {}
        self.highest_of: dict[str, float] = {}
        self.ns: list[int] = []
        self.low, self.high = 100 * math.exp(-noise), 100 * math.exp(noise)

    def overlay(
        self, axes: Axes, effects: pl.DataFrame, controls: pl.DataFrame | None, every: pl.DataFrame | None = None
    ) -> None:
        """The cuts of `effects` in one panel; `every`: the rows of all panels, which give a cut its colour."""
        for index, cut in enumerate(in_order(effects if every is None else every, "cut")):
            if not effects.filter(pl.col("cut") == cut).height:
                continue
            self.cut(axes, effects, cut, index)
            name = control_for(controls, cut)
            if controls is not None and name is not None:
                self.control(axes, controls, cut, name, COLOURS[index % len(COLOURS)])

    def cut(self, axes: Axes, effects: pl.DataFrame, cut: str, index: int) -> None:
        measured = self._as_claimed(left(effects.filter(pl.col("cut") == cut)), cut)
        self.lines[cut] = draw(axes, measured, index, self.size, arrow(cut))
        self.ns.append(measured.n)
        # A band is missing where n is 1.
        self.low = min(self.low, float(np.nanmin([measured.mean, measured.low])))
        self.high = max(self.high, float(np.nanmax([measured.mean, measured.high])))

    def _as_claimed(self, measured: Curve, cut: str) -> Curve:
        """With the intervals of the claims, so that one quantity has one interval."""
        of = [self.claimed.get((cut, str(int(place)))) for place in measured.places]
        if not all(of):
            return measured
        low, high = (
            np.array([math.nan if x is None else 100 * math.exp(min(x, _HIGHEST)) for x in side])
            for side in ([one and one.low for one in of], [one and one.high for one in of])
        )
        return replace(measured, low=low, high=high)

    def control(self, axes: Axes, controls: pl.DataFrame, cut: str, name: str, colour: str) -> None:
        rows = controls.filter((pl.col("cut") == cut) & (pl.col("control") == name))
        if rows.height:
            measured = left(rows)
            draw_control(axes, measured, colour, self.names.index(name), self.size)
            self.highest_of[name] = max(self.highest_of.get(name, 0.0), float(measured.mean.max()))
            self.low = float(np.nanmin([self.low, measured.mean.min(), *measured.low]))
            # A band that is not far above the line for nothing fits in; what gains more leaves the scale.
            highest = np.nanmax([measured.mean.max(), *measured.high])
            self.high = max(self.high, float(highest)) if highest <= _FITS else self.high

    @property
    def top(self) -> float:
        return min(_TOP, max(self.high + 0.15 * (self.high - self.low), 100.5))

    def scale(self, panels: list[Axes], marked: Sequence[Axes] = ()) -> None:
        """One scale for all panels; `marked` ones say the change of the log-probability on the right."""
        low = max(0.0, min(self.low - 0.06 * (self.high - self.low), 99.5))
        for axes in panels:
            axes.set_ylim(low, self.top)
        for axes in marked:
            _mark_nats(axes, self.size, low, self.top)

    def keys(self, one_cut: bool = False) -> list[Artist]:
        """Legend entries; with `one_cut` all cuts share one, since every panel names its own."""
        marked = Line2D([], [], color=COLOURS[0], linewidth=self.size.line, marker="o", markersize=self.size.marker)
        marked.set_label("the cut")
        keys: list[Artist] = [marked] if one_cut else list(self.lines.values())
        for name, highest in self.highest_of.items():
            beyond = f", leaves the scale (to {highest:.3g} %)" if highest > self.top else ""
            role = "scale" if name in (*SWAPS, AVERAGED) else "control"
            keys.append(control_key(f"{role}: {control_label(name)}{beyond}", self.names.index(name), self.size))
        if self.noise > SEEN:
            keys.append(Patch(color=FAINT, label=f"noise floor, ±{self.noise:.2g} nat"))
        return keys


def _frame(axes: Axes, effects: pl.DataFrame, size: Size, noise: float, inches: float, title: str = "") -> None:
    axes.axhline(100, color=INK, linewidth=0.7, zorder=1)
    if noise > 0:
        axes.axhspan(100 * math.exp(-noise), 100 * math.exp(noise), color=FAINT, linewidth=0, zorder=0)
    layer_axis(axes, layers_of(effects) - 1, inches)
    dress(axes, size, x=axes.get_xlabel(), y=axes.get_ylabel(), title=title)


def _mark_nats(axes: Axes, size: Size, low: float, high: float) -> None:
    """A scale on the right: the change of the log-probability."""
    room, marks = (high - low) / 12, dict[float, float]()
    for change in _MARKS:
        place = 100 * math.exp(change)
        if low <= place <= high and all(abs(place - other) >= room for other in marks.values()):
            marks[change] = place
    right = axes.secondary_yaxis("right")
    right.set_yticks(list(marks.values()), [f"{change:+g}" if change else "0" for change in marks])
    right.set_ylabel(_NAT, fontsize=size.text, color=INK)
    right.tick_params(labelsize=size.text - 0.5, colors=INK, length=2.5, width=0.6)
    right.spines["right"].set_visible(False)


def _columns(width: Width, count: int) -> int:
    return min(count, 2 if width == "column" or count == 4 else 3)


def _panel_inches(width: Width, count: int) -> float:
    return (SIZES[width].inches - 0.6) / _columns(width, count)


def _grid(count: int, width: Width) -> tuple[Size, list[Axes], Figure]:
    columns = _columns(width, count)
    lines = math.ceil(count / columns)
    figure = new_figure(width, 0.35 + (1.6 if width == "page" else 1.25) * lines)
    grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    panels = [axes for row in grid for axes in row]
    for axes in panels[count:]:
        axes.set_visible(False)
    for axes in panels[max(0, count - columns) : count]:
        axes.set_xlabel("Centre layer")
        axes.tick_params(labelbottom=True)  # also where the panel below is missing
    for axes in panels[:count:columns]:
        axes.set_ylabel(_Y if lines < 2 else _Y.replace(" (", "\n("))
    return SIZES[width], panels[:count], figure


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
