"""What skipping costs and saves, in words: every number stands in a table of the run."""

from typing import Any

import polars as pl

from chiasm.core.statistics import Estimate, mean_interval
from chiasm.results.findings import Finding
from chiasm.results.series import RESAMPLES, majority
from chiasm.results.skip_schemas import (
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


def skip_findings(
    plans: pl.DataFrame | None,
    contributions: pl.DataFrame,
    controls: pl.DataFrame | None,
    verdicts: pl.DataFrame | None,
    max_loss: float,
    recovered: pl.DataFrame | None = None,
) -> list[Finding]:
    """The recommended plan, the search against chance and against the published methods, where the work matters."""
    found = [_where(contributions, controls)]
    if plans is None or verdicts is None:
        return [Finding("No plan has been verified yet: the run is not finished.", 100.0), *found]
    found.append(_recommended(plans, verdicts, max_loss))
    for finding in (_against_chance(plans), _peers(plans), _tokens(plans)):
        found += [finding] if finding is not None else []
    found.append(_time(plans))
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
            f"answers, and none of these takes less time than the plain model in three of four repeats "
            f"(n = {row['n']}; untouched {_score(row)} right)."
        )
        return Finding(text, 100.0)
    text = (
        f"`{row['plan']}` is the cheapest plan within a loss of {bound}: it leaves out {row['skipped']}, does "
        f"{_percent(row['operations_share'])} of the operations in {_percent(row['prefill_share'])} of the time "
        f"({1000 * row['prefill_seconds']:.3g} ms a prompt) and loses {_loss(row)}."
    )
    if row["loss_high"] is not None and row["loss_high"] > max_loss:
        text += f" The interval reaches beyond {bound}: more examples would settle it."
    untouched = verdicts.filter(pl.col("plan") == NONE)
    guess, plain = majority(untouched), plans.filter(pl.col("kind") == NONE).row(0, named=True)
    if plain["score_low"] <= guess:
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
        f"{_percent(row['prefill_share'])} of time"
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
        f"`{row['plan']}` leaves out most: {_percent(operations)} of the operations and {_percent(saved)} of the time "
        f"of reading a prompt (median ratio to the plain model of the same repeat)."
    )
    return Finding(text, 40.0)


def recovery(recovered: pl.DataFrame) -> Finding:
    """What training with the plan gives back, beside as much training without it."""
    right = {
        (trained, plan != ""): own.sort("example_id")["correct"].cast(pl.Float64).to_numpy()
        for (trained, plan), own in recovered.group_by(["trained", "plan"])
    }
    plan = next(name for name in recovered["plan"] if name)
    before, under = right[UNTRAINED, False], right[UNTRAINED, True]
    after = right[TRAINED_WITH_PLAN, True]
    gained = mean_interval(after - under, resamples=RESAMPLES)
    verdict = "gives back" if float(gained.low) > 0 else "does not clearly give back"
    text = (
        f"Under `{plan}` the untrained model is right in {100 * under.mean():.1f} % (untouched "
        f"{100 * before.mean():.1f} %). Training with the plan in effect {verdict} answers: {100 * after.mean():.1f} % "
        f"({_gap(gained)})"
    )
    if (TRAINED_PLAIN, True) in right:
        control = right[TRAINED_PLAIN, True]
        beyond = mean_interval(after - control, resamples=RESAMPLES)
        apart = "more than" if float(beyond.low) > 0 else "not clearly more than"
        text += (
            f", {apart} as much training without the plan: {100 * control.mean():.1f} % under the plan "
            f"({_gap(beyond)}), {100 * right[TRAINED_PLAIN, False].mean():.1f} % without it"
        )
    return Finding(f"{text} (n = {len(before)}).", 90.0)


def _gap(estimate: Estimate) -> str:
    mean, low, high = (100 * float(v) for v in (estimate.mean, estimate.low, estimate.high))
    return f"{mean:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"


def _where(contributions: pl.DataFrame, controls: pl.DataFrame | None) -> Finding:
    means = contributions.group_by("part", "layer", maintain_order=True).agg(pl.col("kl").mean())
    told = []
    for part, name in (("ffn", "the feed-forward"), ("attention", "the attention")):
        rows = means.filter(pl.col("part") == part).sort("kl")
        if rows.height:
            least, most = rows.row(0, named=True), rows.row(-1, named=True)
            told.append(
                f"{name} of image tokens matters most in layer {most['layer']} ({most['kl']:.3g} nat) and least in "
                f"layer {least['layer']} ({least['kl']:.3g})"
            )
    n = contributions["example_id"].n_unique()
    beside = ""
    if controls is not None and controls.height:
        largest = controls.group_by("part", "layer").agg(pl.col("kl").mean())["kl"].max()
        beside = f" With random weights no layer reaches more than {largest:.3g} nat."
    return Finding(f"Alone, {'; '.join(told)} (KL of the answer, n = {n}).{beside}", 70.0)


def _loss(row: dict[str, Any]) -> str:
    if row["loss_low"] is None:
        return f"{_points(row['loss'])} of right answers (no interval from one example)"
    return (
        f"{_points(row['loss'])} of right answers (95 % interval {100 * row['loss_low']:+.1f} to "
        f"{100 * row['loss_high']:+.1f}, n = {row['n']}; {_score(row)} right)"
    )


def _score(row: dict[str, Any]) -> str:
    return f"{100 * row['score']:.1f} % ({100 * row['score_low']:.1f} to {100 * row['score_high']:.1f})"


def _nat(row: dict[str, Any]) -> str:
    if row["logprob_loss_low"] is None:
        return "(no interval from one example)"
    return f"({row['logprob_loss_low']:.3g} to {row['logprob_loss_high']:.3g})"


def _points(loss: float) -> str:
    return f"{100 * loss:.1f} points"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
