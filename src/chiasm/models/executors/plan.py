"""Which rows travel beside the clean ones, and in which layer calls."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chiasm.interventions import KnockOut, Variant, Zero
from chiasm.interventions.variant import Component
from chiasm.models.executors.base import Job
from chiasm.models.executors.crossing import pictures_of
from chiasm.models.executors.forest import Forest
from chiasm.models.executors.masks import require_keys


class Seat(NamedTuple):
    """A job in a walk: the batch row (`lane`) it lives in and the clean row of each of its positions."""

    job: Job
    lane: int
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Slot:
    """One variant per lane, computed together: from layer `start` on, on the clean rows `rows`."""

    start: int
    rows: np.ndarray
    members: dict[int, tuple[int, int]]  # lane -> (job, variant)


def slots_of(forest: Forest, placed: Sequence[Seat], reads: Sequence[np.ndarray]) -> list[Slot]:
    """All variants of all jobs as slots, sorted by the layer they join at; those proved to be zero are left out.

    With several lanes the v-th variants of all jobs form one slot. `reads`: the clean rows each job is read at.
    """
    grouped: dict[tuple[int, int], dict[int, tuple[int, int]]] = {}
    for index, place in enumerate(placed):
        for v, variant in enumerate(place.job.variants):
            if reaches(forest, place, variant, reads[index]):
                # Lanes ride together; questions that share a lane each have slots of their own.
                grouped.setdefault((v, 0 if forest.batch > 1 else index), {})[place.lane] = (index, v)
    slots = []
    closures: dict[tuple[frozenset[int], bytes], np.ndarray] = {}
    for members in grouped.values():
        targets = torch.zeros(forest.length, dtype=torch.bool, device=forest.device)
        within = torch.zeros_like(targets)
        start = min(placed[j].job.variants[v].start for j, v in members.values())
        for j, v in members.values():
            for change in placed[j].job.variants[v].changes:
                targets[placed[j].rows[list(change.rows)]] = True
            within[placed[j].rows] = True
        key = (forest.groups_from(start), (targets.cpu().numpy().tobytes() + within.cpu().numpy().tobytes()))
        if key not in closures:
            closures[key] = forest.affected(targets, start, within).nonzero()[:, 0].cpu().numpy()
        slots.append(Slot(start, closures[key], members))
    return sorted(slots, key=lambda slot: (slot.start, len(slot.rows)))


def reaches(forest: Forest, place: Seat, variant: Variant, reads: np.ndarray) -> bool:
    """Whether `variant` can touch what is read: rows it changes, and rows that read those in later layers.

    A change in the last layer is seen only at its own rows; elsewhere its effect is exactly zero.
    """
    last = len(forest.main.arguments) - 1
    if variant.start < last:
        return True
    touched = {int(place.rows[r]) for change in variant.changes for r in change.rows}
    return not touched.isdisjoint(int(r) for r in reads)


class Chunk:
    """Slots that share their layer calls. Their rows enter in the order of joining, so live rows come first."""

    def __init__(self, forest: Forest, placed: Sequence[Seat], slots: Sequence[Slot]) -> None:
        self.forest, self.slots = forest, list(slots)
        device = forest.device
        sizes = [len(slot.rows) for slot in slots]
        self.rows: Int[Tensor, " n"] = torch.from_numpy(np.concatenate([s.rows for s in slots])).to(device)
        owner = torch.repeat_interleave(torch.arange(len(slots)), torch.tensor(sizes)).to(device)
        self.same: Bool[Tensor, "n n"] = owner[:, None] == owner[None, :]
        self.offsets = np.concatenate([[0], np.cumsum(sizes)])
        carried = torch.zeros(len(slots), forest.length, dtype=torch.bool, device=device)
        carried[owner, self.rows] = True
        self._carried = carried[owner]
        self._base: dict[int, Tensor] = {}
        self._cuts: list[tuple[Tensor, Tensor]] = []
        self._zeros: dict[Component, list[tuple[Tensor, Tensor]]] = {}
        self._pictures: list[tuple[Tensor, Tensor]] = []
        self._read_changes(placed, owner)
        self.states: Float[Tensor, "B n D"] | None = None

    def live(self, layer: int) -> int:
        """How many rows are on their way at `layer`."""
        return int(self.offsets[sum(slot.start <= layer for slot in self.slots)])

    def allowed(self, layer: int, live: int) -> Bool[Tensor, "B n C"]:
        """Columns for the live rows: all clean rows, then the chunk's own live rows."""
        base = self._base_mask(self.forest.mask_group(layer))
        base = torch.cat([base[:, :live, : self.forest.length], self._own(base, live)], dim=-1)
        for cut, layers in self._cuts:
            active = layers[:, :live, layer]
            blocked = torch.cat([cut[:, :live, : self.forest.length], self._own(cut, live)], dim=-1)
            base = base & ~(blocked & active[..., None])
        return base

    def zeros(self, layer: int, live: int) -> dict[Component, Bool[Tensor, "B n"]]:
        """Rows whose branch output is zeroed in this layer, by branch; empty if none."""
        found: dict[Component, Tensor] = {}
        for component, changes in self._zeros.items():
            marked = torch.stack([rows & layers[..., layer] for rows, layers in changes]).any(0)[:, :live]
            if bool(marked.any()):
                found[component] = marked
        return found

    def pictures(self, layer: int, live: int) -> Bool[Tensor, "B n I"] | None:
        """Which pictures are hidden from which live rows in a layer that attends to them; None if none is."""
        hidden = [rows & layers[..., layer, None] for rows, layers in self._pictures]
        return torch.stack(hidden).any(0)[:, :live] if hidden else None

    def _own(self, wide: Bool[Tensor, "B n C"], live: int) -> Bool[Tensor, "B n n"]:
        return wide[:, :live, self.forest.length : self.forest.length + live]

    def _base_mask(self, group: int) -> Bool[Tensor, "B n C"]:
        if group not in self._base:
            clean = self.forest.allowed(group, self.rows)
            own = clean.index_select(2, self.rows) & self.same
            self._base[group] = torch.cat([clean & ~self._carried, own], dim=-1)
        return self._base[group]

    def _read_changes(self, placed: Sequence[Seat], owner: Int[Tensor, " n"]) -> None:
        """Cuts as (row x column, row x layer) pairs of booleans; as many pairs as a variant has changes."""
        variants = [
            (slot, lane, place, place.job.variants[v])
            for slot, members in enumerate(s.members for s in self.slots)
            for lane, (j, v) in members.items()
            for place in (placed[j],)
        ]
        depth = max(len(variant.changes) for *_, variant in variants)
        for k in range(depth):
            cuts = [(s, b, p, v.changes[k]) for s, b, p, v in variants if len(v.changes) > k]
            closing = [(s, b, p, c) for s, b, p, c in cuts if isinstance(c, KnockOut) and c.keys]
            self._add_cuts(closing, owner)
            if "cross_attention" in self.forest.kinds:
                most = max(len(place.job.encoded.layouts) for place in placed)
                self._add_pictures(closing, owner, most)
            for component in ("attention", "mlp"):
                zeros = [(s, b, p, c) for s, b, p, c in cuts if isinstance(c, Zero) and c.component == component]
                if zeros:
                    rows, _, layers = self._grids(zeros, owner)
                    self._zeros.setdefault(component, []).append((rows, layers))
        for group in self.forest.attending():
            worst = self._base_mask(group).clone()
            for cut, _ in self._cuts:
                worst &= ~cut
            # Padding, which the longer examples of a batch carry along, has nothing to attend to as it is.
            real = self._base_mask(group).any(-1, keepdim=True)
            require_keys(worst | ~real, "a cut")

    def _add_cuts(self, cuts: list[tuple[int, int, Seat, KnockOut]], owner: Int[Tensor, " n"]) -> None:
        if not cuts:
            return
        queries, keys, layers = self._grids(cuts, owner)
        own = keys.index_select(2, self.rows) & self.same
        blocked = torch.cat([keys, own], dim=-1) & queries[..., None]
        self._cuts.append((blocked, layers))

    def _add_pictures(
        self, cuts: list[tuple[int, int, Seat, KnockOut]], owner: Int[Tensor, " n"], pictures: int
    ) -> None:
        if not cuts or not pictures:
            return
        hidden = torch.zeros(self.forest.batch, len(self.slots), pictures, dtype=torch.bool)
        for slot, lane, place, change in cuts:
            for number in pictures_of(place.job.encoded, change):
                hidden[lane, slot, number] = True
        queries, _, layers = self._grids(cuts, owner)
        self._pictures.append((hidden.to(self.forest.device)[:, owner] & queries[..., None], layers))

    def _grids(
        self, changes: Sequence[tuple[int, int, Seat, KnockOut | Zero]], owner: Int[Tensor, " n"]
    ) -> tuple[Bool[Tensor, "B n"], Bool[Tensor, "B n C"], Bool[Tensor, "B n L"]]:
        """Per carried row: is it changed, which clean rows are its blocked keys, in which layers."""
        forest, slots = self.forest, len(self.slots)
        rows = np.zeros((forest.batch, slots, forest.length), dtype=bool)
        keys = np.zeros_like(rows)
        layers = np.zeros((forest.batch, slots, len(forest.main.arguments)), dtype=bool)
        for slot, lane, place, change in changes:
            rows[lane, slot, place.rows[list(change.rows)]] = True
            layers[lane, slot, change.window.start : change.window.stop] = True
            if isinstance(change, KnockOut):
                keys[lane, slot, place.rows[list(change.keys)]] = True
        device = forest.device
        row_grid = torch.from_numpy(rows).to(device)[:, owner, self.rows]
        key_grid = torch.from_numpy(keys).to(device)[:, owner]
        layer_grid = torch.from_numpy(layers).to(device)[:, owner]
        return row_grid, key_grid, layer_grid


def chunked(slots: Sequence[Slot], most_rows: int) -> Iterator[list[Slot]]:
    """Slots in order, at most `most_rows` rows together (one slot at least)."""
    batch: list[Slot] = []
    rows = 0
    for slot in slots:
        if batch and rows + len(slot.rows) > most_rows:
            yield batch
            batch, rows = [], 0
        batch.append(slot)
        rows += len(slot.rows)
    if batch:
        yield batch
