"""What a change of representation does beside what a probe reads: neighbours kept, information about the class."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from chiasm.core.statistics.intervals import Estimate, mean_interval

_RESAMPLES = 1000


def neighbour_overlap(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "n E"], k: int) -> Float[np.ndarray, " n"]:
    """Of each example's `k` nearest in `x`, the share that is among its `k` nearest in `y`; k / (n - 1) by chance.

    Euclidean, the example itself left out. Source: Li et al. 2025 (arXiv 2509.11986), where k is 100.
    """
    near = [_nearest(z, k) for z in (x, y)]
    return (near[0] & near[1]).sum(axis=1) / k


def _nearest(x: Float[np.ndarray, "n D"], k: int) -> np.ndarray:
    distance = cdist(x, x)
    np.fill_diagonal(distance, np.inf)
    found = np.zeros(distance.shape, dtype=bool)
    np.put_along_axis(found, np.argpartition(distance, k - 1, axis=1)[:, :k], True, axis=1)
    return found


def information(
    logprobs: Float[np.ndarray, "m C"], truth: Int[np.ndarray, " m"], known: Int[np.ndarray, " n"], *, seed: int = 0
) -> Estimate:
    """V-information about the class, in nats: how much less a probe is surprised by test labels than their frequencies.

    H_V(Y) - H_V(Y | X), both as cross-entropy over the test part; without the representation the family's best guess
    is how often each class occurs in training (`known`; one is added to every count). At most log C; below 0 where a
    probe is sure of what is wrong. Interval: 95 % bootstrap over pictures.

    Source: Xu et al. 2020 (arXiv 2002.10689), definition 2, the family V being the probe's. Assumption: the probe is
    near the best of its family; it is a lower bound of what the family could use.
    """
    classes = logprobs.shape[1]
    frequency = np.log((np.bincount(known, minlength=classes) + 1) / (len(known) + classes))
    gained = logprobs[np.arange(len(truth)), truth].astype(np.float64) - frequency[truth]
    return mean_interval(gained, resamples=_RESAMPLES, seed=seed)
