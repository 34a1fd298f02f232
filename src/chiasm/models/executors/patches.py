"""Which rows of a chunk are given a donor's states, and from where: the donor's clean rows, or states read before.

Legend: B examples of the batch, n rows of a chunk, m patched rows, C clean rows, D width, L layers.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiasm.interventions import Component, Patch, Site
from chiasm.models.executors.jobs import RecordedStates


class PlacedPatch(NamedTuple):
    """A patch in its chunk: the batch index of its example, the rows of the chunk (-1: not carried), and its source.

    `lane` and `clean`: the donor's batch index and clean rows. For states read before: `recorded`, by number of the
    patch's own positions.
    """

    patch: Patch
    batch_index: int
    rows: np.ndarray
    lane: int = 0
    clean: np.ndarray | None = None
    recorded: RecordedStates | None = None


class PatchedRows(NamedTuple):
    """The rows `row` of the examples `batch` (m each), and the states that they are given."""

    batch: Int[Tensor, " m"]
    row: Int[Tensor, " m"]
    states: Float[Tensor, "m D"]

    def put_into(self, states: Float[Tensor, "B n D"]) -> Float[Tensor, "B n D"]:
        """`states` with these rows in place."""
        return states.index_put((self.batch, self.row), self.states.to(states))

    def between(self, start: int, stop: int, rows: Int[Tensor, " n"]) -> "PatchedRows | None":
        """Those of the chunk's rows `start..stop`, which stand at `rows` of another sequence; None if none is."""
        chosen = (self.row >= start) & (self.row < stop)
        if not bool(chosen.any()):
            return None
        return PatchedRows(self.batch[chosen], rows[self.row[chosen] - start], self.states[chosen])


class ChunkPatches:
    """The patches of a chunk, in the order in which they are made: of two at one row the later counts."""

    def __init__(self, placed: Sequence[PlacedPatch], device: torch.device) -> None:
        self._placed = [one for one in placed if (one.rows >= 0).any()]
        self._device = device

    def __bool__(self) -> bool:
        return bool(self._placed)

    def sites(self, layer: int) -> frozenset[Site]:
        """Where any row is patched in this layer."""
        return frozenset(one.patch.site for one in self._placed if layer in one.patch.window)

    def at(self, site: Site, layer: int, live: int, clean: Float[Tensor, "B C D"] | None) -> Iterator[PatchedRows]:
        """What the live rows are given at `site` of this layer. `clean`: the clean rows' own states there."""
        for one in self._placed:
            if one.patch.site != site or layer not in one.patch.window:
                continue
            kept = (one.rows >= 0) & (one.rows < live)
            if not kept.any():
                continue
            row = torch.from_numpy(one.rows[kept]).to(self._device)
            if one.recorded is not None:
                at = torch.tensor(one.patch.donor_positions)[torch.from_numpy(kept)]
                of_layer = layer if one.patch.layer is None else one.patch.layer
                states = one.recorded.states[site][of_layer].index_select(0, at).to(self._device)
            else:
                assert clean is not None
                assert one.clean is not None
                states = clean[one.lane].index_select(0, torch.from_numpy(one.clean[kept]).to(self._device))
            yield PatchedRows(torch.full_like(row, one.batch_index), row, states)


def patched_by_branch(
    patches: ChunkPatches, layer: int, live: int, clean: Mapping[Site, Float[Tensor, "B C D"]]
) -> dict[Component, list[PatchedRows]]:
    """What is put in place of the branches' outputs in this layer, by branch."""
    sites: tuple[Component, ...] = ("attention", "mlp")
    active = patches.sites(layer)
    return {site: list(patches.at(site, layer, live, clean.get(site))) for site in sites if site in active}
