"""Nearest neighbours in common: whether two sets of vectors of the same examples hold the same examples near."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from chiasm.core.statistics.jackknife import GROUPS

ALIKE = 1e-5
"""Distances of unit vectors that differ by less count as equal: about a hundred times the rounding of float32."""


def unit_distances(x: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n n"]:
    """Distances between vectors scaled to norm 1 (0 to 2), in the order of their cosines; a vector of zeros stays."""
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    unit = x / np.where(norms > 0, norms, 1)
    return cdist(unit, unit)


def neighbour_weights(distances: Float[np.ndarray, "n n"], k: int, *, alike: float = 0.0) -> Float[np.ndarray, "n n"]:
    """How much every example is one of the `k` nearest of each: 0 or 1, and rows add up to `k`; never its own.

    Examples equally far (up to `alike`) share the places that are left, so that no order of the examples decides, and
    sets that do not vary have as many neighbours in common as chance gives.
    """
    others = distances.copy()
    np.fill_diagonal(others, np.inf)
    edge = np.partition(others, k - 1, axis=1)[:, k - 1, None]
    near = others < edge - alike
    tied = (others <= edge + alike) & ~near
    share = (k - near.sum(axis=1)) / tied.sum(axis=1)
    return near + tied * share[:, None]


def in_common(a: Float[np.ndarray, "n n"], b: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " n"]:
    """Of each example's nearest in one set the share that is nearest in the other; k / (n - 1) by chance."""
    return (a * b).sum(axis=1) / a.sum(axis=1)


def common_without_each(
    a: Float[np.ndarray, "n n"], b: Float[np.ndarray, "n n"], groups: Int[np.ndarray, " n"], k: int
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """The share of `k` neighbours in common beyond chance, and that chance: of all, and without each of the groups.

    `a`, `b`: distances by one set and by the other. Chance is k / (n - 1): the mean over all ways to pair the examples
    of one set with those of the other. A group without which too few are left counts as no change.
    """
    found = np.empty((2, GROUPS + 1))
    for place in range(GROUPS + 1):
        inside = groups != place - 1
        if place and (inside.all() or inside.sum() < k + 2):
            found[:, place] = found[:, 0]
            continue
        near = (neighbour_weights(of[np.ix_(inside, inside)], k, alike=ALIKE) for of in (a, b))
        chance = k / (inside.sum() - 1)
        found[:, place] = in_common(*near).mean() - chance, chance
    return found[0], found[1]


def shuffled_in_common(
    a: Float[np.ndarray, "n n"], b: Float[np.ndarray, "n n"], draws: int, seed: int = 0
) -> Float[np.ndarray, " draws"]:
    """The mean of `in_common` where each example of one set is paired with another's vector, in random orders."""
    rng, found = np.random.default_rng(seed), np.empty(draws)
    for draw in range(draws):
        order = rng.permutation(len(a))
        found[draw] = in_common(a, b[np.ix_(order, order)]).mean()
    return found


def neighbour_overlap(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "n E"], k: int) -> Float[np.ndarray, " n"]:
    """Of each example's `k` nearest in `x`, the share that is among its `k` nearest in `y`; k / (n - 1) by chance.

    Euclidean, the example itself left out. Source: Li et al. 2025 (arXiv 2509.11986), where k is 100.
    """
    return in_common(*(neighbour_weights(cdist(z, z), k) for z in (x, y)))
