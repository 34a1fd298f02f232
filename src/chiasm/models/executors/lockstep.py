"""All variants of all jobs in one walk down the layers (docs/design/lockstep.md)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.models.encoding.encoded import ROW_INPUTS
from chiasm.models.executors.base import Executor, Job, Outcome
from chiasm.models.executors.forest import Forest, closed
from chiasm.models.executors.frame import encoded_once, record_frame
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.memory import Sizes, hand_back, waves
from chiasm.models.executors.offload import before_the_layers, in_place
from chiasm.models.executors.plan import Chunk, Seat, Slot, chunked, slots_of
from chiasm.models.executors.reading import Reader, log_probabilities, read_positions
from chiasm.models.executors.walk import Walk
from chiasm.models.view import ModelView


class _Group(NamedTuple):
    """Jobs of one walk: questions on one image (sharing its rows), or different images as a padded batch."""

    indices: list[int]
    shared: bool


class LockstepExecutor(Executor):
    """Every variant joins the clean walk at its first layer, with only the rows that can differ.

    `memory`: bytes above the clean pass (None: no bound). `batch_size`: most jobs per walk. `guard`: compare one
    variant per kind of walk with a plain masked forward and refuse to go on where they differ. `repeated`: jobs that
    were computed alone after the walk they shared was spoilt.
    """

    def __init__(self, *, memory: int | None = None, batch_size: int = 8, guard: Guard | None = None) -> None:
        self.memory, self.batch_size = memory, batch_size
        self.guard = Guard() if guard is None else guard
        self.repeated = 0

    @torch.no_grad()
    def run(self, view: ModelView, jobs: Sequence[Job]) -> list[Outcome | ExampleError]:
        results: list[Outcome | ExampleError | None] = [None] * len(jobs)
        with view.readable_attention():
            for group in self._groups(view, jobs):
                for index, result in zip(group.indices, self._safely(view, jobs, group), strict=True):
                    results[index] = result
        return [r for r in results if r is not None]

    def _safely(self, view: ModelView, jobs: Sequence[Job], group: _Group) -> list[Outcome | ExampleError]:
        """A group's results; where one job spoils a walk, each is tried alone, so that only the bad one is lost."""
        try:
            return list(self._run_group(view, [jobs[i] for i in group.indices], group.shared))
        except ExampleError as error:
            if len(group.indices) == 1:
                return [error]
            self.repeated += len(group.indices)
            alone = [_Group([i], False) for i in group.indices]
            return [self._safely(view, jobs, one)[0] for one in alone]

    def _groups(self, view: ModelView, jobs: Sequence[Job]) -> Iterator[_Group]:
        """Neighbouring jobs on one image share its rows; the others are batched."""
        single: list[int] = []
        run: list[int] = []
        for index, job in enumerate(jobs):
            if run and len(run) < self.batch_size and shared_prefix(jobs[run[0]], job):
                run.append(index)
                continue
            if len(run) > 1:
                yield _Group(run, True)
            else:
                single += run
            run = [index]
        if len(run) > 1:
            yield _Group(run, True)
        else:
            single += run
        for start in range(0, len(single), self.batch_size):
            batch = single[start : start + self.batch_size]
            if view.family.together([jobs[i].encoded for i in batch], view.config):
                yield _Group(batch, False)
            else:
                yield from (_Group([i], False) for i in batch)

    def _run_group(self, view: ModelView, jobs: Sequence[Job], shared: bool) -> Iterator[Outcome]:
        encoded = [job.encoded for job in jobs]
        with in_place(before_the_layers(view)), encoded_once(*view.towers):
            inputs, padding = view.collate(encoded[:1] if shared else encoded)
            main, kind = record_frame(view, inputs), view.attention_implementation
            further = []
            for job in jobs[1:] if shared else ():
                prefix = shared_prefix(jobs[0], job)
                further.append((record_frame(view, dict(job.encoded.inputs)), prefix))
            if not all(closed(frame, prefix, kind, view.kinds) for own, prefix in further for frame in (main, own)):
                # The prompt is read in both directions, or in order: a batch of equal images then.
                together = view.family.together(encoded, view.config)
                for part in [jobs] if together else [[job] for job in jobs]:
                    yield from self._run_group(view, part, False)
                return
            forest = Forest(main, further, kind, view.kinds)
            placed = [
                Seat(job, 0, forest.rows_of(k, job.encoded.length, 0))
                if shared
                else Seat(job, k, forest.rows_of(0, job.encoded.length, padding[k]))
                for k, job in enumerate(jobs)
            ]
            reads = [place.rows[read_positions(place.job).numpy()] for place in placed]
            yield from self._walks(view, forest, inputs, placed, reads)

    def _walks(
        self, view: ModelView, forest: Forest, inputs: dict, placed: Sequence[Seat], reads: list[np.ndarray]
    ) -> Iterator[Outcome]:
        slots = slots_of(forest, placed, reads)
        readers: list[Reader] = []
        states: list[Tensor] = []
        for wave, rows in waves(Sizes.of(view), forest, slots, max(map(len, reads)), self.memory):
            chunks = [Chunk(forest, placed, part) for part in chunked(wave, rows)]
            states = self._walk(view, forest, inputs, placed, reads, chunks, readers)
            # The next wave's masks must not meet this one's.
            del chunks
            if self.memory is not None:
                hand_back()
        order = {int(row): k for k, row in enumerate(_tapped_rows(placed))}
        for j, place in enumerate(placed):
            taps = {}
            for tap in place.job.taps:
                at = [order[int(row)] for row in place.rows[list(tap.positions)]]
                taps[tap.name] = torch.stack([state[place.lane, at] for state in states])
            result = readers[j].outcome(taps)
            self.guard.check(view, forest, place.job, result, slots, j)
            yield result

    def _walk(
        self,
        view: ModelView,
        forest: Forest,
        inputs: dict,
        placed: Sequence[Seat],
        reads: list[np.ndarray],
        chunks: list[Chunk],
        readers: list[Reader],
    ) -> list[Tensor]:
        """One walk with `chunks`: fills `readers` (made by the first walk) and gives the tapped states.

        A call of its own, so that nothing of a walk outlives it.
        """
        index, where = _read_index(forest, chunks, placed, reads)
        walk = Walk(view, forest, chunks, index, _tapped_rows(placed))
        logits = log_probabilities(walk.logits(inputs))
        if not readers:
            readers += [
                Reader(place.job, logits[place.lane, clean_at])
                for place, (clean_at, _) in zip(placed, where, strict=True)
            ]
        for reader, place, (_, variants_at) in zip(readers, placed, where, strict=True):
            for v, at in variants_at.items():
                reader.take(v, logits[place.lane, at])
        return walk.states


