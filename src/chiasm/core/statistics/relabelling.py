"""Two kinds of things that stand in the same inputs: would the labels, dealt anew, set them as far apart?"""

import math

import numpy as np
from jaxtyping import Bool, Float

from chiasm.core.statistics.bands import RESAMPLES


def relabelled(
    first: Float[np.ndarray, "n k"],
    second: Float[np.ndarray, "n k"],
    first_there: Bool[np.ndarray, "n k"],
    second_there: Bool[np.ndarray, "n k"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Float[np.ndarray, " k"]:
    """Two-sided p-values of the difference of the two means, corrected over all columns; NaN where a side is empty.

    A row is an input. One that has both kinds keeps them or swaps them, with equal chances; those that have one kind
    deal their labels among themselves, so that each kind keeps its number. The statistic is the size of the difference
    over the spread of all values of the column, which no dealing changes; its largest over the columns corrects
    (single-step max-T, Westfall & Young 1993). Sampled p-values as in Phipson & Smyth 2010. Assumption: without a
    difference the labels could have been dealt otherwise within an input, and among inputs that have one kind.
    """
    one, two = np.where(first_there, first, 0.0), np.where(second_there, second, 0.0)
    has_one, has_two = first_there.astype(np.float64), second_there.astype(np.float64)
    known = first_there.any(axis=0) & second_there.any(axis=0)
    if not known.any():
        return np.full(first.shape[1], math.nan)
    spread = _spread(one, two, has_one, has_two)
    any_one, any_two = has_one.max(axis=1) > 0, has_two.max(axis=1) > 0
    both, single = np.flatnonzero(any_one & any_two), np.flatnonzero(any_one ^ any_two)
    rng = np.random.default_rng(seed)
    swapped = np.zeros((resamples + 1, len(one)))  # the first row are the labels as they are
    swapped[1:, both] = rng.integers(0, 2, (resamples, len(both)))
    labels = any_one[single]
    for row in swapped[1:]:
        row[single] = rng.permutation(labels) != labels
    size = np.abs(
        _means(swapped, one, two, has_one, has_two) - _means(1.0 - swapped, one, two, has_one, has_two)
    ) / np.where(spread > 0, spread, 1.0)
    size[:, spread <= 0] = 0.0
    largest = np.nanmax(size[1:, known], axis=1)
    # Rounding must not decide where dealings are alike.
    p = (1 + (largest[:, None] >= size[0] * (1 - 1e-12)).sum(axis=0)) / (1 + resamples)
    return np.where(known, p, math.nan)


def _means(
    swapped: Float[np.ndarray, "r n"],
    one: Float[np.ndarray, "n k"],
    two: Float[np.ndarray, "n k"],
    has_one: Float[np.ndarray, "n k"],
    has_two: Float[np.ndarray, "n k"],
) -> Float[np.ndarray, "r k"]:
    """The mean of what is called the first kind; a dealing that leaves it empty in a column shows no difference."""
    total, count = (1 - swapped) @ one + swapped @ two, (1 - swapped) @ has_one + swapped @ has_two
    return total / np.maximum(count, 1e-300)


def _spread(
    one: Float[np.ndarray, "n k"],
    two: Float[np.ndarray, "n k"],
    has_one: Float[np.ndarray, "n k"],
    has_two: Float[np.ndarray, "n k"],
) -> Float[np.ndarray, " k"]:
    count = np.maximum(has_one.sum(axis=0) + has_two.sum(axis=0), 1)
    mean = (one.sum(axis=0) + two.sum(axis=0)) / count
    square = ((one - mean) ** 2 * has_one).sum(axis=0) + ((two - mean) ** 2 * has_two).sum(axis=0)
    return np.sqrt(square / count)
