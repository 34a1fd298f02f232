"""The contract of a measure: what it listens to, what it keeps, what it costs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from jaxtyping import Float
from torch import Tensor

from chiasm.core.statistics.jackknife import GROUPS, group_of
from chiasm.models.observe import Batch, SiteStates

Tables = dict[str, list[dict[str, Any]]]


class Price(NamedTuple):
    """What a measure costs: `operations` per example beside the forward, `bytes` held for any number of examples."""

    operations: float
    bytes: float


class Sizes(NamedTuple):
    """What prices depend on. `tokens`: of each span in a typical example; `sampled`: layers that dear measures read."""

    layers: int
    width: int
    inner: int
    vocabulary: int
    tokens: Mapping[str, int]
    sampled: int

    @property
    def read(self) -> int:
        """Tokens read per example and site."""
        return sum(self.tokens.values())


class Sums:
    """Named sums of float64 arrays, kept apart for each of the 20 groups of examples."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}

    def add(self, key: str, ids: Sequence[str], values: Float[np.ndarray, "n *shape"]) -> None:
        """Add one value per example; `ids`: what each is drawn with (`Batch.units`), which decides its group."""
        if not len(ids):
            return
        values = np.asarray(values, dtype=np.float64)
        if key not in self.arrays:
            self.arrays[key] = np.zeros((GROUPS, *values.shape[1:]))
        np.add.at(self.arrays[key], [group_of(name) for name in ids], values)

    def merge(self, other: "Sums") -> None:
        """Add all sums of `other`."""
        for key, value in other.arrays.items():
            self.arrays[key] = self.arrays[key] + value if key in self.arrays else value.copy()

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def __getitem__(self, key: str) -> Float[np.ndarray, "G *shape"]:
        return self.arrays[key]


class Measure(ABC):
    """Reads states batch by batch into sums, so that memory does not grow with the number of examples.

    Law: measures fed with parts of the examples and merged give the rows of one that was fed with all, in any order,
    up to rounding. While a batch is on its way values wait in the measure; `end` adds those of sound examples.
    """

    name: ClassVar[str]

    def __init__(self) -> None:
        self.sums = Sums()

    def sites(self) -> frozenset[str]:
        """The sites it listens to."""
        return frozenset({"residual"})

    @property
    def wants_inputs(self) -> bool:
        """Whether it also listens to what the matrices of every block read (`see_inputs`)."""
        return False

    def see_inputs(self, layer: int, names: tuple[str, ...], batch: Batch, x: Float[Tensor, "N I"]) -> None:
        """What the matrices called `names` of a block read, at the batch's tokens."""
        raise NotImplementedError(f"{self.name} does not listen to inputs")

    @abstractmethod
    def price(self, sizes: Sizes) -> Price:
        """What it costs on a model and examples of these sizes."""

    @abstractmethod
    def see(self, seen: SiteStates) -> None:
        """The states at one site; layers come in order within a batch."""

    @abstractmethod
    def end(self, batch: Batch) -> None:
        """The batch has passed and its unsound examples are known."""

    @abstractmethod
    def tables(self) -> Tables:
        """The rows of its tables, by name."""

    def merge(self, other: Self) -> None:
        """Take in what another measure of the same kind and options has read."""
        self.sums.merge(other.sums)

    def state(self) -> dict[str, np.ndarray]:
        """All that was read so far, as arrays by name."""
        return {f"sum:{key}": value for key, value in self.sums.arrays.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave."""
        self.sums = Sums()
        self.sums.arrays = {
            key.removeprefix("sum:"): np.array(value) for key, value in state.items() if key.startswith("sum:")
        }


def bound(value: float) -> float | None:
    """A bound of an interval for a table, which holds nothing rather than NaN."""
    return None if np.isnan(value) else float(value)
