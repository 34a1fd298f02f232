"""Alignment over depth: how large tokens are, how fast they change, how near spans are to each other."""

from typing import Final

import numpy as np
import polars as pl

from chiasm.results.charts.dots import Dot, dots_chart
from chiasm.results.charts.lines import MEASURED, Axes, Chart, Line, line_chart
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.theme import Size, counted, cut_style, span_style
from chiasm.results.series import in_order
from chiasm.studies.align.charts.panels import (
    NO_INTERVAL,
    STATE,
    control_label,
    control_names,
    depth_lines,
    distinct_styles,
    lines_text,
    median_norms,
    one_control,
    table_curve,
)

_PLACES = {
    "residual": "residual stream",
    "norm1": "after the first norm",
    "attention": "output of attention",
    "attention_added": "attention added",
    "norm2": "after the second norm",
    "gate_up": "gated product",
    "down": "last projection",
}
_VARIANTS = {
    "raw": "as they are",
    "centred": "each span's mean subtracted",
    "no_outliers": "without outlier dimensions",
}
_QUANTITIES = {
    "narrowness": "cosine to the mean direction",
    "effective_rank": "effective rank (dimensions)",
    "cka": "linear CKA (unbiased)",
}
SHUFFLED: Final = "shuffled pairs"
AS_RELEASED: Final = "all pairs of examples, as released"


