"""What is kept of examples that are never all in memory: sums that add up in any order, and a random sample.

All of them depend on identifiers alone, so neither the order of reading nor the division into shards matters.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from chiasm.core.statistics.intervals import Estimate
from chiasm.core.statistics.jackknife import GROUPS, group_jackknife, group_of, means_without_each, priority

RESAMPLES = 1000


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
    """Resampled means of a stream.

    In every resample an example counts Poisson(1) times, drawn by the name of what it is drawn with, so that questions
    on one image come and go together. Percentiles of the resampled means.

    Source: the Poisson bootstrap of Hanley & MacGibbon 2006 (Computer Methods and Programs in Biomedicine 83);
    percentiles: Efron & Tibshirani 1993, chapter 13. Assumption: units are drawn independently, and are some tens.
    """

    def __init__(self, seed: int) -> None:
        super().__init__("bootstrap")
        self.seed = seed

    def add(self, key: str, units: Sequence[str], values: Float[np.ndarray, "n *columns"]) -> None:
        """Add one value per example."""
        flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
        # Beside the columns: how many examples, and the same of their units' names, which show whether there are two.
        marks = np.array([priority(unit, 0) % 2**40 for unit in units], dtype=np.float64)
        columns = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        drawn = np.stack([poisson_weights(unit, self.seed) for unit in units], axis=1)
        whole = np.concatenate([columns.sum(axis=0), [marks.sum(), (marks**2).sum()]])
        self.add_array(key, np.concatenate([whole[None], np.pad(drawn @ columns, ((0, 0), (0, 2)))]))

    def estimate(self, key: str, shape: tuple[int, ...]) -> Estimate:
        """Mean, 95 % interval and n of the values of `shape`; NaN bounds where all examples are of one unit."""
        sums = self[key]
        n = int(sums[0, -3])
        mean = (sums[0, :-3] / n).reshape(shape)
        counts = sums[1:, -3]
        # Marks that do not vary: one unit. The tolerance is far below what two different names give.
        if n * sums[0, -1] - sums[0, -2] ** 2 <= 1e-9 * sums[0, -2] ** 2 or n == 1:
            return Estimate(mean, np.full(shape, np.nan), np.full(shape, np.nan), n)
        drawn = sums[1:][counts > 0]
        low, high = np.percentile(drawn[:, :-3] / drawn[:, -3:-2], [2.5, 97.5], axis=0)
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
