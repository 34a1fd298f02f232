"""Points with their intervals: how each kind of them looks, and the axes that they stand on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import altair as alt

from chiasm.results.charts.data import fitting, plain
from chiasm.results.charts.theme import GREY, INK, PALETTE, SHAPES, Size, wrapped

KEPT = "kept"
# Controls are hollow, with dashed intervals, whatever they are controls of.
_HOLLOW = ("diamond", "triangle-down", "square", "cross", "triangle-up", "circle")
_DASH = [2, 1.5]


@dataclass(frozen=True, slots=True)
class Mark:
    """One kind of dots, and its entry in the legend. `style`: number of its colour and shape, None is grey; `control`:
    it is one, and drawn as all of them are."""

    label: str
    style: int | None = 0
    control: bool = False


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis of values. `title`: with the unit; `panel`: what stands above, where several stand side by side;
    `reference`: the value of no effect; `dotted`: other values to be marked; `ticks`: where numbers stand; `constant`:
    of a symmetrical logarithm, which is linear so far from 0; `format`: of values when hovering; `written`: at
    ticks."""

    title: str
    panel: str = ""
    kind: Literal["linear", "log", "symlog"] = "linear"
    reference: float | None = None
    dotted: Sequence[float] = ()
    limits: tuple[float, float] | None = None
    ticks: Sequence[float] | None = None
    constant: float = 1.0
    format: str = ".3~g"
    written: str = ".6~g"

    @property
    def name(self) -> str:
        """Of its panel."""
        return self.panel or self.title

    def drawn(self) -> alt.Scale:
        """As Vega-Lite takes it."""
        given: dict[str, Any] = {"type": self.kind, "nice": self.limits is None}
        given |= {} if self.kind == "log" else {"zero": False}
        if self.limits is not None:
            given |= {"domain": list(self.limits), "clamp": True}
        return alt.Scale(**given, **({"constant": self.constant} if self.kind == "symlog" else {}))

    def axis(self) -> alt.Axis:
        """The same of its axis."""
        given: dict[str, Any] = {}
        if self.ticks is not None:
            low, high = self.limits or (min(self.ticks), max(self.ticks))
            given["values"] = [tick for tick in self.ticks if low <= tick <= high]
        # Vega gives a format the precision of the ticks, which is none for those of a logarithm.
        return alt.Axis(**given, labelExpr=f"format(datum.value, '{self.written}')", labelOverlap=True, tickCount=5)

    def rules(self) -> list[tuple[float, str, Sequence[float]]]:
        """Values that are marked right across, each with its colour and dash."""
        solid = [] if self.reference is None else [(self.reference, INK, [1, 0])]
        return [*solid, *((value, GREY, [1.5, 2]) for value in self.dotted)]

    def titled(self, width: float, size: Size) -> list[str]:
        """Its title in lines of `width`."""
        return wrapped(plain(self.title), replace(size, width=width))


@dataclass(frozen=True, slots=True)
class Legend:
    """The kinds of points of a chart, in one legend `room` pixels wide; a click keeps one alone."""

    marks: Sequence[Mark]
    size: Size
    room: float

    @property
    def kept(self) -> alt.Parameter:
        """What a click on the legend selects."""
        return alt.selection_point(name=KEPT, fields=["mark"], bind="legend")

    def points(self, base: alt.Chart, kept: alt.Parameter, **encoded: Any) -> alt.Chart:
        """The points themselves."""
        made = base.mark_point(size=1.4 * self.size.point, strokeWidth=max(1.0, 0.7 * self.size.line), opacity=1)
        channels = {name: self._channel(name) for name in ("stroke", "fill", "shape")}
        return made.encode(**encoded, **channels, opacity=_seen(kept))

    def bars(self, base: alt.Chart, kept: alt.Parameter, **encoded: Any) -> alt.Chart:
        """Their intervals."""
        hollow = alt.FieldOneOfPredicate("mark", [plain(mark.label) for mark in self.marks if mark.control])
        made = base.mark_rule(strokeWidth=0.7 * self.size.line, clip=True)
        dash = alt.when(hollow).then(alt.value(_DASH)).otherwise(alt.value([1, 0]))
        return made.encode(**encoded, stroke=self._channel("stroke"), strokeDash=dash, opacity=_seen(kept, 0.6))

    def _channel(self, name: str) -> Any:
        # The same title and entries in all channels: Vega-Lite makes one legend of them.
        kinds = {"stroke": alt.Stroke, "fill": alt.Fill, "shape": alt.Shape}
        hidden = {"legend": None} if len(self.marks) < 2 else {"legend": alt.Legend(columns=self._columns)}
        scale = alt.Scale(domain=[plain(mark.label) for mark in self.marks], range=self._range(name))
        return kinds[name]("mark:N", title=None, sort=None, scale=scale, **hidden)

    def _range(self, name: str) -> list[Any]:
        match name:
            case "shape":
                hollow = [mark.label for mark in self.marks if mark.control]
                shapes = {label: _HOLLOW[k % len(_HOLLOW)] for k, label in enumerate(hollow)}
                return [shapes.get(one.label, shape_of(one.style or 0)) for one in self.marks]
            case "fill":
                return ["transparent" if one.control else colour_of(one) for one in self.marks]
            case _:
                return [colour_of(one) for one in self.marks]

    @property
    def _columns(self) -> int:
        return fitting([mark.label for mark in self.marks], replace(self.size, width=self.room))


def panel_title(name: str, width: float, size: Size) -> alt.TitleParams:
    """What stands above a panel, in lines of `width`."""
    return alt.TitleParams(wrapped(plain(name), replace(size, width=width), 1.1), fontSize=size.text)


def shape_of(style: int) -> str:
    """The shape of a style: where colours come round again, they come with other shapes."""
    return SHAPES[(style + style // len(PALETTE)) % len(SHAPES)]


def colour_of(mark: Mark) -> str:
    """The colour of a kind of points."""
    return GREY if mark.style is None else PALETTE[mark.style % len(PALETTE)]


def _seen(kept: alt.Parameter, opacity: float = 1.0) -> Any:
    return alt.when(kept).then(alt.value(opacity)).otherwise(alt.value(0.12))
