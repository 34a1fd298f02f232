"""Plans beside their controls, paired by example, in words."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chiasm.core.statistics.intervals import Estimate, mean_interval, share_difference, sign_flip_max_t
from chiasm.results.findings import Finding, inputs_of
from chiasm.results.series import RESAMPLES
from chiasm.studies.flow.judgement import ALPHA
from chiasm.studies.skip.tables import (
    FAST_V,
    NONE,
    PEERS,
    RANDOM_DROP,
    RANDOM_LAYERS,
    SEARCH,
    TRAINED_PLAIN,
    TRAINED_WITH_PLAN,
    UNTRAINED,
)


class Beside(NamedTuple):
    """A plan and its control on the same examples. `more`: log-probability (nat) that the control loses more, mean
    with 95 % bootstrap bounds; `p`: two-sided, corrected for all pairs that were looked at together."""

    plan: str
    control: str
    more: float
    low: float
    high: float
    p: float


def beside(verdicts: pl.DataFrame, pairs: Sequence[tuple[str, str]]) -> list[Beside]:
    """Each plan beside its control, paired by example; questions on one input count together (sign flips, max-T)."""
    if not pairs:
        return []
    rows = {plan: own.sort("example_id") for (plan,), own in verdicts.group_by("plan")}
    logprob = {plan: own["logprob"].to_numpy() for plan, own in rows.items()}
    inputs = inputs_of(rows[NONE])
    more = np.stack([logprob[plan] - logprob[control] for plan, control in pairs], axis=1)
    test = sign_flip_max_t(more, clusters=inputs)
    spread = mean_interval(more, resamples=RESAMPLES, clusters=inputs)
    return [
        Beside(*pair, *(float(values[k]) for values in (spread.mean, spread.low, spread.high, test.p)))
        for k, pair in enumerate(pairs)
    ]


def against_chance(plans: pl.DataFrame, verdicts: pl.DataFrame) -> Finding | None:
    """The search beside random layers at as many operations: all draws at all shares."""
    pairs = [
        (plan, control)
        for plan in plans.filter(pl.col("kind") == SEARCH)["plan"]
        for control in plans.filter(pl.col("kind") == RANDOM_LAYERS)["plan"]
        if control.startswith(plan.replace(SEARCH, "random", 1) + "-")
    ]
    return _told(plans, beside(verdicts, pairs), "Random layers at as many operations lose", "the search's plan", 80.0)


def tokens(plans: pl.DataFrame, verdicts: pl.DataFrame) -> Finding | None:
    """Whether choosing tokens by attention beats dropping at random, where both drop as many."""
    pairs = [
        (plan, control)
        for plan in plans.filter(pl.col("kind") == FAST_V)["plan"]
        for control in plans.filter(pl.col("kind") == RANDOM_DROP)["plan"]
        if control.startswith(plan.replace(FAST_V, RANDOM_DROP, 1) + "-")
    ]
    return _told(
        plans, beside(verdicts, pairs), "As many tokens dropped at random lose", "dropping by attention (FastV)", 50.0
    )


def _told(plans: pl.DataFrame, found: Sequence[Beside], opening: str, plan: str, strength: float) -> Finding | None:
    if not found:
        return None
    more = sum(one.p <= ALPHA and one.more > 0 for one in found)
    less = sum(one.p <= ALPHA and one.more < 0 for one in found)
    apart = max(found, key=lambda one: abs(one.more))
    own, control = (plans.filter(pl.col("plan") == name).row(0, named=True) for name in (apart.plan, apart.control))
    bounds = "no interval from one input" if np.isnan(apart.low) else f"{apart.low:.3g} to {apart.high:.3g}"
    text = (
        f"{opening} clearly more of the answer's log-probability than {plan} in {more} of {len(found)} draws, and "
        f"clearly less in {less}. Furthest apart are `{apart.control}` and `{apart.plan}`, by {apart.more:.3g} nat "
        f"({bounds}): {loss_in_words(control)} at {percent(control['operations_share'])} of operations against "
        f"{loss_in_words(own)} at {percent(own['operations_share'])}."
    )
    return Finding(text, strength)


def peers(plans: pl.DataFrame) -> Finding | None:
    """The published methods by what they lose, each told with its operations."""
    rows = plans.filter(pl.col("kind").is_in(PEERS)).sort("logprob_loss")
    if not rows.height:
        return None
    told = [
        f"{row['plan']} {points(row['loss'])}{_bounds(row)} at {percent(row['operations_share'])} of operations and "
        f"{percent(row['prefill_share'])} of time ({percent(row['batch_share'])} in a batch)"
        for row in rows.iter_rows(named=True)
    ]
    text = f"Published ways to skip, by the log-probability they lose: {'; '.join(told)} (n = {rows['n'][0]})."
    return Finding(text, 60.0)


def recovery(recovered: pl.DataFrame) -> Finding:
    """What training with the plan gives back, beside as much training without it."""
    cells = {
        (trained, plan != ""): own.sort("example_id")
        for (trained, plan), own in recovered.group_by(["trained", "plan"])
    }
    right = {cell: own["correct"].to_numpy() for cell, own in cells.items()}
    inputs = inputs_of(cells[UNTRAINED, False])
    plan = next(name for name in recovered["plan"] if name)
    before, under = right[UNTRAINED, False], right[UNTRAINED, True]
    after = right[TRAINED_WITH_PLAN, True]
    gained = share_difference(after, under, inputs)
    verdict = "gives back" if float(gained.low) > 0 else "does not clearly give back"
    text = (
        f"Under `{plan}` the untrained model is right in {100 * under.mean():.1f} % (untouched "
        f"{100 * before.mean():.1f} %). Training with the plan in effect {verdict} answers: {100 * after.mean():.1f} % "
        f"({_gap(gained)})"
    )
    if (TRAINED_PLAIN, True) in right:
        control = right[TRAINED_PLAIN, True]
        beyond = share_difference(after, control, inputs)
        apart = "more than" if float(beyond.low) > 0 else "not clearly more than"
        text += (
            f", {apart} as much training without the plan: {100 * control.mean():.1f} % under the plan "
            f"({_gap(beyond)}), {100 * right[TRAINED_PLAIN, False].mean():.1f} % without it"
        )
    return Finding(f"{text} (n = {len(before)}).", 90.0)


def _gap(estimate: Estimate) -> str:
    mean, low, high = (100 * float(v) for v in (estimate.mean, estimate.low, estimate.high))
    return f"{mean:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"


def loss_in_words(row: dict[str, Any]) -> str:
    """The right answers that a plan loses, with the interval and what is left."""
    if row["loss_low"] is None:
        return f"{points(row['loss'])} of right answers (no interval from one input)"
    return (
        f"{points(row['loss'])} of right answers (95 % interval {100 * row['loss_low']:+.1f} to "
        f"{100 * row['loss_high']:+.1f}, n = {row['n']}; {score_in_words(row)} right)"
    )


def score_in_words(row: dict[str, Any]) -> str:
    """The share of right answers under a plan, with its interval."""
    if row["score_low"] is None:
        return f"{100 * row['score']:.1f} % (no interval from one input)"
    return f"{100 * row['score']:.1f} % ({100 * row['score_low']:.1f} to {100 * row['score_high']:.1f})"


def share_in_words(row: dict[str, Any], name: str) -> str:
    """A share of the plain model's time, with its quartiles."""
    return f"{percent(row[name])} (quartiles {100 * row[f'{name}_low']:.0f} to {100 * row[f'{name}_high']:.0f})"


def nat_bounds(row: dict[str, Any]) -> str:
    """The interval of the log-probability that a plan loses."""
    if row["logprob_loss_low"] is None:
        return "(no interval from one input)"
    return f"({row['logprob_loss_low']:.3g} to {row['logprob_loss_high']:.3g})"


def points(loss: float) -> str:
    """A share of right answers in points of a hundred."""
    value = round(100 * loss, 1) + 0.0  # no minus before nought
    return f"{value:g} point{'' if abs(value) == 1 else 's'}"


def percent(share: float) -> str:
    """A share in whole per cent."""
    return f"{100 * share:.0f} %"


def _bounds(row: dict[str, Any]) -> str:
    if row["loss_low"] is None:
        return ""
    return f" ({100 * row['loss_low']:+.1f} to {100 * row['loss_high']:+.1f})"
