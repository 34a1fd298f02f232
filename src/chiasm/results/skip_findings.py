"""What skipping costs and saves, in words: every number stands in a table of the run."""

from typing import Any

import polars as pl

from chiasm.core.statistics import Estimate, mean_interval
from chiasm.results.findings import Finding, inputs_of
from chiasm.results.series import RESAMPLES, Curve, curve, in_order, majority
from chiasm.results.skip_schemas import (
    FAST_V,
    NONE,
    PEERS,
    RANDOM_DROP,
    RANDOM_LAYERS,
    SEARCH,
    TEXT_FFN,
    TRAINED_PLAIN,
    TRAINED_WITH_PLAN,
    UNTRAINED,
    VISUAL_FFN,
)


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
    found = [_where(contributions, controls, span)]
    if plans is None or verdicts is None:
        return [Finding("No plan has been verified yet: the run is not finished.", 100.0), *found]
    found.append(_recommended(plans, verdicts, max_loss))
    for finding in (_against_chance(plans), _peers(plans), _tokens(plans), _modalities(plans)):
        found += [finding] if finding is not None else []
    found += [_time(plans), _front(plans)]
    if recovered is not None:
        found.append(recovery(recovered))
    return sorted(found, key=lambda finding: -finding.strength)


def _recommended(plans: pl.DataFrame, verdicts: pl.DataFrame, max_loss: float) -> Finding:
    row = plans.filter(pl.col("recommended")).row(0, named=True)
    bound = f"{100 * max_loss:g} points"
    if row["kind"] == NONE:
        tried = plans.filter(~pl.col("kind").is_in([NONE, RANDOM_LAYERS]))
        kept = tried.filter(pl.col("loss") <= max_loss)
        text = (
            f"No plan is recommended: of {tried.height} tried, {kept.height} stay within a loss of {bound} of right "
            f"answers, and none of these takes less time than the plain model in three of four repeats, on one prompt "
            f"or on a batch (n = {row['n']}; untouched {_score(row)} right)."
        )
        return Finding(text, 100.0)
    text = (
        f"`{row['plan']}` is the cheapest plan within a loss of {bound}: it leaves out {row['skipped']}, does "
        f"{_percent(row['operations_share'])} of the operations in {_percent(row['prefill_share'])} of the time of "
        f"one prompt ({1000 * row['prefill_seconds']:.3g} ms) and {_percent(row['batch_share'])} of that of a batch, "
        f"and loses {_loss(row)}."
    )
    if row["loss_high"] is not None and row["loss_high"] > max_loss:
        text += f" The interval reaches beyond {bound}: more examples would settle it."
    untouched = verdicts.filter(pl.col("plan") == NONE)
    guess, plain = majority(untouched), plans.filter(pl.col("kind") == NONE).row(0, named=True)
    if plain["score_low"] is None or plain["score_low"] <= guess:
        text += (
            f" The untouched model itself is right in {_score(plain)}, not clearly more than always the most frequent "
            f"answer ({100 * guess:.0f} %): there is little that could be lost."
        )
    return Finding(text, 100.0)


def _against_chance(plans: pl.DataFrame) -> Finding | None:
    """The search beside random layers, at the share of operations where they are furthest apart."""
    pairs = []
    for row in plans.filter(pl.col("kind") == SEARCH).iter_rows(named=True):
        prefix = row["plan"].replace(SEARCH, "random", 1) + "-"
        random = plans.filter((pl.col("kind") == RANDOM_LAYERS) & pl.col("plan").str.starts_with(prefix))
        if random.height:
            pairs.append((row, random))
    if not pairs:
        return None
    row, random = max(pairs, key=lambda pair: abs(float(pair[1]["logprob_loss"].mean()) - pair[0]["logprob_loss"]))
    # Bounds may be missing where there is one example; then nothing is told apart.
    high, lows = row["logprob_loss_high"], random["logprob_loss_low"].drop_nulls()
    apart = high is not None and len(lows) and high < float(lows.min())
    verdict = "less than" if apart else "not clearly less than"
    text = (
        f"At {_percent(row['operations_share'])} of the operations the search loses {verdict} random layers do: "
        f"{row['logprob_loss']:.3g} nat of the answer's log-probability {_nat(row)} against "
        f"{' and '.join(f'{r:.3g}' for r in random['logprob_loss'])}, and {_points(row['loss'])} of right answers "
        f"against {' and '.join(_points(loss) for loss in random['loss'])} (n = {row['n']})."
    )
    return Finding(text, 80.0)


