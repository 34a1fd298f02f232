"""Several paired shares compared at once, and few repeats of a measurement: intervals and p-values that agree.

Both correct by Bonferroni: it holds however columns depend on each other, and where nearly all answers are alike (which
no resample of them can see beyond).
"""

import math

import numpy as np
from jaxtyping import Bool, Float

from chiasm.core.statistics.bands import Bands, Clusters, finite
from chiasm.core.statistics.intervals import critical, share_difference, shares_differ

_LEAST_P = 1e-15


def share_bands(
    first: Bool[np.ndarray, "n k"],
    second: Bool[np.ndarray, "n k"],
    *,
    clusters: Clusters | None = None,
    present: Bool[np.ndarray, "n k"] | None = None,
    simultaneous: bool = True,
) -> Bands:
    """The share of true values in `first` minus that in `second`, paired, per column; with score intervals.

    `clusters`: which examples belong together (questions on one image), as in `share_difference`. `present`: which
    examples a column is about; all by default. `simultaneous`: intervals and p-values hold for all columns at once
    (Bonferroni), else for each on its own. An interval leaves 0 out exactly where its p-value is at most 0.05.

    **Errors:** `ValueError` for no pair, halves of different shape, or a column without any example.
    """
    if first.shape != second.shape or first.ndim != 2 or not len(first):
        raise ValueError(f"answers of shape {first.shape} and {second.shape} are no pairs")
    there = np.ones(first.shape, dtype=bool) if present is None else np.asarray(present, dtype=bool)
    if not there.any(axis=0).all():
        raise ValueError("a column has no example")
    columns = first.shape[1]
    tests = columns if simultaneous else 1
    names = np.arange(len(first)) if clusters is None else np.asarray(clusters)
    found = np.empty((4, columns))
    for k in range(columns):
        rows = there[:, k]
        pair, own = (first[rows, k], second[rows, k]), names[rows]
        of = share_difference(*pair, own, tests=tests)
        p = shares_differ(*pair, own, tests=tests)
        # Below the resolution of the distribution function it is not known to be less, and never 0.
        found[:, k] = float(of.mean), float(of.low), float(of.high), p if np.isnan(p) else max(p, _LEAST_P)
    mean, low, high, p = found
    return Bands(mean, low, high, p, there.sum(axis=0), len(set(names.tolist())))


def student_bands(values: Float[np.ndarray, "n k"], *, simultaneous: bool = True) -> Bands:
    """Column means of few repeats with Student's intervals, for all columns at once or each on its own.

    NaN bounds from a single repeat. Assumption: repeats are independent and nearly normal: logarithms of ratios of two
    times taken side by side.

    **Errors:** `ValueError` for NaN, infinite values or no repeat.
    """
    data = finite(values, "repeats")
    n, columns = data.shape
    mean, nothing = data.mean(axis=0), np.full(columns, math.nan)
    if n < 2:
        return Bands(mean, nothing, nothing.copy(), nothing.copy(), np.full(columns, n), n)
    from scipy.special import stdtr  # slow to import

    tests = columns if simultaneous else 1
    error = data.std(axis=0, ddof=1) / math.sqrt(n)
    half = critical(tests, n) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        reached = np.where(np.abs(mean) > 0, np.abs(mean) / error, 0.0)
    p = np.minimum(1.0, 2 * tests * stdtr(n - 1, -reached))
    return Bands(mean, mean - half, mean + half, p, np.full(columns, n), n)
