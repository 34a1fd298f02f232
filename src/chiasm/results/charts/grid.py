"""Heat maps: rows by columns, in one panel or in several, with the number in every cell that has room for it."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import altair as alt
import polars as pl

from chiasm.results.charts.data import heading, in_order, lean, plain, room_for, rows, value_tips
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.marks import panel_title
from chiasm.results.charts.theme import INK, Size, config

# Both can be told apart by the colour-blind, and in grey; the diverging one is white at its middle.
SEQUENTIAL = "cividis"
DIVERGING = "purpleorange"
NEXT_LINE = " | "
"""Between the lines of a cell: data of charts have no line breaks."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell. `low`, `high`: its 95 % interval, NaN where there is none; `text`: what stands in it where the number
    alone should not, lines with `NEXT_LINE` between; `facts`: what hovering says besides."""

    row: str
    column: str
    value: float
    low: float = math.nan
    high: float = math.nan
    n: int | None = None
    panel: str = ""
    text: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shades:
    """What colours say. `title`: the value, with its unit; `middle`: the value of no effect, which makes the scale a
    diverging one; `limits`: what the scale spans; `format`: of values when hovering, `written`: in cells."""

    title: str
    middle: float | None = None
    limits: tuple[float, float] | None = None
    format: str = ".3~g"
    written: str = ".3g"


@dataclass(frozen=True, slots=True)
class Sides:
    """What rows and columns are called. `square`: cells are as high as they are wide."""

    rows: str
    columns: str
    square: bool = False


def grid_chart(
    cells: Sequence[Cell],
    shades: Shades,
    sides: Sides,
    size: Size,
    *,
    title: str,
    subtitle: str,
    columns: int = 1,
) -> Chart:
    """A heat map of `cells`, rows and columns in the order in which they first come; hovering gives exact values.

    `title` asks the question; `subtitle` says what a cell is and n. `columns`: panels side by side, where cells name
    panels; panels whose rows or columns differ have those that they need.
    """
    cells = [replace(cell, panel=plain(cell.panel)) for cell in cells]
    panels = {name: [cell for cell in cells if cell.panel == name] for name in in_order(cell.panel for cell in cells)}
    columns = max(1, min(columns, len(panels)))
    down = {name: in_order(cell.row for cell in own) for name, own in panels.items()}
    across = {name: in_order(cell.column for cell in own) for name, own in panels.items()}
    # Panels with rows of their own have labels of their own; others share those at the left.
    shared = len({tuple(names) for names in down.values()}) == 1
    limit = 0.4 * size.width
    widest = room_for((name for names in down.values() for name in names), size.text)
    labels = min(widest, limit) + (2.2 * size.text if sides.rows else 8)
    room = (size.width - labels) / columns - 14 if shared else size.width / columns - labels - 14
    wide = max(room / max(map(len, across.values())), 1.0)
    wide = min(wide, 7 * size.text) if sides.square else wide
    lines = max((cell.text.count(NEXT_LINE) + 1 for cell in cells if cell.text), default=1)
    high = wide if sides.square else min(wide, (1 + 1.2 * lines) * size.text)
    data = _data(cells, shades, wide, high, size)
    tips = [
        *([alt.Tooltip("panel:N", title="in")] if len(panels) > 1 else []),
        alt.Tooltip("row:N", title=sides.rows or "row"),
        alt.Tooltip("column:N", title=sides.columns or "column"),
        *value_tips(data, "value", shades.title, shades.format),
        *(alt.Tooltip(name, title=name) for name in dict.fromkeys(name for cell in cells for name in cell.facts)),
        *([alt.Tooltip("n:Q", title="n")] if data["n"].count() else []),
    ]
    colour = _colour(cells, shades, size)
    bare = {"domain": False, "ticks": False, "grid": False}
    drawn = []
    for place, name in enumerate(panels):
        x = alt.X("column:N", title=sides.columns or None, axis=_across(across[name], wide, size))
        y = alt.Y("row:N", title=sides.rows or None).scale(domain=down[name])
        y = y.axis(**bare, labelLimit=limit, labelOverlap=high < size.text)
        if shared and place % columns:
            y = y.axis(**bare, labels=False, title=None)
        base = alt.Chart(lean(data)).encode(x=x.scale(domain=across[name]), y=y, tooltip=tips)
        if len(panels) > 1:
            base = base.transform_filter(alt.FieldEqualPredicate(name, "panel"))
        layers = [base.mark_rect(stroke="white", strokeWidth=0.5 if wide > 4 else 0).encode(color=colour)]
        if data["text"].count():
            # What has no text would be written as `null`.
            written = base.transform_filter("isValid(datum.text)").mark_text(
                fontSize=_letters(size), lineBreak=NEXT_LINE, dy=0.55 * (1 - lines) * _letters(size)
            )
            ink = alt.when(alt.datum.dark).then(alt.value("white")).otherwise(alt.value(INK))
            layers.append(written.encode(text="text:N", color=ink))
        sized = {"width": round(wide * len(across[name]), 1), "height": round(high * len(down[name]), 1)}
        named = {"title": panel_title(name, sized["width"], size)} if name else {}
        drawn.append(alt.layer(*layers).properties(**sized, **named))
    chart: Any = drawn[0] if len(panels) == 1 else alt.concat(*drawn, columns=columns, spacing=14)
    return chart.properties(title=heading(title, subtitle, size)).configure(**config(size))


def _colour(cells: Sequence[Cell], shades: Shades, size: Size) -> alt.Color:
    scheme = SEQUENTIAL if shades.middle is None else DIVERGING
    colour = alt.Color("value:Q", title=shades.title)
    colour = colour.scale(scheme=scheme, domain=list(_limits(cells, shades)), clamp=True)
    return colour.legend(gradientLength=min(0.6 * size.width, 220), gradientThickness=0.8 * size.text)


def _data(cells: Sequence[Cell], shades: Shades, wide: float, high: float, size: Size) -> pl.DataFrame:
    limits = _limits(cells, shades)
    numbers = ["" if math.isnan(cell.value) else format(cell.value, shades.written) for cell in cells]
    texts = [number if cell.text is None else cell.text for cell, number in zip(cells, numbers, strict=True)]
    # All cells say the same kind of thing: what is asked for where it fits everywhere, else the number, else nothing.
    fitting = (made for made in (texts, numbers) if _fits(made, wide, high, _letters(size)))
    written = next(fitting, [""] * len(cells))
    return rows(
        {
            "row": cell.row,
            "column": cell.column,
            "panel": cell.panel,
            "value": float(cell.value),
            "low": float(cell.low),
            "high": float(cell.high),
            "n": cell.n,
            **cell.facts,
            "text": text or None,
            "dark": _is_dark(cell.value, limits, shades.middle),
        }
        for cell, text in zip(cells, written, strict=True)
    )


def _limits(cells: Sequence[Cell], shades: Shades) -> tuple[float, float]:
    """What the scale spans: as far to both sides of the middle, where it has one."""
    known = [cell.value for cell in cells if math.isfinite(cell.value)] or [0.0]
    low, high = shades.limits or (min(known), max(known))
    if shades.middle is not None:
        reach = max(high - shades.middle, shades.middle - low) or 1.0
        return shades.middle - reach, shades.middle + reach
    return (low, high) if high > low else (low, low + 1.0)


def _is_dark(value: float, limits: tuple[float, float], middle: float | None) -> bool:
    """Whether a value's colour is: the sequential scale is dark at its low end, the diverging one at both."""
    place = (value - limits[0]) / (limits[1] - limits[0])
    return place < 0.55 if middle is None else abs(place - 0.5) > 0.3


