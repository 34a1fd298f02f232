"""Alignment over depth: how large tokens are, how fast they change, how near spans are to each other."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.results.panels import Panels
from chiasm.results.series import in_order
from chiasm.results.theme import COLOURS, INK, zero_line
from chiasm.studies.align.charts.panels import (
    BANDS,
    CONTROL_LABELS,
    NO_INTERVAL,
    STATE,
    DepthPanels,
    control_names,
    has_intervals,
    logarithmic,
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


def norm_curves(norms: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """Median norm over the tokens of each span, against depth; bands are one standard deviation over examples."""
    beside = None if controls is None else median_norms(controls)
    panels = DepthPanels(median_norms(norms), beside, 2.0, width="column")
    (axes,) = panels.axes
    for span in in_order(panels.rows, "span"):
        panels.line(axes, span, span=span)
    logarithmic(axes, (1, 2, 5))
    panels.dress(axes, x=STATE, y="Norm of a token (median)", layers=panels.rows)
    several = norms["std"].is_not_null().any()
    return panels.finished("mean and standard deviation over examples" if several else NO_INTERVAL)


def drift_curves(drift: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """Cosine of tokens with themselves some layers later, one panel per gap."""
    gaps = in_order(drift, "gap")
    panels = DepthPanels(drift, controls, 2.2, len(gaps))
    for gap, axes in zip(gaps, panels.axes, strict=True):
        for span in in_order(drift, "span"):
            panels.line(axes, span, gap=gap, span=span)
        y, title = "Cosine with itself" if gap == gaps[0] else "", f"state k with state k + {gap}"
        panels.dress(axes, x=STATE, y=y, title=title, layers=drift.filter(gap=gap))
    return panels.finished()


def released_gap(rows: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """Drift of mean tokens as released (all pairs of examples, dashed) and paired by example, one layer apart.

    One panel for the model, one for each control.
    """
    names = control_names(controls)
    panels = Panels(2.2, 1 + len(names), sharey=True)
    for axes, name in zip(panels.axes, ("", *names), strict=True):
        of_one = rows if controls is None or not name else controls.filter(control=name)
        first = of_one.filter(gap=rows["gap"].min())
        for span in in_order(rows, "span"):
            own = first.filter(span=span)
            paired = own.with_columns(mean="paired", low=None, high=None)
            panels.curve(axes, f"{span}, paired", table_curve(paired), table_curve(own))
        # Four panels share the width: on one line the titles would run into each other.
        title = f"control:\n{CONTROL_LABELS.get(name, name)}" if name else "model"
        y = "Cosine of mean tokens" if not name else ""
        panels.dress(axes, x="Hidden state", y=y, title=title, layers=first)
    bands = f"bands: {BANDS}" if has_intervals(rows) else NO_INTERVAL
    return panels.legend(f"{bands}, {panels.counted}", "as released: all pairs of examples")


def score_bars(score: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """The alignment scores with their intervals, and the controls as open marks."""
    kinds = score.select("a", "b", "name", "statistic").unique(maintain_order=True).to_dicts()
    panels = Panels(0.5 + 0.22 * len(kinds), width="column")
    (axes,) = panels.axes
    several = score.select("a", "b").n_unique() > 1
    shown = {"model": score}
    if controls is not None:
        shown |= {CONTROL_LABELS.get(one, one): controls.filter(control=one) for one in control_names(controls)}
    styles = [
        {"color": COLOURS[k], "marker": "s" if k else "o", "markersize": 3, "linewidth": 0.9} for k in range(len(shown))
    ]
    for y, kind in enumerate(kinds):
        for k, (rows, style) in enumerate(zip(shown.values(), styles, strict=True)):
            for row in rows.filter(**kind).iter_rows(named=True):
                bar = None if row["low"] is None else [[row["value"] - row["low"]], [row["high"] - row["value"]]]
                axes.errorbar(
                    row["value"], y + 0.18 * (k - (len(shown) - 1) / 2), xerr=bar, capsize=2, zorder=3, **style
                )
    panels.handles = {label: Line2D([], [], label=label, **style) for label, style in zip(shown, styles, strict=True)}
    labels = [f"{k['name']}, {k['statistic'].replace('_', ' ')}" for k in kinds]
    if several:
        labels = [f"{label} ({k['a']}, {k['b']})" for label, k in zip(labels, kinds, strict=True)]
    axes.set_yticks(range(len(kinds)), labels)
    axes.set_ylim(len(kinds) - 0.5, -0.5)
    axes.axvline(0, color=INK, linewidth=0.7, zorder=1)
    panels.dress(axes, x="Cosine")
    title = "95 % intervals" if score["low"].is_not_null().any() else NO_INTERVAL
    return panels.legend(f"{title}, n = {score['n'].min()}")


def similarity_curves(rows: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """Cosine of mean tokens against depth: spans with themselves over pairs of examples, and with each other.

    One panel for each variant. Dashed: the controls of the pair of different spans within examples.
    """
    halves = pl.col("a").str.contains("half]", literal=True)
    chosen = (pl.col("tap") == "residual") & (pl.col("mode") == "avg") & ~halves
    rows, beside = rows.filter(chosen), None if controls is None else controls.filter(chosen)
    kinds = rows.select("a", "b", "paired").unique(maintain_order=True).to_dicts()
    variants = [v for v in _VARIANTS if v in set(rows["variant"])]
    if _same(rows, "raw", "no_outliers"):  # There were none: the panel would repeat the first.
        variants.remove("no_outliers")
    panels = DepthPanels(rows, beside, 2.4, len(variants))
    for variant, axes in zip(variants, panels.axes, strict=True):
        for kind in kinds:
            controlled = kind["a"] != kind["b"] and kind["paired"]
            panels.line(axes, _pair_label(**kind), controlled=controlled, variant=variant, **kind)
        zero_line(axes)
        y = "Cosine of mean tokens" if variant == variants[0] else ""
        panels.dress(axes, x=STATE, y=y, title=_VARIANTS[variant], layers=rows)
    return panels.finished()


def _same(rows: pl.DataFrame, one: str, other: str) -> bool:
    """Whether two variants hold the same values, so that nothing tells them apart."""
    keys = ["a", "b", "layer", "paired"]
    sides = [rows.filter(variant=name).select(*keys, pl.col("mean").alias(name)) for name in (one, other)]
    joined = sides[0].join(sides[1], on=keys)
    return joined.height > 0 and bool(((joined[one] - joined[other]).abs() <= 1e-9).all())


def inside_curves(rows: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """Cosine of the mean tokens of two different spans of one example at every place in the block, against depth.

    Dashed: the random-weights baseline, else the first control, at every place in that place's colour.
    """
    pair = {"mode": "avg", "paired": True}
    pair |= rows.filter(**pair).select("a", "b").row(0, named=True)
    rows = rows.filter(**pair)
    variants = [v for v in ("raw", "centred") if v in set(rows["variant"])]
    panels = DepthPanels(rows, one_control(controls, **pair), 2.6, len(variants))
    for variant, axes in zip(variants, panels.axes, strict=True):
        for tap in in_order(rows, "tap"):
            panels.line(axes, _PLACES.get(tap, tap.replace("_", " ")), tap=tap, variant=variant)
        zero_line(axes)
        y = f"Cosine of {pair['a']} and {pair['b']}" if variant == variants[0] else ""
        panels.dress(axes, x="Block (of the residual stream: hidden state)", y=y, title=_VARIANTS[variant], layers=rows)
    return panels.finished()


def vocabulary_curves(rows: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """Entropy of each span's distributions over the vocabulary, and divergences between spans, against depth."""
    panels = DepthPanels(rows, controls, 2.3, 2, sharey=False)
    entropy, between = pl.col("quantity") == "entropy", ~pl.col("against").str.starts_with("state ")
    for axes, chosen, y in zip(
        panels.axes,
        (entropy, between & ~entropy),
        ("Entropy of a token's words (nat)", "Divergence of words (nat)"),
        strict=True,
    ):
        for kind in rows.filter(chosen).select("span", "quantity", "against").unique(maintain_order=True).to_dicts():
            panels.line(axes, _quantity_label(**kind), **kind)
        panels.dress(axes, x=STATE, y=y, layers=rows)
    return panels.finished()


