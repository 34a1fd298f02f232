"""Rows that a patch makes the donor's own: what follows for them is computed already, in the donor's clean run.

A whole image that is patched in a causal decoder reads itself and the prefix, which both runs share: from the patch on
its rows are those of the donor, layer by layer. They are read there instead of computed again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from chiasm.models.executors.packed_batch import NOT_BY_ROW, PackedBatch, row_axis


@dataclass(frozen=True, slots=True)
class DonorRows:
    """The clean rows `rows` that each example of the batch reads from the batch index `lanes` gives it."""

    lanes: tuple[int, ...]
    rows: tuple[int, ...]


class DonorRowFinder:
    """Finds them for the pairs of one walk: which rows are alike in both runs depends on the pair alone."""

    def __init__(self, packed: PackedBatch) -> None:
        self._packed = packed
        self._everywhere = torch.arange(packed.length, device=packed.device)
        self._reading: dict[int, Bool[Tensor, "B C C"]] = {}
        self._like_given: dict[tuple[int, int], Bool[Tensor, " C"]] = {}
        self._unchanged: dict[tuple[int, int, frozenset[int]], Bool[Tensor, " C"]] = {}

    def find(self, example: int, donor: int, patched: np.ndarray, start: int) -> np.ndarray:
        """Those of the clean rows `patched` (given the donor's states at the same rows in layer `start`) that stay its.

        None in models in which information also moves otherwise than by self-attention within the sequence.
        """
        packed = self._packed
        if example == donor or packed.suffixes or set(packed.kinds) != {"attention"}:
            return patched[:0]
        groups = packed.mask_groups_from(0)
        key = (example, donor, groups)
        if key not in self._unchanged:
            self._unchanged[key] = self._closed(self._like(example, donor), example, donor, groups)
        rows = torch.zeros(packed.length, dtype=torch.bool, device=packed.device)
        rows[torch.from_numpy(patched).to(packed.device)] = True
        at = rows.clone()
        for value, axis in self._arguments():
            rows &= _equal_rows(value, axis, packed.batch, example, donor)
        theirs = self._closed(rows | self._unchanged[key], example, donor, packed.mask_groups_from(start))
        return (theirs & at).nonzero()[:, 0].cpu().numpy()

    def _closed(self, rows: Bool[Tensor, " C"], example: int, donor: int, groups: frozenset[int]) -> Bool[Tensor, " C"]:
        """The largest part of `rows` that reads nothing else, and the same, in both runs."""
        for group in groups:
            reading = self._reads(group)
            rows = rows & (reading[example] == reading[donor]).all(-1)
        while True:
            left = rows.clone()
            for group in groups:
                left &= ~(self._reads(group)[example] & ~rows).any(-1)
            if torch.equal(left, rows):
                return rows
            rows = left

    def _like(self, example: int, donor: int) -> Bool[Tensor, " C"]:
        """Rows that enter the decoder alike in both runs, with all that the layers are given for them."""
        key = (example, donor)
        if key not in self._like_given:
            hidden = self._packed.main.hidden
            same = (hidden[example] == hidden[donor]).all(-1)
            for value, axis in self._arguments():
                same &= _equal_rows(value, axis, self._packed.batch, example, donor)
            self._like_given[key] = same
        return self._like_given[key]

    def _arguments(self) -> list[tuple[Tensor, int]]:
        """Every tensor that layers are given row by row, once, with the axis of its rows."""
        found: dict[int, tuple[Tensor, int]] = {}
        for arguments in self._packed.main.arguments:
            for name, value in arguments.items():
                if name in NOT_BY_ROW:
                    continue
                for one in value if isinstance(value, tuple | list) else [value]:
                    axis = row_axis(name, one, self._packed.main.length) if isinstance(one, Tensor) else None
                    if axis is not None:
                        found[id(one)] = (one, axis % one.ndim)
        return list(found.values())

    def _reads(self, group: int) -> Bool[Tensor, "B C C"]:
        if group not in self._reading:
            self._reading[group] = self._packed.allowed(group, self._everywhere)
        return self._reading[group]


def _equal_rows(value: Tensor, axis: int, batch: int, example: int, donor: int) -> Bool[Tensor, " C"]:
    """Which rows of a layer argument are the same for two examples. Without an axis of examples they all are."""
    batch_axis = next((a for a in reversed(range(axis)) if value.shape[a] == batch), None)
    if batch_axis is None:
        return torch.ones(value.shape[axis], dtype=torch.bool, device=value.device)
    same = value.select(batch_axis, example) == value.select(batch_axis, donor)
    return same.movedim(axis - 1, 0).reshape(value.shape[axis], -1).all(-1)


def shared_rows(found: Sequence[np.ndarray]) -> tuple[int, ...]:
    """The rows that all of `found` have."""
    common = set.intersection(*(set(rows.tolist()) for rows in found)) if found else set()
    return tuple(sorted(common))
