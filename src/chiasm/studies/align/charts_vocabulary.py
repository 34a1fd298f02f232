"""Words that hidden states say, and how tokens fill the space: over depth."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.results.series import in_order
from chiasm.results.theme import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
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
from chiasm.studies.align.charts import CONTROL_NAMES, INTERVAL, STATE, table_curve
from chiasm.studies.align.charts_similarity import one_control

_WORDS = 6
_STATES = 3


def nearest_words(nearest: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """The words that are most often the most probable one of a span's tokens, at three states: share of tokens.

    One row per span; ticks: the same share in each control.
    """
    size = SIZES[width]
    rows = nearest.filter(pl.col("k") == 1)
    spans, states = in_order(rows, "span"), sorted(in_order(rows, "layer"))
    states = [states[0], states[len(states) // 2], states[-1]][:_STATES]
    figure = new_figure(width, 0.4 + 1.35 * len(spans))
    panels = figure.subplots(len(spans), len(states), squeeze=False, sharex=True)
    kinds = [] if controls is None else in_order(controls, "control")
    for line, span in zip(panels, spans, strict=True):
        for axes, state in zip(line, states, strict=True):
            here = (pl.col("span") == span) & (pl.col("layer") == state)
            own = rows.filter(here).head(_WORDS)
            axes.barh(range(own.height), 100 * own["share"], height=0.7, color=COLOURS[spans.index(span)], alpha=0.75)
            for k, kind in enumerate(kinds):
                assert controls is not None
                beside = controls.filter(here & (pl.col("k") == 1) & (pl.col("control") == kind))
                shares = dict(beside.select("token_id", "share").iter_rows())
                found = [100 * shares.get(token, 0.0) for token in own["token_id"]]
                axes.plot(found, range(own.height), color=INK, marker=_TICKS[k % 4], markersize=3, linestyle="none")
            # Spaces within words are shown, so that a word is told from its like without one.
            axes.set_yticks(range(own.height), [repr(w)[1:-1].replace("$", r"\$") for w in own["word"]])
            axes.invert_yaxis()
            title = f"{span}, state {state}"
            dress(axes, size, title=title, x="Tokens (%)" if line is panels[-1] else "")
    marks = [
        Line2D(
            [],
            [],
            color=INK,
            marker=_TICKS[k % 4],
            markersize=3,
            linestyle="none",
            label=f"control: {CONTROL_NAMES[c]}",
        )
        for k, c in enumerate(kinds)
    ]
    legend_below(figure, marks, size, f"words that are most often the most probable, {counted(rows['n'].to_list())}")
    return figure


_TICKS = ("|", "x", "+", ".")


def word_histograms(histogram: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """Which stretches of the vocabulary the most probable words lie in, at the first and last state, for both k."""
    size = SIZES[width]
    states, ranks = sorted(in_order(histogram, "layer")), sorted(in_order(histogram, "k"))
    states = [states[0], states[-1]]
    figure = new_figure(width, 3.2)
    panels = figure.subplots(len(ranks), len(states), squeeze=False, sharex=True)
    twin = None if controls is None else controls.filter(pl.col("control") == "twin")
    spans = in_order(histogram, "span")
    for line, rank in zip(panels, ranks, strict=True):
        for axes, state in zip(line, states, strict=True):
            here = (pl.col("layer") == state) & (pl.col("k") == rank)
            for index, span in enumerate(spans):
                own = histogram.filter(here & (pl.col("span") == span)).sort("start")
                middle = (own["start"] + own["stop"]) / 2
                axes.vlines(middle, 0, 100 * own["share"], color=COLOURS[index], alpha=0.7, linewidth=1.6)
                if twin is not None:
                    beside = twin.filter(here & (pl.col("span") == span)).sort("start")
                    places = (beside["start"] + beside["stop"]) / 2
                    axes.plot(
                        places, 100 * beside["share"], color=COLOURS[index], marker=".", markersize=2, linestyle="none"
                    )
            dress(
                axes,
                size,
                title=f"state {state}, k = {rank}",
                y="Words (%)",
                x="Token id" if line is panels[-1] else "",
            )
    marks = [Line2D([], [], color=COLOURS[k], linewidth=1.6, label=span) for k, span in enumerate(spans)]
    if twin is not None and twin.height:
        marks.append(Line2D([], [], color=INK, marker=".", linestyle="none", label=f"control: {CONTROL_NAMES['twin']}"))
    legend_below(figure, marks, size, f"words among the k most probable ones, {counted(histogram['n'].to_list())}")
    return figure


def shape_curves(geometry: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """How narrow the cones are, how many dimensions mean tokens fill, and how alike the two clouds are."""
    size = SIZES[width]
    drawn = (
        ("narrowness", "Cosine to mean direction"),
        ("effective_rank", "Effective rank"),
        ("cka", "Linear CKA (unbiased)"),
    )
    figure = new_figure(width, 2.3)
    panels = figure.subplots(1, len(drawn))
    handles: dict[str, Line2D] = {}
    ns: list[int] = []
    for axes, (quantity, y) in zip(panels, drawn, strict=True):
        rows = geometry.filter(pl.col("quantity") == quantity)
        for span, against in dict.fromkeys(rows.select("span", "against").iter_rows()):
            label = f"{span}, {against}" if against else span
            index = list(handles).index(label) if label in handles else len(handles)
            same = (pl.col("quantity") == quantity) & (pl.col("span") == span) & (pl.col("against") == against)
            own = table_curve(geometry.filter(same))
            handles[label] = draw(axes, own, index, size, label)
            ns.append(own.n)
            for dash, kind in enumerate([] if controls is None else in_order(controls, "control")):
                assert controls is not None
                beside = controls.filter(same & (pl.col("control") == kind))
                if beside.height:
                    draw_control(axes, table_curve(beside), COLOURS[index % len(COLOURS)], dash, size)
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / 3)
        dress(axes, size, x=STATE if quantity == "narrowness" else "Hidden state", y=y)
    kinds = [] if controls is None else in_order(controls, "control")
    keys = [control_key(f"control: {CONTROL_NAMES[c]}", dash, size) for dash, c in enumerate(kinds)]
    legend_below(figure, [*handles.values(), *keys], size, f"{INTERVAL}, {counted(ns)}")
    return figure


def token_map(
    rows: pl.DataFrame, controls: pl.DataFrame | None = None, method: str = "tsne", *, width: Width = "page"
) -> Figure:
    """Mean tokens of all examples on two axes, one panel per hidden state; thin lines join spans of one example.

    Second row: the twin, else the first control, in a map of its own.
    """
    size = SIZES[width]
    beside, name = one_control(controls, pl.col("method") == method)
    drawn = [(rows.filter(pl.col("method") == method), "")]
    if beside is not None and beside.height:
        drawn.append((beside, f"control: {CONTROL_NAMES.get(name, name)}, "))
    layers, spans = in_order(drawn[0][0], "layer"), in_order(drawn[0][0], "span")
    figure = new_figure(width, 2.2 * len(drawn))
    panels = figure.subplots(len(drawn), len(layers), squeeze=False)
    for (found, whose), line in zip(drawn, panels, strict=True):
        for layer, axes in zip(layers, line, strict=True):
            here = found.filter(pl.col("layer") == layer)
            _joined(axes, here)
            for k, span in enumerate(spans):
                own = here.filter(pl.col("span") == span)
                axes.scatter(own["x"], own["y"], s=6, color=COLOURS[k], marker=MARKERS[k], linewidths=0, zorder=3)
            axes.set_xticks([])
            axes.set_yticks([])
            dress(axes, size, title=f"{whose}state {layer}")
    marks = [
        Line2D([], [], color=COLOURS[k], marker=MARKERS[k], markersize=3, linestyle="none", label=span)
        for k, span in enumerate(spans)
    ]
    ns = [found["example_id"].n_unique() for found, _ in drawn]
    title = f"{'t-SNE' if method == 'tsne' else 'PCA'} of mean tokens, {counted(ns)} examples"
    legend_below(figure, marks, size, title)
    return figure


def _joined(axes: Axes, rows: pl.DataFrame) -> None:
    for _, own in rows.group_by("example_id", maintain_order=True):
        if own.height > 1:
            axes.plot(own["x"], own["y"], color=GREY, linewidth=0.25, alpha=0.5, zorder=1)
