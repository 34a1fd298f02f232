"""What skipping costs and saves: loss against time for every plan, each layer's contribution, and training."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, of_kind
from chiasm.results.charts.dots import Dot, dots_chart
from chiasm.results.charts.lines import Axes, Chart, Line, line_chart
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.points import Plane, Point, points_chart
from chiasm.results.charts.theme import Size, counted
from chiasm.results.series import Curve, curve, in_order
from chiasm.studies.skip.decision import BATCH, ONE_PROMPT
from chiasm.studies.skip.tables import (
    NONE,
    PEERS,
    RANDOM_LAYERS,
    SEARCH,
    TRAINED_PLAIN,
    TRAINED_WITH_PLAN,
    UNTRAINED,
)

_PART = {"ffn": "feed-forward", "attention": "attention", "block": "both"}
_PLAIN = "plain model"
# Kinds of plans with their colours; controls are in the colour of what they are controls of.
_KINDS = {
    NONE: Mark(_PLAIN, None),
    SEARCH: Mark("search", 0),
    RANDOM_LAYERS: Mark("random layers (control)", 0, control=True),
    "visual-ffn": Mark("visual feed-forward", 1),
    "text-ffn": Mark("textual feed-forward (control)", 1, control=True),
    "short-v": Mark("ShortV", 2),
    "v-skip": Mark("V-Skip", 3),
    "fast-v": Mark("FastV", 4),
    "random-drop": Mark("random tokens dropped (control)", 4, control=True),
    "companion": Mark("blocks left out, or in parallel", 5),
}
_PLANES = {ONE_PROMPT: "prefill_share", BATCH: "batch_share"}
_RANDOM = "random-weights baseline"
_LEAST = 1e-4  # nat
_TICKS = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)  # points
_LOSS = "Right answers lost (points; logarithmic beyond ±1)"
_TIME = "Time left (%, logarithmic)"
# Few enough that a narrow panel has room for all of them, 100 among them; the second where times lie close together.
_TIMES = (5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000)
_CLOSE_TIMES = (60, 80, 90, 100, 110, 120, 140)
# Bars are drawn whole up to so many times beyond the last point; one that is hardly known would flatten all else.
_ROOM = 2.0


def plans_chart(plans: pl.DataFrame, size: Size, *, claims: Sequence[Claim] = ()) -> Chart:
    """Every plan by the time that it leaves and the right answers that it loses, for one prompt and for a batch.

    Intervals are those of `claims`: over all plans that could be chosen at once; losses of controls, which no claim is
    about, have the table's. Beyond a point losses are on a logarithmic scale. Dotted: the loss allowed, and two equal
    calls. A ring is around the recommended plan.
    """
    rows = list(plans.iter_rows(named=True))
    plain = next(row for row in rows if row["kind"] == NONE)
    kinds = [kind for kind in (NONE, SEARCH, RANDOM_LAYERS, *PEERS) if kind in set(plans["kind"])]
    made = [_point(row, plain, place, claims) for place in _PLANES for row in rows]
    allowed = plain.get("max_loss")
    dotted = () if allowed is None else (100 * allowed,)
    loss = Scale(_LOSS, "", "symlog", 0.0, dotted, _reach(made), _TICKS)
    limits, cut = times_shown(made)
    ticks = _TIMES if limits[1] > 1.7 * limits[0] else _CLOSE_TIMES
    planes = [
        Plane(place, Scale(_TIME, "", "log", 100.0, _equal_calls(claims, place), limits, ticks), loss)
        for place in _PLANES
    ]
    best = plans.filter(pl.col("recommended"))["plan"].to_list()
    chosen = "nothing is" if best == [NONE] else f"{', '.join(best)} is"
    held = " for all plans that could be chosen at once" if claims else ""
    beyond = "; those that reach beyond the axis are cut at it" if cut else ""
    subtitle = (
        f"Bars: 95 % intervals{held}{beyond}; dotted: the loss allowed, two equal calls; "
        f"{counted(plans['n'].to_list())}. Below and left is better; {chosen} recommended."
    )
    title = "Which plan saves time, and what does it lose?"
    marks = [_KINDS[kind] for kind in kinds]
    return points_chart(made, planes, marks, size, title=title, subtitle=subtitle, things="plan")


def _point(row: Mapping[str, Any], plain: Mapping[str, Any], place: str, claims: Sequence[Claim]) -> Point:
    name = row["plan"]
    loss = next((one for one in of_kind(claims, "loss", name) if one.low is not None), None)
    time = next((one for one in of_kind(claims, "time", name) if one.where == place), None)
    bounds = _bounds(loss) if loss else (_percent(row["loss_low"]), _percent(row["loss_high"]))
    x = 100 * row[_PLANES[place]] if time is None else 100 + time.effect
    x_low, x_high = (math.nan, math.nan) if time is None else (100 + bound for bound in _bounds(time))
    same = row["kind"] == NONE
    facts = {
        "left out": row["skipped"],
        "operations left (%)": round(100 * row["operations_share"], 1),
        "peak memory left (%)": round(100 * row["peak_bytes"] / plain["peak_bytes"], 1),
        "right answers (%)": round(100 * row["score"], 1),
    }
    chosen = bool(row["recommended"]) and not same
    y_low, y_high = (math.nan, math.nan) if same else bounds
    mark = _KINDS[row["kind"]].label
    return Point(name, x, 100 * row["loss"], x_low, x_high, y_low, y_high, row["n"], mark, place, chosen, facts)


def times_shown(points: Sequence[Point]) -> tuple[tuple[float, float], bool]:
    """From which time to which the axis goes, and whether bars reach beyond it: it takes in those of all plans that
    are known at all well."""
    times = [*(point.x for point in points), 100.0]
    low, high = (
        [*times, *(bound for bound in bounds if not math.isnan(bound))]
        for bounds in ([point.x_low for point in points], [point.x_high for point in points])
    )
    limits = max(0.95 * min(low), min(times) / _ROOM), min(1.05 * max(high), _ROOM * max(times))
    return limits, min(low) < limits[0] or max(high) > limits[1]


def _reach(points: Sequence[Point]) -> tuple[float, float]:
    every = [value for point in points for value in (point.y, point.y_low, point.y_high) if not math.isnan(value)]
    return min(-1.0, 1.15 * min(every)), max(1.0, 1.15 * max(every))


def _equal_calls(claims: Sequence[Claim], place: str) -> tuple[float, ...]:
    """What two equal calls of the plain model differ by."""
    noise = {one.control_effect for one in of_kind(claims, "time") if one.where == place}
    return tuple(sorted(100 + one for one in noise if one is not None))


def contributions_chart(
    contributions: pl.DataFrame,
    controls: pl.DataFrame | None,
    size: Size,
    *,
    span: str = "image",
    claims: Sequence[Claim] = (),
) -> Chart:
    """Divergence of the answer when one part of one layer is left out for tokens of `span`.

    `controls`: the same in the random-weights baseline, dashed. `claims`: of the run, whose intervals are drawn.
    """
    lines = []
    for style, part in enumerate(in_order(contributions, "part")):
        claimed = of_kind(claims, "contribution", part)
        own = _claimed(claimed) if claimed else curve(contributions.filter(part=part), "kl")
        lines.append(Line(_PART[part], own, style))
        beside = None if controls is None else controls.filter(part=part)
        if beside is not None and beside.height:
            lines.append(Line(_PART[part], curve(beside, "kl"), style, _RANDOM))
    n = counted([contributions.filter(part=part)["example_id"].n_unique() for part in in_order(contributions, "part")])
    subtitle = f"Lines: means; bands: 95 % intervals over layers and parts at once; {n}. Left out for {span} tokens."
    axes = Axes("Layer", "KL of the answer (nat)", limits=_decades(lines), log=True)
    title = "Which layers does the answer need?"
    return line_chart(lines, axes, size, title=title, subtitle=subtitle, legend="left out")


def _decades(lines: Sequence[Line]) -> tuple[float, float]:
    """A logarithmic scale from the least that matters; what is below it, 0 too, stands at its end."""
    most = max(float(np.nanmax([line.curve.mean, line.curve.high])) for line in lines)
    least = min((value for line in lines for value in line.curve.mean if value > 0), default=_LEAST)
    low = max(_LEAST, 10 ** math.floor(math.log10(least)))
    return low, max(1.1 * most, 10 * low)


def _claimed(claims: Sequence[Claim]) -> Curve:
    """The claims about one part, by layer."""
    rows = sorted((int(one.where), one.effect, *_bounds(one)) for one in claims)
    return Curve(*np.array(rows, dtype=np.float64).T, n=claims[0].n)


def _bounds(one: Claim) -> tuple[float, float]:
    return (math.nan if one.low is None else one.low, math.nan if one.high is None else one.high)


def _percent(share: float | None) -> float:
    return math.nan if share is None else 100 * share


def recovery_chart(recovery: pl.DataFrame, size: Size) -> Chart:
    """Right answers before and after training with the plan, with it and without it in effect; 95 % Wilson bars.

    Training as long without the plan is the control.
    """
    names = {
        UNTRAINED: "untrained",
        TRAINED_PLAIN: "trained without the plan (control)",
        TRAINED_WITH_PLAN: "trained with the plan",
    }
    plan = next(name for name in recovery["plan"] if name)
    marks = [Mark("answering without the plan", 0), Mark(f"answering under {plan}", 1)]
    dots = []
    for trained, label in names.items():
        for own, mark in zip(("", plan), marks, strict=True):
            for row in recovery.filter(trained=trained, plan=own).iter_rows(named=True):
                value, low, high = (_percent(row[name]) for name in ("score", "score_low", "score_high"))
                dots.append(Dot(label, value, low, high, row["n"], mark.label))
    subtitle = f"Dots: shares; bars: 95 % Wilson intervals; {counted(recovery['n'].to_list())}."
    title = "Does training with the plan win back what it loses?"
    scale = Scale("Right answers (%)", limits=(0, 100))
    return dots_chart(dots, [scale], marks, size, title=title, subtitle=subtitle)
