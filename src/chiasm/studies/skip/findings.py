"""What skipping costs and saves, in words: every number stands in a table of the run."""

import polars as pl

from chiasm.results.findings import Finding
from chiasm.results.series import Curve, curve, in_order, majority
from chiasm.studies.flow.judgement import ALPHA
from chiasm.studies.skip.compare import (
    against_chance,
    beside,
    loss_in_words,
    nat_bounds,
    peers,
    percent,
    points,
    recovery,
    score_in_words,
    share_in_words,
    tokens,
)
from chiasm.studies.skip.summary import choice_loss
from chiasm.studies.skip.tables import NONE, RANDOM_LAYERS


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
    for finding in (
        against_chance(plans, verdicts),
        peers(plans),
        tokens(plans, verdicts),
        _modalities(plans, verdicts),
    ):
        found += [finding] if finding is not None else []
    found += [_time(plans), _front(plans)]
    if recovered is not None:
        found.append(recovery(recovered))
    return sorted(found, key=lambda finding: -finding.strength)


def _recommended(plans: pl.DataFrame, verdicts: pl.DataFrame, max_loss: float) -> Finding:
    row = plans.filter(pl.col("recommended")).row(0, named=True)
    bound = points(max_loss)
    if row["kind"] == NONE:
        tried = plans.filter(~pl.col("kind").is_in([NONE, RANDOM_LAYERS]))
        kept = tried.filter(pl.col("loss") <= max_loss)
        text = (
            f"No plan is recommended: of {tried.height} tried, {kept.height} stay within a loss of {bound} of right "
            f"answers, and none of these takes clearly less time than the plain model, on one prompt or on a batch "
            f"(n = {row['n']}; untouched {score_in_words(row)} right). Two equal calls of it differ by "
            f"{share_in_words(row, 'prefill_share')} and {share_in_words(row, 'batch_share')}: on a quieter machine, "
            "or with more --repeats, less can be told apart."
        )
        return Finding(text, 100.0)
    text = (
        f"`{row['plan']}` is the cheapest plan that keeps a loss of {bound} and saves time: it leaves out "
        f"{row['skipped']}, does {percent(row['operations_share'])} of the operations in "
        f"{share_in_words(row, 'prefill_share')} of the time of one prompt ({1000 * row['prefill_seconds']:.3g} ms) "
        f"and {share_in_words(row, 'batch_share')} of that of a batch, and loses {loss_in_words(row)}."
    )
    if row["prefill_share_high"] >= 1:
        text += " One prompt alone is not clearly faster: it saves time where prompts are read together."
    again = choice_loss(verdicts, plans.to_dicts(), max_loss)
    if again is not None:
        low, high = 100 * float(again.low), 100 * float(again.high)
        text += (
            f" Chosen on four fifths of the inputs and judged on the last, five times over, the choice loses "
            f"{points(float(again.mean))} (95 % interval {low:+.1f} to {high:+.1f})."
        )
    if row["loss_high"] is not None and row["loss_high"] > max_loss:
        text += f" The interval reaches beyond {bound}: more examples would settle it."
    untouched = verdicts.filter(pl.col("plan") == NONE)
    guess, plain = majority(untouched), plans.filter(pl.col("kind") == NONE).row(0, named=True)
    if plain["score_low"] is None or plain["score_low"] <= guess:
        text += (
            f" The untouched model itself is right in {score_in_words(plain)}, not clearly more than always the most "
            f"frequent answer ({100 * guess:.0f} %): there is little that could be lost."
        )
    return Finding(text, 100.0)


def _time(plans: pl.DataFrame) -> Finding:
    """How much of what is left out in operations is saved in seconds, for the plan that leaves out most."""
    row = plans.filter(~pl.col("kind").is_in([NONE, RANDOM_LAYERS])).sort("operations_share").row(0, named=True)
    plain = plans.filter(pl.col("kind") == NONE).row(0, named=True)
    text = (
        f"`{row['plan']}` leaves out most: it does {percent(row['operations_share'])} of the operations in "
        f"{share_in_words(row, 'prefill_share')} of the time of one prompt and {share_in_words(row, 'batch_share')} of "
        f"that of a batch (medians and quartiles of ratios to the plain model's call beside it). Two equal calls "
        f"differ by as much as {share_in_words(plain, 'prefill_share')} and {share_in_words(plain, 'batch_share')}."
    )
    return Finding(text, 40.0)


def _front(plans: pl.DataFrame) -> Finding:
    """The plans that none of the others beats both in operations and in what is lost."""
    rows = plans.filter("pareto").sort("operations_share")
    told = [
        f"{row['plan']} ({percent(row['operations_share'])}, {row['logprob_loss']:.2g} nat {nat_bounds(row)})"
        for row in rows.iter_rows(named=True)
    ]
    text = (
        f"By their means no other plan does fewer operations and loses less than {', '.join(told)} "
        f"(n = {plans['n'][0]})."
    )
    return Finding(text, 55.0)


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
    found = beside(verdicts, pairs)[0]
    visual, textual = rows[found.plan], rows[found.control]
    apart = found.p <= ALPHA and found.more > 0
    layers = "half of the layers" if found.plan.endswith("half") else "all layers"
    text = (
        f"Feed-forward left out in {layers} costs {'less' if apart else 'not clearly less'} for perceptual than for "
        f"text tokens: {visual['logprob_loss']:.3g} nat {nat_bounds(visual)} and {loss_in_words(visual)} against "
        f"{textual['logprob_loss']:.3g} {nat_bounds(textual)} and {loss_in_words(textual)}."
    )
    return Finding(text, 75.0)


def _at(own: Curve, k: int) -> str:
    if own.low[k] != own.low[k]:
        return f"{own.mean[k]:.3g}, no interval from one input,"
    return f"{own.mean[k]:.3g}, {own.low[k]:.3g} to {own.high[k]:.3g}"
