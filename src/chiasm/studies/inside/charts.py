"""Where inside: maps over the image, what they point at, deletion and insertion, neurons, concepts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from chiasm.core.statistics.intervals import Estimate
from chiasm.results.charts.dots import Dot, dots_chart
from chiasm.results.charts.lines import MEASURED, Axes, Chart, Line, line_chart
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.pictures import Panel, Row, Tint, picture_chart
from chiasm.results.charts.theme import Size, counted
from chiasm.results.images import KeptImage
from chiasm.results.series import Curve, curve, in_order
from chiasm.studies.inside.means import complete, estimate, pointing
from chiasm.studies.inside.tables import RANDOM_ORDER

_BARS = "bars: 95 % bootstrap intervals over images"
_FIRST = "integrated-gradients"
_SWAPPED = "other examples' maps"
_RANDOM_ORDERS, _RANDOM_CONCEPTS = "random order", "random concepts"


class MapOfOne(NamedTuple):
    """One example's rows of the table `attribution_maps`, corners in pixels of its image, and the answer explained."""

    kept: KeptImage
    rows: pl.DataFrame
    answer: str


def attribution_maps(maps: Mapping[str, MapOfOne], size: Size) -> Chart:
    """A row for each example: the image, and by method what each patch adds to the answer's log-probability (nat)."""
    rows = []
    for example, one in maps.items():
        panels = [Panel("image", one.kept.pixels, one.kept.boxes)]
        for method in in_order(one.rows, "method"):
            part = one.rows.filter(pl.col("method") == method, pl.col("x0").is_not_null())
            shown = pl.concat_list("value").alias("shown")
            patches = part.select("x0", "y0", "x1", "y1", shown, place="index")
            panels.append(Panel(method, one.kept.pixels, one.kept.boxes, patches))
        rows.append(Row(panels, f"Answer: {one.answer}", f"Example {example}"))
    own = " Each row has a scale of its own." if len(rows) > 1 else ""
    said = f"Orange speaks for the answer, purple against; n = 1 example: no interval.{own}"
    tint = Tint("adds to the log-probability (nat)", least=1e-6, own=True)
    return picture_chart(rows, size, title="Which patches does the answer rest on?", subtitle=said, tint=tint)


def pointing_dots(rows: pl.DataFrame, size: Size) -> Chart:
    """Positive attribution on the boxes by method (and setting), beside other examples' maps and the boxes' area."""
    several, dots, areas = rows["setting"].n_unique() > 1, [], []
    for setting in in_order(rows, "setting"):
        own = rows.filter(setting=setting)
        for method in in_order(rows, "method"):
            measured = pointing(own, method)
            if measured is None:
                continue
            row = f"{setting}, {method}" if several else method
            dots.append(_dot(row, "its own map", measured.energy))
            areas.append(float(measured.area.mean))
            swapped = estimate(complete(own).filter(method=method), pl.col("object_swapped") * 100)
            dots += [] if swapped is None else [_dot(row, _SWAPPED, swapped)]
    scale = Scale("Positive attribution on what is asked about (%)", dotted=(float(np.mean(areas)),), limits=(0, 100))
    marks = [Mark("its own map"), Mark(_SWAPPED, None, control=True)]
    said = f"Dots: means; {_BARS}; {_counted(dots)}. Dotted line: the share of tokens that the boxes cover."
    title = "Do maps point at what is asked about?"
    return dots_chart(dots, [scale], marks, size, title=title, subtitle=said)


def faithfulness(curves: pl.DataFrame, domain: str, size: Size) -> Chart:
    """Deletion and insertion curves of one domain; dashed: random orders.

    One line per method; with several settings, one per setting by Integrated Gradients.
    """
    rows = curves.filter(domain=domain)
    settings = in_order(rows, "setting")
    several = len(settings) > 1
    names = settings if several else [m for m in in_order(rows, "order") if m != RANDOM_ORDER]
    lines = []
    for kind, panel in (("deletion", "most important deleted first"), ("insertion", "most important put in first")):
        part = rows.filter(kind=kind)
        for index, name in enumerate(names):
            own = part.filter(setting=name, order=_FIRST) if several else part.filter(order=name)
            if not own.height:
                continue
            lines.append(Line(name, _of_tokens(own), index, panel=panel))
            beside = part.filter(order=RANDOM_ORDER)
            beside = beside.filter(setting=name) if several else beside
            if several or index == 0:
                lines.append(Line(name, _of_tokens(beside), index, _RANDOM_ORDERS, panel))
    axes = Axes("Of the image's tokens (%)", "Probability of the answer (%)")
    said = f"Data: {domain}. Lines: means; bands: 95 % intervals over images; {_lines_counted(lines)}."
    title = "Do the patches that maps name decide the answer?"
    return line_chart(lines, axes, size, title=title, subtitle=said, columns=2)


