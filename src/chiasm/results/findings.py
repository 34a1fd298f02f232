"""What a finding is, and those of `chiasm eval`: every number in a sentence stands in a table of the run."""

from dataclasses import dataclass

import polars as pl

from chiasm.core.statistics import Estimate, proportion_interval
from chiasm.results.series import in_order, majority, of_type


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence or two. `strength` orders findings: 0 says nothing was found, more is more."""

    text: str
    strength: float


def eval_findings(eval: pl.DataFrame, *, seed: int = 0) -> list[Finding]:
    """Three findings on accuracy: overall against guessing, the best type, the worst type."""
    right = proportion_interval(int(eval["correct"].sum()), eval.height)
    guess = majority(eval)
    beats = "above" if right.low > guess else "not significantly above"
    text = (
        f"{_share(right)} of {eval.height} questions are answered correctly, {beats} the {100 * guess:.0f} % of always "
    )
    found = [Finding(f"{text}giving the most frequent answer of the type.", 100.0)]
    by_type = {
        t: proportion_interval(int(of_type(eval, t)["correct"].sum()), of_type(eval, t).height)
        for t in in_order(eval, "type")
    }
    ranked = sorted(by_type, key=lambda t: float(by_type[t].mean))
    for strength, word, name in ((50.0, "best", ranked[-1]), (49.0, "worst", ranked[0])):
        rows = of_type(eval, name)
        text = (
            f"The model is {word} at {name}: {_share(by_type[name])} of {rows.height} right, where the most frequent "
        )
        found.append(Finding(f"{text}answer would reach {100 * majority(rows):.0f} %.", strength))
    return found


def _share(estimate: Estimate) -> str:
    return f"{100 * estimate.mean:.1f} % (95 % interval {100 * estimate.low:.1f} to {100 * estimate.high:.1f})"
