"""Words that hidden states give through the output head."""

from typing import Any

import altair as alt
import polars as pl

from chiasm.results.charts.data import fitting, heading, plain
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.theme import BLACK, PALETTE, Size, config, counted, span_style
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order
from chiasm.studies.align.charts.panels import BASELINE, control_label, control_names, distinct_styles

_WORDS = 6
_MODEL = "the model"
_SHAPES = ("circle", "diamond", "cross", "triangle-up")


def nearest_words(nearest: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """The words that are most often the most probable one of a span's tokens, at three states: share of tokens.

    One row of panels per span; marks: the same share in each control.
    """
    rows = nearest.filter(k=1)
    spans, states = in_order(rows, "span"), sorted(in_order(rows, "layer"))
    states = list(dict.fromkeys([states[0], states[len(states) // 2], states[-1]]))
    found: list[dict[str, Any]] = []
    for span in spans:
        for state in states:
            own = rows.filter(span=span, layer=state).head(_WORDS)
            beside = None if controls is None else controls.filter(span=span, layer=state, k=1)
            for place, (token, word, share) in enumerate(own.select("token_id", "word", "share").iter_rows()):
                at = {"panel": f"{span}, state {state}", "span": span, "place": place, "word": shown(word)}
                found.append({**at, "of": _MODEL, "share": 100 * share})
                for name in control_names(beside):
                    assert beside is not None
                    shares = dict(beside.filter(control=name).select("token_id", "share").iter_rows())
                    found.append({**at, "of": control_label(name), "share": 100 * shares.get(token, 0.0)})
    data = pl.DataFrame(found).with_columns(pl.col("share").round_sig_figs(4))
    columns = min(len(states), max(1, int(size.width // 100)))
    width = size.width / columns - 16
    colour = alt.Color("span:N", legend=None).scale(
        domain=spans, range=[PALETTE[k] for k in distinct_styles({span: span_style(span) for span in spans}).values()]
    )
    others = [name for name in in_order(data, "of") if name != _MODEL]
    base, model = alt.Chart(data), alt.datum.of == _MODEL
    y = alt.Y("place:O", axis=None)
    # Words stand at the right, where bars seldom reach.
    most = 1.35 * float(data["share"].max() or 1.0)  # pyright: ignore[reportArgumentType]
    x = alt.X("share:Q", title="Tokens (%)").scale(domain=[0, most], nice=False).axis(tickCount=4)
    tips = [
        alt.Tooltip("word:N", title="word"),
        alt.Tooltip("of:N", title="in"),
        alt.Tooltip("share:Q", title="tokens (%)", format=".3~g"),
    ]
    layers: list[Any] = [
        base.transform_filter(model).mark_bar(opacity=0.45).encode(x=x, y=y, color=colour, tooltip=tips)
    ]
    if others:
        shape = alt.Shape("of:N", title=None, sort=None).scale(
            domain=others, range=[_SHAPES[k % len(_SHAPES)] for k in range(len(others))]
        )
        shape = shape.legend(columns=fitting(others, size), symbolStrokeColor=BLACK)
        marks = base.transform_filter(alt.datum.of != _MODEL).mark_point(color=BLACK, size=size.point, filled=False)
        layers.append(marks.encode(x=x, y=y, shape=shape, tooltip=tips))
    written = base.transform_filter(model).mark_text(align="right", color=BLACK, fontSize=size.text - 1)
    layers.append(written.encode(x=alt.value(width), y=y, text="word:N"))
    chart: Any = alt.layer(*layers).properties(width=round(width, 1), height=alt.Step(1.6 * size.text))
    facet = alt.Facet("panel:N", title=None, sort=in_order(data, "panel")).header(labelLimit=width)
    chart = chart.facet(facet=facet, columns=columns, spacing=12).resolve_axis(x="independent")
    text = "Bars: share of a span's tokens whose most probable word it is"
    subtitle = f"{text}; marks: the same in controls; {counted(rows['n'].to_list())}; no interval."
    title = "Which words do tokens give at early, middle and late states?"
    return chart.properties(title=heading(title, subtitle, size)).configure(**config(size))


def shown(word: str) -> str:
    """A word as a label: spaces and marks written out; bytes that are no character alone have a placeholder."""
    # Spaces within words are shown, so that a word differs from its like without one.
    return "(part of a character)" if "\ufffd" in word else plain(repr(word)[1:-1].replace(" ", "\u2423"))


def word_histograms(histogram: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """Which stretches of the vocabulary the most probable words lie in, at the first and last state, for both k."""
    states, ranks = sorted(in_order(histogram, "layer")), sorted(in_order(histogram, "k"))
    states = list(dict.fromkeys([states[0], states[-1]]))
    baseline = None if controls is None else controls.filter(control=RANDOM_WEIGHTS)
    parts = [(histogram, _MODEL), *([(baseline, BASELINE)] if baseline is not None and baseline.height else [])]
    middle = ((pl.col("start") + pl.col("stop")) / 2).alias("middle")
    frames = []
    for rank in ranks:
        for state in states:
            panel = f"state {state}, {_ranked(rank)}"
            for rows, of in parts:
                own = rows.filter(layer=state, k=rank)
                share = (100 * pl.col("share")).round_sig_figs(4).alias("share")
                frames.append(own.select("span", middle, "start", "stop", share, of=pl.lit(of), panel=pl.lit(panel)))
    data = pl.concat(frames)
    spans = in_order(histogram, "span")
    columns = min(len(states), max(1, int(size.width // 150)))
    width = size.width / columns - 4.5 * size.text
    kept = alt.selection_point(name="kept", fields=["span"], bind="legend")
    colour = alt.Color("span:N", title="tokens of", sort=None).scale(
        domain=spans, range=[PALETTE[k] for k in distinct_styles({span: span_style(span) for span in spans}).values()]
    )
    seen = alt.when(kept).then(alt.value(0.7)).otherwise(alt.value(0.05))
    x = alt.X("middle:Q", title="Index of the word in the vocabulary").axis(tickCount=4)
    y = alt.Y("share:Q", title="Words (%)")
    tips = [
        alt.Tooltip("span:N", title="tokens of"),
        alt.Tooltip("of:N", title="in"),
        alt.Tooltip("start:Q", title="from index"),
        alt.Tooltip("stop:Q", title="up to"),
        alt.Tooltip("share:Q", title="words (%)", format=".3~g"),
    ]
    base = alt.Chart(data)
    own, beside = (base.transform_filter(test) for test in (alt.datum.of == _MODEL, alt.datum.of != _MODEL))
    looks = {"x": x, "y": y, "color": colour, "opacity": seen, "tooltip": tips}
    layers: list[Any] = [own.mark_rule(strokeWidth=1.6).encode(**looks, y2=alt.datum(0))]
    if len(parts) > 1:
        layers.append(beside.mark_point(size=0.3 * size.point, filled=True).encode(**looks))
    chart: Any = alt.layer(*layers).add_params(kept).properties(width=round(width, 1), height=round(0.45 * width, 1))
    facet = alt.Facet("panel:N", title=None, sort=in_order(data, "panel")).header(labelLimit=width)
    chart = chart.facet(facet=facet, columns=columns, spacing=12).resolve_axis(x="independent")
    dots = f"; dots: {BASELINE}" if len(parts) > 1 else ""
    subtitle = f"Bars: share of all words that are counted{dots}; {counted(histogram['n'].to_list())}; no interval."
    title = "Where in the vocabulary do the words of tokens lie?"
    return chart.properties(title=heading(title, subtitle, size)).configure(**config(size))


def _ranked(rank: int) -> str:
    return "most probable word" if rank == 1 else f"{rank} most probable words"
