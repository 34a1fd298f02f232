"""Alignment over depth: how large tokens are, how fast they change, how near spans are to each other."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.results.series import in_order
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
from chiasm.studies.align.charts.panels import (
    CONTROL_LABELS,
    STATE,
    DepthPanels,
    control_names,
    logarithmic,
    median_norms,
    one_control,
    table_curve,
)

_VARIANTS = {
    "raw": "as they are",
    "centred": "each span's mean subtracted",
    "no_outliers": "without outlier dimensions",
}


def norm_curves(norms: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "column") -> Figure:
    """Median norm over the tokens of each span, against depth; bands are one standard deviation over examples."""
    beside = None if controls is None else median_norms(controls)
    panels = DepthPanels(median_norms(norms), beside, width, 2.5 if width == "page" else 2.0)
    (axes,) = panels.axes
    for span in in_order(panels.rows, "span"):
        panels.line(axes, pl.col("span") == span, span)
    logarithmic(axes, (1, 2, 5))
    panels.dress(axes, x=STATE, y="Norm of a token (median)")
    panels.legend("mean and standard deviation over examples")
    return panels.figure


def drift_curves(drift: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """Cosine of tokens with themselves some layers later, one panel per gap."""
    gaps = in_order(drift, "gap")
    panels = DepthPanels(drift, controls, width, 2.2, len(gaps))
    for gap, axes in zip(gaps, panels.axes, strict=True):
        for span in in_order(drift, "span"):
            panels.line(axes, (pl.col("gap") == gap) & (pl.col("span") == span), span)
        y, title = "Cosine" if gap == gaps[0] else "", f"state k with state k + {gap}"
        panels.dress(axes, x=STATE, y=y, title=title, rows=drift.filter(pl.col("gap") == gap))
    panels.legend()
    return panels.figure


def released_gap(rows: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """Drift of mean tokens as released (all pairs of examples, dashed) and paired by example, one layer apart.

    One panel for the model, one for each control.
    """
    size = SIZES[width]
    names = control_names(controls)
    figure = new_figure(width, 2.2)
    panels = figure.subplots(1, 1 + len(names), sharey=True, squeeze=False)[0]
    handles: dict[str, Line2D] = {}
    ns = []
    for axes, name in zip(panels, ("", *names), strict=True):
        of_one = rows if controls is None or not name else controls.filter(pl.col("control") == name)
        first = of_one.filter(pl.col("gap") == rows["gap"].min())
        for index, span in enumerate(in_order(rows, "span")):
            released = table_curve(first.filter(pl.col("span") == span))
            paired = table_curve(first.filter(pl.col("span") == span).with_columns(mean="paired", low=None, high=None))
            handles[span] = draw(axes, paired, index, size, f"{span}, paired")
            draw_control(axes, released, COLOURS[index], 0, size)
            ns.append(released.n)
        layer_axis(axes, int(first["layer"].max() or 0), size.inches / len(panels))
        # Four panels share the width: on one line the titles would run into each other.
        title = f"control:\n{CONTROL_LABELS.get(name, name)}" if name else "model"
        dress(axes, size, x="Hidden state", y="Cosine of mean tokens" if not name else "", title=title)
    keys = [*handles.values(), control_key("as released: all pairs of examples", 0, size)]
    legend_below(figure, keys, size, f"bands: 95 % jackknife interval, {counted(ns)}")
    return figure


def score_bars(score: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "column") -> Figure:
    """The alignment scores with their intervals, and the controls as open marks."""
    size = SIZES[width]
    kinds = list(dict.fromkeys(score.select("a", "b", "name", "statistic").iter_rows()))
    figure = new_figure(width, 0.5 + 0.22 * len(kinds))
    axes = figure.add_subplot()
    several = len({kind[:2] for kind in kinds}) > 1
    shown = [("model", score, "o")]
    for control in control_names(controls):
        assert controls is not None
        label = CONTROL_LABELS.get(control, control)
        shown.append((label, controls.filter(pl.col("control") == control), "s"))
    for y, (a, b, name, statistic) in enumerate(kinds):
        chosen = (pl.col("a") == a) & (pl.col("b") == b) & (pl.col("name") == name) & (pl.col("statistic") == statistic)
        for k, (_, rows, marker) in enumerate(shown):
            _mark(axes, rows.filter(chosen), y + 0.2 * k, COLOURS[k], marker)
    labels = [f"{name}, {s.replace('_', ' ')}" + (f" ({a}, {b})" if several else "") for a, b, name, s in kinds]
    axes.set_yticks(range(len(kinds)), labels)
    axes.set_ylim(len(kinds) - 0.2, -0.5)
    axes.axvline(0, color=INK, linewidth=0.7, zorder=1)
    dress(axes, size, x="Cosine of perceptual and textual tokens")
    handles = [
        Line2D([], [], color=COLOURS[k], marker=marker, markersize=3, linewidth=0.9, label=label)
        for k, (label, _, marker) in enumerate(shown)
    ]
    legend_below(figure, handles, size, f"95 % intervals, n = {score['n'].min()}")
    return figure


def similarity_curves(rows: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """Cosine of mean tokens against depth: spans with themselves over pairs of examples, and with each other.

    One panel for each variant. Dashed: the controls of the pair of different spans within examples.
    """
    halves = pl.col("a").str.contains("half]", literal=True)
    chosen = (pl.col("tap") == "residual") & (pl.col("mode") == "avg") & ~halves
    rows, beside = rows.filter(chosen), None if controls is None else controls.filter(chosen)
    kinds = list(dict.fromkeys(rows.select("a", "b", "paired").iter_rows()))
    variants = [v for v in _VARIANTS if v in set(rows["variant"])]
    panels = DepthPanels(rows, beside, width, 2.4, len(variants))
    for variant, axes in zip(variants, panels.axes, strict=True):
        for a, b, paired in kinds:
            same = _pair(a, b, paired) & (pl.col("variant") == variant)
            panels.line(axes, same, _pair_label(a, b, paired), controlled=a != b and paired)
        axes.axhline(0, color=INK, linewidth=0.7, zorder=1)
        y = "Cosine of mean tokens" if variant == variants[0] else ""
        panels.dress(axes, x=STATE, y=y, title=_VARIANTS[variant])
    panels.legend()
    return panels.figure


def inside_curves(rows: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """Cosine of the mean tokens of two different spans of one example at every tap of the block, against depth.

    Dashed: the random-weights baseline, else the first control, at every tap in the tap's colour.
    """
    chosen = (pl.col("mode") == "avg") & pl.col("paired")
    a, b = rows.filter(chosen).select("a", "b").row(0)
    chosen &= _pair(a, b, True)
    rows = rows.filter(chosen)
    variants = [v for v in ("raw", "centred") if v in set(rows["variant"])]
    panels = DepthPanels(rows, one_control(controls, chosen), width, 2.6, len(variants))
    for variant, axes in zip(variants, panels.axes, strict=True):
        for tap in in_order(rows, "tap"):
            panels.line(axes, (pl.col("tap") == tap) & (pl.col("variant") == variant), tap.replace("_", " "))
        axes.axhline(0, color=INK, linewidth=0.7, zorder=1)
        y = f"Cosine of {a} and {b}" if variant == variants[0] else ""
        panels.dress(axes, x="Block (residual: hidden state)", y=y, title=_VARIANTS[variant])
    panels.legend()
    return panels.figure


def vocabulary_curves(rows: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """Entropy of each span's distributions over the vocabulary, and divergences between spans, against depth."""
    panels = DepthPanels(rows, controls, width, 2.3, 2, sharey=False)
    entropy, between = pl.col("quantity") == "entropy", ~pl.col("against").str.starts_with("state ")
    for axes, chosen, y in zip(
        panels.axes, (entropy, between & ~entropy), ("Entropy (nat)", "Divergence (nat)"), strict=True
    ):
        kinds = dict.fromkeys(rows.filter(chosen).select("span", "quantity", "against").iter_rows())
        for span, quantity, against in kinds:
            same = (pl.col("span") == span) & (pl.col("quantity") == quantity) & (pl.col("against") == against)
            panels.line(axes, same, _quantity_label(span, quantity, against))
        panels.dress(axes, x=STATE, y=y)
    panels.legend()
    return panels.figure


