"""Lines with bands, in one panel or in several: what was measured, and dashed what its controls show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import altair as alt
import numpy as np
import polars as pl

from chiasm.results.charts.theme import DASHES, FAINT, GREY, INK, PALETTE, SHAPES, Size, config, wrapped
from chiasm.results.series import Curve

MEASURED = "measured"
Chart = alt.LayerChart | alt.FacetChart


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart. `label`: which thing, in `style` (number of colour and shape); `role`: `MEASURED`, or the
    control that it shows; `panel`: where it stands; `facts`: what hovering says besides, by place."""

    label: str
    curve: Curve
    style: int
    role: str = MEASURED
    panel: str = ""
    facts: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Axes:
    """What a chart's axes say. `x`, `y`: titles with units; `reference`: the value of no effect; `floor`: the range of
    values that arithmetic alone reaches; `limits`: of y; `format`: of values when hovering."""

    x: str
    y: str
    reference: float | None = None
    floor: tuple[float, float] | None = None
    limits: tuple[float, float] | None = None
    format: str = ".3~g"


def rows_of(lines: Sequence[Line]) -> pl.DataFrame:
    """The data of a chart: one row per line and place. Bounds are null where there are none."""
    frames = []
    for number, line in enumerate(lines):
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
        made = pl.DataFrame(frame).with_columns(pl.col("low", "high").fill_nan(None))
        frames.append(made.with_columns(**{name: pl.Series(list(values)) for name, values in line.facts.items()}))
    return pl.concat(frames, how="diagonal")


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
    """A chart of lines. Clicking a legend entry keeps it alone; hovering gives exact values.

    `title` asks the question; `subtitle` says what lines and bands are and n. `columns`: panels side by side, where
    lines name panels; `legend`: what it is headed.
    """
    data = rows_of(lines)
    labels = list(dict.fromkeys(line.label for line in lines))
    styles = {line.label: line.style for line in lines}
    roles = [MEASURED, *(role for role in dict.fromkeys(line.role for line in lines) if role != MEASURED)]
    panels = list(dict.fromkeys(line.panel for line in lines))
    kept = alt.selection_point(name="kept", fields=["label"], bind="legend")
    hover: dict[str, Any] = {"nearest": True, "on": "pointerover", "clear": "pointerout", "empty": False}
    near = alt.selection_point(name="near", fields=["x"], **hover)
    colour = alt.Color("label:N", title=legend or None, sort=None).scale(
        domain=labels, range=[PALETTE[styles[one] % len(PALETTE)] for one in labels]
    )
    # One legend for both: Vega-Lite joins what has the same title and entries.
    entries = {"columns": _columns(labels, size)}
    colour = colour.legend(**entries)
    shape = alt.Shape("label:N", title=legend or None, sort=None).scale(
        domain=labels, range=[SHAPES[styles[one] % len(SHAPES)] for one in labels]
    )
    shape = shape.legend(**entries)
    dash = alt.StrokeDash("role:N", title=None, sort=None).scale(
        domain=roles, range=[[1, 0], *(DASHES[k % len(DASHES)] for k in range(len(roles) - 1))]
    )
    # Above the panel: two legends below it would stand side by side and widen the chart.
    shown = {"columns": _columns(roles, size), "symbolStrokeColor": GREY, "symbolType": "stroke", "orient": "top"}
    dash = dash.legend(None) if len(roles) == 1 else dash.legend(**shown)
    places = sorted({float(x) for line in lines for x in line.curve.places})
    whole = all(place == int(place) for place in places)
    x = alt.X("x:Q", title=axes.x).scale(domain=[places[0], places[-1]], padding=6, nice=False)
    x = x.axis(tickMinStep=1, format="d") if whole else x
    scale = alt.Scale(zero=False)
    if axes.limits is not None:
        scale = alt.Scale(domain=list(axes.limits), nice=False, clamp=True)
    y = alt.Y("y:Q", title=axes.y, scale=scale)
    measured = alt.datum.role == MEASURED
    seen = alt.when(kept)
    base = alt.Chart(data)
    tips = [
        alt.Tooltip("label:N", title=legend or "line"),
        alt.Tooltip("role:N", title="shows"),
        alt.Tooltip("x:Q", title=axes.x.partition(" (")[0]),
        alt.Tooltip("y:Q", title=axes.y.partition(" (")[0], format=axes.format),
        alt.Tooltip("low:Q", title="95 % from", format=axes.format),
        alt.Tooltip("high:Q", title="to", format=axes.format),
        *(alt.Tooltip(f"{name}", title=name) for name in dict.fromkeys(k for line in lines for k in line.facts)),
        alt.Tooltip("n:Q", title="n"),
    ]
    layers: list[alt.Chart] = []
    if axes.floor is not None:
        layers.append(base.mark_rect(color=FAINT).encode(y=alt.datum(axes.floor[0]), y2=alt.datum(axes.floor[1])))
    if axes.reference is not None:
        layers.append(base.mark_rule(color=INK, strokeWidth=0.7).encode(y=alt.datum(axes.reference)))
    band = {"x": x, "y": alt.Y("low:Q", title=axes.y, scale=scale), "y2": "high:Q", "color": colour, "detail": "line:N"}
    for role, opacity in ((measured, 0.2), (alt.datum.role != MEASURED, 0.1)):
        own = base.transform_filter(role).mark_area(clip=True, line=False)
        own = own.encode(**band, opacity=seen.then(alt.value(opacity)).otherwise(alt.value(0.02)))
        # The first layer that has the legend: it listens to no other.
        layers.append(own.add_params(kept) if role is measured else own)
    faded = seen.then(alt.value(1)).otherwise(alt.value(0.1))
    layers.append(
        base.mark_line(clip=True).encode(
            x=x,
            y=y,
            color=colour,
            strokeDash=dash,
            detail="line:N",
            opacity=faded,
            strokeWidth=alt.when(measured).then(alt.value(size.line)).otherwise(alt.value(0.8 * size.line)),
        )
    )
    layers.append(
        base.transform_filter(measured)
        .mark_point(filled=True, opacity=1)
        .encode(x=x, y=y, color=colour, shape=shape, opacity=faded, tooltip=tips)
    )
    # Hovering takes the nearest place: a point is hard to hit.
    layers.append(
        base.mark_rule(color=GREY, strokeWidth=0.6)
        .encode(x=x, opacity=alt.when(near).then(alt.value(0.8)).otherwise(alt.value(0)), tooltip=tips)
        .add_params(near)
    )
    chart: Any = alt.layer(*layers)
    several = panels != [""]
    columns = max(1, min(columns, len(panels)))
    room = size.width - 4.5 * size.text
    width = (room - (columns - 1) * 18) / columns if several else room
    chart = chart.properties(width=width, height=height or (0.62 * width if several else min(0.48 * room, 300)))
    if several:
        chart = chart.facet(
            facet=alt.Facet("panel:N", title=None, sort=panels).header(labelLimit=width), columns=columns, spacing=14
        ).resolve_axis(x="independent")
    said = alt.TitleParams(title if len(title) < 60 else wrapped(title, size), subtitle=wrapped(subtitle, size))
    return chart.properties(title=said).configure(**config(size))


def _columns(labels: Sequence[str], size: Size) -> int:
    """How many entries of a legend fit side by side."""
    widest = max(map(len, labels), default=1)
    return max(1, min(len(labels), int(size.width / (0.52 * size.text) // (widest + 7))))


def between(low: float, high: float, room: float = 0.05) -> tuple[float, float]:
    """A range with a little room on both sides."""
    return low - room * (high - low), high + room * (high - low)


def spread(lines: Sequence[Line]) -> tuple[float, float]:
    """The least and the most that lines and bands reach."""
    parts = [part for line in lines for part in (line.curve.mean, line.curve.low, line.curve.high)]
    every = np.concatenate(parts)
    known = every[~np.isnan(every)]
    return float(known.min()), float(known.max())