def _peers(plans: pl.DataFrame) -> Finding | None:
    """The published methods by what they lose, each told with its operations."""
    peers = plans.filter(pl.col("kind").is_in(PEERS)).sort("logprob_loss")
    if not peers.height:
        return None
    told = [
        f"{row['plan']} {_points(row['loss'])} at {_percent(row['operations_share'])} of operations and "
        f"{_percent(row['prefill_share'])} of time ({_percent(row['batch_share'])} in a batch)"
        for row in peers.iter_rows(named=True)
    ]
    text = f"Published ways to skip, by the log-probability they lose: {'; '.join(told)} (n = {peers['n'][0]})."
    return Finding(text, 60.0)


def _tokens(plans: pl.DataFrame) -> Finding | None:
    """Whether choosing tokens by attention beats dropping at random, where both drop as many."""
    best: tuple[dict[str, Any], dict[str, Any]] | None = None
    for row in plans.filter(pl.col("kind") == FAST_V).iter_rows(named=True):
        twin = plans.filter(pl.col("plan") == row["plan"].replace(FAST_V, RANDOM_DROP, 1))
        if twin.height:
            best = (row, twin.row(0, named=True))
    if best is None:
        return None
    clever, chance = best
    apart = None not in (clever["logprob_loss_high"], chance["logprob_loss_low"]) and (
        clever["logprob_loss_high"] < chance["logprob_loss_low"]
    )
    verdict = "keeps more than" if apart else "does not clearly keep more than"
    text = (
        f"Dropping image tokens by the attention they receive ({clever['plan']}) {verdict} dropping as many at random: "
        f"{clever['logprob_loss']:.3g} nat {_nat(clever)} against {chance['logprob_loss']:.3g} {_nat(chance)} lost."
    )
    return Finding(text, 50.0)


def _time(plans: pl.DataFrame) -> Finding:
    """How much of what is left out in operations is saved in seconds, for the plan that leaves out most."""
    row = plans.filter(pl.col("kind") != NONE).sort("operations_share").row(0, named=True)
    saved, operations = 1 - row["prefill_share"], 1 - row["operations_share"]
    text = (
        f"`{row['plan']}` leaves out most: {_percent(operations)} of the operations, {_percent(saved)} of the time "
        f"of one prompt and {_percent(1 - row['batch_share'])} of that of a batch (median ratios to the plain model of "
        "the same repeat; below 0 is slower)."
    )
    return Finding(text, 40.0)


def _front(plans: pl.DataFrame) -> Finding:
    """The plans that none of the others beats both in operations and in what is lost."""
    rows = plans.filter("pareto").sort("operations_share")
    told = [
        f"{row['plan']} ({_percent(row['operations_share'])}, {row['logprob_loss']:.2g} nat)"
        for row in rows.iter_rows(named=True)
    ]
    text = f"No other plan does fewer operations and loses less than {', '.join(told)} (n = {plans['n'][0]})."
    return Finding(text, 55.0)


def recovery(recovered: pl.DataFrame) -> Finding:
    """What training with the plan gives back, beside as much training without it."""
    cells = {
        (trained, plan != ""): own.sort("example_id")
        for (trained, plan), own in recovered.group_by(["trained", "plan"])
    }
    right = {cell: own["correct"].cast(pl.Float64).to_numpy() for cell, own in cells.items()}
    inputs = inputs_of(cells[UNTRAINED, False])
    plan = next(name for name in recovered["plan"] if name)
    before, under = right[UNTRAINED, False], right[UNTRAINED, True]
    after = right[TRAINED_WITH_PLAN, True]
    gained = mean_interval(after - under, resamples=RESAMPLES, clusters=inputs)
    verdict = "gives back" if float(gained.low) > 0 else "does not clearly give back"
    text = (
        f"Under `{plan}` the untrained model is right in {100 * under.mean():.1f} % (untouched "
        f"{100 * before.mean():.1f} %). Training with the plan in effect {verdict} answers: {100 * after.mean():.1f} % "
        f"({_gap(gained)})"
    )
    if (TRAINED_PLAIN, True) in right:
        control = right[TRAINED_PLAIN, True]
        beyond = mean_interval(after - control, resamples=RESAMPLES, clusters=inputs)
        apart = "more than" if float(beyond.low) > 0 else "not clearly more than"
        text += (
            f", {apart} as much training without the plan: {100 * control.mean():.1f} % under the plan "
            f"({_gap(beyond)}), {100 * right[TRAINED_PLAIN, False].mean():.1f} % without it"
        )
    return Finding(f"{text} (n = {len(before)}).", 90.0)


