"""Which variant rows are computed beside the clean ones, and in which layer calls.

Legend: B examples of the batch, n rows of a chunk, C clean rows (in masks: and the chunk's own behind them), L layers,
H heads.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chiasm.interventions import (
    AveragedKeys,
    BlockedAttention,
    Change,
    Component,
    Patch,
    Variant,
    ZeroedBranch,
    ZeroedHeads,
)
from chiasm.models.executors.averages import AverageKey, Averages, average_key
from chiasm.models.executors.donor_rows import DonorRowFinder, DonorRows, shared_rows
from chiasm.models.executors.jobs import Job, RecordedStates
from chiasm.models.executors.packed_batch import PackedBatch
from chiasm.models.executors.patches import ChunkPatches, PlacedPatch
from chiasm.models.masks import hidden_images, require_keys


class DonorPlacement(NamedTuple):
    """An example in a walk that gives states: its index in the batch, and the clean row of each of its positions."""

    batch_index: int
    rows: np.ndarray


class JobPlacement(NamedTuple):
    """A job in a walk: its index in the batch, and the clean row of each of its positions.

    `donors`: in the order of the job's; None for states that were read before.
    """

    job: Job
    batch_index: int
    rows: np.ndarray
    donors: tuple[DonorPlacement | None, ...] = ()

    @property
    def reads(self) -> list[int]:
        """The clean rows that the job is read at."""
        return self.rows[self.job.read_positions().numpy()].tolist()


@dataclass(frozen=True, eq=False)
class VariantGroup:
    """At most one variant per example of the batch, computed together on the clean rows `rows` from layer `start` on.

    `members`: (job, variant) by batch index. `donor_rows`: what is read in the donors' clean runs in place of rows.
    `in_heads`: some heads read less than others.
    """

    start: int
    rows: np.ndarray
    members: dict[int, tuple[int, int]]
    donor_rows: DonorRows | None = None
    in_heads: bool = False


def group_variants(packed: PackedBatch, placements: Sequence[JobPlacement]) -> list[VariantGroup]:
    """All variants of all jobs in groups, sorted by the layer they join at; those proved to be zero are left out.

    In a batch of several examples the v-th variants of all jobs form one group.
    """
    grouped: dict[tuple[int, int], dict[int, tuple[int, int]]] = {}
    for index, placement in enumerate(placements):
        for v, variant in enumerate(placement.job.variants):
            if _reaches(packed, placement, variant):
                # Examples of a batch are computed together; questions on one image each have groups of their own.
                key = (v, 0 if packed.batch > 1 else index)
                grouped.setdefault(key, {})[placement.batch_index] = (index, v)
    groups = []
    finder = DonorRowFinder(packed)
    closures: dict[tuple[frozenset[int], bytes], np.ndarray] = {}
    for members in grouped.values():
        targets = torch.zeros(packed.length, dtype=torch.bool, device=packed.device)
        within = torch.zeros_like(targets)
        start = min(placements[j].job.variants[v].start for j, v in members.values())
        for j, v in members.values():
            for change in placements[j].job.variants[v].changes:
                targets[placements[j].rows[list(change.rows)]] = True
            within[placements[j].rows] = True
        key = (packed.mask_groups_from(start), targets.cpu().numpy().tobytes() + within.cpu().numpy().tobytes())
        if key not in closures:
            closures[key] = packed.affected(targets, start, within).nonzero()[:, 0].cpu().numpy()
        theirs = _donor_rows(packed, placements, members, start, finder)
        rows = closures[key] if theirs is None else np.setdiff1d(closures[key], theirs.rows)
        in_heads = any(
            isinstance(change, BlockedAttention) and change.heads is not None
            for j, v in members.values()
            for change in placements[j].job.variants[v].changes
        )
        groups.append(VariantGroup(start, rows, members, theirs, in_heads))
    return sorted(groups, key=lambda group: (group.start, len(group.rows)))


def _donor_rows(
    packed: PackedBatch,
    placements: Sequence[JobPlacement],
    members: dict[int, tuple[int, int]],
    start: int,
    finder: DonorRowFinder,
) -> DonorRows | None:
    """The rows that the patches of all members make their donors' own from layer `start` on; None if there are none."""
    lanes, found = list(range(packed.batch)), []
    for batch_index, (j, v) in members.items():
        placement, patches = placements[j], placements[j].job.variants[v].changes
        residual = [c for c in patches if isinstance(c, Patch) and c.site == "residual" and c.layer is None]
        donors = {c.donor for c in residual}
        donor = placement.donors[donors.pop()] if len(residual) == len(patches) and len(donors) == 1 else None
        first = [c for c in residual if c.window.start == start]
        if donor is None or not first:
            return None
        own = np.concatenate([placement.rows[list(c.positions)] for c in first])
        same = own == np.concatenate([donor.rows[list(c.donor_positions)] for c in first])
        lanes[batch_index] = donor.batch_index
        found.append(finder.find(batch_index, donor.batch_index, own[same], start))
    rows = shared_rows(found)
    # The head is run on rows of the example's own.
    if any(not set(rows).isdisjoint(placements[j].reads) for j, _ in members.values()):
        return None
    return DonorRows(tuple(lanes), rows) if rows else None


