"""The clean rows of a walk: the model's own batch, and the tails of further questions that share its prefix.

Row indices run over the main sequence first (`0 .. S-1`, padding included), then over the tails. Every tail row sees
the shared prefix and its own tail, exactly as it would in a forward of its own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from chiasm.core.errors import ChiasmError
from chiasm.models.executors.frame import Frame
from chiasm.models.executors.masks import allowed_rows
from chiasm.models.view import LayerKind

# Layer arguments whose row axis cannot be told from its size alone (a head of 128 beside 128 positions).
_ROW_AXIS = {
    "position_embeddings": -2,
    "position_ids": -1,
    "cache_position": -1,
    "per_layer_input": -2,
    "cross_attention_mask": -2,
    "full_text_row_masked_out_mask": -2,
}
NOT_BY_ROW = {"attention_mask", "past_key_values", "cross_attention_states"}


@dataclass(frozen=True, eq=False)
class Tail:
    """Rows `prefix ..` of a question's own frame; the rows before are those of the main sequence."""

    frame: Frame
    prefix: int
    start: int

    @property
    def length(self) -> int:
        return self.frame.length - self.prefix


class Forest:
    """Clean rows with their masks and per-row arguments. `main` is B x S; tails need B = 1. `kinds`: of the layers."""

    def __init__(
        self, main: Frame, further: Sequence[tuple[Frame, int]], implementation: str, kinds: Sequence[LayerKind]
    ) -> None:
        if further and main.hidden.shape[0] != 1:
            raise ValueError("questions share rows only in a batch of one")
        self.main, self.implementation, self.kinds = main, implementation, tuple(kinds)
        self.tails: list[Tail] = []
        start = main.length
        for frame, prefix in further:
            self.tails.append(Tail(frame, prefix, start))
            start += frame.length - prefix
        self.length = start
        self.batch = main.hidden.shape[0]
        self.device = main.hidden.device
        self._groups = self._mask_groups()
        self._extended: dict[tuple[int, ...], Any] = {}
        self._allowed: dict[tuple[int, tuple[int, ...]], Tensor] = {}

    def mask_group(self, layer: int) -> int:
        """Layers of one group share their mask (full attention, sliding window, ...)."""
        return self._groups[layer]

    def attending(self) -> frozenset[int]:
        """The mask groups of layers with self-attention: all in which a cut takes something away from a row."""
        return frozenset(g for g, kind in zip(self._groups, self.kinds, strict=True) if kind == "attention")

    def groups_from(self, layer: int) -> frozenset[int]:
        return frozenset(self._groups[layer:])

    def rows_of(self, question: int, length: int, padding: int) -> np.ndarray:
        """The row of every position of a question: 0 is the main sequence's, k the k-th tail's."""
        positions = np.arange(length)
        if question == 0:
            return positions + padding
        tail = self.tails[question - 1]
        return np.where(positions < tail.prefix, positions, positions - tail.prefix + tail.start)

    def places(self, rows: Int[Tensor, " n"]) -> Int[Tensor, " n"]:
        """Which row of its own forward each clean row is."""
        found = rows.clone()
        for tail in self.tails:
            own = (rows >= tail.start) & (rows < tail.start + tail.length)
            found[own] += tail.prefix - tail.start
        return found

    def allowed(self, group: int, rows: Int[Tensor, " n"]) -> Bool[Tensor, "B n C"]:
        """Which clean rows (columns) the clean rows `rows` learn of in layers of `group`."""
        layer = self._groups.index(group)
        columns = torch.arange(self.length, device=self.device)
        if self.kinds[layer] == "cross_attention":
            return (columns[None, :] == rows[:, None]).expand(self.batch, -1, -1)
        if self.kinds[layer] == "token_mixer":
            # One direction, as far as it likes; such models have no tails.
            return (columns[None, :] <= rows[:, None]).expand(self.batch, -1, -1)
        result = torch.zeros(self.batch, len(rows), self.length, dtype=torch.bool, device=self.device)
        main = rows < self.main.length
        mask = self.main.arguments[layer].get("attention_mask")
        result[:, main, : self.main.length] = allowed_rows(
            mask, rows[main], self.main.length, self.batch, self.implementation
        )
        for tail in self.tails:
            own = (rows >= tail.start) & (rows < tail.start + tail.length)
            mask = tail.frame.arguments[layer].get("attention_mask")
            seen = allowed_rows(mask, rows[own] - tail.start + tail.prefix, tail.frame.length, 1, self.implementation)
            result[:, own, : tail.prefix] = seen[..., : tail.prefix]
            result[:, own, tail.start : tail.start + tail.length] = seen[..., tail.prefix :]
        return result

    def affected(self, targets: Bool[Tensor, " C"], start: int, within: Bool[Tensor, " C"]) -> Bool[Tensor, " C"]:
        """Rows of `within` that a change at `targets` from layer `start` on can reach: the closure of who reads whom.

        A union over the batch; rows that are carried without being affected are harmless copies.
        """
        found = targets & within
        groups = self.groups_from(start)
        while True:
            more = found.clone()
            for group in groups:
                more |= self._readers(group, found)
            more &= within
            if torch.equal(more, found):
                return found
            found = more

    def row_arguments(self, layer: int, rows: Int[Tensor, " n"]) -> dict[str, Any]:
        """The layer's arguments for the clean rows `rows`: per-row tensors gathered, all others as they are."""
        frames = [self.main, *(tail.frame for tail in self.tails)]
        named = [frame.arguments[layer] for frame in frames]
        return {
            name: value if name in NOT_BY_ROW else self._gather(name, [n.get(name) for n in named], rows)
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
            tails = [
                value.narrow(axis, tail.prefix, tail.length) for value, tail in zip(values[1:], self.tails, strict=True)
            ]
            # The values are kept beside the result, so that their ids stay theirs.
            self._extended[key] = (torch.cat([first, *tails], dim=axis), values)
        return self._extended[key][0].index_select(axis, rows)

    def _readers(self, group: int, found: Bool[Tensor, " C"]) -> Bool[Tensor, " C"]:
        key = (group, ())
        if key not in self._allowed:
            self._allowed[key] = self.allowed(group, torch.arange(self.length, device=self.device)).any(0)
        return self._allowed[key][:, found].any(-1)

    def _mask_groups(self) -> list[int]:
        frames = [self.main, *(tail.frame for tail in self.tails)]
        keys = [
            (kind, *(id(f.arguments[i].get("attention_mask")) for f in frames if kind == "attention"))
            for i, kind in enumerate(self.kinds)
        ]
        order = list(dict.fromkeys(keys))
        return [order.index(key) for key in keys]


def closed(frame: Frame, prefix: int, implementation: str, kinds: Sequence[LayerKind]) -> bool:
    """Whether the rows before `prefix` attend to none behind it: only then are they the same for every question.

    Layers that mix rows without attention would have to read a question's own rows right behind the shared ones.
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
        raise ChiasmError(
            f"packing the layer argument `{name}`",
            f"its shape {tuple(value.shape)} has {len(axes)} axes as long as the sequence",
            "Use the reference executor for this example",
        )
    return axes[0] if axes else None
