"""Means with intervals that hold together, over layers, cuts or types: one bootstrap gives intervals and p-values.

Interval and test are two readings of one thing, so they never disagree: a simultaneous interval leaves 0 out exactly
where the corrected p-value is at most 0.05.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

Clusters = Sequence[str] | Int[np.ndarray, " n"]

ALPHA = 0.05
"""The corrected p-value at or below which a sentence says that something was found."""

RESAMPLES = 1999
"""Resamples of a bootstrap: with one less than 2,000 the 95 % point is a resample, and p = 0.05 can be reached."""

# Of the smallest effect worth naming: the least by which models of one kind count as different.
_MODEL_SHARE = 0.1

# Bounds the memory of one step of resampling: 2^22 numbers of 8 bytes.
_CELLS = 1 << 22


@dataclass(frozen=True, slots=True)
class Bands:
    """Means of `k` columns with 95 % intervals and p-values (NaN where there are too few clusters for one).

    `p` is two-sided, of a mean of 0. Intervals and p-values hold for all columns at once if they were asked to, else
    for each on its own. `n`: examples per column; `inputs`: clusters drawn.
    """

    mean: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    p: Float[np.ndarray, " k"]
    n: Int[np.ndarray, " k"]
    inputs: int

    def columns(self, chosen: slice | Sequence[int] | Int[np.ndarray, " j"]) -> "Bands":
        """Some of the columns, with the intervals that they have among all."""
        parts = {name: getattr(self, name)[chosen] for name in ("mean", "low", "high", "p", "n")}
        return replace(self, **parts)


def mean_bands(
    values: Float[np.ndarray, "n k"],
    *,
    clusters: Clusters | None = None,
    present: Bool[np.ndarray, "n k"] | None = None,
    contrasts: Float[np.ndarray, "q k"] | None = None,
    smallest_error: float = 0.0,
    simultaneous: bool = True,
    tests: int = 1,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Bands:
    """Column means, or `contrasts` of them, with studentised bootstrap intervals that hold for all of them at once.

    `clusters`: which examples belong together (questions on one image); whole clusters are drawn. `present`: which
    examples each column is about (question types, cuts that some examples lack); all by default. `smallest_error`:
    a standard error below it counts as so much, in the unit of `values`: where nearly all examples agree to many
    digits, the few that do not are seen too rarely for their spread to be known. `simultaneous=False`: each column
    on its own, as one of so many `tests` (Bonferroni; 40 resamples are needed for each of them): of a few columns a
    skewed one then widens no other's interval.

    The statistic is (mean - truth) / standard error, over resamples (of its extremes over columns). An interval is the
    symmetric one, by the 95 % point of its size, widened on either side to the equal-tailed one, by its 97.5 % points,
    and to Student's; the p-value is the largest of the three. Of means of skewed values each alone misses more: the
    symmetric one where the long tail is barely in the sample, the equal-tailed one of heavy tails, Student's in
    general; and a sample without its rare values looks calmer than the truth. A column that no interval can be given
    for (NaN: too many resamples are without its rare values and so without any spread) is left out of the extremes.
    Single-step, so that interval and p-value agree: the step-down of Westfall & Young rejects a little more, but has
    no intervals of its own.

    Source: bootstrap-t, symmetric and equal-tailed, Hall 1988 (Annals of Statistics 16; Journal of the Royal
    Statistical Society B 50); extremes over columns, Romano & Wolf 2005 (JASA 100); whole clusters, Cameron, Gelbach &
    Miller 2008 (Review of Economics and Statistics 90); sampled p-values, Phipson & Smyth 2010. Assumption: clusters
    are drawn independently from one population, whose tails the sample has seen; how often this fails is measured in
    `docs/calibration.md`.

    **Errors:** `ValueError` for NaN, infinite values, no example, a column without any, or more tests than resamples
    can tell apart.
    """
    from scipy.special import stdtr, stdtrit  # slow to import, and what only words claims does without

    data = finite(values, "values to average")
    if data.ndim != 2:
        raise ValueError(f"values of shape {data.shape} are no columns")
    if 2 * tests > ALPHA * (resamples + 1):
        raise ValueError(f"{resamples} resamples are too few for {tests} tests")
    n, k = data.shape
    there = np.ones((n, k), dtype=bool) if present is None else np.asarray(present, dtype=bool)
    if not there.any(axis=0).all():
        raise ValueError("a column has no example")
    codes = cluster_codes(clusters, n)
    together = np.arange(n) if codes is None else codes
    sums, counts = cluster_sums(np.where(there, data, 0.0), together), cluster_sums(there.astype(np.float64), together)
    inputs, total = len(sums), there.sum(axis=0)
    whole = sums.sum(axis=0) / total
    # Centred, so that rounding is that of the spread and not of the size; what is left of equal values is nothing.
    rounding = 1e-13 * np.abs(np.where(there, data, 0.0)).max(axis=0) * counts.max()
    sums = sums - whole * counts
    sums[np.abs(sums) <= rounding * counts] = 0.0
    combine = np.eye(k) if contrasts is None else np.asarray(contrasts, dtype=np.float64)
    mean = combine @ whole
    asked = np.abs(combine) > 0
    examples = np.array([int(total[row].min()) for row in asked])
    within = np.array([int((counts > 0).sum(axis=0)[row].min()) for row in asked])
    nothing = np.full(len(mean), math.nan)
    if inputs < 2:
        return Bands(mean, nothing, nothing.copy(), nothing.copy(), examples, inputs)
    error = np.maximum(_error((sums / total) @ combine.T, inputs), smallest_error)
    observed = _studentised(mean, error)
    moves = np.zeros((resamples, len(mean)))
    place = 0
    plain = contrasts is None
    for drawn in draws(inputs, resamples, seed):
        size = drawn @ counts
        seen = size > 0
        size = np.where(seen, size, 1.0)
        moved = drawn @ sums / size
        if plain:
            square = drawn @ sums**2
            spread = square - 2 * moved * (drawn @ (sums * counts)) + moved**2 * (drawn @ counts**2)
            spread[spread <= 1e-12 * square] = 0.0  # rounding of equal values is no spread
            deviation = np.sqrt(np.maximum(spread, 0.0) * inputs / (inputs - 1)) / size
            change = np.where(seen, moved, np.inf)
        else:
            deviation = np.empty((len(drawn), len(mean)))
            # So many resamples at once that their residuals, of every input and contrast, take a few megabytes.
            step = max(1, _CELLS // (8 * inputs * max(k, len(mean))))
            for first in range(0, len(drawn), step):
                at = slice(first, first + step)
                residual = ((sums[None] - moved[at, None] * counts[None]) / size[at, None]) @ combine.T
                deviation[at] = np.sqrt(np.einsum("rg,rgq->rq", drawn[at], residual**2) * inputs / (inputs - 1))
            change = np.where((seen[:, None, :] | ~asked[None]).all(axis=2), moved @ combine.T, np.inf)
        moves[place : place + len(drawn)] = _studentised(change, np.maximum(deviation, smallest_error))
        place += len(drawn)
    sizes = np.abs(moves)
    level = ALPHA / tests
    points = _point(sizes, level), _point(moves, level / 2), _point(-moves, level / 2)
    known = np.isfinite(points).all(axis=0) & (within > 1)
    ups, downs = moves, -moves
    if simultaneous and known.any():
        sizes, ups, downs = (np.maximum(x, x[:, known].max(axis=1, keepdims=True)) for x in (sizes, ups, downs))
    freedom = np.maximum(within - 1, 1)
    both = np.maximum(_point(sizes, level), stdtrit(freedom, 1 - level / 2))
    below, above = (np.maximum(both, _point(x, level / 2)) for x in (ups, downs))
    # Rounding must not decide where all resamples are alike.
    reach = np.abs(observed) * (1 - 1e-12)
    beyond, tail = (sizes >= reach).sum(axis=0), (np.where(observed > 0, ups, downs) >= reach).sum(axis=0)
    p = np.maximum((1 + beyond) / (1 + resamples), 2 * (1 + tail) / (1 + resamples))
    p = np.minimum(tests * np.maximum(p, 2 * stdtr(freedom, -np.abs(observed))), 1.0)
    low, high = (
        np.where(known, mean + side * np.where(known & (error > 0), needed, 0.0) * error, math.nan)
        for side, needed in ((-1, below), (1, above))
    )
    return Bands(mean, low, high, np.where(within > 1, p, math.nan), examples, inputs)


def over_models(
    bands: Bands,
    each: Float[np.ndarray, "m k"],
    given: Float[np.ndarray, "m k"] | None = None,
    *,
    smallest: float = 0.0,
) -> Bands:
    """The same differences from the mean of a few models, so that they hold beside one more model of that kind.

    `each`: by model, its own mean of what is subtracted; NaN where it was not read. `given`: how many examples each
    mean is of, where models share them; alike by default. `smallest`: the smallest effect worth naming; models differ
    by a tenth of it at least, since few that agree do not show that others would.

    The half-widths of two intervals are added in squares: the given one, over inputs, and a 95 % prediction interval
    (Student's, corrected over the columns) over one more model. p is moved with the interval, so that it is at most
    0.05 where the interval leaves out 0. Where there is one model nothing is known of others and nothing is changed.

    Source: half-widths in squares, Zou & Donner 2008 (Statistics in Medicine 27). Assumption: models differ as draws
    from one normal distribution.
    """
    from scipy.special import ndtr, ndtri, stdtrit  # slow to import, and what only words claims does without

    if len(each) < 2:
        return bands
    read = ~np.isnan(each)
    weights = np.where(read, 1.0 if given is None else given, 0.0)
    weights /= np.maximum(weights.sum(axis=0), 1e-300)
    models = read.sum(axis=0)
    freedom = np.maximum(models - 1, 1)
    centre = np.nansum(each, axis=0) / np.maximum(models, 1)
    spread = np.sqrt(np.where(read, (each - centre) ** 2, 0.0).sum(axis=0) / freedom)
    error = np.maximum(spread, _MODEL_SHARE * smallest) * np.sqrt(1 + (weights**2).sum(axis=0))
    several = models > 1
    needed = stdtrit(freedom, 1 - ALPHA / 2 / max(1, int(several.sum())))
    model = np.where(several, needed * error, 0.0)
    below, above = (np.hypot(side, model) for side in (bands.mean - bands.low, bands.high - bands.mean))
    near = np.where(bands.mean > 0, below, above)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * ndtr(-ndtri(1 - ALPHA / 2) * np.where(near > 0, np.abs(bands.mean) / near, np.inf))
    p = np.where(np.isnan(near), math.nan, np.maximum(bands.p, p))
    return replace(bands, low=bands.mean - below, high=bands.mean + above, p=p)


def over_shared_models(
    bands: Bands,
    control: Float[np.ndarray, "n k"],
    present: Bool[np.ndarray, "n k"],
    models: Sequence[int],
    *,
    smallest: float = 0.0,
) -> Bands:
    """`over_models` where several models share the examples: what the `control` shows, and which model showed it.

    A column that one alone of several models was read of has no interval.
    """
    which, names = np.asarray(models), sorted(set(models))
    given = np.stack([(present & (which == name)[:, None]).sum(axis=0) for name in names]).astype(np.float64)
    sums = np.stack([np.where(present & (which == name)[:, None], control, 0.0).sum(axis=0) for name in names])
    each = np.where(given > 0, sums / np.maximum(given, 1), math.nan)
    found = over_models(bands, each, given, smallest=smallest)
    alone = (given > 0).sum(axis=0) < min(2, len(names))
    low, high, p = (np.where(alone, math.nan, x) for x in (found.low, found.high, found.p))
    return replace(found, low=low, high=high, p=p) if alone.any() else found


def _point(values: Float[np.ndarray, "r k"], above: float) -> Float[np.ndarray, " k"]:
    """The value of every column that a share `above` of resamples exceeds."""
    return np.sort(values, axis=0)[math.ceil((1 - above) * (len(values) + 1) - 1e-9) - 1]


def draws(n: int, resamples: int, seed: int) -> Iterator[Float[np.ndarray, "rows n"]]:
    """How often each of `n` clusters was drawn in every resample: one product then serves all columns."""
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // n)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        cells = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(cells.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def cluster_codes(clusters: Clusters | None, n: int) -> Int[np.ndarray, " n"] | None:
    """The clusters as 0, 1, ...; None where every example is its own."""
    if clusters is None:
        return None
    if len(clusters) != n:
        raise ValueError(f"{len(clusters)} cluster names were given for {n} examples")
    names, codes = np.unique(np.asarray(clusters), return_inverse=True)
    return None if len(names) == n else codes


def cluster_sums(values: Float[np.ndarray, "n k"], codes: Int[np.ndarray, " n"]) -> Float[np.ndarray, "c k"]:
    """Sums of the rows of each cluster."""
    total = np.zeros((int(codes.max()) + 1, *values.shape[1:]))
    np.add.at(total, codes, values)
    return total


def finite(values: np.ndarray, what: str) -> Float[np.ndarray, "..."]:
    """The values as float64.

    **Errors:** `ValueError` if there are none, or some are NaN or infinite.
    """
    data = np.asarray(values, dtype=np.float64)
    if data.ndim == 0 or len(data) == 0:
        raise ValueError(f"there are no {what}")
    wrong = int((~np.isfinite(data)).sum())
    if wrong:
        raise ValueError(f"{wrong} of {data.size} {what} are NaN or infinite; leave those examples out and say so")
    return data


def _error(residuals: Float[np.ndarray, "c q"], clusters: int) -> Float[np.ndarray, " q"]:
    return np.sqrt((residuals**2).sum(axis=0) * clusters / (clusters - 1))


def _studentised(change: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Change in standard errors: 0 where nothing changed, infinite where it changed without any spread."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(change) > 0, change / error, 0.0)
