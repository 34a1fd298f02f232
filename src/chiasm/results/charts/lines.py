"""Lines with bands, in one panel or in several: what was measured, and dashed what its controls show."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import altair as alt
import numpy as np
import polars as pl

from chiasm.results.charts.data import fitting, heading, plain
from chiasm.results.charts.labels import beside
from chiasm.results.charts.theme import BLACK, FAINT, GREY, PALETTE, SHAPES, Size, config, dash_of, wrapped
from chiasm.results.series import Curve

MEASURED = "measured"
Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.ConcatChart | alt.HConcatChart | alt.VConcatChart
_DIGITS = 5
"""Significant digits of what is drawn; tables hold every number whole."""
_NARROWEST = 90
"""Pixels of a panel with several beside it."""
_INK, _LEAST_INK = 0.2, 0.05
"""Opacity of a narrow band, and of one that covers its panel: what is hardly known must not hide what is."""
_FEW = 3
"""Bands of so many lines may lie on each other in full."""
_THIN = 0.1
"""Of the scale: bands narrower than it are drawn in full."""


SCALE: Final = "for scale: "
"""What the role of a line begins with that is no control: it is grey, since nothing has to exceed it."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart. `label`: which thing, in `style` (number of colour and shape); `role`: `MEASURED`, or the
    control or scale that it shows; `panel`: where it stands; `facts`: what hovering says besides, by place."""

    label: str
    curve: Curve
    style: int
    role: str = MEASURED
    panel: str = ""
    facts: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Axes:
    """What a chart's axes say. `x`, `y`: titles with units; `reference`: the value of no effect; `floor`: the range of
    values that arithmetic alone reaches; `limits`: of y; `format`: of values when hovering; `bounds`: what bands are;
    `log`: y is logarithmic; `own_scales`: panels differ in what y is, which their names say."""

    x: str
    y: str
    reference: float | None = None
    floor: tuple[float, float] | None = None
    limits: tuple[float, float] | None = None
    format: str = ".3~g"
    bounds: str = "95 %"
    log: bool = False
    own_scales: bool = False


def rows_of(lines: Sequence[Line], limits: tuple[float, float] | None = None, *, log: bool = False) -> pl.DataFrame:
    """The data of a chart: one row per line and place. Bounds are null where there are none.

    `limits`: of y, with which each line has the opacity of its band (`ink`), and the widest bands come first, so that
    they lie behind the others.
    """
    frames, order = [], list(enumerate(lines))
    if limits is not None:
        order.sort(key=lambda one: -_breadth(one[1], limits, log=log))
    for number, line in order:
        own = line.curve
        frame = {
            "line": number,
            "label": line.label,
            "role": line.role,
            "panel": line.panel,
            "x": own.places.astype(float),
            "y": own.mean.astype(float),
            "low": own.low.astype(float),
            "high": own.high.astype(float),
            "n": own.n,
        }
        numbers = pl.col("x", "y", "low", "high").fill_nan(None).round_sig_figs(_DIGITS)
        made = pl.DataFrame(frame).with_columns(numbers)
        if limits is not None:
            beside = sum(other.panel == line.panel and other.role == MEASURED for other in lines)
            made = made.with_columns(ink=pl.lit(_ink(line, limits, beside, log=log)))
        frames.append(made.with_columns(**{name: pl.Series(list(values)) for name, values in line.facts.items()}))
    return pl.concat(frames, how="diagonal")


def _breadth(line: Line, limits: tuple[float, float], *, log: bool) -> float:
    """How much of the scale a line's band takes, on average over its places."""
    low, high = (np.clip(bound[~np.isnan(bound)], *limits) for bound in (line.curve.low, line.curve.high))
    if not len(low) or len(low) != len(high):
        return 0.0
    scaled = np.log if log else np.asarray
    whole = float(scaled(np.array(limits[1])) - scaled(np.array(limits[0])))
    return float(np.mean(scaled(high) - scaled(low))) / whole if whole else 0.0