def shape_curves(geometry: pl.DataFrame, controls: pl.DataFrame | None = None) -> Figure:
    """How narrow the cones are, how many dimensions mean tokens fill, and how alike the two spans are."""
    quantities = {
        "narrowness": "Cosine to mean direction",
        "effective_rank": "Effective rank",
        "cka": "Linear CKA (unbiased)",
    }
    panels = DepthPanels(geometry, controls, 2.3, len(quantities), sharey=False)
    for axes, (quantity, y) in zip(panels.axes, quantities.items(), strict=True):
        rows = geometry.filter(quantity=quantity)
        for span, against in rows.select("span", "against").unique(maintain_order=True).iter_rows():
            label = f"CKA of {span} and {against}" if against else span
            panels.line(axes, label, quantity=quantity, span=span, against=against)
        panels.dress(axes, x=STATE if quantity == "narrowness" else "Hidden state", y=y, layers=rows)
    return panels.finished()


def _pair_label(a: str, b: str, paired: bool) -> str:
    if paired:
        return f"{a}, {b} of one example"
    return f"{a} of two examples" if a == b else f"{a}, {b} of two examples"


def _quantity_label(span: str, quantity: str, against: str) -> str:
    if quantity == "entropy":
        return f"entropy, {span}"
    name = {"kl": "KL", "js": "JS", "kl_sticky": "KL as released"}.get(quantity, quantity)
    return f"{name}: {span} from {against}" if quantity != "js" else f"{name}: {span}, {against}"
