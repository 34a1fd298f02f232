"""Right answers of two models on the same questions: the difference of their shares, with an interval."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq
from scipy.special import ndtri

from chiasm.core.statistics.intervals import Clusters, Estimate

_EDGE = 1 - 1e-9


def share_difference(
    first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"], clusters: Clusters | None = None
) -> Estimate:
    """The share of true values in `first` minus that in `second`, which are paired, with a 95 % score interval.

    Where few answers change no resample shows that more may: the bootstrap then promises too much, and nothing at all
    where none changed. The score interval has bounds in every case. With `clusters` (questions on one image) n is
    divided by the design effect of the differences; it is never taken to be below 1.

    Source: Tango 1998 (Statistics in Medicine 17, equation 5); Kish 1965 for the design effect. Assumption: clusters
    are independent.

    **Errors:** `ValueError` for no pair, or halves of different length.
    """
    if len(first) != len(second) or not len(first):
        raise ValueError(f"{len(first)} and {len(second)} answers are no pairs")
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    n, mean = len(difference), float(difference.mean())
    draws = _effective(difference, clusters)
    if draws is None:
        return Estimate(np.array(mean), np.array(np.nan), np.array(np.nan), n)
    lost, gained = ((difference == side).mean() * draws for side in (1, -1))
    z = float(ndtri(0.975))
    low, high = (_bound(lost, gained, draws, side * z) for side in (1, -1))
    # Rounding in the root must not put the mean outside.
    return Estimate(np.array(mean), np.array(min(low, mean)), np.array(max(high, mean)), n)


def _effective(difference: Float[np.ndarray, " n"], clusters: Clusters | None) -> float | None:
    """As many independent pairs as these are worth; None where all belong together."""
    n = len(difference)
    names = np.arange(n) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    count = int(names.max()) + 1
    if count == 1:
        return None
    spread = float(difference.var())
    if count == n or not spread:
        # All alike shows no spread between clusters: as many draws as there are clusters is the careful count.
        return float(count)
    sums = np.bincount(names, weights=difference - difference.mean())
    variance = float((sums**2).sum()) * count / (count - 1) / n**2
    return n / max(1.0, variance / (spread / n))


def _bound(lost: float, gained: float, n: float, z: float) -> float:
    """The difference at which Tango's statistic is `z`; the end of the range where it never is."""

    def excess(delta: float) -> float:
        linear = (2 * n - lost + gained) * delta - lost - gained
        root = np.sqrt(max(linear**2 + 8 * n * gained * delta * (1 - delta), 0.0))
        # The share of pairs gained, were `delta` the truth.
        share = max((root - linear) / (4 * n), 0.0)
        variance = n * (2 * share + delta * (1 - delta))
        return (lost - gained - n * delta) / np.sqrt(max(variance, 1e-300)) - z

    below, above = excess(-_EDGE), excess(_EDGE)
    if below <= 0:
        return -1.0
    return 1.0 if above >= 0 else float(brentq(excess, -_EDGE, _EDGE))
