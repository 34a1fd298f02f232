"""A fixed number of examples, kept for what cannot be added up."""

from collections.abc import Mapping

import numpy as np

from chiasm.core.statistics.jackknife import priority


class Reservoir:
    """The `size` examples whose seeded hash is least: a random sample that neither order nor shards can change.

    Each is a set of named arrays.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self.kept: dict[str, dict[str, np.ndarray]] = {}

    def wants(self, example_id: str) -> bool:
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
        """Keep the least of both."""
        for name, arrays in other.kept.items():
            self.add(name, arrays)

    def names(self, *keys: str) -> list[str]:
        """The examples that hold all of `keys`, in the order of their hash."""
        found = [name for name, arrays in self.kept.items() if all(key in arrays for key in keys)]
        return sorted(found, key=self._rank)

    def state(self) -> dict[str, np.ndarray]:
        """All that is kept, as arrays by name."""
        return {
            f"reservoir:{key}\n{name}": value for name, arrays in self.kept.items() for key, value in arrays.items()
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave."""
        self.kept = {}
        for place, value in state.items():
            if place.startswith("reservoir:"):
                key, _, name = place.removeprefix("reservoir:").partition("\n")
                self.kept.setdefault(name, {})[key] = np.array(value)

    def _rank(self, name: str) -> tuple[int, str]:
        return priority(name, self.seed), name