def averages_of(packed: PackedBatch, placements: Sequence[JobPlacement], groups: Sequence[VariantGroup]) -> Averages:
    """The averaged rows that any variant of `groups` reads."""
    return Averages(packed, [key for group in groups for key in _average_keys(placements, group).values()])


def _average_keys(placements: Sequence[JobPlacement], group: VariantGroup) -> dict[int, AverageKey]:
    """By number of the change in its variant: what is averaged in all examples of the group."""
    found: dict[int, dict[int, np.ndarray]] = {}
    for batch_index, (j, v) in group.members.items():
        for k, change in enumerate(placements[j].job.variants[v].changes):
            if isinstance(change, AveragedKeys):
                found.setdefault(k, {})[batch_index] = placements[j].rows[list(change.keys)]
    return {k: average_key(keys) for k, keys in found.items()}


def _reaches(packed: PackedBatch, placement: JobPlacement, variant: Variant) -> bool:
    """Whether `variant` can touch what is read: rows it changes, and rows that read those in later layers.

    A change in the last layer is seen only at its own rows; elsewhere its effect is exactly zero.
    """
    if variant.start < len(packed.kinds) - 1:
        return True
    # What a row is given is read by others in that very layer.
    if any(isinstance(change, Patch) and change.site == "residual" for change in variant.changes):
        return True
    touched = {int(placement.rows[r]) for change in variant.changes for r in change.rows}
    return not touched.isdisjoint(placement.reads)


class _PlacedChange(NamedTuple):
    """A change of the variant that one example has in a group; both by number."""

    group: int
    placement: JobPlacement
    change: Change


