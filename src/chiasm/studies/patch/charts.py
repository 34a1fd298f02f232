"""Shares of the gap by layer beside their controls, patching beside knockout, and single tokens over the image."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from chiasm.core.claims import MIN_INPUTS, Claim, of_kind, strongest
from chiasm.core.spans import PERCEPTUAL
from chiasm.results.charts.lines import MEASURED, Axes, Chart, Line, line_chart
from chiasm.results.charts.pictures import Choice, Panel, Row, Tint, picture_chart
from chiasm.results.charts.theme import SCREEN, Size, counted, cut_style, span_style
from chiasm.results.images import KeptImage
from chiasm.results.series import Curve, curve, in_order, of_type
from chiasm.studies.patch.agreement import layer_curves
from chiasm.studies.patch.screen_claims import span_rows
from chiasm.studies.patch.shares import directions_in, named
from chiasm.studies.patch.tables import DENOISE, NOISE, RANDOM_TOKENS, SAME_ANSWER, SHUFFLED

CONTROL_LABELS: Final = {
    SAME_ANSWER: "a donor of the same answer",
    RANDOM_TOKENS: "as many random tokens",
    SHUFFLED: "an unrelated donor",
}
DIRECTION_LABELS: Final = {
    DENOISE: "own states put into the donor's run: what comes back",
    NOISE: "the donor's states put into the own run: what is lost",
}
_X, _Y = "Layer", "Share of the gap (%)"
_SHARE = 100 * pl.col("recovery")
_CLAIMED = "Lines: means over pairs; bands: 95 % intervals for all spans and layers at once"
_BAND = "Lines: means over pairs; bands: 95 % intervals, for all layers of a line at once"
_CORNERS = ("x0", "y0", "x1", "y1")
_DEPTHS, _IN_COLUMN = 4, 2


def recovery_chart(
    effects: pl.DataFrame,
    controls: pl.DataFrame | None,
    size: Size,
    *,
    claims: Sequence[Claim] = (),
    spans: Sequence[str] = (),
) -> Chart:
    """A panel for each direction (and site): a line for each span, and dashed its control.

    The control is that which comes nearest where the share is largest (`claims`), else a donor of the same answer.
    """
    lines = []
    for site, direction in _panels(effects):
        panel = _panel(effects, site, direction)
        for span in in_order(effects, "span"):
            if spans and span not in spans:
                continue
            lines.append(_measured(effects, site, direction, span, claims, panel))
            name = _nearest(claims, named(span, direction, site))
            beside = _control(controls, name, site, direction, span)
            if beside is not None:
                lines.append(Line(span, beside, span_style(span), CONTROL_LABELS[name], panel))
    title = "Which states bring the answer with them?"
    said = f"{_CLAIMED if claims else _BAND}; {_counted(lines)}"
    return line_chart(lines, _axes(lines), size, title=title, subtitle=said, legend="states of", columns=2)


def controls_chart(effects: pl.DataFrame, controls: pl.DataFrame, size: Size, *, claims: Sequence[Claim] = ()) -> Chart:
    """A panel for each curve, beside all of its controls."""
    lines = []
    for site, direction in _panels(effects):
        for span in in_order(effects, "span"):
            panel = named(span, direction, site)
            lines.append(_measured(effects, site, direction, span, claims, panel))
            for name in in_order(controls, "control"):
                beside = _control(controls, name, site, direction, span)
                if beside is not None and name in CONTROL_LABELS:
                    lines.append(Line(span, beside, span_style(span), CONTROL_LABELS[name], panel))
    title = "Does each share exceed what its controls bring?"
    axes = _axes(lines)
    most = max((float(np.nanmax(line.curve.high, initial=0.0)) for line in lines), default=0.0)
    cut = "; bands beyond the axis are cut at it" if axes.limits and most > axes.limits[1] else ""
    said = f"{_CLAIMED if claims else _BAND}{cut}; {_counted(lines)}"
    return line_chart(lines, axes, size, title=title, subtitle=said, legend="states of", columns=2)


def types_chart(effects: pl.DataFrame, size: Size) -> Chart:
    """A panel for each question type: the shares of every span in the first direction that was run.

    A type with too few pairs to establish anything is drawn without bands, which would take up all of the scale.
    """
    direction, lines = directions_in(effects)[0], []
    for kind in in_order(effects, "type"):
        rows = of_type(effects, kind)
        n = rows["example_id"].n_unique()
        for span in in_order(rows, "span"):
            own = rows.filter(site=in_order(rows, "site")[0], direction=direction, span=span)
            if own.height:
                found = curve(own, _SHARE)
                if n < MIN_INPUTS:
                    unknown = np.full(len(found.places), np.nan)
                    found = Curve(found.places, found.mean, unknown, unknown, found.n, found.inputs)
                lines.append(Line(span, found, span_style(span), panel=f"{kind} (n = {n})"))
    title = "Do question types differ in where the answer is carried?"
    said = f"{DIRECTION_LABELS[direction][:1].upper()}{DIRECTION_LABELS[direction][1:]}. {_BAND}"
    said += f", none where n < {MIN_INPUTS}"
    return line_chart(lines, _axes(lines), size, title=title, subtitle=said, legend="states of", columns=3)


def agreement_chart(effects: pl.DataFrame, knockouts: pl.DataFrame, size: Size) -> Chart:
    """For every cut two panels: what it costs by layer, and the share of the gap that moves in the layer."""
    lines = []
    for cut in in_order(knockouts, "cut"):
        found = layer_curves(effects, knockouts.filter(pl.col("cut") == cut), cut)
        if found is None:
            continue
        layers = np.array(sorted(knockouts.filter(pl.col("cut") == cut)["layer"].unique()), dtype=float)
        source = cut.partition("->")[0]
        # What leaves the image goes along any route, not only along the one that is cut.
        moves = f"leaves the {source}" if source in PERCEPTUAL else "reaches the last position"
        for what, values in (
            ("cost of the cut (nat)", found.cut),
            (f"{moves} (% of the gap)", 100 * found.moved),
        ):
            long = pl.DataFrame(
                {
                    "example_id": np.repeat([str(k) for k in range(len(values))], len(layers)),
                    "input": np.repeat(list(found.inputs), len(layers)),
                    "layer": np.tile(layers, len(values)),
                    "value": values.ravel(),
                }
            )
            lines.append(Line(cut, curve(long, "value"), cut_style(cut), panel=f"{cut}: {what}"))
    title = "Do patching and knockout point at the same layers?"
    axes = Axes(_X, "What moves in a layer", reference=0.0, own_scales=True)
    return line_chart(lines, axes, size, title=title, subtitle=f"{_BAND}; {_counted(lines)}", legend="cut", columns=2)


def screen_chart(effects: pl.DataFrame, screen: pl.DataFrame, size: Size) -> Chart:
    """A panel for each direction: the share of every span by exact patches, dashed by the gradient; of the pairs that
    have both."""
    rows, lines = span_rows(effects, screen), []
    for direction in directions_in(rows):
        for site in in_order(rows, "site"):
            panel = f"{site}, {direction}"
            for span in in_order(rows, "span"):
                own = rows.filter(site=site, direction=direction, span=span)
                if own.height:
                    lines.append(Line(span, curve(own, 100 * pl.col("exact")), span_style(span), panel=panel))
                    beside = curve(own, 100 * pl.col("estimate"))
                    lines.append(Line(span, beside, span_style(span), "by the gradient", panel))
    title = "Does the gradient say what exact patches say?"
    said = f"{_BAND}; {_counted(lines)}"
    return line_chart(lines, _axes(lines), size, title=title, subtitle=said, legend="states of", columns=2)


def token_map(
    kept: KeptImage, rows: pl.DataFrame, size: Size, *, question: str = "", said: str = "", layers: Sequence[int] = ()
) -> Chart:
    """Each token of one image patched alone: the share of the gap that it brings. On a screen the reader chooses the
    layer; on paper some stand side by side, or those that are named."""
    known = sorted(rows["layer"].unique())
    some = _DEPTHS if size.width > 400 else _IN_COLUMN
    fixed = list(layers) or ([] if size is SCREEN else known[:: max(1, math.ceil(len(known) / some))])
    placed = kept.placed(rows.with_columns(share=_SHARE))
    lines, choices = [], []
    for direction in directions_in(placed):
        own = placed.filter(direction=direction)
        shown = [(f"{direction}, layer {layer}", [layer]) for layer in fixed] or [(direction, known)]
        panels = [Panel(title, kept.pixels, kept.boxes, _patches(own, those)) for title, those in shown]
        lines.append(Row([Panel("image", kept.pixels, kept.boxes), *panels], *(() if lines else (question, said))))
    if not fixed:
        total = rows.group_by("layer").agg(pl.col("recovery").abs().max()).sort("recovery", "layer")
        choices = [Choice("layer", "Layer", known, known.index(total["layer"][-1]))]
    title = "Which tokens of the image carry the answer?"
    end = "Orange brings the own answer, purple speaks against it. n = 1 pair: no interval."
    return picture_chart(lines, size, title=title, subtitle=end, tint=Tint(_Y, least=5.0), choices=choices)


def _patches(rows: pl.DataFrame, layers: Sequence[int]) -> pl.DataFrame:
    order = pl.DataFrame({"layer": list(layers)}).with_row_index("at")
    values = rows.join(order, on="layer").sort("patch", "at").group_by("patch", maintain_order=True)
    return values.agg(pl.col(*_CORNERS).first(), shown=pl.col("share")).select(*_CORNERS, "shown", "patch")


def _panels(effects: pl.DataFrame) -> list[tuple[str, str]]:
    return [(site, direction) for site in in_order(effects, "site") for direction in directions_in(effects)]


def _panel(effects: pl.DataFrame, site: str, direction: str) -> str:
    several = effects["site"].n_unique() > 1
    return f"{site}: {DIRECTION_LABELS[direction]}" if several else DIRECTION_LABELS[direction]


def _measured(effects: pl.DataFrame, site: str, direction: str, span: str, claims: Sequence[Claim], panel: str) -> Line:
    """A line with the intervals and verdicts of its claims, so that one quantity has one interval."""
    own = curve(effects.filter(site=site, direction=direction, span=span), _SHARE)
    of = {one.where: one for one in of_kind(claims, "recovery", named(span, direction, site))}
    found = [of.get(str(int(place))) for place in own.places]
    facts: Mapping[str, Sequence[Any]] = {}
    if found and all(one is not None for one in found):
        low, high = (
            np.array([math.nan if one is None or one is math.nan else one for one in side], dtype=float)
            for side in ([one and one.low for one in found], [one and one.high for one in found])
        )
        own = Curve(own.places, own.mean, low, high, own.n, own.inputs)
        facts = {"verdict": [one.verdict for one in found if one is not None]}
    return Line(span, own, span_style(span), panel=panel, facts=facts)


def _nearest(claims: Sequence[Claim], about: str) -> str:
    top = strongest(of_kind(claims, "recovery", about))
    return SAME_ANSWER if top is None or top.control not in CONTROL_LABELS else top.control


def _control(controls: pl.DataFrame | None, name: str, site: str, direction: str, span: str) -> Curve | None:
    if controls is None:
        return None
    rows = controls.filter(control=name, site=site, direction=direction, span=span)
    return curve(rows, _SHARE) if rows.height else None


def _axes(lines: Sequence[Line]) -> Axes:
    """What is measured is drawn whole; a control's band, which says only that little is known there, is cut."""
    known = [line.curve for line in lines if line.role == MEASURED]
    drawn = [
        *(np.asarray(x) for one in known for x in (one.mean, one.low, one.high)),
        *(line.curve.mean for line in lines),
    ]
    values = np.concatenate([np.asarray(x, dtype=float).ravel() for x in drawn])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 100.0)
    room = 0.05 * (high - low)
    return Axes(_X, _Y, reference=0.0, limits=(min(low, 0.0) - room, max(high, 100.0) + room))


def _counted(lines: Sequence[Line]) -> str:
    return counted([line.curve.n for line in lines if line.role == MEASURED])
