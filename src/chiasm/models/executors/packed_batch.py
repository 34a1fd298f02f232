"""The clean rows of a walk: the model's own batch, and the suffixes of further questions that share its prefix.

Row indices run over the main sequence first (`0 .. S-1`, padding included), then over the suffixes. Every row of a
suffix sees the shared prefix and its own suffix, exactly as it would in a forward of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from chiasm.core.errors import ChiasmError
from chiasm.models.frame import Frame
from chiasm.models.masks import allowed_rows
from chiasm.models.parts import LayerKind

# Layer arguments whose row axis their size alone does not show (a head of 128 beside 128 positions).
_ROW_AXIS = {
    "position_embeddings": -2,
    "position_ids": -1,
    "cache_position": -1,
    "per_layer_input": -2,
    "cross_attention_mask": -2,
    "full_text_row_masked_out_mask": -2,
}
NOT_BY_ROW = {"attention_mask", "past_key_values", "cache", "layer_past", "cross_attention_states"}
# One entry for each key, added to the scores (ALiBi): those of the rows that are read, then the caller's own.
_BY_KEY = {"alibi"}


@dataclass(frozen=True, eq=False)
class Suffix:
    """Rows `prefix ..` of a question's own frame; the rows before are those of the main sequence.

    `start`: the first of them among all clean rows.
    """

    frame: Frame
    prefix: int
    start: int

    @property
    def length(self) -> int:
        return self.frame.length - self.prefix

    def owns(self, rows: Int[Tensor, " n"]) -> Bool[Tensor, " n"]:
        """Which of the clean rows `rows` are this suffix's."""
        return (rows >= self.start) & (rows < self.start + self.length)


