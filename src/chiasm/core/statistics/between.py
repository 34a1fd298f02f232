"""Differences between runs: paired where both saw the same inputs, of two samples where they did not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from chiasm.core.statistics.bands import ALPHA, Bands, mean_bands


@dataclass(frozen=True)
class Sample:
    """One value per example and column, with what each example asks about. `present`: which examples have it."""

    inputs: Sequence[str]
    values: Float[np.ndarray, "n k"]
    present: Bool[np.ndarray, "n k"]

    @cached_property
    def mean(self) -> Float[np.ndarray, " k"]:
        """By column, over the examples that have it."""
        return np.where(self.present, self.values, 0.0).sum(axis=0) / np.maximum(self.present.sum(axis=0), 1)

    @property
    def n(self) -> list[int]:
        """Examples by column."""
        return self.present.sum(axis=0).tolist()

    @property
    def inputs_behind(self) -> list[int]:
        """Different inputs by column."""
        names = np.asarray(self.inputs)
        return [len(set(names[column])) for column in self.present.T]


@dataclass(frozen=True)
class Compared:
    """Two samples of the same columns. `paired`: row by row the same examples, and a column is present in both."""

    first: Sample
    second: Sample
    paired: bool

    @property
    def n(self) -> list[int]:
        """Examples behind each difference; those of the smaller sample where they are not paired."""
        return [min(sides) for sides in zip(self.first.n, self.second.n, strict=True)]

    @property
    def inputs_behind(self) -> list[int]:
        """Different inputs likewise."""
        return [min(sides) for sides in zip(self.first.inputs_behind, self.second.inputs_behind, strict=True)]


def difference_bands(compared: Sequence[Compared], *, smallest_error: float, seed: int = 0) -> list[Bands]:
    """The second sample less the first, with intervals that hold over all columns of all of `compared` at once.

    Where they are not paired, the half-widths of the intervals of both means are added in squares, so that the smaller
    sample decides with its own degrees of freedom; p is moved with the interval, and is at most 0.05 where that leaves
    out 0.

    Source: `mean_bands`; half-widths in squares, Zou & Donner 2008 (Statistics in Medicine 27). Assumption: those of
    `mean_bands` in each sample; samples that share inputs without being paired have too wide an interval.
    """
    own = iter(_together([one.first for one in compared if not one.paired], smallest_error, seed))
    rest = _together([_difference(one) if one.paired else one.second for one in compared], smallest_error, seed)
    return [bands if one.paired else _less(next(own), bands) for one, bands in zip(compared, rest, strict=True)]


def _difference(one: Compared) -> Sample:
    """Row by row."""
    values = np.where(one.first.present, one.second.values - one.first.values, 0.0)
    return replace(one.first, values=values)


def _together(samples: Sequence[Sample], smallest_error: float, seed: int) -> list[Bands]:
    """The means of each sample, with intervals that hold over all columns of all of them."""
    rows, width = sum(len(one.inputs) for one in samples), sum(one.values.shape[1] for one in samples)
    if not samples:
        return []
    values, present = np.zeros((rows, width)), np.zeros((rows, width), dtype=bool)
    row = column = 0
    places = []
    for one in samples:
        height, wide = one.values.shape
        values[row : row + height, column : column + wide] = np.where(one.present, one.values, 0.0)
        present[row : row + height, column : column + wide] = one.present
        places.append(slice(column, column + wide))
        row, column = row + height, column + wide
    inputs = [name for one in samples for name in one.inputs]
    bands = mean_bands(values, clusters=inputs, present=present, smallest_error=smallest_error, seed=seed)
    return [bands.columns(place) for place in places]


def _less(first: Bands, second: Bands) -> Bands:
    """The second mean less the first, of independent samples."""
    from scipy.special import ndtr, ndtri  # slow to import, and paired runs do without

    mean = second.mean - first.mean
    low = mean - np.hypot(second.mean - second.low, first.high - first.mean)
    high = mean + np.hypot(second.high - second.mean, first.mean - first.low)
    near = np.where(mean > 0, mean - low, high - mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * ndtr(-ndtri(1 - ALPHA / 2) * np.where(near > 0, np.abs(mean) / near, np.inf))
    p = np.where(np.isnan(near), math.nan, np.where(mean == 0, 1.0, p))
    return Bands(mean, low, high, p, np.minimum(first.n, second.n), min(first.inputs, second.inputs))