def norm_curves(norms: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """Median norm over the tokens of each span, against depth; bands are one standard deviation over examples."""
    rows, beside = median_norms(norms), None if controls is None else median_norms(controls)
    lines = [
        one for span in in_order(rows, "span") for one in depth_lines(span, span_style(span), rows, beside, span=span)
    ]
    axes = Axes(STATE, "Median norm of a token", log=True, bounds="± 1 SD")
    spread = "bands: one standard deviation over examples" if norms["std"].is_not_null().any() else NO_INTERVAL
    title = "Are tokens of the kinds equally large?"
    return line_chart(lines, axes, size, title=title, subtitle=lines_text(lines, rows, spread), legend="tokens of")


def drift_curves(drift: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """Cosine of tokens with themselves some layers later, one panel per gap."""
    lines = [
        line
        for gap in in_order(drift, "gap")
        for span in in_order(drift, "span")
        for line in depth_lines(
            span, span_style(span), drift, controls, f"state k with state k + {gap}", gap=gap, span=span
        )
    ]
    axes, title = Axes(STATE, "Cosine with itself"), "How fast do tokens change from state to state?"
    return line_chart(lines, axes, size, title=title, subtitle=lines_text(lines, drift), legend="tokens of", columns=2)


def released_gap(rows: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """Drift of mean tokens as released (all pairs of examples, dashed) and paired by example, one layer apart.

    One panel for the model, one for each control.
    """
    lines = []
    for name in ("", *control_names(controls)):
        of_one = rows if controls is None or not name else controls.filter(control=name)
        first = of_one.filter(gap=rows["gap"].min())
        panel = f"control: {control_label(name)}" if name else "model"
        for span in in_order(rows, "span"):
            own = first.filter(span=span)
            paired = own.with_columns(mean="paired", low=None, high=None)
            lines.append(Line(span, table_curve(paired), span_style(span), panel=panel))
            lines.append(Line(span, table_curve(own), span_style(span), AS_RELEASED, panel))
    axes, title = Axes("Hidden state", "Cosine of mean tokens"), "Does averaging over all pairs hide how tokens change?"
    return line_chart(lines, axes, size, title=title, subtitle=lines_text(lines, rows), legend="tokens of", columns=2)


def score_dots(score: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """The alignment scores with their intervals, and those of the controls."""
    shown = {"model": score}
    for name in control_names(controls):
        assert controls is not None
        shown[control_label(name)] = controls.filter(control=name)
    several = score.select("a", "b").n_unique() > 1
    dots = []
    for kind in score.select("a", "b", "name", "statistic").unique(maintain_order=True).to_dicts():
        row = f"{kind['name']}, {kind['statistic'].replace('_', ' ')}"
        row += f" ({kind['a']}, {kind['b']})" if several else ""
        for label, rows in shown.items():
            for one in rows.filter(**kind).iter_rows(named=True):
                low, high = (np.nan if one[side] is None else one[side] for side in ("low", "high"))
                dots.append(Dot(row, one["value"], low, high, one["n"], label))
    marks = [Mark(label, style=0 if k == 0 else None, control=k > 0) for k, label in enumerate(shown)]
    bars = "bars: 95 % intervals" if score["low"].is_not_null().any() else NO_INTERVAL
    spans = " and ".join(dict.fromkeys(score.select("a", "b").row(0))) if not several else "the spans"
    text = f"Cosines of tokens of {spans}, mean over hidden states; {bars}; {counted(score['n'].to_list())}."
    scale = Scale("Cosine", reference=0.0)
    return dots_chart(dots, [scale], marks, size, title="How well are the kinds aligned?", subtitle=text)


def similarity_curves(rows: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """Cosine of mean tokens against depth: spans with themselves over pairs of examples, and with each other.

    One panel for each variant. Dashed: the controls of the pair of different spans within examples.
    """
    halves = pl.col("a").str.contains("half]", literal=True)
    chosen = (pl.col("tap") == "residual") & (pl.col("mode") == "avg") & ~halves
    rows, beside = rows.filter(chosen), None if controls is None else controls.filter(chosen)
    kinds = {
        _pair_label(**kind): kind for kind in rows.select("a", "b", "paired").unique(maintain_order=True).to_dicts()
    }
    styles = distinct_styles({label: _pair_style(**kind) for label, kind in kinds.items()})
    variants = [v for v in _VARIANTS if v in set(rows["variant"])]
    if _same(rows, "raw", "no_outliers"):  # There were none: the panel would repeat the first.
        variants.remove("no_outliers")
    lines = []
    for variant in variants:
        for label, kind in kinds.items():
            controlled = beside if kind["a"] != kind["b"] and kind["paired"] else None
            lines += depth_lines(label, styles[label], rows, controlled, _VARIANTS[variant], variant=variant, **kind)
    axes = Axes(STATE, "Cosine of mean tokens", reference=0.0)
    title = "At which depth do tokens of the kinds point the same way?"
    return line_chart(
        lines, axes, size, title=title, subtitle=lines_text(lines, rows), legend="mean tokens of", columns=3
    )


def _same(rows: pl.DataFrame, one: str, other: str) -> bool:
    """Whether two variants hold the same values, so that nothing tells them apart."""
    keys = ["a", "b", "layer", "paired"]
    sides = [rows.filter(variant=name).select(*keys, pl.col("mean").alias(name)) for name in (one, other)]
    joined = sides[0].join(sides[1], on=keys)
    return joined.height > 0 and bool(((joined[one] - joined[other]).abs() <= 1e-9).all())


def inside_curves(rows: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """Cosine of the mean tokens of two different spans of one example at every place in the block, against depth.

    Dashed: the random-weights baseline, else the first control, at every place in that place's colour.
    """
    pair = {"mode": "avg", "paired": True}
    pair |= rows.filter(**pair).select("a", "b").row(0, named=True)
    rows, beside, lines = rows.filter(**pair), one_control(controls, **pair), []
    for variant in [v for v in ("raw", "centred") if v in set(rows["variant"])]:
        for number, tap in enumerate(in_order(rows, "tap")):
            label = _PLACES.get(tap, tap.replace("_", " "))
            lines += depth_lines(label, number, rows, beside, _VARIANTS[variant], tap=tap, variant=variant)
    axes = Axes("Block (of the residual stream: hidden state)", f"Cosine of {pair['a']} and {pair['b']}", reference=0.0)
    title = "Where inside the blocks do tokens of the kinds come together?"
    return line_chart(lines, axes, size, title=title, subtitle=lines_text(lines, rows), columns=2)


def vocabulary_curves(rows: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """Entropy of each span's distributions over the vocabulary, and divergences between spans, against depth."""
    entropy, between = pl.col("quantity") == "entropy", ~pl.col("against").str.starts_with("state ")
    lines = []
    for chosen, panel in (
        (entropy, "entropy of a token's words (nat)"),
        (between & ~entropy, "divergence of mean distributions (nat)"),
    ):
        kinds = rows.filter(chosen).select("span", "quantity", "against").unique(maintain_order=True).to_dicts()
        styles = distinct_styles({_quantity_label(**kind): span_style(kind["span"]) for kind in kinds})
        for kind in kinds:
            label = _quantity_label(**kind)
            lines += depth_lines(label, styles[label], rows, controls, panel, **kind)
    axes = Axes(STATE, "", own_scales=True)
    title = "How sure are tokens of their words, and do the kinds say the same ones?"
    return line_chart(lines, axes, size, title=title, subtitle=lines_text(lines, rows), columns=2)


def shape_curves(geometry: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """How narrow the cones are, how many dimensions mean tokens fill, and how alike the two spans are."""
    lines = []
    for quantity, panel in _QUANTITIES.items():
        kinds = geometry.filter(quantity=quantity).select("span", "against").unique(maintain_order=True)
        for span, against in kinds.iter_rows():
            label = f"CKA of {span} and {against}" if against else span
            style = cut_style(f"{span}->{against}") if against else span_style(span)
            lines += depth_lines(label, style, geometry, controls, panel, quantity=quantity, span=span, against=against)
    title = "How narrow are the cones that tokens lie in, and how alike their shapes?"
    axes = Axes(STATE, "", own_scales=True)
    return line_chart(
        lines, axes, size, title=title, subtitle=lines_text(lines, geometry), legend="tokens of", columns=3
    )


def neighbour_curves(geometry: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """Share of nearest neighbours that two spans have in common against depth, beside shuffled pairs and controls."""
    rows = geometry.filter(quantity="neighbours")
    lines = _between(rows, controls, "neighbours")
    for line in [line for line in lines if line.role == MEASURED]:
        a, b = line.label.split(" and ")
        chance = geometry.filter(quantity="neighbours_shuffled", span=a, against=b)
        lines.append(Line(line.label, table_curve(chance), line.style, SHUFFLED))
    axes, title = Axes(STATE, "Neighbours in common (share)"), "Do the kinds hold the same examples near?"
    return line_chart(lines, axes, size, title=title, subtitle=lines_text(lines, rows))


def gap_curves(geometry: pl.DataFrame, controls: pl.DataFrame | None, size: Size) -> Chart:
    """Share of the variance of mean tokens that lies between the two spans' means, against depth."""
    rows = geometry.filter(quantity="gap_share")
    lines = _between(rows, controls, "gap_share")
    axes = Axes(STATE, "Variance between the kinds (share)")
    title = "How much of what tells mean tokens apart is their kind?"
    return line_chart(lines, axes, size, title=title, subtitle=lines_text(lines, rows))


def _between(rows: pl.DataFrame, controls: pl.DataFrame | None, quantity: str) -> list[Line]:
    """The lines of a quantity of every two spans, and of their controls."""
    pairs = list(rows.select("span", "against").unique(maintain_order=True).iter_rows())
    styles = distinct_styles({f"{a} and {b}": cut_style(f"{a}->{b}") for a, b in pairs})
    return [
        line
        for a, b in pairs
        for line in depth_lines(
            f"{a} and {b}", styles[f"{a} and {b}"], rows, controls, quantity=quantity, span=a, against=b
        )
    ]


def _pair_label(a: str, b: str, paired: bool) -> str:
    if paired:
        return f"{a}, {b} of one example"
    return f"{a} of two examples" if a == b else f"{a}, {b} of two examples"


def _pair_style(a: str, b: str, paired: bool) -> int:
    """One span with itself has its colour, two spans of one example that of the cut between them."""
    return span_style(a) if a == b else cut_style(f"{a}->{b}") + (0 if paired else 1)


def _quantity_label(span: str, quantity: str, against: str) -> str:
    if quantity == "entropy":
        return f"entropy, {span}"
    name = {"kl": "KL", "js": "JS", "kl_sticky": "KL as released"}.get(quantity, quantity)
    return f"{name}: {span} from {against}" if quantity != "js" else f"{name}: {span}, {against}"