def shared_prefix(first: Job, other: Job) -> int:
    """Positions that two jobs share from the start: 0 unless they see the same pixels and agree past the image."""
    a, b = first.encoded, other.encoded
    if set(a.inputs) != set(b.inputs):
        return 0
    for name, value in a.inputs.items():
        if name in ROW_INPUTS:
            continue
        same = torch.equal(value, b.inputs[name]) if isinstance(value, Tensor) else value == b.inputs[name]
        if not same:
            return 0
    perceptual = [a.spans[name] for name in ("image", "video", "audio") if name in a.spans]
    end = max((int(p[-1]) + 1 for p in perceptual if len(p)), default=0)
    length = min(a.length, b.length) - 1
    differ = (a.input_ids[0, :length] != b.input_ids[0, :length]).nonzero()
    prefix = int(differ[0]) if len(differ) else length
    return prefix if 0 < end <= prefix else 0


def _tapped_rows(placed: Sequence[Seat]) -> np.ndarray:
    rows = [place.rows[list(tap.positions)] for place in placed for tap in place.job.taps]
    return np.unique(np.concatenate(rows)) if rows else np.zeros(0, dtype=np.int64)


def _read_index(
    forest: Forest, chunks: Sequence[Chunk], placed: Sequence[Seat], reads: Sequence[np.ndarray]
) -> tuple[Tensor, list[tuple[list[int], dict[int, list[int]]]]]:
    """Which rows of (clean rows, chunk rows) the head is run on, and where each job finds its own among them."""
    lanes: list[list[int]] = [[] for _ in range(forest.batch)]
    where: list[tuple[list[int], dict[int, list[int]]]] = []

    def place_reads(lane: int, rows: Sequence[int]) -> list[int]:
        lanes[lane].extend(int(r) for r in rows)
        return list(range(len(lanes[lane]) - len(rows), len(lanes[lane])))

    for j, place in enumerate(placed):
        where.append((place_reads(place.lane, reads[j]), {}))
    offset = forest.length
    for chunk in chunks:
        for slot, start in zip(chunk.slots, chunk.offsets, strict=False):
            carried = {int(row): offset + int(start) + k for k, row in enumerate(slot.rows)}
            for lane, (j, v) in slot.members.items():
                # A read row that the variant does not carry is not affected by it: the clean row stands for it.
                where[j][1][v] = place_reads(lane, [carried.get(int(r), int(r)) for r in reads[j]])
        offset += int(chunk.offsets[-1])
    longest = max(len(lane) for lane in lanes)
    padded = [lane + [0] * (longest - len(lane)) for lane in lanes]
    return torch.tensor(padded, dtype=torch.long, device=forest.device), where


__all__ = ["LockstepExecutor", "Slot", "shared_prefix"]
