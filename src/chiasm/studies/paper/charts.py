"""The alignment paper's figures for one's own models. Numbers in names are the paper's."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from chiasm.core.spans import is_perceptual
from chiasm.core.statistics.correlation import correlate
from chiasm.results.charts.lines import MEASURED, Axes, Chart, Line, line_chart
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.points import Plane, points_chart
from chiasm.results.charts.theme import Size, counted, span_style
from chiasm.results.series import Curve, in_order
from chiasm.studies.align.charts.panels import BASELINE, INTERVAL, STATE, median_norms, pooled_curve, table_curve
from chiasm.studies.align.charts.tokens import scatter
from chiasm.studies.compare.charts import heights, model_point
from chiasm.studies.compare.findings import ENOUGH
from chiasm.studies.paper.findings import between_kinds, cosines

_PAIRS = (
    ("P vs P: other data", "PP"),
    ("T vs T: other data", "TT"),
    ("P vs T: same data", "PT"),
    ("p vs p: halves", "pp"),
    ("t vs t: halves", "tt"),
)
_HALF = " [first half]"
_NULLS = {"null_permuted": "shuffled norms", "null_magnitude": "magnitude alone", "null_random": "random masks"}
_COUNTED = Mark(f"control, not counted: {BASELINE}", None, control=True)


def pairs_chart(rows: pl.DataFrame, size: Size, *, model: str, baseline: str | None) -> Chart:
    """Figure 2, left: how near kinds of tokens are to their own kind and to others, over pairs of examples."""
    rows, lines = cosines(rows), []
    for style, (label, kind) in enumerate(_PAIRS):
        own, beside = (_of_kind(_of_model(rows, name), kind) for name in (model, baseline))
        if own.height:
            lines.append(Line(label, pooled_curve(own), style))
            lines += [Line(label, pooled_curve(beside), style, BASELINE)] if beside.height else []
    return line_chart(
        lines,
        Axes(STATE, "Cosine of mean tokens", reference=0.0),
        size,
        title="Are tokens nearer to their own kind than to the other?",
        subtitle=f"P: perceptual, T: text; lines: {INTERVAL} (of several pairs: mean bounds); {_n(lines)}.",
        legend="pairs",
    )


def map_chart(places: pl.DataFrame, size: Size, *, model: str) -> Chart:
    """Figure 2, right: t-SNE of mean tokens at the depth next to three quarters."""
    places = places.filter(model=model, method="tsne")
    layers = sorted(in_order(places, "layer"))
    layer = layers[len(layers) // 2]
    here = places.filter(layer=layer)
    said = "Points: mean tokens of one example, by t-SNE; thin lines join those of one example; "
    said += f"n = {here['example_id'].n_unique()}. Distances between groups mean nothing."
    title = "Do kinds of tokens lie apart?"
    return scatter({f"state {layer}": here}, size, title=title, subtitle=said, columns=2)


def drift_chart(drift: pl.DataFrame, size: Size, *, models: Sequence[str], baselines: Mapping[str, str]) -> Chart:
    """Figure 3, below: change of both kinds of tokens from one state to the next, a panel for each model.

    `baselines`: the model with random weights that stands beside a model, where there is one.
    """
    lines = _by_span(drift.filter(gap=drift["gap"].min()), models, baselines)
    axes = Axes(STATE, "Cosine with itself, one block later")
    title, said = "How much does each block change the tokens?", f"Lines: {INTERVAL}; {_n(lines)}."
    return line_chart(lines, axes, size, title=title, subtitle=said, columns=2, legend="tokens")


def norms_chart(norms: pl.DataFrame, size: Size, *, models: Sequence[str], baselines: Mapping[str, str]) -> Chart:
    """Figure 3, above: norms of both kinds of tokens, a panel for each model."""
    lines = _by_span(median_norms(norms), models, baselines)
    said = f"Medians over tokens, mean and standard deviation over examples; {_n(lines)}."
    axes = Axes(STATE, "Norm of a token (median)", bounds="one standard deviation", log=True)
    title = "Do both kinds of tokens have the same norms?"
    return line_chart(lines, axes, size, title=title, subtitle=said, columns=2, legend="tokens")


def _by_span(rows: pl.DataFrame, models: Sequence[str], baselines: Mapping[str, str]) -> list[Line]:
    lines = []
    for model in models:
        own = _of_model(rows, model)
        for span in in_order(own, "span"):
            beside = _of_model(rows, baselines.get(model)).filter(span=span)
            style = span_style(span.partition("[")[0].strip())
            lines.append(Line(span, table_curve(own.filter(span=span)), style, panel=model))
            lines += [Line(span, table_curve(beside), style, BASELINE, model)] if beside.height else []
    return lines


def steps_chart(rows: pl.DataFrame, size: Size, *, steps: Sequence[tuple[str, int]], baseline: str | None) -> Chart:
    """Figure 7, left: cosine of perceptual and textual tokens by depth at several training steps."""
    rows = between_kinds(cosines(rows))
    lines = [
        Line(f"step {step}", table_curve(_of_model(rows, model)), style) for style, (model, step) in enumerate(steps)
    ]
    beside = _of_model(rows, baseline)
    lines += [Line(lines[0].label, table_curve(beside), 0, BASELINE)] if beside.height else []
    a, b = rows.select("a", "b").row(0)
    title, said = "Do both kinds come nearer in training?", f"Lines: {INTERVAL}; {_n(lines)}."
    axes = Axes(STATE, f"Cosine of {a} and {b}")
    return line_chart(lines, axes, size, title=title, subtitle=said, legend="trained")


def step_scores_chart(
    score: pl.DataFrame, size: Size, *, steps: Sequence[tuple[str, int]], baseline: str | None
) -> Chart:
    """Figure 7, right: the alignment scores by training step."""
    score = score.filter(statistic="mean_token")
    places = np.array([float(step) for _, step in steps])
    lines = []
    for style, name in enumerate(in_order(score, "name")):
        own = score.filter(name=name)
        found = [_of_model(own, model).row(0, named=True) for model, _ in steps]
        lines.append(Line(name, _level(places, found), style))
        random = _of_model(own, baseline)
        if random.height:
            lines.append(Line(name, _level(places, [random.row(0, named=True)] * len(steps)), style, BASELINE))
    title, said = "Does the alignment score grow in training?", f"Means and 95 % intervals; {_n(lines)}."
    return line_chart(lines, Axes("Training step", "Alignment score"), size, title=title, subtitle=said, legend="score")


def _level(places: np.ndarray, rows: Sequence[Mapping]) -> Curve:
    mean, low, high = (
        np.array([math.nan if row[name] is None else row[name] for row in rows], dtype=np.float64)
        for name in ("value", "low", "high")
    )
    return Curve(places, mean, low, high, rows[0]["n"])


def inside_chart(inside: pl.DataFrame, rows: pl.DataFrame, size: Size, *, model: str, baseline: str | None) -> Chart:
    """Figure 8: cosines inside the blocks, at every place: of tokens with themselves, and of both kinds; random weights
    last."""
    own, cross = _of_model(inside, model), between_kinds(cosines(rows, inside=True))
    panels = [(f"{span}, one block later", own.filter(span=span, quantity="change")) for span in _both(own)]
    panels.append((f"both kinds, {model}", _of_model(cross, model)))
    panels.append((f"both kinds, control: {BASELINE}", _of_model(cross, baseline)))
    lines = _by_place(own, panels)
    said = f"Lines: {INTERVAL}; {_n(lines)}; residual: at the hidden state before the block."
    axes = Axes("Block", "Cosine", reference=0.0)
    title = "Where in a block do tokens change and meet?"
    return line_chart(lines, axes, size, title=title, subtitle=said, columns=2, legend="place")


def inside_norms_chart(inside: pl.DataFrame, size: Size, *, model: str) -> Chart:
    """Figure 8, norms: of either kind of token at every place inside the blocks."""
    own = _of_model(inside, model)
    lines = _by_place(own, [(span, own.filter(span=span, quantity="norm")) for span in _both(own)])
    axes = Axes("Block", "Norm of a token", log=True)
    title, said = "Where in a block do norms grow?", f"Lines: {INTERVAL}; {_n(lines)}."
    return line_chart(lines, axes, size, title=title, subtitle=said, columns=2, legend="place")


def _both(own: pl.DataFrame) -> list[str]:
    """The first perceptual and the first textual span."""
    spans = in_order(own, "span")
    return [next(s for s in spans if is_perceptual(s)), next(s for s in spans if not is_perceptual(s))]


def _by_place(own: pl.DataFrame, panels: Sequence[tuple[str, pl.DataFrame]]) -> list[Line]:
    lines = []
    for panel, rows in panels:
        for style, tap in enumerate(in_order(own, "tap")):
            found = rows.filter(tap=tap)
            if found.height:
                lines.append(Line(tap.replace("_", " "), table_curve(found), style, panel=panel))
    return lines


def scores_chart(
    models: pl.DataFrame,
    score: pl.DataFrame,
    size: Size,
    *,
    groups: Mapping[str, Sequence[str]],
    baselines: Mapping[str, str],
) -> Chart:
    """Figure 9: accuracy against both scores, panels for each group of models (checkpoints of one run, variants)."""
    score = score.filter(pl.col("statistic") == "mean_token").join(models, on="model", suffix="_model")
    score = score.filter(pl.col("accuracy").is_not_null())
    shown = list(dict.fromkeys(model for members in groups.values() for model in members))
    points, panels = [], {}
    for group, members in groups.items():
        beside = {baselines[model] for model in members if model in baselines}
        for name in in_order(score, "name"):
            own = score.filter((pl.col("name") == name) & pl.col("model").is_in([*members, *beside]))
            inside = own.filter(pl.col("model").is_in(list(members)))
            panel = f"{name}, {group}: {_correlation(inside)}"
            panels[panel] = Scale(name)
            points += [
                model_point(row, row["model"] if row["model"] in shown else _COUNTED.label, panel, 100)
                for row in own.iter_rows(named=True)
            ]
    y = Scale("Right answers (%)", limits=heights(points))
    there = {point.mark for point in points}
    marks = [*(Mark(model, style) for style, model in enumerate(shown)), _COUNTED]
    return points_chart(
        points,
        [Plane(panel, x, y) for panel, x in panels.items()],
        [mark for mark in marks if mark.label in there],
        size,
        title="Do models that align better answer better?",
        subtitle=f"Points: models; bars: 95 % intervals over examples, {counted(models['n'].to_list())}.",
        things="model",
    )


def variants_chart(
    tables: Mapping[str, pl.DataFrame], size: Size, *, models: Sequence[str], baseline: str | None
) -> Chart:
    """Figure 13: variants side by side: cosine of both kinds, change, norms, divergence and change of words."""
    words = tables["paper_vocabulary"]
    seen = pl.col("span").map_elements(is_perceptual, pl.Boolean)
    later = pl.col("against").str.starts_with("state ")
    drift, norms = tables["paper_drift"], tables["paper_norms"]
    drawn = {
        "cosine of both kinds": between_kinds(cosines(tables["paper_similarity"])),
        "cosine of perceptual tokens, one block later": drift.filter(seen, gap=drift["gap"].min()),
        "norm of perceptual tokens (median)": median_norms(norms).filter(seen),
        "KL from text (nat)": words.filter(seen, ~later, quantity="kl"),
        "cosine of words, next read state": words.filter(seen, later, quantity="cosine"),
    }
    lines = []
    for panel, rows in drawn.items():
        for style, model in enumerate(models):
            own = _of_model(rows, model)
            lines += [Line(model, table_curve(own), style, panel=panel)] if own.height else []
        beside = _of_model(rows, baseline)
        lines += [Line(models[0], table_curve(beside), 0, BASELINE, panel)] if beside.height else []
    said = f"Lines: {INTERVAL} (norms: standard deviation); {_n(lines)}."
    title = "How do variants differ?"
    axes = Axes("Hidden state", "", own_scales=True)
    return line_chart(lines, axes, size, title=title, subtitle=said, columns=2, legend="model")


def overlap_chart(rows: pl.DataFrame, baseline: pl.DataFrame | None, size: Size) -> Chart:
    """Figure 22 by layer: overlap of masks, one panel per kind of matrix, between nulls and ceiling."""
    rows = rows.filter(sparsity=0.5)
    label, lines = "masks of either", []
    for kind in in_order(rows, "matrix"):
        own, panel = rows.filter(matrix=kind), kind.rpartition(".")[2]
        lines.append(Line(label, pooled_curve(own, "iou"), 0, panel=panel))
        lines += [Line(label, pooled_curve(own, null), 0, name, panel) for null, name in _NULLS.items()]
        if baseline is not None:
            beside = baseline.filter(sparsity=0.5, matrix=kind)
            lines.append(Line(label, pooled_curve(beside, "iou"), 0, BASELINE, panel))
        # A model read on few examples has no ceiling.
        known = own.drop_nulls("ceiling")
        if known.height:
            lines.append(Line("ceiling: halves of one span", pooled_curve(known, "ceiling"), 2, panel=panel))
    pairs = rows.select("a", "b").unique().height
    said = f"50 % left out; means over {pairs} pair{'s' * (pairs > 1)} of spans; mean bounds of 95 % intervals, "
    said += f"n = {rows['n'].min()} examples."
    axes = Axes("Layer", "Overlap (IoU)", limits=(0.0, 1.0))
    title = "In which matrices do both kinds use the same weights?"
    return line_chart(lines, axes, size, title=title, subtitle=said, columns=3)


def _n(lines: Sequence[Line]) -> str:
    return counted([line.curve.n for line in lines if line.role == MEASURED])


def _of_model(rows: pl.DataFrame, model: str | None) -> pl.DataFrame:
    """The rows of a model; none without one."""
    return rows.filter(pl.col("model") == (model or ""))


def _of_kind(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Pairs of spans of a kind. Spans of one model share what stands in brackets behind them."""

    def fits(row: dict[str, str]) -> bool:
        a, b = row["a"], row["b"]
        halves = a.endswith(_HALF)
        sides = f"{'P' if is_perceptual(a) else 'T'}{'P' if is_perceptual(b) else 'T'}"
        if kind in ("pp", "tt"):
            return halves and sides == kind.upper()
        one, other = (x.partition("[")[2] for x in (a, b))
        return not halves and a != b and sides == kind and ((one == other) == (kind == "PT"))

    return rows.filter(pl.struct("a", "b").map_elements(fits, pl.Boolean))


def _correlation(rows: pl.DataFrame) -> str:
    """How many models there are, and how their score goes with their accuracy."""
    n = rows.height
    few = ", too few" if n < ENOUGH else ""
    if n < 2:
        return f"n = {n}{few}"
    found = correlate(rows["value"].to_numpy(), rows["accuracy"].to_numpy())
    if np.isnan(found.spearman):
        return f"n = {n}, no spread"
    return f"n = {n}{few}; Spearman {found.spearman:.2f}, p = {found.p:.2g}, uncorrected"
