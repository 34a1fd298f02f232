"""The curves of a sweep: what is left of the answer's probability by cut, by question type, beside every control."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, of_kind
from chiasm.core.errors import ChiasmError
from chiasm.core.statistics.bands import mean_bands
from chiasm.results import series
from chiasm.results.charts.lines import MEASURED, SCALE, Axes, Chart, Line, between, line_chart, spread
from chiasm.results.charts.theme import Size, arrow, counted, cut_style
from chiasm.results.series import Curve, in_order, matrix, of_type
from chiasm.studies.flow.judgement import SEEN, control_for, control_label, style_of
from chiasm.studies.flow.sweep import LOGPROB
from chiasm.studies.flow.tables import ERROR_SHARE, SCALES, SMALLEST, dose_share

_X = {
    "centred": "Layer (centre of the window cut)",
    "prefix": "Last layer cut (all from 0 on)",
    "suffix": "First layer cut (all to the end)",
}
_Y = "Answer's probability left (%)"
_QUESTION = "At which layers does each route carry the answer?"
ALL_CONTROLS = "Does each effect exceed what its controls do?"
_BAND = "Lines: geometric mean over examples; bands: 95 % intervals, for all layers of a line at once"
_CLAIMED = (
    "Lines: geometric mean over examples; bands: 95 % intervals, for all cuts and layers at once (controls: for all "
    "layers of a line)"
)
# Changes (nat) above it are drawn as it: far above the scale, as bounds from a few examples can be.
_HIGHEST = 20.0
# Of the probability (%): beyond it curves leave the scale, so that one that gains does not flatten the others.
_TOP = 250.0
_ROOM = 0.25
"""Of what lines span: as much as this bands may add above them."""
# Behind bands that no claim rests on (controls, types): a page has dozens, and should be there in seconds.
_RESAMPLES = 499
_ERROR = ERROR_SHARE * SMALLEST  # nat


def left(rows: pl.DataFrame, over: str = "layer") -> Curve:
    """What is left of the clean probability (%), as the geometric mean over examples: never below 0.

    The interval is that of the mean difference of log-probabilities, put on this scale; a standard error counts as at
    least so much as in the claims.
    """
    data = matrix(rows, LOGPROB, over)
    resamples = min(_RESAMPLES, series.RESAMPLES)
    bands = mean_bands(data.values, clusters=data.inputs, smallest_error=_ERROR, resamples=resamples)
    mean, low, high = (100 * np.exp(np.minimum(part, _HIGHEST)) for part in (bands.mean, bands.low, bands.high))
    return Curve(data.places, mean, low, high, len(data.examples), len(set(data.inputs)))


def flow_chart(
    effects: pl.DataFrame,
    controls: pl.DataFrame | None,
    size: Size,
    *,
    noise: float = 0.0,
    claims: Sequence[Claim] = (),
    cuts: Sequence[str] = (),
) -> Chart:
    """One line per cut, and dashed in its colour the control it is judged against.

    Rows: tables `effects` and `controls`. `noise` (nat): half-width of the floor around no effect. `claims`: those of
    kind `effect`, whose intervals are then the bands. `cuts`: which to draw; all by default.
    """
    lines = _overlay(effects, controls, claims, chosen_cuts(effects, cuts))
    axes = axes_of(effects, lines, noise)
    said = f"{_CLAIMED if claims else _BAND}; {_counted(lines)}.{beyond_axis(lines, axes)}"
    return line_chart(lines, axes, size, title=_QUESTION, subtitle=said, legend="route cut")


def types_chart(
    effects: pl.DataFrame, controls: pl.DataFrame | None, size: Size, *, noise: float = 0.0, cuts: Sequence[str] = ()
) -> Chart:
    """`flow_chart` as small multiples, one panel for each question type, on one scale."""
    lines, cuts = [], chosen_cuts(effects, cuts)
    for name in in_order(effects, "type"):
        beside = None if controls is None else of_type(controls, name)
        own = _overlay(of_type(effects, name), beside, (), cuts)
        panel = f"{name} ({counted([line.curve.n for line in own if line.role == MEASURED])})"
        lines += [replace(line, panel=panel) for line in own]
    title, axes = "Do question types take different routes?", axes_of(effects, lines, noise)
    said = f"{_BAND}.{beyond_axis(lines, axes)}"
    return line_chart(lines, axes, size, title=title, subtitle=said, legend="route cut", columns=3)


def controls_chart(
    effects: pl.DataFrame,
    controls: pl.DataFrame,
    size: Size,
    *,
    noise: float = 0.0,
    claims: Sequence[Claim] = (),
    cuts: Sequence[str] = (),
) -> Chart:
    """One panel per cut, beside all of its controls (doses have a figure of their own), and in grey beside scales."""
    lines = []
    for cut in chosen_cuts(effects, cuts):
        own = _measured(effects, cut, claims)
        lines.append(replace(own, panel=own.label))
        for name in in_order(controls, "control"):
            rows = controls.filter(cut=cut, control=name)
            if dose_share(name) is None and rows.height:
                role = f"{SCALE if name in SCALES else ''}{control_label(name)}"
                lines.append(Line(own.label, left(rows), own.style, role, own.label))
    title, axes = ALL_CONTROLS, axes_of(effects, lines, noise)
    grey = " Grey: for scale, no control to exceed." if any(line.role.startswith(SCALE) for line in lines) else ""
    said = f"{_CLAIMED if claims else _BAND}; {_counted(lines)}.{grey}{beyond_axis(lines, axes)}"
    return line_chart(lines, axes, size, title=title, subtitle=said, legend="route cut", columns=3)


def _overlay(
    effects: pl.DataFrame, controls: pl.DataFrame | None, claims: Sequence[Claim], cuts: Sequence[str]
) -> list[Line]:
    lines = []
    for cut in in_order(effects, "cut"):
        if cuts and cut not in cuts:
            continue
        own = _measured(effects, cut, claims)
        lines.append(own)
        name = control_for(controls, cut)
        if controls is not None and name is not None:
            rows = controls.filter(cut=cut, control=name)
            if rows.height:
                lines.append(Line(own.label, left(rows), own.style, control_label(name)))
    return lines


def chosen_cuts(effects: pl.DataFrame, cuts: Sequence[str]) -> list[str]:
    """The cuts to draw, in their order; all where none are named.

    **Errors:** `ChiasmError` for a cut that the run has not.
    """
    there = in_order(effects, "cut")
    unknown = [cut for cut in cuts if cut not in there]
    if unknown:
        raise ChiasmError(f"draw the cut `{unknown[0]}`", f"this run has {', '.join(there)}", "Name some of those")
    return [cut for cut in there if not cuts or cut in cuts]


def _measured(effects: pl.DataFrame, cut: str, claims: Sequence[Claim]) -> Line:
    return measured(effects.filter(cut=cut), of_kind(claims, "effect", cut), arrow(cut), cut_style(cut))


def measured(rows: pl.DataFrame, claims: Sequence[Claim], label: str, style: int, panel: str = "") -> Line:
    """The line of what `claims` are about, from its rows: with their intervals and verdicts, where there is one for
    every layer, so that one quantity has one interval.
    """
    own = left(rows)
    of = {one.where: one for one in claims}
    found = [of.get(str(int(place))) for place in own.places]
    facts: Mapping[str, Sequence[Any]] = {"change (nat)": [round(float(x), 4) for x in np.log(own.mean / 100)]}
    if all(one is not None for one in found):
        low, high = (
            np.array([math.nan if x is None else 100 * math.exp(min(x, _HIGHEST)) for x in side])
            for side in ([one and one.low for one in found], [one and one.high for one in found])
        )
        own = replace(own, low=low, high=high)
        facts = {**facts, "verdict": [one.verdict for one in found if one is not None]}
    return Line(label, own, style, panel=panel, facts=facts)


def axes_of(effects: pl.DataFrame, lines: Sequence[Line], noise: float, y: str = _Y) -> Axes:
    """What the axes of a chart of such lines say. `noise` (nat): half-width of the floor around no effect; `y`: title
    with unit.
    """
    floor = (100 * math.exp(-noise), 100 * math.exp(noise)) if noise > SEEN else None
    # A band far above its line, which says only that little is known there, would flatten all else.
    measured = [line for line in lines if line.role == MEASURED]
    bare = [replace(line, curve=_bare(line.curve)) for line in lines]
    low, high = spread([*measured, *bare])
    _, most = between(low, max(100.0, spread(bare)[1]), _ROOM)
    low, high = between(low, min(high, most, _TOP))
    return Axes(_X[style_of(effects)], y, reference=100.0, floor=floor, limits=(max(0.0, low), max(high, 100.5)))


def beyond_axis(lines: Sequence[Line], axes: Axes) -> str:
    """That bands reach beyond the axis, where some do; begins with a space."""
    top = axes.limits[1] if axes.limits else math.inf
    return " Bands that reach beyond the axis are cut at it." if spread(lines)[1] > top else ""


def _bare(curve: Curve) -> Curve:
    return replace(curve, low=curve.mean, high=curve.mean)


def _counted(lines: Sequence[Line]) -> str:
    return counted([line.curve.n for line in lines if line.role == MEASURED])