def _of_tokens(rows: pl.DataFrame) -> Curve:
    """Probability (%) against the share of tokens (%)."""
    found = curve(rows.with_columns(pl.col("share", "prob") * 100), "prob", over="share")
    return replace(found, low=np.clip(found.low, 0, 100), high=np.clip(found.high, 0, 100))


def modality_dots(rows: pl.DataFrame, domain: str, size: Size) -> Chart:
    """The image's share of the answer by setting: of two players (exact) and by Kernel SHAP; no image beside it."""

    def of(method: str, column: str) -> pl.Expr:
        return pl.when(pl.col("method") == method).then(pl.col(column) * 100)

    marks = {
        Mark("two players, exact", 0): of("two-players", "share"),
        Mark("Kernel SHAP", 1): of("kernel-shap", "share"),
        Mark("Kernel SHAP, no image", None, control=True): of("kernel-shap", "blank"),
    }
    parts = {setting: rows.filter(setting=setting) for setting in in_order(rows, "setting")}
    scale = Scale("The image's share of the answer (%)", limits=(0, 100))
    return _marked(parts, marks, scale, size, "How much of the answer rests on the image?", domain)


def ablation_dots(rows: pl.DataFrame, domain: str, size: Size) -> Chart:
    """What is lost without the neurons of each score, beside as many random ones of the same layers."""
    several = rows["setting"].n_unique() > 1
    parts: dict[str, pl.DataFrame] = {}
    for part in rows.partition_by("setting", "score", "group", "own", maintain_order=True):
        setting, score, group, own = part.select("setting", "score", "group", "own").row(0)
        whose = f" ({group}{'' if own else ', other examples'})" if group else ""
        parts[f"{f'{setting}, ' if several else ''}{score}{whose}"] = part
    marks = {
        Mark("these neurons at zero", 0): pl.col("change"),
        Mark("random ones, same layers", None, control=True): pl.col("change_random"),
    }
    scale = Scale("Change in the answer's lead (nat)", reference=0.0)
    return _marked(parts, marks, scale, size, "Does the answer need these neurons?", domain)


def concept_lines(rows: pl.DataFrame, domain: str, setting: str, size: Size) -> Chart:
    """TCAV of every concept by layer; dashed: random concepts of as many images, and where 95 % of them lie."""
    own, lines = rows.filter(setting=setting).sort("layer"), []
    for index, concept in enumerate(in_order(own, "concept")):
        part = own.filter(concept=concept)
        facts = {"p, corrected": part["p"].to_list()}
        measured, chance = _columns(part, "value", "low", "high"), _columns(part, "random", "random_low", "random_high")
        lines.append(Line(concept, measured, index, facts=facts))
        lines.append(Line(concept, chance, index, _RANDOM_CONCEPTS))
    beyond = own.filter(pl.col("p") <= 0.05)
    named = [f"{concept} at {_listed(beyond.filter(concept=concept))}" for concept in in_order(beyond, "concept")]
    found = f"p ≤ 0.05, corrected: {'; '.join(named)}." if named else "None is beyond random concepts (p ≤ 0.05)."
    said = f"Data: {domain}, {setting}. Bands: 95 %; {counted(own['n'].to_list())} answers each. {found}"
    axes = Axes("State before layer (0 = projector's output)", "TCAV", reference=0.5, limits=(-0.04, 1.04))
    title = "Which concepts do answers grow along?"
    return line_chart(lines, axes, size, title=title, subtitle=said, legend="concept")


def _columns(rows: pl.DataFrame, mean: str, low: str, high: str) -> Curve:
    """The curve that a table of values by layer holds."""
    places, *values = (
        rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("layer", mean, low, high)
    )
    return Curve(places, *values, n=int(rows["n"].min() or 0))


def _listed(rows: pl.DataFrame) -> str:
    layers = rows["layer"].to_list()
    return f"layer{'s' if len(layers) > 1 else ''} {', '.join(map(str, layers))}"


def _marked(
    parts: Mapping[str, pl.DataFrame],
    marks: Mapping[Mark, pl.Expr],
    scale: Scale,
    size: Size,
    title: str,
    domain: str,
) -> Chart:
    """A row for each part of the table, with the means that `marks` name."""
    dots = []
    for row, part in parts.items():
        for mark, value in marks.items():
            found = estimate(part, value)
            dots += [] if found is None else [_dot(row, mark.label, found)]
    there = {dot.mark for dot in dots}
    said = f"Data: {domain}. Dots: means; {_BARS}; {_counted(dots)}."
    kept = [mark for mark in marks if mark.label in there]
    return dots_chart(dots, [scale], kept, size, title=title, subtitle=said)


def _dot(row: str, mark: str, found: Estimate) -> Dot:
    return Dot(row, float(found.mean), float(found.low), float(found.high), found.n, mark)


def _counted(dots: Sequence[Dot]) -> str:
    return counted([dot.n or 0 for dot in dots])


def _lines_counted(lines: Sequence[Line]) -> str:
    return counted([line.curve.n for line in lines if line.role == MEASURED])
