"""Maps of mean tokens on two axes: how near the kinds lie to each other."""

from collections.abc import Mapping
from typing import Any

import altair as alt
import polars as pl

from chiasm.results.charts.data import fitting, heading
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.theme import GREY, PALETTE, SHAPES, Size, config, counted, span_style
from chiasm.results.series import in_order
from chiasm.studies.align.charts.panels import control_label, distinct_styles, one_control

_NARROWEST = 74
"""Pixels of a panel with others beside it."""


def token_map(rows: pl.DataFrame, controls: pl.DataFrame | None, size: Size, method: str = "tsne") -> Chart:
    """Mean tokens of all examples on two axes, one panel per hidden state; thin lines join spans of one example.

    Second row: the random-weights baseline, else the first control, in a map of its own.
    """
    own, beside = rows.filter(method=method), one_control(controls, method=method)
    panels = {f"state {layer}": own.filter(layer=layer) for layer in in_order(own, "layer")}
    if beside is not None and beside.height:
        whose = control_label(beside["control"][0])
        panels |= {f"{whose}, state {layer}": beside.filter(layer=layer) for layer in in_order(beside, "layer")}
    name = "t-SNE" if method == "tsne" else "the first two principal components"
    ns = counted([found["example_id"].n_unique() for found in panels.values()])
    far = " Distances between groups and their sizes mean nothing." if method == "tsne" else ""
    subtitle = f"Points: mean tokens of one example, by {name}; thin lines join those of one example; {ns}.{far}"
    title = "Do tokens of the kinds lie in one cloud or in several?"
    return scatter(panels, size, title=title, subtitle=subtitle, columns=own["layer"].n_unique())


def scatter(panels: Mapping[str, pl.DataFrame], size: Size, *, title: str, subtitle: str, columns: int) -> Chart:
    """A panel for each set of mean tokens: rows with `example_id`, `span`, `x` and `y`, which have no unit."""
    place = pl.col("x", "y").round_sig_figs(4)
    frames = [found.select("example_id", "span", place, panel=pl.lit(name)) for name, found in panels.items()]
    data = pl.concat(frames)
    styles = distinct_styles({span: span_style(span) for span in in_order(data, "span")})
    columns = max(1, min(columns, int(size.width // (_NARROWEST + 12))))
    side = (size.width - 12 * (columns - 1)) / columns - 2
    kept = alt.selection_point(name="kept", fields=["span"], bind="legend")
    legend = alt.Legend(columns=fitting(list(styles), size))
    colour, shape = (
        channel("span:N", title="mean tokens of", sort=None, legend=legend).scale(
            domain=list(styles), range=[known[k] for k in styles.values()]
        )
        for channel, known in ((alt.Color, PALETTE), (alt.Shape, SHAPES))
    )
    x, y = (channel(f"{name}:Q", axis=None).scale(zero=False) for channel, name in ((alt.X, "x"), (alt.Y, "y")))
    base = alt.Chart(data)
    joined = base.mark_line(color=GREY, strokeWidth=0.4, opacity=0.5).encode(x=x, y=y, detail="example_id:N")
    tips = [alt.Tooltip("example_id:N", title="example"), alt.Tooltip("span:N", title="mean tokens of")]
    seen = alt.when(kept).then(alt.value(0.9)).otherwise(alt.value(0.06))
    points = base.mark_point(filled=True, size=0.5 * size.point)
    marks = points.encode(x=x, y=y, color=colour, shape=shape, opacity=seen, tooltip=tips)
    chart: Any = alt.layer(joined, marks).add_params(kept).properties(width=round(side, 1), height=round(side, 1))
    header = {"labelLimit": side, "labelFontWeight": "normal", "labelPadding": 2}
    facet = alt.Facet("panel:N", title=None, sort=list(panels)).header(**header)
    chart = chart.facet(facet=facet, columns=columns, spacing=12).resolve_scale(x="independent", y="independent")
    return chart.properties(title=heading(title, subtitle, size)).configure(**config(size))
