"""How alike spans are: similarity across layers and inside blocks, weights in common, and words."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.results.series import Curve, in_order
from chiasm.results.theme import (
    COLOURS,
    GREY,
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
from chiasm.studies.align.charts import CONTROL_NAMES, INTERVAL, STATE, table_curve

_VARIANTS = {
    "raw": "as they are",
    "centred": "each span's mean subtracted",
    "no_outliers": "without outlier dimensions",
}
_NULLS = {"null_permuted": "shuffled norms", "null_magnitude": "magnitude alone", "null_random": "random masks"}


def similarity_curves(rows: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """Cosine of mean tokens against depth: spans with themselves over pairs of examples, and with each other.

    One panel for each variant. Dashed: the controls of the pair of different spans within examples.
    """
    size = SIZES[width]
    chosen = (
        (pl.col("tap") == "residual") & (pl.col("mode") == "avg") & ~pl.col("a").str.contains("half]", literal=True)
    )
    rows = rows.filter(chosen)
    kinds = list(dict.fromkeys(rows.select("a", "b", "paired").iter_rows()))
    variants = [v for v in _VARIANTS if v in set(rows["variant"])]
    figure = new_figure(width, 2.4)
    panels = figure.subplots(1, len(variants), sharey=True, squeeze=False)[0]
    handles: list[Line2D] = []
    ns = []
    for variant, axes in zip(variants, panels, strict=True):
        lines = []
        for index, (a, b, paired) in enumerate(kinds):
            same = _kind(a, b, paired) & (pl.col("variant") == variant)
            own = table_curve(rows.filter(same))
            lines.append(draw(axes, own, index, size, _label(a, b, paired)))
            ns.append(own.n)
            if a != b and paired and controls is not None:
                for dash, name in enumerate(in_order(controls, "control")):
                    beside = controls.filter(chosen & same & (pl.col("control") == name))
                    if beside.height:
                        draw_control(axes, table_curve(beside), COLOURS[index % len(COLOURS)], dash, size)
        handles = handles or lines
        axes.axhline(0, color=INK, linewidth=0.7, zorder=1)
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / len(variants))
        y = "Cosine of mean tokens" if variant == variants[0] else ""
        dress(axes, size, x=STATE, y=y, title=_VARIANTS[variant])
    names = [] if controls is None else in_order(controls, "control")
    handles += [control_key(f"control: {CONTROL_NAMES.get(n, n)}", dash, size) for dash, n in enumerate(names)]
    legend_below(figure, handles, size, f"{INTERVAL}, {counted(ns)}")
    return figure


def inside_curves(rows: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """Cosine of the mean tokens of two different spans of one example at every tap of the block, against depth.

    Dashed: the twin, else the first control, at every tap in the tap's colour.
    """
    size = SIZES[width]
    rows = rows.filter((pl.col("mode") == "avg") & pl.col("paired"))
    a, b = rows.select("a", "b").row(0)
    rows = rows.filter((pl.col("a") == a) & (pl.col("b") == b))
    variants = [v for v in ("raw", "centred") if v in set(rows["variant"])]
    beside, name = one_control(controls, (pl.col("mode") == "avg") & pl.col("paired") & _kind(a, b, True))
    figure = new_figure(width, 2.6)
    panels = figure.subplots(1, len(variants), sharey=True, squeeze=False)[0]
    handles: list[Line2D] = []
    ns = []
    for variant, axes in zip(variants, panels, strict=True):
        lines = []
        for index, tap in enumerate(in_order(rows, "tap")):
            same = (pl.col("tap") == tap) & (pl.col("variant") == variant)
            own = table_curve(rows.filter(same))
            lines.append(draw(axes, own, index, size, tap.replace("_", " ")))
            ns.append(own.n)
            if beside is not None and (control := beside.filter(same)).height:
                draw_control(axes, table_curve(control), COLOURS[index % len(COLOURS)], 0, size)
        handles = handles or lines
        axes.axhline(0, color=INK, linewidth=0.7, zorder=1)
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / len(variants))
        y = f"Cosine of {a} and {b}" if variant == variants[0] else ""
        dress(axes, size, x="Block (residual: hidden state)", y=y, title=_VARIANTS[variant])
    handles += [control_key(f"control: {CONTROL_NAMES.get(name, name)}", 0, size)] if name else []
    legend_below(figure, handles, size, f"{INTERVAL}, {counted(ns)}")
    return figure


def overlap_curves(
    rows: pl.DataFrame,
    released: pl.DataFrame | None = None,
    controls: pl.DataFrame | None = None,
    *,
    width: Width = "page",
) -> Figure:
    """Overlap of the masks of two spans by layer, mean over matrices, with its nulls; one panel per sparsity.

    `controls`: the same of the twin and of random tokens, drawn as lines of their own.
    """
    size = SIZES[width]
    sparsities = in_order(rows, "sparsity")
    figure = new_figure(width, 2.3)
    panels = figure.subplots(1, len(sparsities), sharey=True, squeeze=False)[0]
    handles: list[Line2D] = []
    for sparsity, axes in zip(sparsities, panels, strict=True):
        own = rows.filter(pl.col("sparsity") == sparsity)
        lines = [draw(axes, _over_matrices(own, "iou"), 0, size, "masks of either span")]
        for dash, (null, label) in enumerate(_NULLS.items()):
            measured = _over_matrices(own, null)
            draw_control(axes, measured, GREY, dash, size)
            lines.append(control_key(f"null: {label}", dash, size))
        if own["ceiling"].null_count() < own.height:
            lines.append(
                draw(axes, _over_matrices(own.drop_nulls("ceiling"), "ceiling"), 2, size, "ceiling: halves of one span")
            )
        if released is not None:
            beside = released.filter(pl.col("sparsity") == sparsity)
            lines.append(draw(axes, _over_matrices(beside, "iou"), 1, size, "as released: padding counted"))
        for k, name in enumerate([] if controls is None else in_order(controls, "control")):
            assert controls is not None
            beside = controls.filter((pl.col("sparsity") == sparsity) & (pl.col("control") == name))
            if beside.height:
                dash = len(_NULLS) + k
                draw_control(axes, _over_matrices(beside, "iou"), COLOURS[0], dash, size)
                lines.append(control_key(f"control: {CONTROL_NAMES.get(name, name)}", dash, size))
        handles = handles or lines
        axes.set_ylim(0, 1)
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / len(sparsities))
        y = "Overlap of kept weights (IoU)" if sparsity == sparsities[0] else ""
        dress(axes, size, x="Layer", y=y, title=f"{100 * sparsity:.0f} % left out")
    tokens = f"{rows['tokens_a'].max():,} and {rows['tokens_b'].max():,} tokens of n = {rows['n'].min()} examples"
    legend_below(figure, handles, size, f"mean over matrices, mean bounds of 95 % intervals; norms from {tokens}")
    return figure


def vocabulary_curves(rows: pl.DataFrame, controls: pl.DataFrame | None = None, *, width: Width = "page") -> Figure:
    """Entropy of each span's distributions over the vocabulary, and divergences between spans, against depth."""
    size = SIZES[width]
    figure = new_figure(width, 2.3)
    panels = figure.subplots(1, 2)
    between = ~pl.col("against").str.starts_with("state ")
    kinds = [
        (panels[0], rows.filter(pl.col("quantity") == "entropy"), "Entropy (nat)"),
        (panels[1], rows.filter(between & (pl.col("quantity") != "entropy")), "Divergence (nat)"),
    ]
    handles: list[Line2D] = []
    ns = []
    for axes, shown, y in kinds:
        for span, quantity, against in dict.fromkeys(shown.select("span", "quantity", "against").iter_rows()):
            same = (pl.col("span") == span) & (pl.col("quantity") == quantity) & (pl.col("against") == against)
            own = table_curve(shown.filter(same))
            index = len(handles)
            handles.append(draw(axes, own, index, size, _words(span, quantity, against)))
            ns.append(own.n)
            for dash, name in enumerate([] if controls is None else in_order(controls, "control")):
                assert controls is not None
                beside = controls.filter(same & (pl.col("control") == name))
                if beside.height:
                    draw_control(axes, table_curve(beside), COLOURS[index % len(COLOURS)], dash, size)
        layer_axis(axes, int(rows["layer"].max() or 0), size.inches / 2)
        dress(axes, size, x=STATE, y=y)
    names = [] if controls is None else in_order(controls, "control")
    handles += [control_key(f"control: {CONTROL_NAMES.get(n, n)}", dash, size) for dash, n in enumerate(names)]
    legend_below(figure, handles, size, f"{INTERVAL}, {counted(ns)}")
    return figure


