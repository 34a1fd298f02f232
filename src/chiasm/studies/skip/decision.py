"""Which plan is recommended: the cheapest that is established to keep the loss allowed, and established to save time.

Bounds hold for all plans that could have been chosen at once, so that the choice does not flatter the one it takes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from chiasm.core.claims import Claim, judged, known, of_kind
from chiasm.core.statistics.bands import Bands
from chiasm.core.statistics.intervals import critical
from chiasm.core.statistics.shares import share_bands, student_bands
from chiasm.results.doubts import ALLOWED
from chiasm.results.series import in_order, inputs_of
from chiasm.studies.options import MAX_LOSS
from chiasm.studies.skip.tables import CONTROLS, NONE

ONE_PROMPT, BATCH = "one prompt", "a batch"
_PLACES = {ONE_PROMPT: "prefill_share", BATCH: "batch_share"}
EQUAL_CALLS = "two equal calls"
# Smallest change of a time worth naming, in per cent.
_LEAST_TIME = 1.0


class Decision(NamedTuple):
    """What is recommended (`none`: nothing), the bound of every plan's loss (of 1), and the claims behind it."""

    recommended: str
    bounds: Mapping[str, float]
    claims: list[Claim]


class Answers(NamedTuple):
    """The answers to the examples that were answered under every plan, aligned. `inputs`: what each is about."""

    inputs: list[str]
    right: Mapping[str, Bool[np.ndarray, " n"]]
    logprob: Mapping[str, Float[np.ndarray, " n"]]

    @classmethod
    def of(cls, verdicts: pl.DataFrame) -> "Answers":
        rows = {plan: own.sort("example_id") for (plan,), own in verdicts.group_by("plan")}
        shared = set.intersection(*(set(own["example_id"]) for own in rows.values()))
        rows = {plan: own.filter(pl.col("example_id").is_in(shared)) for plan, own in rows.items()}
        plain = rows[NONE]
        return cls(
            inputs_of(plain) or plain["example_id"].to_list(),
            {plan: own["correct"].cast(pl.Boolean).to_numpy() for plan, own in rows.items()},
            {plan: own["logprob"].to_numpy() for plan, own in rows.items()},
        )


def decide(
    verdicts: pl.DataFrame, plans: pl.DataFrame | None, timings: pl.DataFrame | None, chose: int | None = None
) -> Decision:
    """The plan to recommend, with the claims that it rests on: losses, what keeps within the loss allowed, times.

    `verdicts`: with the column `input`, where questions share one. Without `timings` nothing is known to save time.
    `chose`: examples that chose layers and so cannot judge plans; None where that is not known.
    """
    names, allowed, answers = eligible(verdicts, plans), allowed_loss(plans), Answers.of(verdicts)
    if not names:
        return Decision(NONE, {}, [_recommended(NONE, None, allowed, len(answers.inputs), "")])
    losses = _losses(answers, names, allowed)
    kept = [_kept(one, allowed) for one in losses]
    operations = [] if plans is None else _operations(plans, names)
    times = [] if timings is None else _times(timings, names)
    chosen = _cheapest(kept, operations, times)
    bounds = {one.about: one.high / 100 for one in losses if one.high is not None}
    found = [*losses, *kept, *_needed(answers, len(names), allowed, chose), *operations, *times]
    if plans is None:
        return Decision(chosen, bounds, found)
    words = dict(plans.select("plan", "skipped").iter_rows()) if "skipped" in plans.columns else {}
    own = next((one for one in kept if one.about == chosen), None)
    found.append(_recommended(chosen, own, allowed, len(answers.inputs), words.get(chosen, "all")))
    return Decision(chosen, bounds, found)


def allowed_loss(plans: pl.DataFrame | None) -> float:
    """The share of right answers that may be lost, as the run was asked."""
    if plans is None or "max_loss" not in plans.columns:
        return MAX_LOSS
    given = plans["max_loss"].drop_nulls()
    return float(given[0]) if len(given) else MAX_LOSS


