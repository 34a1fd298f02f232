"""Shares of attention by layer, and how often tokens say what is there."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from chiasm.core.claims import MIN_INPUTS
from chiasm.results.charts.lines import MEASURED, Axes, Chart, Line, line_chart
from chiasm.results.charts.theme import Size, counted, cut_style, span_style
from chiasm.results.series import Curve, curve, in_order
from chiasm.studies.look.naming_claims import RANK, abouts
from chiasm.studies.look.shares import IN_CAPTIONS, OBJECT_SHARE, SHARE, object_rows, percent_of_tokens, top_level
from chiasm.studies.look.tables import (
    CONTEXT,
    DESCRIBED,
    ELSEWHERE,
    INPUT,
    NAME,
    OBJECT,
    OTHER_OBJECT,
    OUTPUT,
    RANDOM_DIRECTION,
)

BASELINE = "random-weights baseline"
TOKENS = "share of the tokens"
_BANDS = "Lines: means over examples; bands: 95 % intervals, for all layers of a line at once"


def attention_shares(shares: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """One panel per query: the share of its attention that each part of the sequence takes; dashed: the baseline."""
    queries, lines = in_order(shares, "query"), []
    for query in queries:
        panel = f"from {query}" if len(queries) > 1 else ""
        for span in top_level(shares):
            rows = shares.filter(query=query, span=span)
            if rows.height:
                beside = None if controls is None else controls.filter(query=query, span=span)
                lines += _beside(span, rows, beside, SHARE, span_style(span), panel)
    title = f"Where does the attention {f'of {queries[0]} ' if len(queries) == 1 else ''}go?"
    axes = Axes("Layer", "Share of attention (%)")
    return line_chart(lines, axes, size, title=title, subtitle=_subtitle(lines), legend="attention to", columns=2)


def object_share(shares: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """How much of the image's attention falls on the object asked about, against its share of the image's tokens."""
    lines = []
    for query in in_order(shares, "query"):
        rows = object_rows(shares, query)
        if rows.height:
            label, style = f"attention from {query}", cut_style(f"image->{query}")
            beside = None if controls is None else object_rows(controls, query)
            lines += _beside(label, rows, beside, OBJECT_SHARE, style)
            own, area = lines[-1].curve, percent_of_tokens(rows, "area")
            bare = own.mean + np.nan
            level = Curve(own.places, 0 * own.mean + area, bare, bare, own.n, own.inputs)
            lines.append(Line(label, level, style, TOKENS))
    title = "Does the attention on the image fall on the object asked about?"
    axes = Axes("Layer", "Share on the object (%)")
    return line_chart(lines, axes, size, title=title, subtitle=_subtitle(lines))


def caption_share(lens: pl.DataFrame, controls: pl.DataFrame | None, size: Size, *, about: str = "image") -> Chart:
    """The share of tokens of what is perceived (`about`) whose nearest word is in a caption; dashed: the baseline."""
    lines = _beside(f"{about} tokens", lens, controls, IN_CAPTIONS, span_style(about))
    title = f"Do tokens of the {about} say what is there?"
    axes = Axes("Hidden state (0 = embeddings)", "Nearest word in a caption (%)")
    return line_chart(lines, axes, size, title=title, subtitle=_subtitle(lines))


_READ = {OUTPUT: "output head", INPUT: "input embeddings", CONTEXT: "words in texts"}
_WORDS = {NAME: "name", DESCRIBED: "description"}
_PLACES = {ELSEWHERE: "rest of the image", OTHER_OBJECT: "other objects", RANDOM_DIRECTION: "random directions"}


def naming_curves(named: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """The share of an object's tokens with its word among the nearest ones, beside other tokens and random directions.

    One panel for each lens and kind of words; of other objects and random weights as far as there are any.
    """
    lines, value = [], pl.col("share") * 100
    rows = named.filter(k=RANK)
    beside = None if controls is None else controls.filter(k=RANK, place=OBJECT)
    for lens, word in abouts(rows):
        own, panel = rows.filter(lens=lens, word=word), f"{_READ[lens]}: {_WORDS[word]}"
        lines.append(Line(_OWN, _percent_curve(own.filter(place=OBJECT), value), span_style("image"), panel=panel))
        for place, role in _PLACES.items():
            at = own.filter(place=place)
            if at["example_id"].n_unique() >= MIN_INPUTS:
                lines.append(Line(_OWN, _percent_curve(at, value), span_style("image"), role, panel))
        if beside is not None and (of := beside.filter(lens=lens, word=word)).height:
            lines.append(Line(_OWN, _percent_curve(of, value), span_style("image"), BASELINE, panel))
    title = f"Do the {RANK} words nearest to an object's tokens name it?"
    axes = Axes("Hidden state (0 = embeddings)", "Tokens with the word (%)", limits=(0.0, 100.0))
    return line_chart(lines, axes, size, title=title, subtitle=_subtitle(lines), columns=3)


_OWN = "tokens of the object"


def _beside(
    label: str, rows: pl.DataFrame, controls: pl.DataFrame | None, value: pl.Expr, style: int, panel: str = ""
) -> list[Line]:
    """The line of a value (a share in %), and that of its control, where there is one."""
    lines = [Line(label, _percent_curve(rows, value), style, panel=panel)]
    if controls is not None and controls.height:
        lines.append(Line(label, _percent_curve(controls, value), style, BASELINE, panel))
    return lines


def _percent_curve(rows: pl.DataFrame, value: pl.Expr) -> Curve:
    """Of a share in %, whose interval lies within 0 and 100 whatever the spread of a few inputs says."""
    found = curve(rows, value)
    return replace(found, low=np.clip(found.low, 0, 100), high=np.clip(found.high, 0, 100))


def _subtitle(lines: Sequence[Line]) -> str:
    return f"{_BANDS}; {counted([line.curve.n for line in lines if line.role == MEASURED])}."
