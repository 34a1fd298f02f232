"""From measured contributions and verdicts to the scores of plans, and to the one that is recommended."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from chiasm.core.statistics.intervals import Estimate, mean_interval, share_difference
from chiasm.results.series import RESAMPLES, bounded, inputs_of, right_share
from chiasm.studies.skip.tables import NONE, RANDOM_LAYERS, UNTRAINED

_FOLDS = 5


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


def recommended(rows: Sequence[Mapping[str, Any]], max_loss: float) -> str:
    """The plan with the fewest operations whose mean loss is at most `max_loss` and that was measured to save time.

    Controls are not eligible; `none` always is. Equal operations: the smaller loss of log-probability.
    """
    [plain] = (row for row in rows if row["kind"] == NONE)
    fitting = [
        row
        for row in rows
        if row["kind"] not in (NONE, RANDOM_LAYERS) and row["loss"] <= max_loss + 1e-12 and saves_time(row, plain)
    ]
    return min([plain, *fitting], key=lambda row: (row["operations_share"], row["logprob_loss"]))["plan"]


def pareto(rows: Sequence[Mapping[str, Any]]) -> set[str]:
    """The plans (no controls) that no other of them beats or equals both in operations and in log-probability lost."""
    own = {row["plan"]: (row["operations_share"], row["logprob_loss"]) for row in rows if row["kind"] != RANDOM_LAYERS}
    return {
        plan
        for plan, (share, loss) in own.items()
        if not any(a <= share and b <= loss and (a, b) != (share, loss) for a, b in own.values())
    }


def choice_loss(verdicts: pl.DataFrame, plans: Sequence[Mapping[str, Any]], max_loss: float) -> Estimate | None:
    """Right answers (of 1) lost by whichever plan is recommended, judged on inputs that did not choose it.

    A plan that was recommended for a small loss lost little on the very examples that chose it. So it is chosen again
    on all inputs but one fold's (of five) and judged on those, fold by fold. Its operations and time stay as measured.
    None for fewer inputs than folds.

    Assumption: a choice from (folds - 1) / folds of the inputs loses what one from all of them does.
    """
    right = {plan: own.sort("example_id") for (plan,), own in verdicts.group_by("plan")}
    shared = set.intersection(*(set(own["example_id"]) for own in right.values()))
    right = {plan: own.filter(pl.col("example_id").is_in(shared)) for plan, own in right.items()}
    clean = right[NONE]["correct"].to_numpy()
    inputs = np.array(inputs_of(right[NONE]) or right[NONE]["example_id"].to_list())
    names = np.unique(inputs)
    if len(names) < _FOLDS:
        return None
    fold_of = dict(zip(np.random.default_rng(0).permutation(names), np.arange(len(names)) % _FOLDS, strict=True))
    fold = np.array([fold_of[name] for name in inputs])
    own = {plan: answers["correct"].to_numpy() for plan, answers in right.items()}
    judged = np.empty_like(clean)
    for k in range(_FOLDS):
        losses = {plan: float(np.mean(clean[fold != k] * 1.0 - found[fold != k])) for plan, found in own.items()}
        chosen = recommended([dict(row) | {"loss": losses[row["plan"]]} for row in plans], max_loss)
        judged[fold == k] = own[chosen][fold == k]
    return share_difference(clean, judged, inputs.tolist())


def saves_time(row: Mapping[str, Any], plain: Mapping[str, Any]) -> bool:
    """Whether a plan took less time than the plain model on one prompt or on a batch of them.

    In three of four repeats, that is, and in the median by more than two equal calls of the plain model differ in
    three of four.
    """
    return any(
        row[f"{name}_high"] < 1 and row[name] < min(1.0, plain[f"{name}_low"])
        for name in ("prefill_share", "batch_share")
    )


def _scores(own: pl.DataFrame, clean: pl.DataFrame, *, itself: bool) -> dict[str, Any]:
    """The score of answers and what they lose against those of the `clean` model; `itself`: they are the same."""
    before = clean.select("example_id", clean="correct", clean_logprob="logprob")
    paired = own.join(before, on="example_id", how="inner", maintain_order="left")
    inputs = inputs_of(paired)
    loss: dict[str, float | None] = {"loss": 0.0, "loss_low": 0.0, "loss_high": 0.0}
    if not itself:
        loss = bounded("loss", share_difference(paired["clean"].to_numpy(), paired["correct"].to_numpy(), inputs))
    lost = (paired["clean_logprob"] - paired["logprob"]).to_numpy()
    return {
        **bounded("score", right_share(paired)),
        **loss,
        **bounded("logprob_loss", mean_interval(lost, resamples=RESAMPLES, clusters=inputs)),
        "n": paired.height,
    }