def _over_matrices(rows: pl.DataFrame, column: str) -> Curve:
    """Mean over matrices; of `iou` with the mean of its bounds, as if all matrices were wrong together."""
    bounds = ("low", "high") if column == "iou" else (column, column)
    found = (pl.col(c).mean().alias(name) for c, name in zip((column, *bounds), ("mean", "low", "high"), strict=True))
    return table_curve(rows.group_by("layer").agg(*found, pl.col("n").min()))


def one_control(controls: pl.DataFrame | None, chosen: pl.Expr) -> tuple[pl.DataFrame | None, str]:
    """Rows of the twin, else of the first control there is, and its name: all of them at seven taps hide each other."""
    names = [] if controls is None else in_order(controls, "control")
    if controls is None or not names:
        return None, ""
    name = "twin" if "twin" in names else str(names[0])
    return controls.filter(chosen & (pl.col("control") == name)), name


def _kind(a: str, b: str, paired: bool) -> pl.Expr:
    return (pl.col("a") == a) & (pl.col("b") == b) & (pl.col("paired") == paired)


def _label(a: str, b: str, paired: bool) -> str:
    if paired:
        return f"{a}, {b} of one example"
    return f"{a} of two examples" if a == b else f"{a}, {b} of two examples"


def _words(span: str, quantity: str, against: str) -> str:
    if quantity == "entropy":
        return f"entropy, {span}"
    name = {"kl": "KL", "js": "JS", "kl_sticky": "KL as released"}.get(quantity, quantity)
    return f"{name}: {span} from {against}" if quantity != "js" else f"{name}: {span}, {against}"
