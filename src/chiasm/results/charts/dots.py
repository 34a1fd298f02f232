"""Estimates with 95 % intervals: a row for each thing, one or several panels side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt

from chiasm.results.charts.data import heading, in_order, lean, plain, room_for, rows, value_tips
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.marks import Legend, Mark, Scale, panel_title
from chiasm.results.charts.theme import Size, config

# Of a panel's width in letters: where it would be narrower, it stands below the others.
_NARROWEST = 12


@dataclass(frozen=True, slots=True)
class Dot:
    """One estimate. `row`: of which thing; `mark`: label of its `Mark`; `low`, `high`: 95 % interval, NaN where
    there is none; `panel`: name of the `Scale` that it is on; `facts`: what hovering says besides."""

    row: str
    value: float
    low: float = math.nan
    high: float = math.nan
    n: int | None = None
    mark: str = ""
    panel: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def dots_chart(
    dots: Sequence[Dot],
    scales: Sequence[Scale],
    marks: Sequence[Mark],
    size: Size,
    *,
    title: str,
    subtitle: str,
    rows_title: str = "",
) -> Chart:
    """Dots with their intervals, a panel for each scale, rows in the order in which they first come.

    `title` asks the question; `subtitle` says what dots and bars are and n. Dots of several marks in one row stand
    below each other. Hovering gives exact values, a click in the legend keeps one kind.
    """
    data = rows(_row(dot) for dot in dots)
    down = in_order(dot.row for dot in dots)
    places = [(dot.row, dot.panel) for dot in dots]
    beside = max(map(places.count, set(places)), default=1)
    limit = 0.42 * size.width
    labels = min(room_for(down, size.text), limit) + (2.8 if rows_title else 1.0) * size.text
    side = max(1, min(len(scales), int((size.width - labels) / (_NARROWEST * size.text))))
    width = (size.width - labels) / side - (16 if side > 1 else 8)
    step = max(1.7, 0.9 * beside + 0.5) * size.text
    legend = Legend(marks, size, size.width - labels)
    tips = [alt.Tooltip("row:N", title=rows_title or "of"), alt.Tooltip("mark:N", title="shows")]
    facts = list(dict.fromkeys(name for dot in dots for name in dot.facts))
    lines = []
    for start in range(0, len(scales), side):
        panels = []
        for place, scale in enumerate(scales[start : start + side]):
            hover = [
                *tips[: 1 if len(marks) < 2 else 2],
                *value_tips(data, "value", scale.title, scale.format),
                *(alt.Tooltip(name, title=name) for name in facts),
                *([alt.Tooltip("n:Q", title="n")] if data["n"].count() else []),
            ]
            # Panels side by side have the same rows, whatever each has dots in.
            own = in_order(dot.row for dot in dots if dot.panel == scale.name or len(scales) == 1)
            y = alt.Y("row:N", title=rows_title or None).scale(domain=down if side > 1 else own)
            bare = {"domain": False, "ticks": False, "grid": True, "labelPadding": 0.8 * size.text}
            across: dict[str, Any] = {
                "y": y.axis(**bare, labelLimit=limit) if place == 0 else y.axis(**bare, labels=False, title=None),
                "tooltip": hover,
            }
            if beside > 1:
                across["yOffset"] = alt.YOffset("mark:N").scale(domain=[plain(mark.label) for mark in marks])
            base = alt.Chart(lean(data))
            if len(scales) > 1:
                base = base.transform_filter(alt.FieldEqualPredicate(plain(scale.name), "panel"))
            x = {"title": scale.titled(width, size), "scale": scale.drawn(), "axis": scale.axis()}
            marked = alt.Chart(alt.Data(values=[{}])).mark_rule(strokeWidth=0.8, clip=True)
            layers: list[Any] = [
                marked.encode(x=alt.X(datum=value, **x), color=alt.value(colour), strokeDash=alt.value(dash))
                for value, colour, dash in scale.rules()
            ]
            layers.append(legend.bars(base, x=alt.X("low:Q", **x), x2="high:Q", **across))
            layers.append(legend.points(base, x=alt.X("value:Q", **x), **across))
            high = alt.Step(step, **{"for": "position"}) if beside > 1 else alt.Step(step)
            named = {"title": panel_title(scale.panel, width, size)} if scale.panel else {}
            panel = alt.layer(*layers).properties(width=width, height=high, **named)
            panels.append(panel)
        lines.append(alt.hconcat(*panels, spacing=16) if len(scales) > 1 else panels[0])
    chart: Any = alt.vconcat(*lines, spacing=10) if len(lines) > 1 else lines[0]
    chart = legend.below(chart)
    return chart.properties(title=heading(title, subtitle, size)).configure(**config(size))


def _row(dot: Dot) -> dict[str, Any]:
    named = {"row": dot.row, "mark": dot.mark, "panel": dot.panel}
    return {**named, "value": float(dot.value), "low": float(dot.low), "high": float(dot.high), "n": dot.n, **dot.facts}
