"""From measured contributions and verdicts to the scores of plans."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from chiasm.core.statistics.bands import mean_bands
from chiasm.core.statistics.intervals import Estimate, share_difference
from chiasm.results.series import bounded, inputs_of, right_share
from chiasm.studies.skip.tables import ERROR_SHARE, NONE, RANDOM_LAYERS, SMALLEST, UNTRAINED


def mean_contributions(contributions: pl.DataFrame) -> dict[tuple[str, int], float]:
    """Mean divergence (nat) of leaving out one part of one layer, by (part, layer)."""
    means = contributions.group_by("part", "layer", maintain_order=True).agg(pl.col("kl").mean())
    return {(part, layer): float(kl) for part, layer, kl in means.iter_rows()}


def verdict_rows(verdicts: pl.DataFrame) -> list[dict[str, Any]]:
    """Score and losses of every plan, paired by example with the plain model's: the verified columns of `plans`.

    Questions on one input (column `input`, where there is one) are resampled together.
    """
    clean = verdicts.filter(pl.col("plan") == NONE)
    return [
        {"plan": plan, "kind": kind, **_scores(own, clean, itself=plan == NONE)}
        for (plan, kind), own in verdicts.group_by(["plan", "kind"], maintain_order=True)
    ]


def recovery_rows(recovered: pl.DataFrame, share: float) -> list[dict[str, Any]]:
    """Score and losses of every cell, paired by example with the untrained model's without a plan.

    `share`: of the plain model's operations, done under the plan.
    """
    clean = recovered.filter((pl.col("trained") == UNTRAINED) & (pl.col("plan") == ""))
    return [
        {"trained": trained, "plan": plan, "operations_share": share if plan else 1.0}
        | _scores(own, clean, itself=trained == UNTRAINED and not plan)
        for (trained, plan), own in recovered.group_by(["trained", "plan"], maintain_order=True)
    ]


def pareto(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """The plans (no controls) that no other of them beats or equals both in operations and in log-probability lost."""
    own = {row["plan"]: (row["operations_share"], row["logprob_loss"]) for row in rows if row["kind"] != RANDOM_LAYERS}
    return {
        plan
        for plan, (share, loss) in own.items()
        if not any(a <= share and b <= loss and (a, b) != (share, loss) for a, b in own.values())
    }


def _scores(own: pl.DataFrame, clean: pl.DataFrame, *, itself: bool) -> dict[str, Any]:
    """The score of answers and what they lose against those of the `clean` model; `itself`: they are the same."""
    before = clean.select("example_id", clean="correct", clean_logprob="logprob")
    paired = own.join(before, on="example_id", how="inner", maintain_order="left")
    inputs = inputs_of(paired)
    loss: dict[str, float | None] = {"loss": 0.0, "loss_low": 0.0, "loss_high": 0.0}
    if not itself:
        loss = bounded("loss", share_difference(paired["clean"].to_numpy(), paired["correct"].to_numpy(), inputs))
    lost = (paired["clean_logprob"] - paired["logprob"]).to_numpy()
    least = 0.0 if itself else ERROR_SHARE * SMALLEST
    bands = mean_bands(lost[:, None], clusters=inputs, smallest_error=least)
    return {
        **bounded("score", right_share(paired)),
        **loss,
        **bounded("logprob_loss", Estimate(bands.mean[0], bands.low[0], bands.high[0], len(lost))),
        "n": paired.height,
    }
