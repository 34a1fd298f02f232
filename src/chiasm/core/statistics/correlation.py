"""Correlation over few points, with what so few points can show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from jaxtyping import Float, Int

MIN_POINTS = 4
"""Fewer points give no interval at all: a line through three always fits well."""
_EXACT = 8
_DRAWS = 20_000


@dataclass(frozen=True, slots=True)
class Correlation:
    """Pearson's and Spearman's coefficients with 95 % intervals (NaN below four points and without spread; Pearson's
    also where the points lie on a line, which Fisher's approximation cannot describe).

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

    Source: Fisher 1921 (Pearson); Spearman's interval is that of `relations`, which leaves out 0 exactly where
    p <= 0.05. Assumption: points are independent
    draws. Checkpoints of one training run, or variants of one model, are not; then an interval is too narrow.

    **Errors:** `ValueError` for fewer than two points, or NaN or infinite values.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(x) != len(y) or len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("a correlation needs at least two pairs of finite values")
    from scipy.stats import rankdata  # slow to import

    n, ranks_x, ranks_y = len(x), rankdata(x), rankdata(y)
    pearson, spearman = _coefficient(x, y), _coefficient(ranks_x, ranks_y)
    [alone] = relations(x[:, None], y[:, None], [(0, 0)], seed=seed)
    p, smallest = _permuted(ranks_x, ranks_y, spearman, seed)
    return Correlation(
        pearson,
        *_interval(pearson, 1 / math.sqrt(n - 3) if n >= MIN_POINTS else math.nan),
        spearman,
        alone.low,
        alone.high,
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


@dataclass(frozen=True, slots=True)
class Relation:
    """Spearman's coefficient with an interval and a p-value that hold for all relations looked at together.

    Bounds and `p` are NaN below four points or without spread. `smallest`: the least `p` that so many points can give.
    """

    spearman: float
    low: float
    high: float
    p: float
    smallest: float
    n: int


def relations(
    x: Float[np.ndarray, "n k"],
    y: Float[np.ndarray, "n q"],
    pairs: Sequence[tuple[int, int]],
    *,
    tests: int = 1,
    seed: int = 0,
) -> list[Relation]:
    """Spearman of columns of `x` with columns of `y`, for each of `pairs`; NaN in `y` are points without a value.

    Points are given other points' rows of `y`, in all orders up to eight points, else in 20,000 drawn ones; the largest
    |z| over all pairs (Fisher's z, times the root of n - 3) is what chance gives. Its 95 % point is also half of the
    interval in z, so that an interval leaves out 0 exactly where p <= 0.05. `tests`: so many sets of points are looked
    at together (Bonferroni).

    Source: Westfall & Young 1993 (single-step max-T over permutations); Fisher 1921 (z). Assumption: points can change
    places, which variants of one model and checkpoints of one run cannot; and the spread of z is that of no relation.

    **Errors:** `ValueError` for NaN or infinite values in `x`, or infinite ones in `y`.
    """
    from scipy.stats import rankdata  # slow to import

    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if not np.isfinite(x).all() or np.isinf(y).any():
        raise ValueError("a relation needs finite values")
    known = [np.flatnonzero(~np.isnan(column)) for column in y.T]
    orders = _orders(len(x), seed)
    statistics, observed = [], []
    for i, j in pairs:
        at = known[j]
        coefficient = _coefficient(rankdata(x[at, i]), rankdata(y[at, j])) if len(at) > 1 else math.nan
        observed.append(coefficient)
        if len(at) < MIN_POINTS or math.isnan(coefficient):
            statistics.append(None)
            continue
        # The rows of `y` that have a value go to other points: which ranks of `x` they then meet.
        drawn = rankdata(x[:, i][orders[:, at]], axis=1)
        statistics.append(_drawn_coefficients(drawn, rankdata(y[at, j])))
    heights = [None if found is None else _heights(found, observed[k], len(known[pairs[k][1]])) for k, found in
               enumerate(statistics)]  # fmt: skip
    tested = [one for one in heights if one is not None]
    most = np.max([drawn for drawn, _ in tested], axis=0) if tested else np.zeros(len(orders))
    exact = len(x) <= _EXACT
    ranked = np.sort(most)
    allowed = math.floor(0.05 / tests * (len(ranked) + (not exact)) - (not exact) + _TIE)
    needed = float(ranked[len(ranked) - 1 - allowed])
    found = []
    for (_, j), value, height in zip(pairs, observed, heights, strict=True):
        n = len(known[j])
        if height is None:
            found.append(Relation(value, math.nan, math.nan, math.nan, math.nan, n))
            continue
        reached = int((most >= abs(height[1]) - _TIE).sum())
        p = min(1.0, tests * (reached / len(most) if exact else (1 + reached) / (1 + len(most))))
        smallest = min(1.0, tests * (float((most >= most.max() - _TIE).mean()) if exact else 1 / (1 + len(most))))
        root = math.sqrt(n - 3)
        half = max(needed, abs(height[1])) if p > 0.05 else needed
        low, high = (math.tanh((height[1] + sign * half) / root) for sign in (-1, 1))
        found.append(Relation(value, min(low, value), max(high, value), p, smallest, n))
    return found


_TIE = 1e-9


def _orders(n: int, seed: int) -> Int[np.ndarray, "orders n"]:
    if n <= _EXACT:
        return np.array(list(permutations(range(n))))
    return np.argsort(np.random.default_rng(seed).random((_DRAWS, n)), axis=1)


def _drawn_coefficients(drawn: np.ndarray, ranks: np.ndarray) -> Float[np.ndarray, " orders"]:
    a, b = drawn - drawn.mean(axis=1, keepdims=True), ranks - ranks.mean()
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum())
    return np.divide(a @ b, scale, out=np.zeros(len(a)), where=scale > 0)


def _heights(drawn: np.ndarray, value: float, n: int) -> tuple[Float[np.ndarray, " orders"], float]:
    """|z| times the root of n - 3 of coefficients in all orders, and z of the own one likewise, with its sign.

    Points in perfect order have an infinite z: they count as halfway from the next coefficient to 1.
    """
    size = np.abs(drawn)
    inside = size[size < 1 - _TIE]
    most = (1 + (inside.max() if len(inside) else 0.0)) / 2
    root = math.sqrt(n - 3)
    return np.arctanh(np.minimum(size, most)) * root, math.atanh(float(np.clip(value, -most, most))) * root
