"""From answers under masks to the scores of masks."""

from typing import Any

import numpy as np
import polars as pl

from chiasm.core.statistics.intervals import ratio_bounds
from chiasm.results.findings import inputs_of, right_share
from chiasm.results.series import RESAMPLES

KEYS = ("mask", "calibration", "sparsity", "pattern", "part")


def mask_rows(pruned: pl.DataFrame, keys: tuple[str, ...] = KEYS) -> list[dict[str, Any]]:
    """Rows of the table `masks`: every mask on every question type, and on `all` where there are several types.

    Questions on one input (column `input`, where there is one) count together.
    """
    rows = []
    for values, answers in pruned.group_by(keys, maintain_order=True):
        types = answers["type"].unique().sort().to_list()
        groups = {name: answers.filter(pl.col("type") == name) for name in types}
        if len(types) > 1:
            groups["all"] = answers
        for evaluation, rated in groups.items():
            score = right_share(rated)
            low, high = (None if np.isnan(bound) else float(bound) for bound in (score.low, score.high))
            rows.append(
                dict(zip(keys, values, strict=True))
                | {
                    "evaluation": evaluation,
                    "score": float(score.mean),
                    "low": low,
                    "high": high,
                    **perplexity(rated),
                    "n": rated.height,
                }
            )
    return rows


def perplexity(rated: pl.DataFrame) -> dict[str, float | None]:
    """exp(-sum of log-probabilities / sum of tokens); bounds from resampled inputs, none for a single one."""
    sums = rated.select(-pl.col("logprob"), pl.col("tokens").cast(pl.Float64)).to_numpy()
    total = sums.sum(axis=0)
    found: dict[str, float | None] = {"perplexity": _exp(total[0] / total[1])}
    inputs = inputs_of(rated)
    if len(sums) == 1 or (inputs is not None and len(set(inputs)) == 1):
        return found | {"perplexity_low": None, "perplexity_high": None}
    low, high = ratio_bounds(sums, resamples=RESAMPLES, clusters=inputs)
    return found | {"perplexity_low": _exp(low), "perplexity_high": _exp(high)}


def _exp(nats: float) -> float:
    # Past e^700 a float64 overflows; a pruned model may be that sure of the wrong.
    return float(np.exp(min(nats, 700.0)))