def eligible(verdicts: pl.DataFrame, plans: pl.DataFrame | None) -> list[str]:
    """The plans that could be recommended: no controls, and fewer operations than the plain model."""
    kinds = dict(verdicts.select("plan", "kind").unique(maintain_order=True).iter_rows())
    share: dict[str, float] = {}
    if plans is not None and "operations_share" in plans.columns:
        share = dict(plans.select("plan", "operations_share").iter_rows())
    free = {plan for plan, kind in kinds.items() if kind not in (NONE, *CONTROLS) and share.get(plan, 0.0) < 1}
    return [plan for plan in in_order(verdicts, "plan") if plan in free]


def _losses(answers: Answers, names: Sequence[str], allowed: float) -> list[Claim]:
    plain = answers.right[NONE]
    right = np.stack([answers.right[name] for name in names], axis=1)
    bands = share_bands(np.broadcast_to(plain[:, None], right.shape), right, clusters=answers.inputs)
    found = []
    for k, name in enumerate(names):
        effect, low, high = (100 * float(x[k]) for x in (bands.mean, bands.low, bands.high))
        p = known(float(bands.p[k]))
        found.append(
            Claim(
                kind="loss",
                about=name,
                quantity="right answers lost",
                unit="points",
                effect=effect,
                low=known(low),
                high=known(high),
                p=p,
                control="the plain model",
                control_effect=0.0,
                n=int(bands.n[k]),
                inputs=bands.inputs,
                verdict=judged(effect, low, high, smallest=100 * allowed, inputs=bands.inputs, p=p),
            )
        )
    return found


def _kept(loss: Claim, allowed: float) -> Claim:
    """Whether a loss is established to lie within what is allowed: by the upper bound of its interval."""
    within = loss.high is not None and loss.high <= 100 * allowed + 1e-9
    return Claim(
        kind="kept",
        about=loss.about,
        quantity="right answers lost, within the loss allowed",
        unit="points",
        effect=loss.effect,
        low=loss.low,
        high=loss.high,
        control=ALLOWED,
        control_effect=100 * allowed,
        n=loss.n,
        inputs=loss.inputs,
        verdict="established" if within else "not established",
    )


def _needed(answers: Answers, plans: int, allowed: float, chose: int | None) -> list[Claim]:
    """On how many inputs a plan under which no answer changes is known to keep the loss allowed, and how many examples
    to ask for so that as many judge."""
    if not allowed:
        return []
    z = critical(plans)
    inputs, n = len(set(answers.inputs)), len(answers.inputs)
    found = [
        Claim(
            kind="needed",
            about="a plan under which no answer changes",
            quantity="inputs on which it is known to keep within the loss allowed",
            unit="inputs",
            effect=float(math.ceil(z**2 * (1 - allowed) / allowed)),
            control="inputs that there are",
            control_effect=float(inputs),
            n=n,
            inputs=inputs,
            verdict="established",
        )
    ]
    if chose is not None:
        more = {"kind": "needed-limit", "quantity": "examples to ask for, so that as many inputs judge", "unit": ""}
        asked = float(math.ceil(found[0].effect * n / inputs) + chose)
        more |= {"effect": asked, "control": "examples that there are", "control_effect": float(n + chose)}
        found.append(replace(found[0], **more))
    return found


def _operations(plans: pl.DataFrame, names: Sequence[str]) -> list[Claim]:
    share = dict(plans.select("plan", "operations_share").iter_rows())
    return [
        Claim(
            kind="operations",
            about=name,
            quantity="operations of a typical prompt, of the plain model's; counted",
            unit="%",
            effect=100 * share[name],
            low=100 * share[name],
            high=100 * share[name],
            control="the plain model",
            control_effect=100.0,
            n=1,
            verdict="established",
        )
        for name in names
        if name in share
    ]


