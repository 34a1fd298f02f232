"""Which neurons belong to which domain, and random ones to compare them with.

Legend: G groups (domains, classes), L layers, K neurons of a layer.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int


class Specific(NamedTuple):
    """`entropy` (nat) of every neuron's activity over groups, infinite where it is hardly ever active; which neurons
    are `chosen`; the groups that each chosen one is `assigned` to; the largest chosen entropy, `edge`; `floor`, the
    activity that counts as often."""

    entropy: Float[np.ndarray, "L K"]
    chosen: Bool[np.ndarray, "L K"]
    assigned: Bool[np.ndarray, "G L K"]
    edge: float
    floor: float


def domain_specific(rates: Float[np.ndarray, "G L K"], *, share: float = 0.01, percentile: float = 95.0) -> Specific:
    """Neurons that are active in few groups: the `share` of all neurons whose activity has the lowest entropy.

    `rates`: the share of tokens at which a neuron is active. Neurons whose highest rate is not above the `percentile`
    of all rates are passed over; a chosen one is assigned to every group in which its rate is above it.

    Source: Huo et al. 2024 (arXiv 2406.11193), section 3.2 and released code (DAPE).
    """
    floor = float(np.percentile(rates, percentile))
    total = rates.sum(axis=0)
    p = rates / np.where(total > 0, total, 1)
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=0)
    often = rates.max(axis=0) > floor
    entropy = np.where(often, entropy, np.inf)
    count = min(int(often.sum()), max(1, round(share * entropy.size)))
    chosen = strongest(-entropy, count)
    edge = float(entropy[chosen].max()) if count else 0.0
    return Specific(entropy, chosen, chosen & (rates > floor), edge, floor)


def as_specific(
    active: Int[np.ndarray, "E L K"], tokens: Int[np.ndarray, " E"], groups: Int[np.ndarray, " E"], edge: float
) -> int:
    """How many neurons have an entropy of at most `edge` when examples are grouped by `groups`: the control's count."""
    found = domain_specific(rates_of(active, tokens, groups))
    return int((found.entropy <= edge).sum())


def rates_of(
    active: Int[np.ndarray, "E L K"], tokens: Int[np.ndarray, " E"], groups: Int[np.ndarray, " E"]
) -> Float[np.ndarray, "G L K"]:
    """The share of each group's tokens at which each neuron is active, from counts per example."""
    names = range(int(groups.max()) + 1)
    return np.stack([active[groups == g].sum(axis=0) / tokens[groups == g].sum() for g in names])


def strongest(scores: Float[np.ndarray, "L K"], count: int) -> Bool[np.ndarray, "L K"]:
    """The `count` neurons with the highest scores, over all layers."""
    marked = np.zeros(scores.size, dtype=bool)
    marked[np.argsort(-scores, axis=None, kind="stable")[:count]] = True
    return marked.reshape(scores.shape)


def matched(marked: Bool[np.ndarray, "L K"], draws: int, seed: int) -> Bool[np.ndarray, "draws L K"]:
    """Random neurons, none of them marked, as many in every layer as are marked there."""
    rng = np.random.default_rng(seed)
    found = np.zeros((draws, *marked.shape), dtype=bool)
    for draw in range(draws):
        for layer, row in enumerate(marked):
            others = np.flatnonzero(~row)
            found[draw, layer, rng.choice(others, min(int(row.sum()), len(others)), replace=False)] = True
    return found