class Chunk:
    """Variant groups that share their layer calls. Their rows enter in the order of joining, so live rows come first.

    `states` are those of the rows that have joined so far; None before the first.
    """

    def __init__(
        self,
        packed: PackedBatch,
        placements: Sequence[JobPlacement],
        groups: Sequence[VariantGroup],
        averages: Averages,
    ) -> None:
        self.packed, self.groups, self.averages = packed, list(groups), averages
        # Groups of one chunk read the same rows of the same donors (`chunked`).
        self.donor_rows = groups[0].donor_rows
        self._placements = placements
        device = packed.device
        sizes = [len(group.rows) for group in groups]
        self.rows: Int[Tensor, " n"] = torch.from_numpy(np.concatenate([g.rows for g in groups])).to(device)
        self.offsets = np.concatenate([[0], np.cumsum(sizes)])
        self.states: Float[Tensor, "B n D"] | None = None
        self._owner: Int[Tensor, " n"] = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor(sizes))
        self._owner = self._owner.to(device)
        self._same_group: Bool[Tensor, "n n"] = self._owner[:, None] == self._owner[None, :]
        carried = torch.zeros(len(groups), packed.length, dtype=torch.bool, device=device)
        carried[self._owner, self.rows] = True
        self._carried: Bool[Tensor, "n C"] = carried[self._owner]
        self._clean_masks: dict[int, Bool[Tensor, "B n C"]] = {}
        # Each is a pair: what is changed, and in which layers (B x n x L); as many pairs as a variant has changes.
        self._blocked: list[tuple[Bool[Tensor, "B n C"], Tensor]] = []
        # The same, and in which heads (B x n x H).
        self._blocked_heads: list[tuple[Bool[Tensor, "B n C"], Tensor, Tensor]] = []
        self._zeroed_heads: list[tuple[Bool[Tensor, "B n H"], Tensor]] = []
        self._zeroed: dict[Component, list[tuple[Bool[Tensor, "B n"], Tensor]]] = {}
        self._hidden_images: list[tuple[Bool[Tensor, "B n I"], Tensor]] = []
        # By number of the average: at which rows it is read, and in which layers (B x n x L).
        self._averaged: list[tuple[int, Bool[Tensor, "B n"], Tensor]] = []
        self.patches = self._placed_patches(placements)
        self._read_changes(placements)
        self._require_keys()

    def live(self, layer: int) -> int:
        """How many rows have joined by `layer`."""
        return int(self.offsets[sum(group.start <= layer for group in self.groups)])

    def allowed(self, layer: int, live: int, *, averaged: bool) -> Bool[Tensor, "B n C"] | Bool[Tensor, "B H n C"]:
        """Columns for the live rows: all clean rows, the averages' if they are computed, the chunk's own live rows.

        By head only where some heads read less than others.
        """
        columns = self.packed.length + live
        mask = self._clean_mask(self.packed.mask_group(layer))[:, :live, :columns]
        for blocked, layers in self._blocked:
            mask = mask & ~(blocked[:, :live, :columns] & layers[:, :live, layer][..., None])
        if averaged:
            mask = self._with_averages(mask, layer, live)
        by_head = None
        for blocked, layers, heads in self._blocked_heads:
            rows = layers[:, :live, layer]
            if bool(rows.any()):
                closed = blocked[:, :live, :columns] & rows[..., None]
                if averaged:
                    none = closed.new_zeros(*closed.shape[:2], self.averages.columns)
                    closed = torch.cat([closed[..., : self.packed.length], none, closed[..., self.packed.length :]], -1)
                by_head = mask[:, None] if by_head is None else by_head
                by_head = by_head & ~(closed[:, None] & heads[:, :live].transpose(1, 2)[..., None])
        return mask if by_head is None else by_head

    def zeroed_heads(self, layer: int, live: int) -> Bool[Tensor, "B n H"] | None:
        """Which heads of which live rows give zero in this layer; None if none does."""
        found = [heads & layers[..., layer, None] for heads, layers in self._zeroed_heads]
        marked = torch.stack(found).any(0)[:, :live] if found else None
        return marked if marked is not None and bool(marked.any()) else None

    def reads_averages(self, layer: int) -> bool:
        """Whether any row that has joined by `layer` reads an average in it."""
        return bool(self.averaged(layer, self.live(layer)))

    def averaged(self, layer: int, live: int) -> list[tuple[int, Bool[Tensor, "B n"]]]:
        """Which averages (by number) are read in this layer, and by which live rows."""
        active = [(number, (rows & layers[..., layer])[:, :live]) for number, rows, layers in self._averaged]
        return [(number, rows) for number, rows in active if bool(rows.any())]

    def _with_averages(self, mask: Bool[Tensor, "B n C"], layer: int, live: int) -> Bool[Tensor, "B n C"]:
        """`mask` with the averages' columns: where one is read, in place of the columns that it is the mean of."""
        clean, own = mask[..., : self.packed.length].clone(), mask[..., self.packed.length :].clone()
        instead = clean.new_zeros(*clean.shape[:2], self.averages.columns)
        for number, readers in self.averaged(layer, live):
            average, offsets = self.averages.all[number], self.averages.offsets[number : number + 2]
            read = readers[..., None] & average.own[:, None]
            # A key that the group itself carries is read among the chunk's own rows.
            same = self.rows[:live, None] == average.rows[None, :]
            carried = (own.float() @ same.float()) > 0
            instead[..., slice(*offsets)] |= (clean[..., average.rows] | carried) & read
            clean[..., average.rows] &= ~read
            own &= ~(read.float() @ same.T.float() > 0)
        return torch.cat([clean, instead, own], dim=-1)

    def zeroed(self, layer: int, live: int) -> dict[Component, Bool[Tensor, "B n"]]:
        """Live rows whose branch output is zeroed in this layer, by branch; empty if none."""
        found: dict[Component, Tensor] = {}
        for component, changes in self._zeroed.items():
            marked = torch.stack([rows & layers[..., layer] for rows, layers in changes]).any(0)[:, :live]
            if bool(marked.any()):
                found[component] = marked
        return found

    def hidden_images(self, layer: int, live: int) -> Bool[Tensor, "B n I"] | None:
        """Which images are hidden from which live rows in a cross-attention layer; None if none is."""
        hidden = [rows & layers[..., layer, None] for rows, layers in self._hidden_images]
        return torch.stack(hidden).any(0)[:, :live] if hidden else None

    def _clean_mask(self, mask_group: int) -> Bool[Tensor, "B n C"]:
        """What rows read where nothing is changed: the clean rows that their group does not carry, and its own."""
        if mask_group not in self._clean_masks:
            clean = self.packed.allowed(mask_group, self.rows)
            own = clean.index_select(2, self.rows) & self._same_group
            self._clean_masks[mask_group] = torch.cat([clean & ~self._carried, own], dim=-1)
        return self._clean_masks[mask_group]

    def _read_changes(self, placements: Sequence[JobPlacement]) -> None:
        variants = [
            (number, placements[j], placements[j].job.variants[v].changes)
            for number, group in enumerate(self.groups)
            for j, v in group.members.values()
        ]
        images = max(len(placement.job.encoded.layouts) for placement in placements)
        for k in range(max(len(changes) for *_, changes in variants)):
            placed = [_PlacedChange(g, placement, changes[k]) for g, placement, changes in variants if k < len(changes)]
            blocking = [p for p in placed if isinstance(p.change, BlockedAttention) and p.change.keys]
            in_heads = [p for p in blocking if isinstance(p.change, BlockedAttention) and p.change.heads is not None]
            if in_heads:
                self._blocked_heads.append(
                    (self._blocked_pairs(in_heads), self._layers(in_heads), self._marked_heads(in_heads))
                )
            blocking = [p for p in blocking if isinstance(p.change, BlockedAttention) and p.change.heads is None]
            zeroing_heads = [p for p in placed if isinstance(p.change, ZeroedHeads)]
            if zeroing_heads:
                marked = self._marked_heads(zeroing_heads) & self._changed_rows(zeroing_heads)[..., None]
                self._zeroed_heads.append((marked, self._layers(zeroing_heads)))
            if blocking:
                self._add_blocked(blocking)
                if "cross_attention" in self.packed.kinds and images:
                    self._add_hidden_images(blocking, images)
            averaging = [p for p in placed if isinstance(p.change, AveragedKeys)]
            if averaging:
                self._add_averaged(averaging, k)
            for component in ("attention", "mlp"):
                zeroing = [p for p in placed if isinstance(p.change, ZeroedBranch) and p.change.component == component]
                if zeroing:
                    self._zeroed.setdefault(component, []).append((self._changed_rows(zeroing), self._layers(zeroing)))

    def _placed_patches(self, placements: Sequence[JobPlacement]) -> ChunkPatches:
        placed: list[tuple[int, PlacedPatch]] = []
        for number, group in enumerate(self.groups):
            for batch_index, (j, v) in group.members.items():
                placement = placements[j]
                for k, change in enumerate(placement.job.variants[v].changes):
                    if isinstance(change, Patch):
                        placed.append((k, self._place(change, placement, batch_index, number)))
        return ChunkPatches([one for _, one in sorted(placed, key=lambda pair: pair[0])], self.packed.device)

    def _place(self, patch: Patch, placement: JobPlacement, batch_index: int, number: int) -> PlacedPatch:
        """Where the rows of `patch` stand in the chunk, as rows of its `number`-th group."""
        carried = self.groups[number].rows
        own = placement.rows[list(patch.positions)]
        at = np.searchsorted(carried, own)
        found = carried[np.minimum(at, max(len(carried) - 1, 0))] == own if len(carried) else np.zeros(len(own), bool)
        rows = np.where(found, at + int(self.offsets[number]), -1)
        donor = placement.job.donors[patch.donor]
        if isinstance(donor, RecordedStates):
            return PlacedPatch(patch, batch_index, rows, recorded=donor)
        place = placement.donors[patch.donor]
        assert place is not None, "donors that are examples are in the walk"
        return PlacedPatch(patch, batch_index, rows, place.batch_index, place.rows[list(patch.donor_positions)])

    def _marked_heads(self, placed: Sequence[_PlacedChange]) -> Bool[Tensor, "B n H"]:
        def heads(one: _PlacedChange) -> list[int]:
            assert isinstance(one.change, BlockedAttention | ZeroedHeads)
            return list(one.change.heads or ())

        return self._marked(placed, self.packed.heads, heads)

    def _add_blocked(self, placed: Sequence[_PlacedChange]) -> None:
        self._blocked.append((self._blocked_pairs(placed), self._layers(placed)))

    def _blocked_pairs(self, placed: Sequence[_PlacedChange]) -> Bool[Tensor, "B n C"]:
        clean = self._marked(placed, self.packed.length, lambda p: p.placement.rows[list(p.change.keys)])
        own = clean.index_select(2, self.rows) & self._same_group
        return torch.cat([clean, own], dim=-1) & self._changed_rows(placed)[..., None]

    def _add_averaged(self, placed: Sequence[_PlacedChange], change: int) -> None:
        rows, layers = self._changed_rows(placed), self._layers(placed)
        keys = {group: _average_keys(self._placements, self.groups[group])[change] for group, *_ in placed}
        for key in dict.fromkeys(keys.values()):
            same = torch.tensor([keys.get(group) == key for group in range(len(self.groups))], device=rows.device)
            self._averaged.append((self.averages.keys.index(key), rows & same[self._owner], layers))

    def _add_hidden_images(self, placed: Sequence[_PlacedChange], images: int) -> None:
        hidden = self._marked(placed, images, lambda p: hidden_images(p.placement.job.encoded, p.change))
        self._hidden_images.append((hidden & self._changed_rows(placed)[..., None], self._layers(placed)))

    def _changed_rows(self, placed: Sequence[_PlacedChange]) -> Bool[Tensor, "B n"]:
        rows = np.zeros((self.packed.batch, len(self.groups), self.packed.length), dtype=bool)
        for group, placement, change in placed:
            rows[placement.batch_index, group, placement.rows[list(change.rows)]] = True
        return torch.from_numpy(rows).to(self.packed.device)[:, self._owner, self.rows]

    def _layers(self, placed: Sequence[_PlacedChange]) -> Bool[Tensor, "B n L"]:
        return self._marked(placed, len(self.packed.kinds), lambda p: slice(*p.change.window[:2]))

    def _marked(
        self, placed: Sequence[_PlacedChange], width: int, where: Callable[[Any], Any]
    ) -> Bool[Tensor, "B n m"]:
        """The entries `where` of each change of a group, out of `width`, marked at all rows of the group."""
        marks = np.zeros((self.packed.batch, len(self.groups), width), dtype=bool)
        for one in placed:
            marks[one.placement.batch_index, one.group, where(one)] = True
        return torch.from_numpy(marks).to(self.packed.device)[:, self._owner]

    def _require_keys(self) -> None:
        for mask_group in self.packed.attention_mask_groups():
            clean = self._clean_mask(mask_group)
            left = clean.clone()
            for blocked, *_ in (*self._blocked, *self._blocked_heads):
                left &= ~blocked
            # Padding, which the longer examples of a batch carry along, has nothing to attend to as it is.
            require_keys(left | ~clean.any(-1, keepdim=True), "a cut")


def chunked(groups: Sequence[VariantGroup], max_rows: int) -> Iterator[list[VariantGroup]]:
    """Groups in order, at most `max_rows` rows together (one group at least), that read the same rows of donors."""
    alike: dict[DonorRows | None, list[VariantGroup]] = {}
    for group in groups:
        alike.setdefault(group.donor_rows, []).append(group)
    for part in alike.values():
        yield from _chunked(part, max_rows)


def _chunked(groups: Sequence[VariantGroup], max_rows: int) -> Iterator[list[VariantGroup]]:
    batch: list[VariantGroup] = []
    rows = 0
    for group in groups:
        if batch and rows + len(group.rows) > max_rows:
            yield batch
            batch, rows = [], 0
        batch.append(group)
        rows += len(group.rows)
    if batch:
        yield batch
