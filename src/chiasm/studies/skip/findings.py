"""What skipping costs and saves, in words: every number stands in a table of the run."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chiasm.core.statistics.intervals import ALPHA, Estimate, mean_interval, share_difference, sign_flip_max_t
from chiasm.results.findings import Finding
from chiasm.results.series import RESAMPLES, Curve, curve, in_order, inputs_of, majority, right_share
from chiasm.results.wording import estimate, percent, quartiles, share, worded
from chiasm.studies.skip.scores import choice_loss
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

_ONE_INPUT = "no interval from one input"
_Row = Mapping[str, Any]


def skip_findings(
    plans: pl.DataFrame | None,
    contributions: pl.DataFrame,
    controls: pl.DataFrame | None,
    verdicts: pl.DataFrame | None,
    max_loss: float,
    recovered: pl.DataFrame | None = None,
    span: str = "image",
) -> list[Finding]:
    """The recommended plan, the search against chance and against the published methods, where the work matters.

    `span`: the tokens whose work is left out. Questions on one input (column `input`) count together.
    """
    where = _where(contributions, controls, span)
    if plans is None or verdicts is None:
        return [Finding("No plan has been verified yet: the run is not finished.", 100.0), where]
    found = [
        where,
        _recommended(plans, verdicts, max_loss),
        _search(plans, verdicts),
        _peers(plans),
        _dropped_tokens(plans, verdicts),
        _modalities(plans, verdicts),
        _time(plans),
        _front(plans),
        None if recovered is None else _recovery(recovered),
    ]
    return sorted((one for one in found if one is not None), key=lambda finding: -finding.strength)


class PlanComparison(NamedTuple):
    """A plan and its control on the same examples. `more`: log-probability (nat) that the control loses more, mean
    with 95 % bootstrap bounds; `p`: two-sided, corrected for all pairs that were compared together."""

    plan: str
    control: str
    more: float
    low: float
    high: float
    p: float


def compare_plans(verdicts: pl.DataFrame, pairs: Sequence[tuple[str, str]]) -> list[PlanComparison]:
    """Each plan beside its control, paired by example; questions on one input count together (sign flips, max-T)."""
    if not pairs:
        return []
    rows = {plan: own.sort("example_id") for (plan,), own in verdicts.group_by("plan")}
    logprob = {plan: own["logprob"].to_numpy() for plan, own in rows.items()}
    inputs = inputs_of(rows[NONE])
    more = np.stack([logprob[plan] - logprob[control] for plan, control in pairs], axis=1)
    test = sign_flip_max_t(more, clusters=inputs)
    mean = mean_interval(more, resamples=RESAMPLES, clusters=inputs)
    return [
        PlanComparison(*pair, *(float(values[k]) for values in (mean.mean, mean.low, mean.high, test.p)))
        for k, pair in enumerate(pairs)
    ]


def _where(contributions: pl.DataFrame, controls: pl.DataFrame | None, span: str) -> Finding:
    parts = []
    for part, name in (("ffn", "the feed-forward"), ("attention", "the attention")):
        rows = contributions.filter(pl.col("part") == part)
        if rows.height:
            own = curve(rows, "kl")
            most, least = int(own.mean.argmax()), int(own.mean.argmin())
            parts.append(
                f"{name} of {span} tokens matters most in layer {own.places[most]:.0f} ({_divergence(own, most)}) and "
                f"least in layer {own.places[least]:.0f} ({_divergence(own, least)})"
            )
    n = contributions["example_id"].n_unique()
    baseline = ""
    if controls is not None and controls.height:
        curves = [curve(controls.filter(pl.col("part") == part), "kl") for part in in_order(controls, "part")]
        own = max(curves, key=lambda one: float(one.mean.max()))
        baseline = f" With random weights no layer reaches more than {_divergence(own, int(own.mean.argmax()))}."
    return Finding(f"Alone, {'; '.join(parts)} (KL of the answer, n = {n}).{baseline}", 70.0)


def _recommended(plans: pl.DataFrame, verdicts: pl.DataFrame, max_loss: float) -> Finding:
    row = plans.filter(pl.col("recommended")).row(0, named=True)
    bound = points(max_loss)
    if row["kind"] == NONE:
        tried = plans.filter(~pl.col("kind").is_in([NONE, RANDOM_LAYERS]))
        kept = tried.filter(pl.col("loss") <= max_loss)
        text = (
            f"No plan is recommended: of {tried.height} tried, {kept.height} stay within a loss of {bound} of right "
            f"answers, and none of these takes clearly less time than the plain model, on one prompt or on a batch "
            f"(n = {row['n']}; untouched {_score(row)} right). Two equal calls of it differ by "
            f"{_time_share(row, 'prefill_share')} and {_time_share(row, 'batch_share')}: on a quieter machine, "
            "or with more --repeats, smaller differences can be shown."
        )
        return Finding(text, 100.0)
    text = (
        f"`{row['plan']}` is the cheapest plan that keeps a loss of {bound} and saves time: it leaves out "
        f"{row['skipped']}, does {percent(row['operations_share'])} of the operations in "
        f"{_time_share(row, 'prefill_share')} of the time of one prompt ({1000 * row['prefill_seconds']:.3g} ms) "
        f"and {_time_share(row, 'batch_share')} of that of a batch, and loses {_loss(row)}."
    )
    if row["prefill_share_high"] >= 1:
        text += " One prompt alone is not clearly faster: it saves time where prompts are read together."
    again = choice_loss(verdicts, plans.to_dicts(), max_loss)
    if again is not None:
        text += (
            " Chosen on four fifths of the inputs and judged on the last, five times over, the choice loses "
            f"{_points(again)}."
        )
    if row["loss_high"] is not None and row["loss_high"] > max_loss:
        text += f" The interval reaches beyond {bound}: more examples would settle it."
    untouched = verdicts.filter(pl.col("plan") == NONE)
    guess, plain = majority(untouched), plans.filter(pl.col("kind") == NONE).row(0, named=True)
    if plain["score_low"] is None or plain["score_low"] <= guess:
        text += (
            f" The untouched model itself is right in {_score(plain)}, not clearly more than always the most "
            f"frequent answer ({percent(guess)}): there is little that could be lost."
        )
    return Finding(text, 100.0)


def _search(plans: pl.DataFrame, verdicts: pl.DataFrame) -> Finding | None:
    """The search beside random layers at as many operations: all draws at all shares."""
    pairs = _drawn(plans, SEARCH, RANDOM_LAYERS, "random")
    opening = "Random layers at as many operations lose"
    return _against_draws(plans, compare_plans(verdicts, pairs), opening, "the search's plan", 80.0)


def _dropped_tokens(plans: pl.DataFrame, verdicts: pl.DataFrame) -> Finding | None:
    """Whether choosing tokens by attention beats dropping at random, where both drop as many."""
    pairs = _drawn(plans, FAST_V, RANDOM_DROP, RANDOM_DROP)
    opening = "As many tokens dropped at random lose"
    return _against_draws(plans, compare_plans(verdicts, pairs), opening, "dropping by attention (FastV)", 50.0)


def _drawn(plans: pl.DataFrame, kind: str, control: str, prefix: str) -> list[tuple[str, str]]:
    """The plans of a kind, each with every random draw beside it, whose name begins with `prefix` in its place."""
    named = {name: plans.filter(pl.col("kind") == name)["plan"].to_list() for name in (kind, control)}
    return [
        (plan, draw)
        for plan in named[kind]
        for draw in named[control]
        if draw.startswith(plan.replace(kind, prefix, 1) + "-")
    ]


def _against_draws(
    plans: pl.DataFrame, found: Sequence[PlanComparison], opening: str, plan: str, strength: float
) -> Finding | None:
    if not found:
        return None
    more = sum(one.p <= ALPHA and one.more > 0 for one in found)
    less = sum(one.p <= ALPHA and one.more < 0 for one in found)
    widest = max(found, key=lambda one: abs(one.more))
    own, control = (plans.filter(pl.col("plan") == name).row(0, named=True) for name in (widest.plan, widest.control))
    nats = estimate(widest.more, widest.low, widest.high, unit="nat", significant=3, missing=_ONE_INPUT)
    text = (
        f"{opening} clearly more of the answer's log-probability than {plan} in {more} of {len(found)} draws, and "
        f"clearly less in {less}. `{widest.control}` and `{widest.plan}` differ most, by {nats}: "
        f"{_loss(control)} at {percent(control['operations_share'])} of operations against "
        f"{_loss(own)} at {percent(own['operations_share'])}."
    )
    return Finding(text, strength)


def _peers(plans: pl.DataFrame) -> Finding | None:
    """The published methods by what they lose, each with its operations."""
    rows = plans.filter(pl.col("kind").is_in(PEERS)).sort("logprob_loss")
    if not rows.height:
        return None
    parts = [
        f"{row['plan']} {_points_of(row, missing='')} at {percent(row['operations_share'])} of operations and "
        f"{percent(row['prefill_share'])} of time ({percent(row['batch_share'])} in a batch)"
        for row in rows.iter_rows(named=True)
    ]
    text = f"Published ways to skip, by the log-probability they lose: {'; '.join(parts)} (n = {rows['n'][0]})."
    return Finding(text, 60.0)


def _modalities(plans: pl.DataFrame, verdicts: pl.DataFrame) -> Finding | None:
    """Perceptual against textual tokens: feed-forward left out in the same layers (arXiv 2405.16700, figure 11)."""
    rows = {row["plan"]: row for row in plans.iter_rows(named=True)}
    pairs = [
        (f"visual-ffn-{where}", f"text-ffn-{where}")
        for where in ("half", "all")
        if {f"visual-ffn-{where}", f"text-ffn-{where}"} <= set(rows)
    ]
    if not pairs:
        return None
    found = compare_plans(verdicts, pairs)[0]
    visual, textual = rows[found.plan], rows[found.control]
    differ = found.p <= ALPHA and found.more > 0
    layers = "half of the layers" if found.plan.endswith("half") else "all layers"
    text = (
        f"Feed-forward left out in {layers} costs {'less' if differ else 'not clearly less'} for perceptual than for "
        f"text tokens: {_nats(visual)} and {_loss(visual)} against {_nats(textual)} and {_loss(textual)}."
    )
    return Finding(text, 75.0)


def _time(plans: pl.DataFrame) -> Finding:
    """How much of what is left out in operations is saved in seconds, for the plan that leaves out most."""
    row = plans.filter(~pl.col("kind").is_in([NONE, RANDOM_LAYERS])).sort("operations_share").row(0, named=True)
    plain = plans.filter(pl.col("kind") == NONE).row(0, named=True)
    text = (
        f"`{row['plan']}` leaves out most: it does {percent(row['operations_share'])} of the operations in "
        f"{_time_share(row, 'prefill_share')} of the time of one prompt and {_time_share(row, 'batch_share')} of "
        f"that of a batch (medians and quartiles of ratios to the plain model's call beside it). Two equal calls "
        f"differ by as much as {_time_share(plain, 'prefill_share')} and {_time_share(plain, 'batch_share')}."
    )
    return Finding(text, 40.0)


def _front(plans: pl.DataFrame) -> Finding:
    """The plans that none of the others beats both in operations and in what is lost."""
    rows = plans.filter("pareto").sort("operations_share")
    parts = [f"{row['plan']}, {percent(row['operations_share'])}, {_nats(row)}" for row in rows.iter_rows(named=True)]
    text = (
        f"By their means no other plan does fewer operations and loses less than {'; '.join(parts)} "
        f"(n = {plans['n'][0]})."
    )
    return Finding(text, 55.0)


def _recovery(recovered: pl.DataFrame) -> Finding:
    """What training with the plan gives back, beside as much training without it."""
    cells = {
        (trained, plan != ""): own.sort("example_id")
        for (trained, plan), own in recovered.group_by(["trained", "plan"])
    }
    right = {cell: own["correct"].to_numpy() for cell, own in cells.items()}
    shares = {cell: share(right_share(own), missing=_ONE_INPUT, brackets=False) for cell, own in cells.items()}
    inputs = inputs_of(cells[UNTRAINED, False])
    plan = next(name for name in recovered["plan"] if name)
    after = right[TRAINED_WITH_PLAN, True]
    gained = share_difference(after, right[UNTRAINED, True], inputs)
    verdict = "gives back" if float(gained.low) > 0 else "does not clearly give back"
    text = (
        f"Under `{plan}` the untrained model is right in {shares[UNTRAINED, True]} (untouched "
        f"{shares[UNTRAINED, False]}). Training with the plan in effect {verdict} answers: "
        f"{shares[TRAINED_WITH_PLAN, True]} ({_points(gained, signed=True, brackets=False)})"
    )
    if (TRAINED_PLAIN, True) in right:
        beyond = share_difference(after, right[TRAINED_PLAIN, True], inputs)
        compared = "more than" if float(beyond.low) > 0 else "not clearly more than"
        text += (
            f", {compared} as much training without the plan: {shares[TRAINED_PLAIN, True]} under the plan "
            f"({_points(beyond, signed=True, brackets=False)}), {shares[TRAINED_PLAIN, False]} without it"
        )
    return Finding(f"{text} (n = {len(after)}).", 90.0)


def points(loss: float) -> str:
    """A share of right answers in points of a hundred."""
    value = round(100 * loss, 1) + 0.0  # no minus before nought
    return f"{value:g} point{'' if abs(value) == 1 else 's'}"


def _loss(row: _Row) -> str:
    """The right answers that a plan loses, with the interval and what is left."""
    lost = _points_of(row, unit="points of right answers", n=row["n"])
    return f"{lost}, which leaves {_score(row)}"


def _of(row: _Row, column: str, **options: Any) -> str:
    """A column of the table `plans` with its interval."""
    bounds = row[f"{column}_low"], row[f"{column}_high"]
    return estimate(row[column], *bounds, **{"missing": _ONE_INPUT, **options})


def _points_of(row: _Row, **options: Any) -> str:
    return _of(row, "loss", **{"unit": "points", "scale": 100, **options})


def _points(of: Estimate, **options: Any) -> str:
    return worded(of, unit="points", scale=100, missing=_ONE_INPUT, **options)


def _score(row: _Row) -> str:
    """The share of right answers under a plan, with its interval."""
    return _of(row, "score", unit="%", scale=100)


def _nats(row: _Row) -> str:
    """The log-probability that a plan loses, with its interval."""
    return _of(row, "logprob_loss", unit="nat", significant=3)


def _divergence(own: Curve, k: int) -> str:
    return worded(own.at(k), unit="nat", significant=3, brackets=False, missing=_ONE_INPUT)


def _time_share(row: _Row, name: str) -> str:
    """A share of the plain model's time, with its quartiles."""
    return quartiles(row[name], row[f"{name}_low"], row[f"{name}_high"])
