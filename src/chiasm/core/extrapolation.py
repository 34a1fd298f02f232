"""What a run takes, from what some of its first examples took: time, memory and disk as straight lines."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Trial(NamedTuple):
    """A small run of the first `examples`: `seconds` on the clock and of the processor; bytes of its `tables`, and of
    what is `shown` (charts, pictures, page).

    `first`: it was the first of its process, and so paid for what is imported, compiled and checked only once.
    `more`: examples for which it did what a long run does for its first ones only, beyond their share of it.
    """

    examples: int
    seconds: float
    processor: float
    tables: int
    shown: int
    first: bool = False
    more: float = 0.0


class Line(NamedTuple):
    """`once` for the run and `each` for an example, with the least and the most that the trials allow for the latter.

    The range is that of the slopes between pairs of trials of which one is at least twice the other, and no confidence
    interval. Where only one trial was not the first, it is all that this one allows: nothing, or all of its time.
    """

    once: float
    each: float
    each_least: float
    each_most: float

    def at(self, examples: int) -> float:
        return max(0.0, self.once + self.each * examples)

    def within(self, examples: int) -> tuple[float, float]:
        """The least and the most at `examples`."""
        base = max(0.0, self.once)
        return base + self.each_least * examples, base + self.each_most * examples


ENOUGH = 16
"""Examples from which on a run does what a long one does: of fewer, statistics and charts are left out."""


def cost_of_more(trials: Sequence[Trial], quantity: str) -> float:
    """What one example costs more for which a run does what it does for its first ones only.

    By two trials of one size that differ in how many these were; 0 where there are none.
    """
    later = [one for one in trials if not one.first]
    pairs = [(a, b) for a in later for b in later if a.examples == b.examples and a.more - b.more >= 1]
    costs = [(getattr(a, quantity) - getattr(b, quantity)) / (a.more - b.more) for a, b in pairs]
    return max(0.0, float(np.mean(costs))) if costs else 0.0


def line(trials: Sequence[Trial], quantity: str) -> Line:
    """A quantity of a run as a line over its number of examples; `trials` of at least two sizes beside the first.

    Each counts as if it had done its share of what is done for the first examples only (`cost_of_more`).

    The slope is that of trials which were not first (least squares), of at least `ENOUGH` examples where there are two
    such sizes. What the first one took more than its repetition is paid once besides.

    **Errors:** `ValueError` for fewer than two sizes.
    """
    # Files hold what controls show once, however many they are of: that is no matter of single examples.
    dear = cost_of_more(trials, quantity) if quantity in ("seconds", "processor") else 0.0
    trials = [one._replace(**{quantity: getattr(one, quantity) - dear * one.more}) for one in trials]
    later = [one for one in trials if not one.first]
    first = [one for one in trials if one.first]
    warm = len({one.examples for one in later}) > 1
    used = later if warm else list(trials)
    large = [one for one in used if one.examples >= ENOUGH]
    used = large if len({one.examples for one in large}) > 1 else used
    sizes = np.array([one.examples for one in used], dtype=float)
    values = np.array([getattr(one, quantity) for one in used], dtype=float)
    if len(set(sizes)) < 2:
        raise ValueError("a line takes runs of two sizes")
    centred = sizes - sizes.mean()
    each = max(0.0, float((centred * values).sum() / (centred**2).sum()))
    pairs = [(a, b) for a in range(len(used)) for b in range(len(used)) if sizes[b] >= 2 * sizes[a]]
    slopes = [(values[b] - values[a]) / (sizes[b] - sizes[a]) for a, b in pairs]
    slopes += [] if warm else [0.0, values[-1] / sizes[-1]]
    least, most = max(0.0, min([each, *slopes])), max([each, *slopes])
    intercept = float(values.mean() - each * sizes.mean())
    again = [getattr(one, quantity) for one in later if first and one.examples == first[0].examples]
    if again:
        once = intercept + max(0.0, getattr(first[0], quantity) - float(np.mean(again)))
    else:
        once = intercept if not first else float(getattr(first[0], quantity) - each * first[0].examples)
    return Line(once, each, float(least), float(most))
