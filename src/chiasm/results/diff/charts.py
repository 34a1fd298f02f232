"""Runs side by side as charts: what each shows, on one scale, and how the others differ from the first."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import altair as alt
import polars as pl

from chiasm.core.claims import Claim
from chiasm.results.charts.lines import Axes, Chart, Line, line_chart
from chiasm.results.charts.theme import BLACK, PALETTE, Size, arrow, config, cut_style, wrapped
from chiasm.results.diff.differences import Side, unit_of_difference
from chiasm.results.series import Curve, in_order

_BARS: Final = "Dots: estimates; bars: 95 % intervals"
_MOST: Final = 7
"""Things that lines are told apart by in one chart."""


def difference_chart(differences: pl.DataFrame, first: str, size: Size) -> Chart:
    """How every other run differs from the `first`: lines over layers, or dots where nothing has a layer."""
    rows = differences.drop_nulls("difference")
    runs = in_order(rows, "run")
    quantity, unit = rows["quantity"][0], unit_of_difference(rows["unit"][0])
    kind = "the same examples in both" if rows["paired"].all() else "some of them on other examples"
    subtitle = f"Above 0: more than in {first}. 95 % intervals, over all differences at once; {kind}."
    title = f"How does {runs[0]} differ from {first}?" if len(runs) == 1 else f"How do the others differ from {first}?"
    if not _layered(rows):
        # As in the chart of the runs themselves, where the first one has the first colour.
        styles = {run: k for k, run in enumerate(runs, start=1)}
        return _dots(rows, styles, size, f"Difference of {quantity} ({unit})", title, subtitle)
    lines = []
    for run in runs:
        for about in _drawn(rows):
            own = rows.filter(run=run, about=about)
            panel = run if len(runs) > 1 else ""
            lines.append(_line(own, about, panel, ("difference", "low", "high"), _drawn(rows), own["n"].max() or 0))
    axes = Axes("Layer", f"Difference ({unit})", reference=0.0)
    return line_chart([one for one in lines if one], axes, size, title=title, subtitle=subtitle, columns=2)


def runs_chart(differences: pl.DataFrame, sides: Sequence[Side], size: Size) -> Chart:
    """What every run shows, a panel for each, on one scale, with the intervals of its own claims."""
    rows = differences.drop_nulls("difference")
    quantity, unit, kinds = rows["quantity"][0], rows["unit"][0], _kinds(sides)
    title, subtitle = f"What does each run show: {quantity}?", "Intervals: 95 %, as each run claims them"
    claimed = [(side.label, one) for side in sides for one in side.claims if one.kind in kinds]
    frame = _claimed(claimed)
    if not _layered(rows):
        styles = {side.label: k for k, side in enumerate(sides)}
        return _dots(frame, styles, size, f"{quantity} ({unit})", title, f"{subtitle}.")
    lines = []
    for side in sides:
        for about in _drawn(rows):
            own = frame.filter(run=side.label, about=about)
            if own.height:
                lines.append(_line(own, about, side.label, ("difference", "low", "high"), _drawn(rows), own["n"].max()))
    return line_chart(
        lines, Axes("Layer", f"Effect ({unit})", reference=0.0), size, title=title, subtitle=f"{subtitle}.", columns=2
    )


def _claimed(claimed: Sequence[tuple[str, Claim]]) -> pl.DataFrame:
    """Claims as rows of a chart of differences."""
    names = ("about", "where", "low", "high", "n")
    rows = [{"run": run, "difference": one.effect, **{k: getattr(one, k) for k in names}} for run, one in claimed]
    return pl.DataFrame(rows, infer_schema_length=None)


def _kinds(sides: Sequence[Side]) -> tuple[str, ...]:
    return next((side.values.kinds for side in sides if side.values is not None), ())


def _layered(rows: pl.DataFrame) -> bool:
    """Whether every row is of one layer, and something has several."""
    return rows["where"].str.contains(r"^\d+$").all() and rows["where"].n_unique() > 1


def _drawn(rows: pl.DataFrame) -> list[str]:
    """What has lines: as many things as can be told apart, those that differ most."""
    names = in_order(rows, "about")
    if len(names) <= _MOST:
        return names
    # Of equal ones by name: asked again, it is the same things.
    most = rows.group_by("about").agg(pl.col("difference").abs().max())
    most = most.sort("difference", "about", descending=[True, False])
    return [name for name in names if name in most["about"].head(_MOST).to_list()]


def _line(own: pl.DataFrame, about: str, panel: str, of: tuple[str, str, str], names: Sequence[str], n: int) -> Line:
    own = own.with_columns(pl.col("where").cast(pl.Int64)).sort("where")
    mean, low, high = (own[name].cast(pl.Float64).fill_null(math.nan).to_numpy() for name in of)
    style = cut_style(about) if "->" in about else names.index(about)
    return Line(arrow(about), Curve(own["where"].to_numpy().astype(float), mean, low, high, int(n)), style, panel=panel)


def _dots(rows: pl.DataFrame, styles: Mapping[str, int], size: Size, x: str, title: str, subtitle: str) -> Chart:
    """Estimates with their intervals, a line for each thing, a colour for each run (its number in `styles`)."""
    runs = list(styles)
    shown = rows.select(
        "run", about=pl.format("{}{}", pl.col("about"), _layer()), value="difference", low="low", high="high", n="n"
    )
    names = shown["about"].unique(maintain_order=True).to_list()
    colour = alt.Color("run:N", title=None, sort=None).scale(
        domain=runs, range=[PALETTE[k % len(PALETTE)] for k in styles.values()]
    )
    colour = colour.legend(None) if len(runs) == 1 else colour
    base = alt.Chart(shown)
    y = alt.Y("about:N", title=None, sort=names).axis(labelLimit=size.width / 3, grid=True)
    offset = alt.YOffset("run:N", sort=runs).scale(domain=runs)
    tips = [
        alt.Tooltip("run:N"),
        alt.Tooltip("about:N"),
        alt.Tooltip("value:Q", format=".4~g"),
        alt.Tooltip("low:Q", title="95 % from", format=".4~g"),
        alt.Tooltip("high:Q", title="to", format=".4~g"),
        alt.Tooltip("n:Q"),
    ]
    value = alt.X("value:Q", title=x).scale(zero=False)
    bars = base.mark_rule(strokeWidth=size.line).encode(
        x=alt.X("low:Q", title=x), x2="high:Q", y=y, yOffset=offset, color=colour
    )
    dots = base.mark_point(filled=True, size=2 * size.point, opacity=1)
    zero = alt.Chart(pl.DataFrame({"at": [0.0]})).mark_rule(color=BLACK, strokeWidth=0.7).encode(x="at:Q")
    layers = [zero] if "Difference" in x else []
    chart = alt.layer(*layers, bars, dots.encode(x=value, y=y, yOffset=offset, color=colour, tooltip=tips))
    height = max(3, len(names)) * (1.2 + 0.9 * len(runs)) * size.text
    titled = alt.TitleParams(title, subtitle=wrapped(f"{_BARS}. {subtitle}", size))
    return chart.properties(width=0.72 * size.width, height=height, title=titled).configure(**config(size))


def _layer() -> pl.Expr:
    return pl.when(pl.col("where") == "all").then(pl.lit("")).otherwise(pl.format(", {}", "where"))
