"""Examples in groups by their identifier, and intervals for anything computed from sums over groups.

A quantity over all pairs of examples, or a ratio of sums, has no value per example that could be resampled. Kept as
sums per group it can be computed without any one group, and what that changes is its uncertainty.
"""

import hashlib

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from chiasm.core.statistics.intervals import Estimate

GROUPS = 20


def group_of(example_id: str) -> int:
    """The group (0 to 19) of an example. It depends on the identifier alone, so neither order nor shards matter."""
    return priority(example_id, 0) % GROUPS


def priority(example_id: str, seed: int) -> int:
    """A number that orders examples at random: the least make up a sample that no order of reading can change."""
    return int.from_bytes(hashlib.blake2b(f"{seed}:{example_id}".encode(), digest_size=7).digest())


def without_each(sums: Float[np.ndarray, "G *columns"]) -> Float[np.ndarray, "K *columns"]:
    """The sum over all groups, then the sum over all but the first, all but the second, ... (K = 1 + G)."""
    total = sums.sum(axis=0)
    return np.concatenate([total[None], total[None] - sums])


def means_without_each(
    sums: Float[np.ndarray, "G *columns"], counts: Float[np.ndarray, " G"]
) -> Float[np.ndarray, "K *columns"]:
    """The mean over all examples, then over those of all groups but one; 0 where no example is left."""
    totals, n = without_each(sums), without_each(counts)
    return totals / np.maximum(n, 1).reshape(-1, *[1] * (totals.ndim - 1))


def changes(
    values: Float[np.ndarray, "K *columns"], counts: Float[np.ndarray, " G"]
) -> Float[np.ndarray, "G *columns"]:
    """What each group adds to a quantity, from its values on all groups and without each one: near 0 in sum.

    Of a mean it is the group's deviation from it, summed and divided by all examples. Such changes add up: that of a
    difference of two quantities is the difference of theirs, so a contrast has an interval of its own.

    Source: the infinitesimal jackknife of a group, with the weights of the delete-m_j jackknife (Busing, Meijer & van
    der Leeden 1999, Statistics and Computing 9). Assumption: as of `group_jackknife`.
    """
    n = counts.sum()
    rest = ((n - counts) / n).reshape(-1, *[1] * (values.ndim - 1))
    return (values[0] - values[1:]) * rest


def pairs_across(
    of_a: Float[np.ndarray, "G D"],
    of_b: Float[np.ndarray, "G D"],
    n_a: Float[np.ndarray, " G"],
    n_b: Float[np.ndarray, " G"],
) -> Float[np.ndarray, " K"] | None:
    """Mean product of vectors over pairs of examples of different groups, on all groups and without each one.

    From sums by group; examples of one input share a group, so such pairs are of different inputs. None where leaving
    out one group leaves no pair.
    """
    own, both = (of_a * of_b).sum(axis=1), n_a * n_b
    products = (without_each(of_a) * without_each(of_b)).sum(axis=1) - without_each(own)
    pairs = without_each(n_a) * without_each(n_b) - without_each(both)
    return products / pairs if (pairs > 0).all() else None


def group_jackknife(values: Float[np.ndarray, "K *columns"], counts: Float[np.ndarray, " G"]) -> Estimate:
    """A quantity with its 95 % interval, from its values on all groups and without each one (`without_each`).

    `counts`: examples per group. Low and high are NaN where fewer than two groups hold an example.

    Source: the delete-m_j jackknife of Busing, Meijer & van der Leeden 1999 (Statistics and Computing 9), equations 2
    and 6, which allows groups of different size; Student's t with one degree of freedom less than the number of equal
    groups that would be worth as much (n^2 over the sum of squared counts; Kish 1965). Assumption: examples are
    independent, and the quantity is a smooth function of means over examples (a mean, a ratio, a cosine of means; not a
    maximum). Of skewed values with 12 examples the interval covers 91 % (docs/calibration.md).

    **Errors:** `ValueError` for NaN or infinite values.
    """
    present = np.flatnonzero(counts)
    whole = np.asarray(values[0], dtype=np.float64)
    n = int(counts.sum())
    if len(present) < 2:
        return Estimate(whole, np.full_like(whole, np.nan), np.full_like(whole, np.nan), n)
    left_out = np.asarray(values[1:], dtype=np.float64)[present]
    if not (np.isfinite(whole).all() and np.isfinite(left_out).all()):
        raise ValueError("a quantity without one group is NaN or infinite")
    h = (n / counts[present]).reshape(-1, *[1] * whole.ndim)
    centre = len(present) * whole - ((1 - 1 / h) * left_out).sum(axis=0)
    pseudo = h * whole - (h - 1) * left_out
    variance = ((pseudo - centre) ** 2 / (h - 1)).mean(axis=0)
    alike = n**2 / float((counts[present] ** 2).sum())
    half = stdtrit(max(alike - 1, 1), 0.975) * np.sqrt(variance)
    return Estimate(whole, whole - half, whole + half, n)
