"""Points in the plane with intervals in both directions, in one panel or in several."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

from chiasm.results.charts.data import heading, lean, plain, rows, value_tips
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.marks import Legend, Mark, Scale, panel_title
from chiasm.results.charts.theme import BLACK, Size, config

# Of a panel's width in letters: where it would be narrower, it stands below the others.
_NARROWEST = 14


@dataclass(frozen=True, slots=True)
class Point:
    """One thing, measured twice. `name`: which; `mark`: label of its `Mark`; `panel`: name of its `Plane`; bounds are
    of 95 % intervals, NaN where there are none; `chosen`: a ring is around it; `facts`: what hovering says besides."""

    name: str
    x: float
    y: float
    x_low: float = math.nan
    x_high: float = math.nan
    y_low: float = math.nan
    y_high: float = math.nan
    n: int | None = None
    mark: str = ""
    panel: str = ""
    chosen: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plane:
    """A panel: its name, which stands above it, and its axes."""

    name: str
    x: Scale
    y: Scale


def points_chart(
    points: Sequence[Point],
    planes: Sequence[Plane],
    marks: Sequence[Mark],
    size: Size,
    *,
    title: str,
    subtitle: str,
    things: str = "",
    columns: int = 2,
) -> Chart:
    """Points with their intervals, a panel for each plane, up to `columns` side by side.

    `title` asks the question; `subtitle` says what points and bars are and n; `things`: what a point is. Hovering gives
    exact values, a click in the legend keeps one kind.
    """
    labels = 4.0 * size.text
    fit = int(size.width / (_NARROWEST * size.text + labels))
    side = max(1, min(columns, len(planes), fit))
    width = size.width / side - labels - (14 if side > 1 else 4)
    high = min(0.75 * width, 300) if side > 1 else min(0.6 * width, 320)
    data = rows(_row(point) for point in points)
    legend = Legend(marks, size, size.width - labels)
    facts = list(dict.fromkeys(name for point in points for name in point.facts))
    lines = []
    for start in range(0, len(planes), side):
        panels = []
        for plane in planes[start : start + side]:
            tips = [
                alt.Tooltip("name:N", title=things or "point"),
                *([alt.Tooltip("mark:N", title="kind")] if len(marks) > 1 else []),
                *value_tips(data, "x", plane.x.title, plane.x.format, "x_low", "x_high"),
                *value_tips(data, "y", plane.y.title, plane.y.format, "y_low", "y_high"),
                *(alt.Tooltip(name, title=name) for name in facts),
                *([alt.Tooltip("n:Q", title="n")] if data["n"].count() else []),
            ]
            base = alt.Chart(lean(data))
            if len(planes) > 1:
                base = base.transform_filter(alt.FieldEqualPredicate(plain(plane.name), "panel"))
            x = {"title": plane.x.titled(width, size), "scale": plane.x.drawn(), "axis": plane.x.axis()}
            y = {"title": plane.y.titled(high, size), "scale": plane.y.drawn(), "axis": plane.y.axis()}
            across, up = alt.X("x:Q", **x), alt.Y("y:Q", **y)
            rule = alt.Chart(alt.Data(values=[{}])).mark_rule(strokeWidth=0.8, clip=True)
            layers: list[Any] = []
            for way, scale, drawn in (("x", plane.x, x), ("y", plane.y, y)):
                channel = alt.X if way == "x" else alt.Y
                for value, colour, dash in scale.rules():
                    looks = {"color": alt.value(colour), "strokeDash": alt.value(dash)}
                    layers.append(rule.encode(**{way: channel(datum=value, **drawn)}, **looks))
            own = [point for point in points if len(planes) == 1 or point.panel == plane.name]
            if not all(math.isnan(point.x_low) for point in own):
                layers.append(legend.bars(base, x=alt.X("x_low:Q", **x), x2="x_high:Q", y=up))
            if not all(math.isnan(point.y_low) for point in own):
                layers.append(legend.bars(base, x=across, y=alt.Y("y_low:Q", **y), y2="y_high:Q"))
            layers.append(legend.points(base, x=across, y=up, tooltip=tips))
            if any(point.chosen and point.panel == plane.name for point in points):
                ring = base.transform_filter(alt.datum.chosen).mark_point(shape="circle", size=9 * size.point)
                layers.append(ring.encode(x=across, y=up, stroke=alt.value(BLACK), fill=alt.value("transparent")))
            named = {"title": panel_title(plane.name, width + labels, size)} if plane.name else {}
            panel = alt.layer(*layers).properties(width=width, height=high, **named)
            panels.append(panel)
        lines.append(alt.hconcat(*panels, spacing=14) if len(planes) > 1 else panels[0])
    chart: Any = alt.vconcat(*lines, spacing=10) if len(lines) > 1 else lines[0]
    chart = legend.below(chart)
    return chart.properties(title=heading(title, subtitle, size)).configure(**config(size))


def _row(point: Point) -> dict[str, Any]:
    named = {"name": point.name, "mark": point.mark, "panel": point.panel}
    at = {name: float(getattr(point, name)) for name in ("x", "y", "x_low", "x_high", "y_low", "y_high")}
    return {**named, **at, "n": point.n, **point.facts, "chosen": point.chosen or None}
