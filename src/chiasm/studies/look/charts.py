"""Where a model looks: shares of attention by layer, and how often tokens say what is there."""

import polars as pl
from matplotlib.figure import Figure

from chiasm.results.series import curve, in_order
from chiasm.results.theme import (
    COLOURS,
    INK,
    SIZES,
    Width,
    control_key,
    counted,
    draw,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    new_figure,
)
from chiasm.studies.look.summary import OBJECT_SHARE, object_rows, spans_of

_BAND = "mean and 95 % bootstrap interval"
_X = "Layer"


def attention_shares(shares: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """One panel per query: the share of its attention that each part of the sequence takes, twin dashed."""
    size = SIZES[width]
    queries, spans = in_order(shares, "query"), spans_of(shares)
    figure = new_figure(width, 2.4)
    panels = figure.subplots(1, len(queries), sharey=True, squeeze=False)[0]
    percent, handles, ns = pl.col("share") * 100, [], []
    for query, axes in zip(queries, panels, strict=True):
        for index, span in enumerate(spans):
            chosen = (pl.col("query") == query) & (pl.col("span") == span)
            rows = shares.filter(chosen)
            if not rows.height:
                continue
            measured = curve(rows, percent)
            line = draw(axes, measured, index, size, span)
            ns.append(measured.n)
            if query == queries[0]:
                handles.append(line)
            if controls is not None and controls.filter(chosen).height:
                draw_control(axes, curve(controls.filter(chosen), percent), COLOURS[index % len(COLOURS)], 0, size)
        axes.set_ylim(0, None)
        layer_axis(axes, int(shares["layer"].max() or 0), size.inches / len(queries))
        dress(axes, size, x=_X, y="Share of attention (%)" if axes is panels[0] else "", title=f"from {query}")
    if controls is not None:
        handles.append(control_key("random-weights twin", 0, size))
    legend_below(figure, handles, size, f"{_BAND}, {counted(ns)}")
    return figure


def object_share(shares: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "column") -> Figure:
    """How much of the image's attention falls on the object asked about, against its share of the image's tokens."""
    size = SIZES[width]
    figure = new_figure(width, 2.2)
    axes = figure.add_subplot()
    handles, ns = [], []
    for index, query in enumerate(in_order(shares, "query")):
        rows = object_rows(shares, query)
        if not rows.height:
            continue
        measured = curve(rows, OBJECT_SHARE)
        handles.append(draw(axes, measured, index, size, f"attention from {query}"))
        ns.append(measured.n)
        if controls is not None and (beside := object_rows(controls, query)).height:
            draw_control(axes, curve(beside, OBJECT_SHARE), COLOURS[index % len(COLOURS)], 0, size)
    area = 100 * float(rows.unique("example_id")["area"].mean() or 0)
    handles.append(
        axes.axhline(area, color=INK, linewidth=0.8, linestyle=(0, (1, 1.5)), label="its share of the tokens")
    )
    if controls is not None:
        handles.append(control_key("random-weights twin", 0, size))
    axes.set_ylim(0, None)
    layer_axis(axes, int(shares["layer"].max() or 0), size.inches)
    dress(axes, size, x=_X, y="Of the image's attention,\nshare on the object (%)")
    legend_below(figure, handles, size, f"{_BAND}, {counted(ns)}")
    return figure


def caption_share(
    lens: pl.DataFrame, controls: pl.DataFrame | None = None, *, about: str = "image", width: Width = "column"
) -> Figure:
    """The share of tokens of what is perceived (`about`) whose nearest word stands in a caption, twin dashed."""
    size = SIZES[width]
    figure = new_figure(width, 2.1)
    axes = figure.add_subplot()
    told = pl.col("in_captions").cast(pl.Float64) * 100
    measured = curve(lens, told)
    handles = [draw(axes, measured, 0, size, f"{about} tokens")]
    if controls is not None and controls.height:
        draw_control(axes, curve(controls, told), COLOURS[0], 0, size)
        handles.append(control_key("random-weights twin", 0, size))
    axes.set_ylim(0, None)
    layer_axis(axes, int(lens["layer"].max() or 0), size.inches)
    dress(axes, size, x="Hidden state (0: embeddings)", y="Nearest word in\na caption (%)")
    legend_below(figure, handles, size, f"{_BAND}, {counted([measured.n])}")
    return figure
