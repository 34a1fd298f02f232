"""Scores over images and seeds: intervals that include both, for macro-F1, shares, and paired differences of them.

Every image is answered under every seed of training, so images and seeds are crossed: another sample of either would
have given another number. A score is linearised: `parts` says how much each image moves it under each seed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from chiasm.core.statistics.bands import ALPHA, Clusters, cluster_codes, cluster_sums
from chiasm.core.statistics.intervals import Estimate

Answers = Sequence[str | None]

_SHARING = 6


@dataclass(frozen=True, eq=False)
class Crossed:
    """A score of `n` images under `seeds` seeds. `parts` (n x seeds): what each image adds; they sum to 0 over images.

    `values`: the score under each seed.
    """

    values: Float[np.ndarray, " s"]
    parts: Float[np.ndarray, "n s"]
    clusters: Clusters | None = None

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def n(self) -> int:
        """Images."""
        return len(self.parts)

    @property
    def seeds(self) -> int:
        return len(self.values)

    @property
    def inputs(self) -> int:
        """Clusters of images that are drawn together."""
        codes = cluster_codes(self.clusters, self.n)
        return self.n if codes is None else int(codes.max()) + 1

    def __sub__(self, other: "Crossed") -> "Crossed":
        """The paired difference: the same images under the same seeds."""
        return Crossed(self.values - other.values, self.parts - other.parts, self.clusters)

    def reach(self, family: "Family | None" = None, level: float = ALPHA, least: float = 0.0) -> float:
        """Half the length of an interval; the intervals of a `family` miss with probability `level` in any of them.

        Images: whole clusters, their parts averaged over seeds, with Student's quantile of clusters - 1 degrees of
        freedom. Seeds: the variance of their scores, less what new images alone would give it, with that of
        seeds - 1; one seed says nothing about others, and the interval is then over images. Squares add up. `least`
        is added to the variance of images. NaN where there is one cluster.

        Source: random effects of two crossed factors (Searle, Casella & McCulloch 1992, chapter 4); the two intervals
        put together as Zou & Donner 2008 (Statistics in Medicine 27) recover variances. Assumption: images and seeds
        are independent draws; the score is smooth enough in the images to be linearised.
        """
        of = family or Family()
        images, _ = self.variances
        square = _student(level / of.comparisons, self.inputs - 1) ** 2 * (images + least)
        return math.sqrt(square + self.reach_of_seeds(of, level) ** 2)

    def reach_of_seeds(self, family: "Family | None" = None, level: float = ALPHA) -> float:
        """The part of `reach` that is due to seeds; 0 for one seed."""
        of = family or Family()
        seeds = max(self.variances[1], of.seeds)
        if self.seeds == 1 or not seeds > 0:
            return 0.0
        return _student(level / of.comparisons, of.df or self.seeds - 1) * math.sqrt(seeds)

    @cached_property
    def variances(self) -> tuple[float, float]:
        """Of the mean: over new images, and over new seeds."""
        codes = cluster_codes(self.clusters, self.n)
        parts = self.parts if codes is None else cluster_sums(self.parts, codes)
        count, seeds = parts.shape
        if count < 2:
            return math.nan, 0.0
        scale = count / (count - 1)
        each = parts.mean(axis=1)
        images = scale * float((each**2).sum())
        if seeds == 1:
            return images, 0.0
        together = scale * float(((parts - each[:, None]) ** 2).sum()) / (seeds * (seeds - 1))
        # Shrunk, or few seeds would often lose by chance all that they vary.
        kept = (seeds - 2) / (seeds - 1)
        return images, max(float(self.values.var(ddof=1)) / seeds - kept * together, 0.0)


@dataclass(frozen=True, slots=True)
class Family:
    """Estimates whose intervals hold together. `seeds`: a variance over seeds below which none is believed to lie.

    `df`: degrees of freedom of the variance over seeds; None: seeds - 1.
    """

    comparisons: float = 1
    seeds: float = 0.0
    df: float | None = None


def family(members: Sequence[Crossed]) -> Family:
    """The family of all `members`: corrected for their number (Bonferroni), the variance over seeds shared.

    Two or three seeds say little about their spread, which corrected quantiles of one or two degrees of freedom turn
    into intervals that say nothing. So what a member's seeds vary by is taken to be at least the mean over members, and
    is then worth more degrees of freedom: as many as a third of the members would have, at most of four; below six
    members there is nothing to share. Simulated with 2 to 24 members whose spreads are equal or differ twentyfold, any
    of them misses in at most 5 % of runs (two seeds, one member twenty times the others: 7 %).
    """
    several = [one for one in members if one.seeds > 1]
    if len(several) < _SHARING:
        return Family(max(1, len(members)))
    shared = float(np.mean([one.variances[1] for one in several]))
    df = (min(one.seeds for one in several) - 1) * min(4.0, len(several) / 3)
    return Family(len(members), shared, df)


@dataclass(frozen=True, slots=True)
class Judged:
    """A score or a difference with its 95 % interval and the p-value of what it is compared with."""

    mean: float
    low: float
    high: float
    p: float


def score_interval(score: Crossed, against: float | None = None, *, of: Family | None = None) -> Judged:
    """A score between 0 and 1 with an interval over images and seeds that stays in there; p of its being `against`.

    Images: Wilson's score interval with as many independent draws as the score's variance is worth, never more than
    there are answers, and as many as there are clusters where all or no answers are right. Seeds: as `Crossed.reach`;
    the squares of both distances add up on either side. The interval and p hold for a whole family if they are `of`
    one, and agree: the interval leaves `against` out where p is at most 0.05.

    Source: Wilson 1927; effective draws as Korn & Graubard 1998 (Survey Methodology 24) take them for surveys.
    """
    mean = min(max(score.mean, 0.0), 1.0)
    comparisons = 1.0 if of is None else of.comparisons
    if score.inputs < 2:
        return Judged(mean, math.nan, math.nan, math.nan)
    spread, (images, _) = mean * (1 - mean), score.variances
    # All alike says nothing about spread: then as many draws as there are clusters.
    alike = not images > 0 or not spread
    most = score.inputs * (1 if alike else score.seeds)

    def reach(level: float) -> tuple[float, float]:
        """How far it goes below and above the mean."""
        square = _student(level / comparisons, score.inputs - 1) ** 2
        k = square / most if alike else max(square * images / spread, square / most)
        centre, half = (mean + k / 2) / (1 + k), math.sqrt(spread * k + k**2 / 4) / (1 + k)
        seeds = score.reach_of_seeds(of, level)
        return math.hypot(mean - centre + half, seeds), math.hypot(centre + half - mean, seeds)

    below, above = reach(ALPHA)
    low, high = (0.0 if mean == 0 else max(mean - below, 0.0)), (1.0 if mean == 1 else min(mean + above, 1.0))
    p = math.nan
    if against is not None and 0 < against < 1:
        p = _level(lambda level: reach(level)[0 if against < mean else 1], abs(mean - against))
    return Judged(mean, low, high, p)


def difference_interval(difference: Crossed, *, of: Family | None = None) -> Judged:
    """A paired difference of two scores with an interval over images and seeds, and p of its being 0.

    Where few answers differ, the few that would are seen too rarely for their spread to be known: one more image that
    differs is counted into the variance.

    Source: `Crossed.reach`; the further image as in Agresti & Min 2005 (Statistics in Medicine 24), who add half a pair
    to each cell. Assumption: see `Crossed.reach`.
    """
    mean = difference.mean
    if difference.inputs < 2:
        return Judged(mean, math.nan, math.nan, math.nan)
    least = 1 / difference.inputs**2
    half = difference.reach(of, least=least)
    p = _level(lambda level: difference.reach(of, level, least), abs(mean))
    return Judged(mean, max(mean - half, -1.0), min(mean + half, 1.0), p)


def unpaired_interval(one: Crossed, other: Crossed, *, of: Family | None = None) -> Judged:
    """One score less another where it is not known which answers go together, and p of the difference being 0.

    Source: Newcombe 1998 (Statistics in Medicine 17, method 10), from the intervals of both. Assumption: the two are
    independent; where the same examples are hard for both, it is too wide.
    """
    mean = one.mean - other.mean

    def at(level: float) -> tuple[float, float]:
        tests = (1 if of is None else of.comparisons) * ALPHA / level
        here = Family(tests, 0.0 if of is None else of.seeds, None if of is None else of.df)
        a, b = score_interval(one, of=here), score_interval(other, of=here)
        return math.hypot(a.mean - a.low, b.high - b.mean), math.hypot(a.high - a.mean, b.mean - b.low)

    below, above = at(ALPHA)
    if math.isnan(below):
        return Judged(mean, math.nan, math.nan, math.nan)
    p = _level(lambda level: at(level)[0 if mean > 0 else 1], abs(mean)) if mean else 1.0
    return Judged(mean, max(mean - below, -1.0), min(mean + above, 1.0), p)


def _student(level: float, df: float) -> float:
    from scipy.stats import t as student  # slow to import

    # From the upper tail: 1 - level / 2 is 1 in floating point long before a level is 0.
    return float(student.isf(level / 2, df))


def _level(reach: Callable[[float], float], size: float) -> float:
    """The level whose interval just reaches so far: it grows as the level falls."""
    low, high = -30.0, 0.0  # decimal logarithms
    if reach(1.0) >= size:
        return 1.0
    if reach(10**low) <= size:
        return 10**low
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if reach(10**middle) > size else (low, middle)
    return float(10**high)


def macro_f1_parts(labels: Sequence[str], answers: Sequence[Answers], clusters: Clusters | None = None) -> Crossed:
    """Macro-F1 of every seed's answers, and what each image adds to it (its influence).

    Mean over classes of 2 TP / (2 TP + FP + FN). The classes are those that occur in `labels`: a class without a test
    image has no recall. None answers no class, so it costs recall and no precision.

    **Errors:** `ValueError` without images or seeds, or where a seed has not answered all of them.
    """
    if not labels or not answers or any(len(run) != len(labels) for run in answers):
        raise ValueError("there are no images to score, or not all of them were answered")
    names = {name: k for k, name in enumerate(sorted(set(labels)))}
    of = np.array([names[label] for label in labels])[:, None] == np.arange(len(names))
    values, parts = [], []
    for run in answers:
        given = np.array([-1 if one is None else names.get(one, -1) for one in run])
        named = given[:, None] == np.arange(len(names))
        size = of.sum(axis=0) + named.sum(axis=0)
        f1 = 2 * (of & named).sum(axis=0) / size
        values.append(f1.mean())
        parts.append(((2.0 * (of & named) - f1 * (of.astype(float) + named)) / size).mean(axis=1))
    # Every class's own score was taken from its few images: n / (n - classes), as the variance in a regression.
    wider = math.sqrt(len(labels) / (len(labels) - min(len(names), len(labels) / 2)))
    return Crossed(np.array(values), wider * np.stack(parts, axis=1), clusters)


def share_parts(right: Float[np.ndarray, "n s"], clusters: Clusters | None = None) -> Crossed:
    """The share of right answers (1, else 0) under every seed, and what each image adds to it."""
    values = right.mean(axis=0)
    return Crossed(values, (right - values) / len(right), clusters)


def macro_f1_interval(labels: Sequence[str], answers: Sequence[Answers], clusters: Clusters | None = None) -> Estimate:
    """Macro-F1 of the answers of one or several seeds with a 95 % interval over images and seeds (`score_interval`).

    It is about the expected macro-F1 of so many images: with few of a class, macro-F1 lies below that of endless ones.
    """
    score = macro_f1_parts(labels, answers, clusters)
    found = score_interval(score)
    return Estimate(np.array(found.mean), np.array(found.low), np.array(found.high), score.n)


def macro_f1_difference(
    labels: Sequence[str],
    one: Sequence[Answers],
    other: Sequence[Answers],
    clusters: Clusters | None = None,
) -> Estimate:
    """Macro-F1 of `one` less that of `other`, paired by image and seed (`difference_interval`)."""
    gap = macro_f1_parts(labels, one, clusters) - macro_f1_parts(labels, other, clusters)
    found = difference_interval(gap)
    return Estimate(np.array(found.mean), np.array(found.low), np.array(found.high), gap.n)


def guessing(counts: Int[np.ndarray, " present"] | Sequence[int], classes: int) -> float:
    """The expected macro-F1 of answers drawn uniformly from `classes`. `counts`: images of each class that occurs.

    Exact: of a class with N of n images, true positives are binomial (N, 1 / classes), false ones (n - N, 1 / classes),
    and the two are independent. It lies a little below 1 / classes. The expected accuracy is 1 / classes.

    **Errors:** `ValueError` without images, or for fewer classes than occur.
    """
    from scipy.stats import binom  # slow to import

    there = np.asarray(counts)
    if not len(there) or (there < 1).any() or classes < len(there):
        raise ValueError(f"{list(there)} images of {classes} classes")
    total, found = int(there.sum()), []
    for count in there:
        true, false = np.arange(int(count) + 1), np.arange(total - int(count) + 1)
        chance = binom.pmf(true, int(count), 1 / classes)[:, None] * binom.pmf(false, total - int(count), 1 / classes)
        found.append(float((chance * 2 * true[:, None] / (count + true[:, None] + false)).sum()))
    return float(np.mean(found))
