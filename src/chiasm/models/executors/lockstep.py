"""All variants of all jobs in one walk down the layers (docs/design/lockstep.md)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.interventions import Patch, Site
from chiasm.models.encoded import ROW_INPUTS, Encoded
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import (
    Donor,
    Executor,
    Job,
    JobReader,
    JobResult,
    RecordedStates,
    StateReadout,
    log_probabilities,
    require_numbers,
)
from chiasm.models.executors.memory import Sizes, memory_passes, release_memory
from chiasm.models.executors.packed_batch import PackedBatch, prefix_is_independent
from chiasm.models.executors.reuse import encoded_once, modules_before_layers
from chiasm.models.executors.variant_groups import (
    Chunk,
    DonorPlacement,
    JobPlacement,
    averages_of,
    chunked,
    group_variants,
)
from chiasm.models.executors.walk import Walk
from chiasm.models.frame import record_frame, takes_other_lengths
from chiasm.models.view import ModelView
from chiasm.models.weights import weights_kept


class _JobGroup(NamedTuple):
    """Jobs of one walk: questions on one image (`shared` rows), or different images as a padded batch.

    `lanes`: the examples of the batch, where patches take states from some of them.
    """

    indices: list[int]
    shared: bool
    lanes: tuple[Encoded, ...] = ()


class _ReadRows(NamedTuple):
    """Where a job finds what it reads among the rows that the head is run on: clean, and by variant."""

    clean: list[int]
    variants: dict[int, list[int]]


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
        self._any_length: dict[type, bool] = {}

    @torch.no_grad()
    def run(self, view: ModelView, jobs: Sequence[Job]) -> list[JobResult | ExampleError]:
        view.family.require_can("one walk", "Use --executor reference, which runs one masked forward for each cut")
        results: list[JobResult | ExampleError | None] = [None] * len(jobs)
        with view.readable_attention():
            for group in self._groups(view, jobs):
                for index, result in zip(group.indices, self._safely(view, jobs, group), strict=True):
                    results[index] = result
        return [r for r in results if r is not None]

    def _safely(self, view: ModelView, jobs: Sequence[Job], group: _JobGroup) -> list[JobResult | ExampleError]:
        """A group's results; where one job spoils a walk, each is tried alone, so that only the bad one is lost."""
        try:
            return list(self._run_group(view, [jobs[i] for i in group.indices], group.shared, group.lanes))
        except ExampleError as error:
            if len(group.indices) == 1:
                return [error]
            self.repeated += len(group.indices)
            alone = [_JobGroup([i], False, _lanes_of(jobs[i])) for i in group.indices]
            return [self._safely(view, jobs, one)[0] for one in alone]

    def _groups(self, view: ModelView, jobs: Sequence[Job]) -> Iterator[_JobGroup]:
        """Neighbouring jobs on one image share its rows; the others are batched, with those that give them states."""
        runs: list[list[int]] = []
        paired: list[int] = []
        for index, job in enumerate(jobs):
            if _lanes_of(job) or any(read.site != "residual" for read in job.states):
                paired.append(index)
                continue
            alike = view.family.shares_inputs and bool(runs) and shared_prefix(jobs[runs[-1][0]], job) > 0
            if alike and len(runs[-1]) < self.batch_size:
                runs[-1].append(index)
            else:
                runs.append([index])
        yield from (_JobGroup(run, True) for run in runs if len(run) > 1)
        single = [run[0] for run in runs if len(run) == 1]
        for start in range(0, len(single), self.batch_size):
            batch = single[start : start + self.batch_size]
            if view.family.can_batch([jobs[i].encoded for i in batch], view.config):
                yield _JobGroup(batch, False)
            else:
                yield from (_JobGroup([i], False) for i in batch)
        yield from self._with_donors(jobs, paired)

    def _with_donors(self, jobs: Sequence[Job], indices: Sequence[int]) -> Iterator[_JobGroup]:
        """Jobs and their donors in batches: examples that give each other states are computed once for both."""
        group, lanes = _JobGroup([], False), ()
        for index in indices:
            own = _lanes_of(jobs[index]) or (jobs[index].encoded,)
            more = (*lanes, *(one for one in own if not any(one is lane for lane in lanes)))
            taken = any(jobs[i].encoded is jobs[index].encoded for i in group.indices)
            if group.indices and (taken or len(more) > self.batch_size):
                yield group._replace(lanes=lanes)
                group, more = _JobGroup([], False), own
            group.indices.append(index)
            lanes = more
        if group.indices:
            yield group._replace(lanes=lanes)

    def _recorded_first(self, view: ModelView, job: Job) -> Job:
        """`job` with its donors' states read in runs of their own: no batch can hold these inputs."""
        donors: list[Donor] = []
        for number, donor in enumerate(job.donors):
            patches = [c for v in job.variants for c in v.changes if isinstance(c, Patch) and c.donor == number]
            if isinstance(donor, RecordedStates) or not patches:
                donors.append(donor)
                continue
            everywhere = tuple(range(donor.length))
            reads = tuple(StateReadout(site, everywhere, site) for site in sorted({patch.site for patch in patches}))
            result = self.run(view, [Job(donor, (), states=reads)])[0]
            if isinstance(result, ExampleError):
                raise result
            donors.append(RecordedStates({read.site: result.states[read.name] for read in reads}))
        return replace(job, donors=tuple(donors))

    def _run_group(
        self, view: ModelView, jobs: Sequence[Job], shared: bool, lanes: tuple[Encoded, ...] = ()
    ) -> Iterator[JobResult]:
        encoded = [job.encoded for job in jobs]
        if lanes and not view.family.can_batch(list(lanes), view.config):
            for job in jobs:
                yield from self._run_group(view, [self._recorded_first(view, job)], False)
            return
        encoded = list(lanes) or encoded
        with weights_kept(modules_before_layers(view)), encoded_once(*view.towers):
            inputs, padding = view.collate(encoded[:1] if shared else encoded)
            main, implementation = record_frame(view, inputs), view.attention_implementation
            if main.streams > 1:
                raise ChiasmError(
                    f"walking through {type(view.decoder).__name__}",
                    f"its layers carry {main.streams} streams of states at once, of which the walk knows one",
                    "Use --executor reference: one masked forward for each cut",
                )
            further = []
            for job in jobs[1:] if shared else ():
                prefix = shared_prefix(jobs[0], job)
                further.append((record_frame(view, dict(job.encoded.inputs)), prefix))
            if not all(
                prefix_is_independent(frame, prefix, implementation, view.kinds)
                for own, prefix in further
                for frame in (main, own)
            ):
                # The prompt is read in both directions, or in order: a batch of equal images then.
                batches = [jobs] if view.family.can_batch(encoded, view.config) else [[job] for job in jobs]
                for batch in batches:
                    yield from self._run_group(view, batch, False)
                return
            packed = PackedBatch(main, further, implementation, view.kinds, view.n_heads, view.family.key_arguments)

            def lane(one: Encoded) -> DonorPlacement:
                k = next(k for k, other in enumerate(encoded) if other is one)
                return DonorPlacement(k, packed.rows_of(0, one.length, padding[k]))

            if shared:
                placements = [
                    JobPlacement(job, 0, packed.rows_of(k, job.encoded.length, 0), (None,) * len(job.donors))
                    for k, job in enumerate(jobs)
                ]
            elif lanes:
                placements = [
                    JobPlacement(
                        job,
                        *lane(job.encoded),
                        tuple(None if isinstance(donor, RecordedStates) else lane(donor) for donor in job.donors),
                    )
                    for job in jobs
                ]
            else:
                placements = [
                    JobPlacement(job, k, packed.rows_of(0, job.encoded.length, padding[k]), (None,) * len(job.donors))
                    for k, job in enumerate(jobs)
                ]
            yield from self._walks(view, packed, inputs, placements)

    def _walks(
        self, view: ModelView, packed: PackedBatch, inputs: dict[str, Any], placements: Sequence[JobPlacement]
    ) -> Iterator[JobResult]:
        groups = group_variants(packed, placements)
        averages = averages_of(packed, placements, groups)
        reads = max(len(placement.reads) for placement in placements)
        readers: list[JobReader] = []
        states: dict[Site, list[Tensor]] = {}
        for part, rows in memory_passes(Sizes.of(view), packed, groups, reads, self.memory, averages.columns):
            chunks = [Chunk(packed, placements, chunk, averages) for chunk in chunked(part, rows)]
            states = self._walk(view, packed, inputs, placements, chunks, readers)
            # The next pass's masks must not meet this one's.
            del chunks
            if self.memory is not None:
                release_memory()
        order = {int(row): k for k, row in enumerate(_state_rows(placements))}
        for j, placement in enumerate(placements):
            read_states = {}
            for read in placement.job.states:
                at = [order[int(row)] for row in placement.rows[list(read.positions)]]
                of_site = states[read.site]
                read_states[read.name] = torch.stack([state[placement.batch_index, at] for state in of_site])
            result = readers[j].result(read_states)
            # First the guard: numbers that a plain forward has and the packed one has not are a fault of ours.
            self.guard.check(view, packed, placement.job, result, groups, j)
            require_numbers(placement.job, result)
            yield result

    def _walk(
        self,
        view: ModelView,
        packed: PackedBatch,
        inputs: dict[str, Any],
        placements: Sequence[JobPlacement],
        chunks: list[Chunk],
        readers: list[JobReader],
    ) -> dict[Site, list[Float[Tensor, "B n D"]]]:
        """One walk with `chunks`: fills `readers` (made by the first walk) and gives the clean states that are read.

        A call of its own, so that nothing of a walk outlives it.
        """
        index, read_rows = _read_index(packed, chunks, placements)
        kind = type(view.decoder)
        if kind not in self._any_length:
            self._any_length[kind] = takes_other_lengths(view, inputs)
        sites = frozenset(read.site for placement in placements for read in placement.job.states)
        walk = Walk(view, packed, chunks, index, _state_rows(placements), self._any_length[kind], sites)
        logits = log_probabilities(walk.logits(inputs))
        if not readers:
            readers += [
                JobReader(placement.job, logits[placement.batch_index, rows.clean])
                for placement, rows in zip(placements, read_rows, strict=True)
            ]
        for reader, placement, rows in zip(readers, placements, read_rows, strict=True):
            for v, at in rows.variants.items():
                reader.take(v, logits[placement.batch_index, at])
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


