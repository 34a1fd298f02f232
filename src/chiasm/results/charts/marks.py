"""Points with their intervals: how each kind of them looks, and the axes that they stand on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import altair as alt

from chiasm.results.charts.data import fitting, plain, rows
from chiasm.results.charts.theme import BLACK, GREY, PALETTE, SHAPES, Size, wrapped

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
        given: dict[str, Any] = {"tickCount": 5}
        if self.ticks is not None:
            low, high = self.limits or (min(self.ticks), max(self.ticks))
            values = [tick for tick in self.ticks if low <= tick <= high]
            # Vega leaves out every other of given values until they are no more than asked for.
            given = {"values": values, "tickCount": len(values)}
        # Vega gives a format the precision of the ticks, which is none for those of a logarithm.
        return alt.Axis(**given, labelExpr=f"format(datum.value, '{self.written}')", labelOverlap=True)

    def rules(self) -> list[tuple[float, str, Sequence[float]]]:
        """Values that are marked right across, each with its colour and dash."""
        solid = [] if self.reference is None else [(self.reference, BLACK, [1, 0])]
        return [*solid, *((value, GREY, [1.5, 2]) for value in self.dotted)]

    def titled(self, width: float, size: Size) -> list[str]:
        """Its title in lines of `width`."""
        return wrapped(plain(self.title), replace(size, width=width))


@dataclass(frozen=True, slots=True)
class Legend:
    """The kinds of points of a chart, in one legend `room` pixels wide; a click on one keeps it alone.

    It is drawn from marks: a click on Vega-Lite's own reaches no other panel than one.
    """

    marks: Sequence[Mark]
    size: Size
    room: float

    def below(self, chart: Any) -> Any:
        """The chart with its legend below it; as it is where there is but one kind."""
        return chart if len(self.marks) < 2 else alt.vconcat(chart, self._entries(), spacing=12)

    def points(self, base: alt.Chart, **encoded: Any) -> alt.Chart:
        """The points themselves."""
        made = base.mark_point(size=1.4 * self.size.point, strokeWidth=max(1.0, 0.7 * self.size.line), opacity=1)
        channels = {name: self._channel(name) for name in ("stroke", "fill", "shape")}
        return made.encode(**encoded, **channels, opacity=self._seen(1.0))

    def bars(self, base: alt.Chart, **encoded: Any) -> alt.Chart:
        """Their intervals."""
        hollow = alt.FieldOneOfPredicate("mark", [plain(mark.label) for mark in self.marks if mark.control])
        made = base.mark_rule(strokeWidth=0.7 * self.size.line, clip=True)
        dash = alt.when(hollow).then(alt.value(_DASH)).otherwise(alt.value([1, 0]))
        return made.encode(**encoded, stroke=self._channel("stroke"), strokeDash=dash, opacity=self._seen(0.6))

    def _entries(self) -> Any:
        """A point and its name for every kind, in columns."""
        columns = fitting([mark.label for mark in self.marks], replace(self.size, width=self.room))
        wide, high = self.room / columns, 1.7 * self.size.text
        data = rows(
            {"mark": mark.label, "x": (k % columns) * wide, "y": (k // columns) * high}
            for k, mark in enumerate(self.marks)
        )
        height = high * (-(-len(self.marks) // columns) - 1) + 1
        x = alt.X("x:Q", axis=None).scale(domain=[0, self.room], nice=False)
        y = alt.Y("y:Q", axis=None).scale(domain=[0, height], nice=False, reverse=True)
        # Without something to say, what is not the first layer would not hear a click.
        base = alt.Chart(data).encode(x=x, y=y, tooltip=alt.value("click: this alone; again: all"))
        name = base.mark_text(
            align="left", dx=0.9 * self.size.text, fontSize=self.size.text - 0.5, cursor="pointer", color=BLACK
        )
        # Every click turns a name on or off: the same again brings all back, another joins the first.
        kept = alt.selection_point(name=KEPT, fields=["mark"], on="click", toggle="true")
        layers = (self.points(base), name.encode(text="mark:N", opacity=self._seen(1.0)))
        return alt.layer(*layers).add_params(kept).properties(width=self.room, height=height)

    def _seen(self, opacity: float) -> Any:
        if len(self.marks) < 2:
            return alt.value(opacity)
        return alt.when(alt.param(name=KEPT)).then(alt.value(opacity)).otherwise(alt.value(0.12))

    def _channel(self, name: str) -> Any:
        kinds = {"stroke": alt.Stroke, "fill": alt.Fill, "shape": alt.Shape}
        scale = alt.Scale(domain=[plain(mark.label) for mark in self.marks], range=self._range(name))
        return kinds[name]("mark:N", sort=None, scale=scale, legend=None)

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


def panel_title(name: str, width: float, size: Size) -> alt.TitleParams:
    """What stands above a panel, in lines of `width`."""
    return alt.TitleParams(wrapped(plain(name), replace(size, width=width), 1.1), fontSize=size.text)


def shape_of(style: int) -> str:
    """The shape of a style: where colours come round again, they come with other shapes."""
    return SHAPES[(style + style // len(PALETTE)) % len(SHAPES)]


def colour_of(mark: Mark) -> str:
    """The colour of a kind of points."""
    return GREY if mark.style is None else PALETTE[mark.style % len(PALETTE)]