def _ink(line: Line, limits: tuple[float, float], beside: int, *, log: bool) -> float:
    """The opacity of a line's band: the wider, and the more there are `beside` each other, the lighter; controls are
    half as dark."""
    breadth, most = _breadth(line, limits, log=log), _INK * min(1.0, _FEW / max(beside, 1))
    ink = max(_LEAST_INK, most * min(1.0, _THIN / breadth)) if breadth else most
    return round(ink if line.role == MEASURED else ink / 2, 3)


def line_chart(
    lines: Sequence[Line],
    axes: Axes,
    size: Size,
    *,
    title: str,
    subtitle: str,
    height: float | None = None,
    columns: int = 1,
    legend: str = "",
) -> Chart:
    """A chart of lines. Clicking a line's name keeps it alone; hovering gives exact values.

    `title` asks the question; `subtitle` says what lines and bands are and n. `columns`: panels side by side, where
    lines name panels; `legend`: what it is headed. Names stand at the ends of lines where there is room, else in a
    legend.
    """
    several = any(line.panel for line in lines)
    room = size.width - 4.5 * size.text
    columns = max(1, min(columns, len({line.panel for line in lines}), int(room // _NARROWEST)))
    width = (room - (columns - 1) * 18) / columns if several else room
    slot = replace(size, width=width)
    lines = [
        replace(line, label=plain(line.label), panel="\n".join(wrapped(plain(line.panel), slot, 1.1))) for line in lines
    ]
    panels = list(dict.fromkeys(line.panel for line in lines))
    height = height or (0.62 * width if several and columns > 1 else min(0.48 * room, 300))
    limits = axes.limits or _limits(lines, log=axes.log)
    data = rows_of(lines, limits, log=axes.log)
    ends = {line.label: (line.curve.places[-1], line.curve.mean[-1]) for line in lines if line.role == MEASURED}
    named = None if several else beside(ends, limits, width, height, size, log=axes.log)
    if named is not None:
        width -= named.width
    drawing = _Drawing(lines, axes, size, legend, named is None, max(3, int(height // 40)))
    scale = alt.Scale(zero=False) if axes.own_scales else alt.Scale(domain=list(limits), nice=False, clamp=True)
    if axes.log:
        scale = alt.Scale(type="log", domain=list(limits), nice=False, clamp=True)
    layers = drawing.layers(alt.Chart(data), scale)
    if named is not None:
        layers.append(drawing.names(named.rows, scale))
    chart: Any = alt.layer(*layers)
    chart = chart.properties(width=round(width, 1), height=round(height, 1))
    if several:
        header = {"labelLimit": 2 * width, "labelExpr": r"split(datum.label, '\n')"}
        facet = alt.Facet("panel:N", title=None, sort=panels).header(**header)
        own = {"x": "independent", **({"y": "independent"} if axes.own_scales else {})}
        chart = chart.facet(facet=facet, columns=columns, spacing=14).resolve_axis(**own)
        chart = chart.resolve_scale(y="independent") if axes.own_scales else chart
    return chart.properties(title=heading(title, subtitle, size)).configure(**config(size))


class _Drawing:
    """The layers of a chart of lines: marks, what they encode, what selects them.

    `keyed`: it has a legend; `ticks`: about how many on y.
    """

    def __init__(self, lines: Sequence[Line], axes: Axes, size: Size, legend: str, keyed: bool, ticks: int) -> None:
        self.axes, self.size, self.keyed = axes, size, keyed
        # Of a logarithmic scale every digit would have its line.
        self.y_axis = (
            alt.Axis(values=_powers(axes.limits or _limits(lines, log=True))) if axes.log else alt.Axis(tickCount=ticks)
        )
        labels = list(dict.fromkeys(line.label for line in lines))
        styles = {line.label: line.style for line in lines}
        roles = [MEASURED, *(role for role in dict.fromkeys(line.role for line in lines) if role != MEASURED)]
        # Every click turns a name on or off: the same again brings all back, another joins the first.
        bind: dict[str, Any] = {"bind": "legend"} if keyed else {"on": "click"}
        self.controlled = len(roles) > 1
        self.kept = alt.selection_point(name="kept", fields=["label"], toggle="true", **bind)
        # One legend for colour and shape: Vega-Lite joins what has the same title and entries.
        entries = alt.Legend(columns=fitting(labels, size)) if keyed else None
        self.colour, self.shape = (
            kind("label:N", title=legend or None, sort=None, legend=entries).scale(
                domain=labels, range=[known[styles[one] % len(known)] for one in labels]
            )
            for kind, known in ((alt.Color, PALETTE), (alt.Shape, SHAPES))
        )
        scales = [role for role in roles if role.startswith(SCALE)]
        grey = alt.when(alt.FieldOneOfPredicate("role", scales)).then(alt.value(GREY))
        self.drawn = grey.otherwise(self.colour) if scales else self.colour
        dash = alt.StrokeDash("role:N", title=None, sort=None).scale(
            domain=roles, range=[[1, 0], *(dash_of(role.removeprefix(SCALE)) for role in roles[1:])]
        )
        # Above the panel: two legends below it would stand side by side and widen the chart.
        shown: dict[str, Any] = {"columns": fitting(roles, size), "orient": "top"}
        # Long enough to tell dashes from each other.
        shown |= {"symbolStrokeColor": GREY, "symbolType": "stroke", "symbolSize": (2.6 * size.text) ** 2}
        self.dash = dash.legend(None) if len(roles) == 1 else dash.legend(**shown)
        places = sorted({float(x) for line in lines for x in line.curve.places})
        x = alt.X("x:Q", title=axes.x).scale(domain=[places[0], places[-1]], padding=6, nice=False)
        whole = all(place == int(place) for place in places)
        self.x = x.axis(tickMinStep=1, format="d") if whole else x
        facts = dict.fromkeys(name for line in lines for name in line.facts)
        value = axes.y.partition(" (")[0] or "value"
        self.tips = [
            *([alt.Tooltip("panel:N", title="panel")] if axes.own_scales else []),
            alt.Tooltip("label:N", title=legend or "line"),
            alt.Tooltip("role:N", title="shows"),
            alt.Tooltip("x:Q", title=axes.x.partition(" (")[0]),
            alt.Tooltip("y:Q", title=value, format=axes.format),
            alt.Tooltip("low:Q", title=f"{axes.bounds} from", format=axes.format),
            alt.Tooltip("high:Q", title="to", format=axes.format),
            *(alt.Tooltip(name, title=name) for name in facts),
            alt.Tooltip("n:Q", title="n"),
        ]

    def layers(self, base: alt.Chart, scale: alt.Scale) -> list[alt.Chart]:
        """Floor, reference, bands, lines, points, and what hovering shows."""
        axes, size, measured = self.axes, self.size, alt.datum.role == MEASURED
        y = alt.Y("y:Q", title=axes.y, scale=scale, axis=self.y_axis)
        seen = alt.when(self.kept)
        layers: list[alt.Chart] = []
        if axes.floor is not None:
            layers.append(base.mark_rect(color=FAINT).encode(y=alt.datum(axes.floor[0]), y2=alt.datum(axes.floor[1])))
        if axes.reference is not None:
            layers.append(base.mark_rule(color=BLACK, strokeWidth=0.7).encode(y=alt.datum(axes.reference)))
        band = {"x": self.x, "y": alt.Y("low:Q", title=axes.y, scale=scale, axis=self.y_axis), "y2": "high:Q"}
        band |= {"color": self.drawn, "detail": "line:N"}
        ink = seen.then(alt.FillOpacity("ink:Q", scale=None, legend=None)).otherwise(alt.value(0.02))
        # A layer without any row has no extent, of which Vega warns.
        for role in (measured, alt.datum.role != MEASURED) if self.controlled else (measured,):
            own = base.transform_filter(role).mark_area(clip=True, line=False)
            own = own.encode(**band, fillOpacity=ink)
            # The first layer that has the legend: it listens to no other.
            layers.append(own.add_params(self.kept) if self.keyed and role is measured else own)
        # Wide bands are light: a thin line says where they end.
        edge = {"x": self.x, "color": self.colour, "detail": "line:N"}
        edge |= {"opacity": seen.then(alt.value(0.35)).otherwise(alt.value(0.03))}
        for bound in ("low", "high"):
            rim = base.transform_filter(measured).mark_line(clip=True, strokeWidth=0.6)
            layers.append(rim.encode(**edge, y=alt.Y(f"{bound}:Q", title=axes.y, scale=scale, axis=self.y_axis)))
        faded = seen.then(alt.value(1)).otherwise(alt.value(0.1))
        wide = alt.when(measured).then(alt.value(size.line)).otherwise(alt.value(0.8 * size.line))
        line = {"x": self.x, "y": y, "color": self.drawn, "strokeDash": self.dash, "detail": "line:N"}
        layers.append(base.mark_line(clip=True).encode(**line, opacity=faded, strokeWidth=wide))
        point = {"x": self.x, "y": y, "color": self.colour, "shape": self.shape}
        marks = base.transform_filter(measured).mark_point(filled=True, opacity=1)
        layers.append(marks.encode(**point, opacity=faded, tooltip=self.tips))
        # A point is hard to hit: around each lies a larger one that is not seen.
        around = base.mark_point(filled=True, size=9 * size.point, shape="circle")
        layers.append(around.encode(x=self.x, y=y, opacity=alt.value(0), tooltip=self.tips))
        return layers

    def names(self, rows: pl.DataFrame, scale: alt.Scale) -> alt.Chart:
        """The lines' names behind their ends; a click on one keeps its line alone."""
        text = alt.Chart(rows).mark_text(align="left", dx=7, fontSize=self.size.text - 0.5, cursor="pointer")
        y = alt.Y("y:Q", title=self.axes.y, scale=scale, axis=self.y_axis)
        faded = alt.when(self.kept).then(alt.value(1)).otherwise(alt.value(0.3))
        shown = {"x": self.x, "y": y, "text": "label:N", "color": self.colour, "opacity": faded}
        # Without something to say, what is not the first layer would not hear a click.
        shown["tooltip"] = alt.value("click: this alone; again: all")
        return text.encode(**shown).add_params(self.kept)


def _limits(lines: Sequence[Line], *, log: bool) -> tuple[float, float]:
    """A scale that everything fits on."""
    low, high = spread(lines)
    if log:
        return (low / 1.1, high * 1.1)
    return between(low, high) if high > low else (low - 0.5, high + 0.5)


def _powers(limits: tuple[float, float]) -> list[float]:
    """Ticks of a logarithmic scale: powers of ten, with 2 and 5 between them where they are few."""
    within = range(math.floor(math.log10(limits[0])), math.ceil(math.log10(limits[1])) + 1)
    ticks = [step * 10.0**k for k in within for step in ((1,) if len(within) > 3 else (1, 2, 5))]
    return [tick for tick in ticks if limits[0] <= tick <= limits[1]]


def between(low: float, high: float, room: float = 0.05) -> tuple[float, float]:
    """A range with a little room on both sides."""
    return low - room * (high - low), high + room * (high - low)


def spread(lines: Sequence[Line]) -> tuple[float, float]:
    """The least and the most that lines and bands reach."""
    parts = [part for line in lines for part in (line.curve.mean, line.curve.low, line.curve.high)]
    every = np.concatenate(parts)
    known = every[~np.isnan(every)]
    return float(known.min()), float(known.max())
