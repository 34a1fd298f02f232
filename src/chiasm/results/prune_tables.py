"""From answers under masks to the scores of masks."""

from typing import Any

import numpy as np
import polars as pl

from chiasm.core.statistics import bootstrap_means, proportion_interval
from chiasm.results.series import RESAMPLES

KEYS = ("mask", "calibration", "sparsity", "pattern", "part")


def mask_rows(pruned: pl.DataFrame, keys: tuple[str, ...] = KEYS) -> list[dict[str, Any]]:
    """Rows of the table `masks`: every mask on every question type, and on `all` where there are several types."""
    rows = []
    for values, answers in pruned.group_by(keys, maintain_order=True):
        types = answers["type"].unique().sort().to_list()
        groups = {name: answers.filter(pl.col("type") == name) for name in types}
        if len(types) > 1:
            groups["all"] = answers
        for evaluation, rated in groups.items():
            score = proportion_interval(int(rated["correct"].sum()), rated.height)
            rows.append(
                dict(zip(keys, values, strict=True))
                | {
                    "evaluation": evaluation,
                    "score": float(score.mean),
                    "low": float(score.low),
                    "high": float(score.high),
                    **_perplexity(rated),
                    "n": rated.height,
                }
            )
    return rows


def _perplexity(rated: pl.DataFrame) -> dict[str, float | None]:
    """exp(-sum of log-probabilities / sum of tokens); bounds from resampled examples, none for a single one."""
    sums = rated.select(-pl.col("logprob"), pl.col("tokens").cast(pl.Float64)).to_numpy()
    total = sums.sum(axis=0)
    found: dict[str, float | None] = {"perplexity": _exp(total[0] / total[1])}
    if len(sums) == 1:
        return found | {"perplexity_low": None, "perplexity_high": None}
    means = bootstrap_means(sums, resamples=RESAMPLES)
    low, high = np.percentile(means[:, 0] / means[:, 1], [2.5, 97.5])
    return found | {"perplexity_low": _exp(low), "perplexity_high": _exp(high)}


def _exp(nats: float) -> float:
    # Past e^700 a float64 overflows; a pruned model may be that sure of the wrong.
    return float(np.exp(min(nats, 700.0)))
