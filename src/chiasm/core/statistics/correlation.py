"""Correlation over few points, with what so few points can show."""

import math
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

MIN_POINTS = 4
"""Fewer points give no interval at all: a line through three always fits well."""
_EXACT = 8
_DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Correlation:
    """Pearson's and Spearman's coefficients with 95 % intervals (NaN below four points, without spread, and
    where the points lie in perfect order, which Fisher's approximation cannot describe).

    `p`: two-sided, of Spearman, by permuting the points (all orders up to eight points, else 20,000 draws).
    `smallest`: the least p that so many points can give.
    """

    pearson: float
    pearson_low: float
    pearson_high: float
    spearman: float
    spearman_low: float
    spearman_high: float
    p: float
    smallest: float
    n: int


def correlate(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], *, seed: int = 0) -> Correlation:
    """Pearson and Spearman of paired values.

    Source: Fisher 1921 (Pearson), Bonett & Wright 2000, equation 3 (Spearman). Assumption: points are independent
    draws. Checkpoints of one training run, or variants of one model, are not; then an interval is too narrow.

    **Errors:** `ValueError` for fewer than two points, or NaN or infinite values.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(x) != len(y) or len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a correlation needs at least two pairs of finite values")
    n, ranks_x, ranks_y = len(x), rankdata(x), rankdata(y)
    pearson, spearman = _coefficient(x, y), _coefficient(ranks_x, ranks_y)
    factor = math.sqrt((1 + spearman**2 / 2) / (n - 3)) if n >= MIN_POINTS else math.nan
    p, smallest = _permuted(ranks_x, ranks_y, spearman, seed)
    return Correlation(
        pearson,
        *_interval(pearson, 1 / math.sqrt(n - 3) if n >= MIN_POINTS else math.nan),
        spearman,
        *_interval(spearman, factor),
        p,
        smallest,
        n,
    )


def _coefficient(x: np.ndarray, y: np.ndarray) -> float:
    a, b = x - x.mean(), y - y.mean()
    scale = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float(np.clip((a * b).sum() / scale, -1, 1)) if scale > 0 else math.nan


def _interval(value: float, error: float) -> tuple[float, float]:
    if math.isnan(value) or math.isnan(error):
        return math.nan, math.nan
    # At 1 or -1 Fisher's z is infinite, and any interval near it would claim more than points in order can show.
    if abs(value) > 1 - 1e-12:
        return math.nan, math.nan
    z = math.atanh(value)
    return math.tanh(z - 1.959964 * error), math.tanh(z + 1.959964 * error)


def _permuted(x: np.ndarray, y: np.ndarray, observed: float, seed: int) -> tuple[float, float]:
    if math.isnan(observed):
        return math.nan, math.nan
    n = len(x)
    if n <= _EXACT:
        orders = np.array(list(permutations(range(n))))
    else:
        rng = np.random.default_rng(seed)
        orders = np.argsort(rng.random((_DRAWS, n)), axis=1)
    centred = (x - x.mean()) / np.linalg.norm(x - x.mean())
    other = (y - y.mean()) / np.linalg.norm(y - y.mean())
    found = np.abs(other[orders] @ centred)
    reached = int((found >= abs(observed) - 1e-12).sum())
    if n <= _EXACT:
        return reached / len(orders), float((found >= found.max() - 1e-12).mean())
    return (1 + reached) / (1 + len(orders)), 1 / (1 + len(orders))
