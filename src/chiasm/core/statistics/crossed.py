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

    def reach(self, comparisons: int = 1, level: float = ALPHA, least: float = 0.0) -> float:
        """Half the length of an interval that misses with probability `level` in all of so many `comparisons` together.

        Images: whole clusters, their parts averaged over seeds, with Student's quantile of clusters - 1 degrees of
        freedom. Seeds: the variance of their scores, less what new images alone would give it, with that of
        seeds - 1; one seed says nothing about others, and the interval is then over images. Squares add up. `least`
        is added to the variance of images. NaN where there is one cluster.

        Source: random effects of two crossed factors (Searle, Casella & McCulloch 1992, chapter 4); the two intervals
        put together as Zou & Donner 2008 (Statistics in Medicine 27) recover variances. Assumption: images and seeds
        are independent draws; the score is smooth enough in the images to be linearised.
        """
        images, alone = self._variances
        square = _student(level / comparisons, self.inputs - 1) ** 2 * (images + least)
        if alone > 0:
            square += _student(level / comparisons, self.seeds - 1) ** 2 * alone
        return math.sqrt(square)

    @cached_property
    def _variances(self) -> tuple[float, float]:
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
class Judged:
    """A score or a difference with its 95 % interval and the p-value of what it is compared with."""

    mean: float
    low: float
    high: float
    p: float


def score_interval(score: Crossed, against: float | None = None, *, comparisons: int = 1) -> Judged:
    """A score between 0 and 1 with an interval over images and seeds that stays in there; p of its being `against`.

    Wilson's score interval with as many independent draws as the score's variance is worth, never more than there are
    answers, and as many as there are clusters where all or no answers are right. The interval and p hold for so many
    `comparisons` at once (Bonferroni), and agree: the interval leaves `against` out where p is at most 0.05.

    Source: Wilson 1927; effective draws as Korn & Graubard 1998 (Survey Methodology 24) take them for surveys.
    """
    mean = min(max(score.mean, 0.0), 1.0)
    if score.inputs < 2:
        return Judged(mean, math.nan, math.nan, math.nan)
    spread = mean * (1 - mean)
    # All alike says nothing about spread: then as many draws as there are clusters.
    alike = not score.reach() > 0 or not spread
    most = score.inputs * (1 if alike else score.seeds)

    def per_draw(level: float) -> float:
        """The square of the quantile over the draws."""
        at_most = _student(level / comparisons, score.inputs - 1) ** 2 / most
        if alike:
            return at_most
        return max(score.reach(comparisons, level) ** 2 / spread, at_most)

    k = per_draw(ALPHA)
    centre, half = (mean + k / 2) / (1 + k), math.sqrt(spread * k + k**2 / 4) / (1 + k)
    low, high = (0.0 if mean == 0 else max(centre - half, 0.0)), (1.0 if mean == 1 else min(centre + half, 1.0))
    p = math.nan
    if against is not None and 0 < against < 1:
        p = _level(per_draw, (mean - against) ** 2 / (against * (1 - against)))
    return Judged(mean, low, high, p)


def difference_interval(difference: Crossed, *, comparisons: int = 1) -> Judged:
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
    half = difference.reach(comparisons, least=least)
    p = _level(lambda level: difference.reach(comparisons, level, least), abs(mean))
    return Judged(mean, max(mean - half, -1.0), min(mean + half, 1.0), p)


def _student(level: float, df: int) -> float:
    from scipy.stats import t as student  # slow to import

    return float(student.ppf(1 - level / 2, df))


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
    # Every class's own score was taken from its few images: what a regression's n / (n - p) corrects, measured here.
    wider = math.sqrt(len(labels) / (len(labels) - len(names) / 2))
    return Crossed(np.array(values), wider * np.stack(parts, axis=1), clusters)


def share_parts(right: Float[np.ndarray, "n s"], clusters: Clusters | None = None) -> Crossed:
    """The share of right answers (1, else 0) under every seed, and what each image adds to it."""
    values = right.mean(axis=0)
    return Crossed(values, (right - values) / len(right), clusters)


def macro_f1_interval(
    labels: Sequence[str], answers: Sequence[Answers], clusters: Clusters | None = None, *, comparisons: int = 1
) -> Estimate:
    """Macro-F1 of the answers of one or several seeds with a 95 % interval over images and seeds (`score_interval`).

    It is about the expected macro-F1 of so many images: with few of a class, macro-F1 lies below that of endless ones.
    """
    score = macro_f1_parts(labels, answers, clusters)
    found = score_interval(score, comparisons=comparisons)
    return Estimate(np.array(found.mean), np.array(found.low), np.array(found.high), score.n)


def macro_f1_difference(
    labels: Sequence[str],
    one: Sequence[Answers],
    other: Sequence[Answers],
    clusters: Clusters | None = None,
    *,
    comparisons: int = 1,
) -> Estimate:
    """Macro-F1 of `one` less that of `other`, paired by image and seed (`difference_interval`)."""
    gap = macro_f1_parts(labels, one, clusters) - macro_f1_parts(labels, other, clusters)
    found = difference_interval(gap, comparisons=comparisons)
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