def shape_curves(geometry: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """How narrow the cones are, how many dimensions mean tokens fill, and how alike the two spans are."""
    quantities = {
        "narrowness": "Cosine to mean direction",
        "effective_rank": "Effective rank",
        "cka": "Linear CKA (unbiased)",
    }
    panels = DepthPanels(geometry, controls, width, 2.3, len(quantities), sharey=False)
    for axes, (quantity, y) in zip(panels.axes, quantities.items(), strict=True):
        rows = geometry.filter(pl.col("quantity") == quantity)
        for span, against in dict.fromkeys(rows.select("span", "against").iter_rows()):
            same = (pl.col("quantity") == quantity) & (pl.col("span") == span) & (pl.col("against") == against)
            panels.line(axes, same, f"{span}, {against}" if against else span)
        panels.dress(axes, x=STATE if quantity == "narrowness" else "Hidden state", y=y, rows=rows)
    panels.legend()
    return panels.figure


def _mark(axes: Axes, rows: pl.DataFrame, y: float, colour: str, marker: str) -> None:
    for row in rows.iter_rows(named=True):
        low, high = row["low"], row["high"]
        bar = None if low is None else [[row["value"] - low], [high - row["value"]]]
        axes.errorbar(
            row["value"], y, xerr=bar, color=colour, marker=marker, markersize=3, linewidth=0.9, capsize=2, zorder=3
        )


def _pair(a: str, b: str, paired: bool) -> pl.Expr:
    return (pl.col("a") == a) & (pl.col("b") == b) & (pl.col("paired") == paired)


def _pair_label(a: str, b: str, paired: bool) -> str:
    if paired:
        return f"{a}, {b} of one example"
    return f"{a} of two examples" if a == b else f"{a}, {b} of two examples"


def _quantity_label(span: str, quantity: str, against: str) -> str:
    if quantity == "entropy":
        return f"entropy, {span}"
    name = {"kl": "KL", "js": "JS", "kl_sticky": "KL as released"}.get(quantity, quantity)
    return f"{name}: {span} from {against}" if quantity != "js" else f"{name}: {span}, {against}"
