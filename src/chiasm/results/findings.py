"""What a finding is, and those of `chiasm eval`: every number in a sentence stands in a table of the run."""

from dataclasses import dataclass

import polars as pl

from chiasm.core.statistics.intervals import Estimate, mean_interval, share_interval
from chiasm.results.series import in_order, majority, of_type


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence or two. `strength` orders findings: 0 says nothing was found, more is more."""

    text: str
    strength: float


def eval_findings(eval: pl.DataFrame, *, seed: int = 0) -> list[Finding]:
    """Three findings on accuracy: overall against guessing, the best type, the worst type.

    Against guessing, question by question: the most frequent answer of a type is known from the same labels, which
    favours guessing.
    """
    right, guess = right_share(eval), majority(eval)
    frequent = (
        eval.group_by("type", "answer")
        .len()
        .sort("len", "answer", descending=[True, False])
        .unique("type", keep="first")
    )
    guessed = eval.join(frequent.select("type", guessed="answer"), on="type", maintain_order="left")
    gained = guessed.select(pl.col("correct").cast(pl.Float64) - (pl.col("answer") == pl.col("guessed")))
    lead = mean_interval(gained.to_series().to_numpy(), clusters=inputs_of(eval), seed=seed)
    beats = "above" if lead.low > 0 else "not significantly above"
    text = (
        f"{_share(right)} of {eval.height} questions are answered correctly, {beats} the {100 * guess:.0f} % of always "
    )
    found = [Finding(f"{text}giving the most frequent answer of the type.", 100.0)]
    by_type = {t: right_share(of_type(eval, t)) for t in in_order(eval, "type")}
    ranked = sorted(by_type, key=lambda t: float(by_type[t].mean))
    for strength, word, name in ((50.0, "best", ranked[-1]), (49.0, "worst", ranked[0])):
        rows = of_type(eval, name)
        text = (
            f"The model is {word} at {name}: {_share(by_type[name])} of {rows.height} right, where the most frequent "
        )
        found.append(Finding(f"{text}answer would reach {100 * majority(rows):.0f} %.", strength))
    return found


def right_share(eval: pl.DataFrame) -> Estimate:
    """The share of right answers; questions on one input (column `input`, where there is one) count together."""
    return share_interval(eval["correct"].to_numpy(), inputs_of(eval))


def inputs_of(rows: pl.DataFrame) -> list[str] | None:
    """The input of every row, where it was recorded."""
    if "input" not in rows.columns:
        return None
    return rows.select(pl.coalesce("input", "example_id")).to_series().to_list()


def _share(estimate: Estimate) -> str:
    if estimate.low != estimate.low:
        return f"{100 * estimate.mean:.1f} % (no interval from questions on one input)"
    return f"{100 * estimate.mean:.1f} % (95 % interval {100 * estimate.low:.1f} to {100 * estimate.high:.1f})"
