"""The difference of two shares that are not paired: right answers in one question type and in another."""

import math

import numpy as np
from jaxtyping import Bool

from chiasm.core.statistics.bands import ALPHA, Clusters
from chiasm.core.statistics.intervals import Estimate, share_interval

# Between p-values of 1 and 1e-15.
_WIDEST, _NARROWEST = math.log(ALPHA), math.log(ALPHA * 1e15)


def unpaired_difference(
    first: Bool[np.ndarray, " n"],
    second: Bool[np.ndarray, " m"],
    first_clusters: Clusters | None = None,
    second_clusters: Clusters | None = None,
    *,
    tests: float = 1,
) -> tuple[Estimate, float]:
    """The share of true values in `first` minus that in `second`, with a 95 % interval and the p-value that agrees.

    `tests`: over so many differences at once (Bonferroni), so that any of them may be picked. NaN where one side has
    all its values from one cluster.

    Source: Newcombe 1998 (Statistics in Medicine 17, method 10), with the intervals of `share_interval`; p is where
    the interval reaches 0. Assumption: the sides are independent; where they share images that are hard or easy for
    both, the interval is too wide.

    **Errors:** `ValueError` for no value.
    """
    sides = ((first, first_clusters), (second, second_clusters))
    found = _newcombe(sides, tests)
    if np.isnan(found.low):
        return found, math.nan

    def outside(log_tests: float) -> bool:
        at = _newcombe(sides, math.exp(log_tests))
        return bool(at.low > 0 or at.high < 0)

    low, high = _WIDEST, _NARROWEST
    if not found.mean or not outside(low + 1e-6):
        return found, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if outside(middle) else (low, middle)
    return found, min(1.0, tests * ALPHA / math.exp((low + high) / 2))


def _newcombe(sides: tuple[tuple[Bool[np.ndarray, " n"], Clusters | None], ...], tests: float) -> Estimate:
    one, other = (share_interval(values, clusters, tests=tests) for values, clusters in sides)
    mean = one.mean - other.mean
    low = mean - np.hypot(one.mean - one.low, other.high - other.mean)
    high = mean + np.hypot(one.high - one.mean, other.mean - other.low)
    return Estimate(mean, low, high, one.n + other.n)
