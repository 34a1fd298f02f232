"""What is kept of examples that are never all in memory: sums that add up in any order, and a random sample.

All of them depend on identifiers alone, so neither the order of reading nor the division into shards matters.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from chiasm.core.statistics.bands import cluster_sums
from chiasm.core.statistics.intervals import Estimate, ratio_bounds
from chiasm.core.statistics.jackknife import GROUPS, group_jackknife, group_of, means_without_each, priority

RESAMPLES = 1000
UNITS = 256
"""Units (images) whose sums are kept one by one."""
_UNITS = "/units"


class Kept(ABC):
    """Something that grows with what is read, merges with its like, and is saved as arrays under names of its own."""

    prefix: str

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Take in what another one of the same kind and options has kept."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """All that is kept, as arrays by name."""

    @abstractmethod
    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave; names of others are passed over."""

    def _own(self, state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        start = f"{self.prefix}:"
        return {key.removeprefix(start): np.array(value) for key, value in state.items() if key.startswith(start)}


class NamedSums(Kept):
    """Sums of float64 arrays by name."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.arrays: dict[str, np.ndarray] = {}

    def add_array(self, key: str, values: Float[np.ndarray, "*shape"]) -> None:
        """Add `values` to the sum called `key`."""
        self.arrays[key] = self.arrays[key] + values if key in self.arrays else values.copy()

    def merge(self, other: "NamedSums") -> None:
        for key, values in other.arrays.items():
            self.add_array(key, values)

    def state(self) -> dict[str, np.ndarray]:
        return {f"{self.prefix}:{key}": values for key, values in self.arrays.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.arrays = self._own(state)

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]


class GroupSums(NamedSums):
    """Named sums, one for each of the 20 groups of examples that the jackknife leaves out in turn."""

    def __init__(self) -> None:
        super().__init__("sum")

    def add(self, key: str, ids: Sequence[str], values: Float[np.ndarray, "n *shape"]) -> None:
        """Add one value per example; `ids`: what each is drawn with, which decides its group."""
        if not len(ids):
            return
        values = np.asarray(values, dtype=np.float64)
        if key not in self.arrays:
            self.arrays[key] = np.zeros((GROUPS, *values.shape[1:]))
        np.add.at(self.arrays[key], [group_of(name) for name in ids], values)

    def means(self, key: str) -> Estimate:
        """Means over examples with their jackknife, of sums whose last column counts the examples."""
        sums = self[key]
        return group_jackknife(means_without_each(sums[:, :-1], sums[:, -1]), sums[:, -1])


class PoissonBootstrap(NamedSums):
    """Means of a stream with 95 % intervals; questions on one image come and go together.

    The sums of up to 256 units (images) are kept one by one, and while there are no more, the interval is the
    studentised bootstrap of `ratio_bounds`. Beyond that every unit counts Poisson(1) times in every resample, drawn by
    its name, and the interval is where the middle 95 % of the resampled means lie.

    Source: `mean_bands`; the Poisson bootstrap of Hanley & MacGibbon 2006 (Computer Methods and Programs in Biomedicine
    83); percentiles: Efron & Tibshirani 1993, chapter 13. Assumption: units are drawn independently. With 12 to 50
    units percentiles cover 84 to 93 %, which is why they wait until there are many.
    """

    def __init__(self, seed: int) -> None:
        super().__init__("bootstrap")
        self.seed = seed

    def add(self, key: str, units: Sequence[str], values: Float[np.ndarray, "n *columns"]) -> None:
        """Add one value per example."""
        flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
        columns = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        drawn = np.stack([poisson_weights(unit, self.seed) for unit in units], axis=1)
        self.add_array(key, np.concatenate([columns.sum(axis=0)[None], drawn @ columns]))
        # A float64 holds whole numbers below 2^53 exactly.
        marks = np.array([[priority(unit, self.seed) % 2**53] for unit in units], dtype=np.float64)
        self._keep(key + _UNITS, np.concatenate([marks, columns], axis=1))

    def merge(self, other: "PoissonBootstrap") -> None:
        for key, values in other.arrays.items():
            if key.endswith(_UNITS):
                self._keep(key, values)
            else:
                self.add_array(key, values)

    def _keep(self, key: str, rows: Float[np.ndarray, "u columns"]) -> None:
        """Add sums to those of the same units; of too many units the ones whose mark is least stay, with one more."""
        both = np.concatenate([self.arrays[key], rows]) if key in self.arrays else rows
        marks, at = np.unique(both[:, 0], return_inverse=True)
        self.arrays[key] = np.concatenate([marks[:, None], cluster_sums(both[:, 1:], at)], axis=1)[: UNITS + 1]

    def estimate(self, key: str, shape: tuple[int, ...]) -> Estimate:
        """Mean, 95 % interval and n of the values of `shape`; NaN bounds where all examples are of one unit."""
        sums, units = self[key], self[key + _UNITS]
        n = int(sums[0, -1])
        mean = (sums[0, :-1] / n).reshape(shape)
        if len(units) <= UNITS:
            bounds = [ratio_bounds(units[:, [column, -1]], seed=self.seed) for column in range(1, units.shape[1] - 1)]
            low, high = np.array(bounds).T
        else:
            low, high = np.percentile(sums[1:, :-1] / sums[1:, -1:], [2.5, 97.5], axis=0)
        return Estimate(mean, low.reshape(shape), high.reshape(shape), n)


def poisson_weights(unit: str, seed: int) -> Int[np.ndarray, " R"]:
    """How often a unit counts in each resample."""
    return np.random.default_rng([seed, priority(unit, seed)]).poisson(1.0, RESAMPLES)


class Reservoir(Kept):
    """The `size` examples whose seeded hash is least, for what cannot be added up. Each is a set of named arrays."""

    prefix = "reservoir"

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self.kept: dict[str, dict[str, np.ndarray]] = {}

    def would_keep(self, example_id: str) -> bool:
        """Whether the example would be kept now."""
        if len(self.kept) < self.size:
            return True
        return self._rank(example_id) < max(self._rank(name) for name in self.kept)

    def add(self, example_id: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep an example, or more of it, and let go of one if there are too many."""
        self.kept[example_id] = self.kept.get(example_id, {}) | dict(arrays)
        if len(self.kept) > self.size:
            del self.kept[max(self.kept, key=self._rank)]

    def merge(self, other: "Reservoir") -> None:
        for name, arrays in other.kept.items():
            self.add(name, arrays)

    def names(self, *keys: str) -> list[str]:
        """The examples that hold all of `keys`, in the order of their hash."""
        found = [name for name, arrays in self.kept.items() if all(key in arrays for key in keys)]
        return sorted(found, key=self._rank)

    def state(self) -> dict[str, np.ndarray]:
        return {
            f"{self.prefix}:{key}\n{name}": value for name, arrays in self.kept.items() for key, value in arrays.items()
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.kept = {}
        for key_and_name, value in self._own(state).items():
            key, _, name = key_and_name.partition("\n")
            self.kept.setdefault(name, {})[key] = value

    def _rank(self, name: str) -> tuple[int, str]:
        return priority(name, self.seed), name


def sample_without_order(n: int, size: int, name: str, seed: int) -> Int[np.ndarray, " k"]:
    """Which of `n` items stand for all, in their order: all, or `size` of them, drawn by `name` and `seed`."""
    if n <= size:
        return np.arange(n)
    rng = np.random.default_rng([seed, priority(name, seed)])
    return np.sort(rng.choice(n, size, replace=False))