def _gap(estimate: Estimate) -> str:
    mean, low, high = (100 * float(v) for v in (estimate.mean, estimate.low, estimate.high))
    return f"{mean:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"


def _where(contributions: pl.DataFrame, controls: pl.DataFrame | None, span: str) -> Finding:
    told = []
    for part, name in (("ffn", "the feed-forward"), ("attention", "the attention")):
        rows = contributions.filter(pl.col("part") == part)
        if rows.height:
            own = curve(rows, "kl")
            most, least = int(own.mean.argmax()), int(own.mean.argmin())
            told.append(
                f"{name} of {span} tokens matters most in layer {own.places[most]:.0f} ({_at(own, most)} nat) and "
                f"least in layer {own.places[least]:.0f} ({_at(own, least)})"
            )
    n = contributions["example_id"].n_unique()
    beside = ""
    if controls is not None and controls.height:
        twins = [curve(controls.filter(pl.col("part") == part), "kl") for part in in_order(controls, "part")]
        own = max(twins, key=lambda one: float(one.mean.max()))
        beside = f" With random weights no layer reaches more than {_at(own, int(own.mean.argmax()))} nat."
    text = f"Alone, {'; '.join(told)} (KL of the answer, 95 % intervals, n = {n}).{beside}"
    return Finding(text, 70.0)


def _modalities(plans: pl.DataFrame) -> Finding | None:
    """Perceptual against textual tokens: feed-forward left out in the same layers (arXiv 2405.16700, figure 11)."""
    for where in ("half", "all"):
        rows = {
            kind: plans.filter((pl.col("kind") == kind) & pl.col("plan").str.ends_with(f"-{where}"))
            for kind in (VISUAL_FFN, TEXT_FFN)
        }
        if all(own.height for own in rows.values()):
            visual, textual = (own.row(0, named=True) for own in rows.values())
            apart = None not in (visual["logprob_loss_high"], textual["logprob_loss_low"]) and (
                visual["logprob_loss_high"] < textual["logprob_loss_low"]
            )
            layers = "half of the layers" if where == "half" else "all layers"
            text = (
                f"Feed-forward left out in {layers} costs {'less' if apart else 'not clearly less'} for perceptual "
                f"than for text tokens: {visual['logprob_loss']:.3g} nat {_nat(visual)} and {_points(visual['loss'])} "
                f"against {textual['logprob_loss']:.3g} {_nat(textual)} and {_points(textual['loss'])} "
                f"(n = {visual['n']})."
            )
            return Finding(text, 75.0)
    return None


def _at(own: Curve, k: int) -> str:
    if own.low[k] != own.low[k]:
        return f"{own.mean[k]:.3g}, no interval from one input,"
    return f"{own.mean[k]:.3g}, {own.low[k]:.3g} to {own.high[k]:.3g}"


def _loss(row: dict[str, Any]) -> str:
    if row["loss_low"] is None:
        return f"{_points(row['loss'])} of right answers (no interval from one input)"
    return (
        f"{_points(row['loss'])} of right answers (95 % interval {100 * row['loss_low']:+.1f} to "
        f"{100 * row['loss_high']:+.1f}, n = {row['n']}; {_score(row)} right)"
    )


def _score(row: dict[str, Any]) -> str:
    if row["score_low"] is None:
        return f"{100 * row['score']:.1f} % (no interval from one input)"
    return f"{100 * row['score']:.1f} % ({100 * row['score_low']:.1f} to {100 * row['score_high']:.1f})"


def _nat(row: dict[str, Any]) -> str:
    if row["logprob_loss_low"] is None:
        return "(no interval from one input)"
    return f"({row['logprob_loss_low']:.3g} to {row['logprob_loss_high']:.3g})"


def _points(loss: float) -> str:
    return f"{100 * loss:.1f} points"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