def _times(timings: pl.DataFrame, names: Sequence[str]) -> list[Claim]:
    """How much longer a plan takes than the plain call beside it, and how much of that goes beyond two equal calls.

    A time is established only where both are.
    """
    timed = [name for name in (NONE, *names) if name in set(timings["plan"])]
    if NONE not in timed or len(timed) < 2:
        return []
    logs = {
        place: np.stack(
            [timings.filter(pl.col("plan") == name).sort("repeat")[column].log().to_numpy() for name in timed], axis=1
        )
        for place, column in _PLACES.items()
    }
    values = np.concatenate([own[:, 1:] for own in logs.values()], axis=1)
    equal = np.concatenate([np.repeat(own[:, :1], len(timed) - 1, axis=1) for own in logs.values()], axis=1)
    bands, beyond = student_bands(values), student_bands(values - equal)
    columns = [(name, place) for place in logs for name in timed[1:]]
    found = []
    for k, (name, place) in enumerate(columns):
        noise = 100 * math.expm1(float(equal[:, k].mean()))
        more = _change(beyond, k, "time-beyond", "change of the time to read it, less that of two equal calls")
        same_way = more.effect * float(bands.mean[k]) > 0 and more.verdict == "established"
        own = _change(bands, k, "time", "change of the time to read it, over timed calls", controlled=same_way)
        of = {"about": name, "where": place, "control": EQUAL_CALLS, "control_effect": noise}
        found += [replace(own, **of), replace(more, **of)]
    return found


def loss_bounds(claims: Sequence[Claim]) -> dict[str, dict[str, float | None]]:
    """Per plan that could be recommended, the columns of losses in `plans`: the bounds that its claims state."""
    found: dict[str, dict[str, float | None]] = {}
    for one in of_kind(claims, "loss"):
        low, high = (None if bound is None else bound / 100 for bound in (one.low, one.high))
        found[one.about] = {"loss": one.effect / 100, "loss_low": low, "loss_high": high}
    return found


def time_shares(timings: pl.DataFrame, claims: Sequence[Claim]) -> dict[str, dict[str, float | None]]:
    """Per plan, the columns of times in `plans`: the same means and bounds as those of the claims on its time."""
    found: dict[str, dict[str, float | None]] = {}
    for (plan,), own in timings.group_by("plan"):
        columns = found[str(plan)] = {}
        for place, name in _PLACES.items():
            one = next((one for one in of_kind(claims, "time", str(plan)) if one.where == place), None)
            bounds = (None, None) if one is None else (one.low, one.high)
            low, high = (None if bound is None else 1 + bound / 100 for bound in bounds)
            mean = math.exp(float(own[name].log().to_numpy().mean()))
            columns |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return found


def _change(bands: Bands, k: int, kind: str, quantity: str, *, controlled: bool = True) -> Claim:
    """Column `k` of bands over logarithms of ratios, as a change in %."""
    effect, low, high = 100 * math.expm1(float(bands.mean[k])), _percent(bands.low[k]), _percent(bands.high[k])
    p = known(float(bands.p[k]))
    return Claim(
        kind=kind,
        about="",
        quantity=quantity,
        unit="%",
        effect=effect,
        low=low,
        high=high,
        p=p,
        n=int(bands.n[k]),
        verdict=judged(effect, low, high, smallest=_LEAST_TIME, inputs=None, p=p, controlled=controlled),
    )


def _percent(log_ratio: float) -> float | None:
    """A bound of the logarithm of a ratio as a change in %; None where there is none that a number could hold."""
    change = 100 * float(np.expm1(min(float(log_ratio), 700.0)))
    return change if abs(change) < 1e9 else None


def saves_time(times: Sequence[Claim], plan: str) -> bool:
    """Whether a plan is established to be faster, and not established to be slower where a prompt is read alone."""
    own = of_kind(times, "time", plan)
    faster = any(one.established and one.effect < 0 for one in own)
    slower = any(one.where == ONE_PROMPT and one.low is not None and one.low > 0 for one in own)
    return faster and not slower


def _cheapest(kept: Sequence[Claim], operations: Sequence[Claim], times: Sequence[Claim]) -> str:
    share = {one.about: one.effect for one in operations}
    free = [one for one in kept if one.established and one.about in share and saves_time(times, one.about)]
    return min(free, key=lambda one: (share[one.about], one.high)).about if free else NONE


def _recommended(chosen: str, own: Claim | None, allowed: float, n: int, words: str) -> Claim:
    return Claim(
        kind="recommended",
        about=chosen,
        where=words if own is not None else "all",
        quantity="right answers lost, within the loss allowed",
        unit="points",
        effect=0.0 if own is None else own.effect,
        low=None if own is None else own.low,
        high=None if own is None else own.high,
        control=ALLOWED,
        control_effect=100 * allowed,
        n=n,
        inputs=None if own is None else own.inputs,
        verdict="not established" if own is None else "established",
    )