def _lanes_of(job: Job) -> tuple[Encoded, ...]:
    """The example and those that give it states, where any do."""
    donors = dict.fromkeys(donor for donor in job.donors if isinstance(donor, Encoded))
    return (job.encoded, *(one for one in donors if one is not job.encoded)) if donors else ()


def _state_rows(placements: Sequence[JobPlacement]) -> np.ndarray:
    """The clean rows whose states any job reads, each once."""
    rows = [placement.rows[list(read.positions)] for placement in placements for read in placement.job.states]
    return np.unique(np.concatenate(rows)) if rows else np.zeros(0, dtype=np.int64)


def _read_index(
    packed: PackedBatch, chunks: Sequence[Chunk], placements: Sequence[JobPlacement]
) -> tuple[Int[Tensor, "B K"], list[_ReadRows]]:
    """Which rows of (clean rows, chunk rows) the head is run on, and where each job finds its own among them."""
    by_example: list[list[int]] = [[] for _ in range(packed.batch)]

    def append(batch_index: int, rows: Sequence[int]) -> list[int]:
        own = by_example[batch_index]
        own.extend(rows)
        return list(range(len(own) - len(rows), len(own)))

    reads = [placement.reads for placement in placements]
    read_rows = [_ReadRows(append(p.batch_index, rows), {}) for p, rows in zip(placements, reads, strict=True)]
    offset = packed.length
    for chunk in chunks:
        for group, start in zip(chunk.groups, chunk.offsets, strict=False):
            carried = {int(row): offset + int(start) + k for k, row in enumerate(group.rows)}
            for batch_index, (j, v) in group.members.items():
                # A read row that the variant does not carry is not affected by it: the clean row stands for it.
                read_rows[j].variants[v] = append(batch_index, [carried.get(row, row) for row in reads[j]])
        offset += int(chunk.offsets[-1])
    longest = max(map(len, by_example))
    padded = [rows + [0] * (longest - len(rows)) for rows in by_example]
    return torch.tensor(padded, dtype=torch.long, device=packed.device), read_rows