class PackedBatch:
    """Clean rows with their masks and per-row arguments.

    `main` is B x S; suffixes, of `further` frames behind so many shared rows, need B = 1. `kinds`: of the layers;
    `heads`: of attention, in each. `by_key`: layer arguments with one entry for each key, besides those known here.
    """

    def __init__(
        self,
        main: Frame,
        further: Sequence[tuple[Frame, int]],
        implementation: str,
        kinds: Sequence[LayerKind],
        heads: int = 1,
        by_key: frozenset[str] = frozenset(),
    ) -> None:
        if further and main.hidden.shape[0] != 1:
            raise ValueError("questions share rows only in a batch of one")
        self.main, self.implementation, self.kinds, self.heads = main, implementation, tuple(kinds), heads
        self._by_key = _BY_KEY | by_key
        self.suffixes: list[Suffix] = []
        start = main.length
        for frame, prefix in further:
            self.suffixes.append(Suffix(frame, prefix, start))
            start += frame.length - prefix
        self.length = start
        self.batch = main.hidden.shape[0]
        self.device = main.hidden.device
        self._frames = [main, *(suffix.frame for suffix in self.suffixes)]
        self._mask_groups = self._find_mask_groups()
        self._extended: dict[tuple[int, ...], Any] = {}
        self._readers: dict[int, Bool[Tensor, "C C"]] = {}

    def mask_group(self, layer: int) -> int:
        """Layers of one group share their mask (full attention, sliding window, ...)."""
        return self._mask_groups[layer]

    def attention_mask_groups(self) -> frozenset[int]:
        """The mask groups of layers with self-attention: all in which blocked pairs take something from a row."""
        return frozenset(g for g, kind in zip(self._mask_groups, self.kinds, strict=True) if kind == "attention")

    def mask_groups_from(self, layer: int) -> frozenset[int]:
        """The mask groups of `layer` and all behind it."""
        return frozenset(self._mask_groups[layer:])

    def rows_of(self, question: int, length: int, padding: int) -> np.ndarray:
        """The row of every position of a question: 0 is the main sequence's, k the k-th suffix's."""
        positions = np.arange(length)
        if question == 0:
            return positions + padding
        suffix = self.suffixes[question - 1]
        return np.where(positions < suffix.prefix, positions, positions - suffix.prefix + suffix.start)

    def rows_in_own_forward(self, rows: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Which row of its own forward each clean row is."""
        found = rows.clone()
        for suffix in self.suffixes:
            found[suffix.owns(rows)] += suffix.prefix - suffix.start
        return found

    def allowed(self, mask_group: int, rows: Int[Tensor, " n"]) -> Bool[Tensor, "B n C"]:
        """Which clean rows (columns) the clean rows `rows` read in layers of `mask_group`."""
        layer = self._mask_groups.index(mask_group)
        columns = torch.arange(self.length, device=self.device)
        if self.kinds[layer] == "cross_attention":
            return (columns[None, :] == rows[:, None]).expand(self.batch, -1, -1)
        if self.kinds[layer] == "token_mixer":
            # One direction, as far as it likes; such models have no suffixes.
            return (columns[None, :] <= rows[:, None]).expand(self.batch, -1, -1)
        result = torch.zeros(self.batch, len(rows), self.length, dtype=torch.bool, device=self.device)
        main = rows < self.main.length
        mask = self.main.arguments[layer].get("attention_mask")
        result[:, main, : self.main.length] = allowed_rows(
            mask, rows[main], self.main.length, self.batch, self.implementation
        )
        for suffix in self.suffixes:
            own = suffix.owns(rows)
            mask = suffix.frame.arguments[layer].get("attention_mask")
            own_rows = rows[own] - suffix.start + suffix.prefix
            seen = allowed_rows(mask, own_rows, suffix.frame.length, 1, self.implementation)
            result[:, own, : suffix.prefix] = seen[..., : suffix.prefix]
            result[:, own, suffix.start : suffix.start + suffix.length] = seen[..., suffix.prefix :]
        return result

    def affected(self, targets: Bool[Tensor, " C"], start: int, within: Bool[Tensor, " C"]) -> Bool[Tensor, " C"]:
        """Rows of `within` that a change at `targets` from layer `start` on can reach: the closure of who reads whom.

        A union over the batch; rows that are carried without being affected are harmless copies.
        """
        found = targets & within
        groups = self.mask_groups_from(start)
        while True:
            more = found.clone()
            for group in groups:
                more |= self._rows_reading(group, found)
            more &= within
            if torch.equal(more, found):
                return found
            found = more

    def row_arguments(
        self, layer: int, rows: Int[Tensor, " n"], read: Int[Tensor, " k"] | None = None
    ) -> dict[str, Any]:
        """The layer's arguments for the clean rows `rows`: per-row tensors gathered, all others as they are.

        `read`: the clean rows at whose places the keys before the rows' own stand.
        """
        named = [frame.arguments[layer] for frame in self._frames]
        keys = rows if read is None else torch.cat([read, rows])
        return {
            name: value
            if name in NOT_BY_ROW
            else self._gather(name, [n.get(name) for n in named], keys if name in self._by_key else rows)
            for name, value in named[0].items()
        }

    def _gather(self, name: str, values: list[Any], rows: Int[Tensor, " n"]) -> Any:
        first = values[0]
        if isinstance(first, tuple | list):
            parts = [self._gather(name, [v[i] for v in values], rows) for i in range(len(first))]
            return type(first)(parts)
        if not isinstance(first, Tensor):
            return first
        axis = row_axis(name, first, self.main.length)
        if axis is None:
            return first
        key = tuple(id(v) for v in values)
        if key not in self._extended:
            suffixes = [
                value.narrow(axis, suffix.prefix, suffix.length)
                for value, suffix in zip(values[1:], self.suffixes, strict=True)
            ]
            # The values are kept beside the result, so that their ids stay theirs.
            self._extended[key] = (torch.cat([first, *suffixes], dim=axis), values)
        return self._extended[key][0].index_select(axis, rows)

    def _rows_reading(self, mask_group: int, found: Bool[Tensor, " C"]) -> Bool[Tensor, " C"]:
        """The clean rows that read any of `found` in layers of `mask_group`."""
        if mask_group not in self._readers:
            self._readers[mask_group] = self.allowed(mask_group, torch.arange(self.length, device=self.device)).any(0)
        return self._readers[mask_group][:, found].any(-1)

    def _find_mask_groups(self) -> list[int]:
        keys = [
            (kind, *(id(f.arguments[i].get("attention_mask")) for f in self._frames if kind == "attention"))
            for i, kind in enumerate(self.kinds)
        ]
        order = list(dict.fromkeys(keys))
        return [order.index(key) for key in keys]


def prefix_is_independent(frame: Frame, prefix: int, implementation: str, kinds: Sequence[LayerKind]) -> bool:
    """Whether the rows before `prefix` attend to none behind it: only then are they the same for every question.

    Layers that mix tokens without attention would have to read a question's own rows right behind the shared ones.
    """
    if "token_mixer" in kinds:
        return False
    rows = torch.arange(prefix, device=frame.hidden.device)
    masks = {id(n.get("attention_mask")): n.get("attention_mask") for n in frame.arguments}
    return not any(
        bool(allowed_rows(mask, rows, frame.length, 1, implementation)[..., prefix:].any()) for mask in masks.values()
    )


def row_axis(name: str, value: Tensor, length: int) -> int | None:
    """The axis of a layer argument that counts the sequence's rows; None where it has none.

    **Errors:** `ChiasmError` where several axes are as long as the sequence.
    """
    if name in _ROW_AXIS:
        axis = _ROW_AXIS[name]
        return axis if value.ndim >= -axis and value.shape[axis] == length else None
    axes = [axis for axis, size in enumerate(value.shape) if size == length]
    if len(axes) > 1:
        found = f"its shape {tuple(value.shape)} has {len(axes)} axes as long as the sequence"
        raise ChiasmError(f"packing the layer argument `{name}`", found, "Use the reference executor for this example")
    return axes[0] if axes else None
