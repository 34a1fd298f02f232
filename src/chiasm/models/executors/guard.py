"""The universal guard: a packed result is trusted only after a plain masked forward has given the same.

Packing goes silently wrong where a layer mixes rows outside attention, counts row indices, or reads a mask the engine
did not see. Clean rows stay right in all of these cases, so variants are what is compared.
"""

import time
from dataclasses import replace
from typing import NamedTuple

import torch

from chiasm.core.errors import GuardError
from chiasm.interventions import AveragedKeys, BlockedAttention, Change, Patch, Variant
from chiasm.models.executors.jobs import Job, JobResult, Readout
from chiasm.models.executors.packed_batch import PackedBatch
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.executors.rounding import allowance, largest_difference
from chiasm.models.executors.variant_groups import VariantGroup
from chiasm.models.precision import dtype_name
from chiasm.models.view import ModelView


class _Passed(NamedTuple):
    """What was seen of one kind of walk: the largest difference, and what rounding explains."""

    largest: float
    allowed: float


class Guard:
    """Compares one variant per suffix length with the reference, once per model, precision and kind of walk.

    What has passed is kept with the view as long as the weights stay what they are, so that another run on it pays
    nothing. `seconds` is the time spent so far, `largest` the largest difference seen and `allowed` what rounding
    explains (0 where nothing was compared yet): they belong in the report. `reused`: kinds of walks that had passed
    before.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self.allowed = 0.0
        self.seconds = 0.0
        self.largest = 0.0
        self.reused = 0
        self._passed: set[tuple[object, ...]] = set()
        self._refreshed: set[int] = set()

    def check(
        self, view: ModelView, packed: PackedBatch, job: Job, result: JobResult, groups: list[VariantGroup], index: int
    ) -> None:
        """Compare `result` of `job` (the `index`-th of its walk) with the reference where this kind is new.

        **Errors:** `GuardError` with the largest difference.
        """
        chosen = _representatives(job, groups, index) if self.enabled else {}
        # Suffix lengths differ with every question: the number of different ones makes a kind of walk, not each length.
        layout = tuple(kinds for _, kinds in sorted(chosen))
        walk = (packed.batch > 1, index > 0, bool(packed.suffixes), len(packed.mask_groups_from(0)))
        key = (id(view.model), view.precision, *walk, layout)
        if not chosen or key in self._passed or self._passed_before(view, key):
            return
        started = time.perf_counter()
        variants = tuple(job.variants[v] for v in chosen.values())
        readout = Readout(job.readout.positions, tuple(int(t) for t in result.tokens))
        alone = replace(job, variants=variants, readout=readout, states=())
        expected = ReferenceExecutor(reuse_vision=True).run(view, [alone])[0]
        if isinstance(expected, Exception):
            raise expected
        ours = torch.cat([result.clean[None], result.logprobs[list(chosen.values())]])
        plain = torch.cat([expected.clean[None], expected.logprobs])
        difference = largest_difference(ours, plain)
        self.seconds += time.perf_counter() - started
        self.largest = max(self.largest, difference)
        self.allowed = allowance(view, job.encoded.inputs)
        # `not <=` so that NaN is a mismatch too.
        if not difference <= self.allowed:
            raise GuardError(
                f"computing cuts of {view.name} in one walk",
                f"log-probabilities differ from a plain masked forward by {difference:.2g} "
                f"(allowed {self.allowed:.2g} in {dtype_name(view.dtype)})",
                "Use --executor reference, and report the model: its layers mix rows in a way chiasm does not know",
            )
        self._passed.add(key)
        view.remembered.put(key, _Passed(difference, self.allowed))

    def _passed_before(self, view: ModelView, key: tuple[object, ...]) -> bool:
        """Whether this kind of walk passed in an earlier run, with the weights that there are now."""
        if id(view.remembered) not in self._refreshed:
            view.remembered.refresh()
            self._refreshed.add(id(view.remembered))
        before = view.remembered.get(key)
        if before is None:
            return False
        self.largest, self.allowed = max(self.largest, before.largest), before.allowed
        self.reused += 1
        self._passed.add(key)
        return True


def _representatives(job: Job, groups: list[VariantGroup], index: int) -> dict[tuple[int, tuple[str, ...]], int]:
    """One variant of the `index`-th job for every kind that it has: as many rows carried, the same kinds of changes."""
    chosen: dict[tuple[int, tuple[str, ...]], int] = {}
    for group in groups:
        for v in (v for j, v in group.members.values() if j == index):
            donors = () if group.donor_rows is None else ("rows read in the donor's run",)
            kind = (len(group.rows), (*(_kind(change) for change in job.variants[v].changes), *donors))
            # The largest change of a kind is what a mask that was dropped or misplaced shows most in.
            if kind not in chosen or _size(job.variants[v]) > _size(job.variants[chosen[kind]]):
                chosen[kind] = v
    return chosen


def _kind(change: Change) -> str:
    """Changes of one kind go wrong together. Blocking no keys changes nothing, and so can show nothing."""
    if isinstance(change, Patch):
        return f"Patch of {change.site}"
    empty = isinstance(change, BlockedAttention) and not change.keys
    in_heads = isinstance(change, BlockedAttention) and change.heads is not None
    return f"{type(change).__name__}{' of nothing' if empty else ' in heads' if in_heads else ''}"


def _size(variant: Variant) -> int:
    """How much a variant changes: pairs of rows and keys (rows, where states are zeroed or given) times layers."""
    return sum(
        (c.window.stop - c.window.start)
        * (len(c.queries) * len(c.keys) if isinstance(c, BlockedAttention | AveragedKeys) else len(c.rows))
        for c in variant.changes
    )
