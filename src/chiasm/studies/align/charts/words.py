"""Words that hidden states give through the output head, and maps of mean tokens."""

from collections.abc import Mapping

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order
from chiasm.results.theme import COLOURS, GREY, INK, MARKERS, SIZES, counted, dress, legend_below, new_figure
from chiasm.studies.align.charts.panels import control_label, control_names, one_control

_WORDS = 6
_TICKS = ("|", "x", "+", ".")


def nearest_words(nearest: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """The words that are most often the most probable one of a span's tokens, at three states: share of tokens.

    One row per span; ticks: the same share in each control.
    """
    size = SIZES["page"]
    rows = nearest.filter(k=1)
    spans, states = in_order(rows, "span"), sorted(in_order(rows, "layer"))
    states = [states[0], states[len(states) // 2], states[-1]]
    figure = new_figure("page", 0.4 + 1.35 * len(spans))
    panels = figure.subplots(len(spans), len(states), squeeze=False, sharex=True)
    tick = {name: _TICKS[k % len(_TICKS)] for k, name in enumerate(control_names(controls))}
    for place, (line, span) in enumerate(zip(panels, spans, strict=True), 1):
        for axes, state in zip(line, states, strict=True):
            own = rows.filter(span=span, layer=state).head(_WORDS)
            axes.barh(range(own.height), 100 * own["share"], height=0.7, color=COLOURS[spans.index(span)], alpha=0.75)
            for name, marker in tick.items():
                assert controls is not None
                beside = controls.filter(span=span, layer=state, k=1, control=name)
                shares = dict(beside.select("token_id", "share").iter_rows())
                found = [100 * shares.get(token, 0.0) for token in own["token_id"]]
                axes.plot(found, range(own.height), color=INK, marker=marker, markersize=3, linestyle="none")
            # Spaces within words are shown, so that a word differs from its like without one.
            axes.set_yticks(range(own.height), [_shown(word) for word in own["word"]])
            axes.invert_yaxis()
            dress(axes, size, title=f"{span}, state {state}", x="Tokens (%)" if place == len(spans) else "")
    marks = [
        Line2D([], [], color=INK, marker=marker, markersize=3, linestyle="none", label=control_label(name))
        for name, marker in tick.items()
    ]
    legend_below(figure, marks, size, f"words that are most often the most probable, {counted(rows['n'].to_list())}")
    return figure


def _shown(word: str) -> str:
    """A word as a label: spaces and marks written out; bytes that are no character alone have a placeholder."""
    if "\ufffd" in word:
        return "(part of a character)"
    return repr(word)[1:-1].replace("$", r"\$")


def word_histograms(histogram: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """Which stretches of the vocabulary the most probable words lie in, at the first and last state, for both k."""
    size = SIZES["page"]
    states, ranks = sorted(in_order(histogram, "layer")), sorted(in_order(histogram, "k"))
    states = [states[0], states[-1]]
    figure = new_figure("page", 3.2)
    panels = figure.subplots(len(ranks), len(states), squeeze=False, sharex=True)
    baseline = None if controls is None else controls.filter(control=RANDOM_WEIGHTS)
    colours = {span: COLOURS[k % len(COLOURS)] for k, span in enumerate(in_order(histogram, "span"))}
    for place, (line, rank) in enumerate(zip(panels, ranks, strict=True), 1):
        for axes, state in zip(line, states, strict=True):
            for span, colour in colours.items():
                here = {"layer": state, "k": rank, "span": span}
                own = histogram.filter(**here).sort("start")
                middle = (own["start"] + own["stop"]) / 2
                axes.vlines(middle, 0, 100 * own["share"], color=colour, alpha=0.7, linewidth=1.6)
                if baseline is not None:
                    beside = baseline.filter(**here).sort("start")
                    places = (beside["start"] + beside["stop"]) / 2
                    axes.plot(places, 100 * beside["share"], color=colour, marker=".", markersize=2, linestyle="none")
            below = "Index of the word in the vocabulary" if place == len(ranks) else ""
            dress(axes, size, title=f"state {state}, {_ranked(rank)}", y="Words (%)", x=below)
    marks = [Line2D([], [], color=colour, linewidth=1.6, label=span) for span, colour in colours.items()]
    if baseline is not None and baseline.height:
        marks.append(Line2D([], [], color=INK, marker=".", linestyle="none", label=control_label(RANDOM_WEIGHTS)))
    legend_below(figure, marks, size, f"share of all words that are counted, {counted(histogram['n'].to_list())}")
    return figure


def _ranked(rank: int) -> str:
    return "most probable word" if rank == 1 else f"{rank} most probable words"


def token_map(rows: pl.DataFrame, controls: pl.DataFrame | None = None, method: str = "tsne") -> Figure:
    """Mean tokens of all examples on two axes, one panel per hidden state; thin lines join spans of one example.

    Second row: the random-weights baseline, else the first control, in a map of its own.
    """
    size = SIZES["page"]
    beside = one_control(controls, method=method)
    drawn = [(rows.filter(method=method), "")]
    if beside is not None and beside.height:
        drawn.append((beside, f"{control_label(beside['control'][0])},\n"))
    layers, spans = in_order(drawn[0][0], "layer"), in_order(drawn[0][0], "span")
    marks: list[Line2D] = []
    figure = new_figure("page", 2.2 * len(drawn))
    panels = figure.subplots(len(drawn), len(layers), squeeze=False)
    for (found, whose), line in zip(drawn, panels, strict=True):
        for layer, axes in zip(layers, line, strict=True):
            marks = draw_tokens(axes, found.filter(layer=layer), {span: k for k, span in enumerate(spans)}, 6)
            dress(axes, size, title=f"{whose}state {layer}")
    ns = [found["example_id"].n_unique() for found, _ in drawn]
    title = f"{'t-SNE' if method == 'tsne' else 'PCA'} of mean tokens, {counted(ns)} examples"
    legend_below(figure, marks, size, title)
    return figure


def draw_tokens(axes: Axes, places: pl.DataFrame, spans: Mapping[str, int], area: float) -> list[Line2D]:
    """The mean tokens of one hidden state on two axes; thin lines join spans of one example. Gives the legend's marks.

    `spans`: the number of each span's colour; `area` of a mark, in points squared.
    """
    for _, own in places.group_by("example_id", maintain_order=True):
        if own.height > 1:
            axes.plot(own["x"], own["y"], color=GREY, linewidth=0.25, alpha=0.5, zorder=1)
    axes.set_xticks([])
    axes.set_yticks([])
    marks = []
    for (span, colour), marker in zip(spans.items(), MARKERS):
        own, style = places.filter(span=span), {"color": COLOURS[colour % len(COLOURS)], "marker": marker}
        axes.scatter(own["x"], own["y"], s=area, linewidths=0, zorder=3, **style)
        marks.append(Line2D([], [], markersize=3, linestyle="none", label=span, **style))
    return marks
