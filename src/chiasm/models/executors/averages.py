"""Rows that stand for averaged keys: computed beside the clean rows, read by variants in place of the keys.

Legend: B examples of the batch, m averaged rows, C clean rows, S those of the main sequence, D width.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chiasm.models.executors.packed_batch import PackedBatch

AverageKey = tuple[tuple[int, bytes], ...]
"""Which clean rows are averaged in each example of the batch: all changes that agree on it share their rows."""


@dataclass(frozen=True, eq=False)
class Average:
    """The mean state of some clean rows, at the place of each: `rows` of all examples together, `own` of each."""

    rows: Int[Tensor, " m"]
    own: Bool[Tensor, "B m"]

    @classmethod
    def of(cls, key: AverageKey, batch: int, device: torch.device) -> "Average":
        by_example = {index: np.frombuffer(rows, dtype=np.int64) for index, rows in key}
        rows = np.unique(np.concatenate(list(by_example.values())))
        own = np.zeros((batch, len(rows)), dtype=bool)
        for index, chosen in by_example.items():
            own[index] = np.isin(rows, chosen)
        return cls(torch.from_numpy(rows).to(device), torch.from_numpy(own).to(device))

    def states(self, clean: Float[Tensor, "B C D"]) -> Float[Tensor, "B m D"]:
        """The mean over each example's own rows, at every row; clean states where an example averages none."""
        picked = clean.index_select(1, self.rows)
        weights = self.own.to(picked.dtype)[..., None]
        mean = (picked * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp(min=1)
        return torch.where(self.own[..., None], mean, picked)

    def in_place(self, whole: Float[Tensor, "B S D"], clean: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        """`whole` with the mean of `clean` at each example's own rows."""
        return whole.index_copy(1, self.rows, torch.where(self.own[..., None], self.states(clean), whole[:, self.rows]))


def average_key(keys: Mapping[int, np.ndarray]) -> AverageKey:
    """The identity of the averages of the clean rows `keys`, by batch index."""
    return tuple(sorted((index, np.sort(rows).astype(np.int64).tobytes()) for index, rows in keys.items()))


class Averages:
    """All averages of one walk, in order: their columns stand between the clean rows and a chunk's own."""

    def __init__(self, packed: PackedBatch, keys: list[AverageKey]) -> None:
        self.keys: Final = tuple(dict.fromkeys(keys))
        self.all: Final = tuple(Average.of(key, packed.batch, packed.device) for key in self.keys)
        self.offsets: Final = (0, *accumulate(len(one.rows) for one in self.all))

    @property
    def columns(self) -> int:
        return self.offsets[-1]

    @property
    def rows(self) -> Int[Tensor, " m"]:
        """The clean rows at whose places the averages stand."""
        return torch.cat([one.rows for one in self.all])

    def states(self, clean: Float[Tensor, "B C D"]) -> Float[Tensor, "B m D"]:
        return torch.cat([one.states(clean) for one in self.all], dim=1)

    def allowed(self, clean_rows: int, batch: int) -> Bool[Tensor, "B m C"]:
        """Each of their rows reads itself alone: only its keys and values are used."""
        own = torch.eye(self.columns, dtype=torch.bool, device=self.rows.device)
        none = own.new_zeros(self.columns, clean_rows)
        return torch.cat([none, own], dim=-1).expand(batch, -1, -1)