def _across(names: Sequence[str], wide: float, size: Size) -> alt.Axis:
    """Labels under columns: level where they fit, in lines or thinned out if they are numbers, else slanted."""
    bare = {"domain": False, "ticks": False, "grid": False}
    if all(name.lstrip("-").isdigit() for name in names):
        return alt.Axis(labelAngle=0, labelOverlap=True, **bare)
    lines = {name: _lines(name, wide, size.text) for name in names}
    if room_for((line for found in lines.values() for line in found), size.text - 0.5) <= wide:
        return alt.Axis(labelAngle=0, labelExpr=f"({json.dumps(lines)})[datum.value]", **bare)
    return alt.Axis(labelAngle=-40, labelLimit=0.3 * size.width, labelOverlap=wide < size.text, **bare)


def _lines(name: str, wide: float, text: float) -> list[str]:
    """A name in lines; what stands in brackets keeps together."""
    lines: list[str] = []
    for word in re.findall(r"\([^)]*\)|\S+", name):
        if lines and room_for([f"{lines[-1]} {word}"], text) <= wide:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _fits(texts: Sequence[str], wide: float, high: float, letters: float) -> bool:
    """Whether every text, of one or several lines, has room in a cell."""
    lines = [text.split(NEXT_LINE) for text in texts]
    return high > letters * max(map(len, lines), default=1) and room_for(chain(*lines), letters) <= wide


def _letters(size: Size) -> float:
    return size.text - 1
