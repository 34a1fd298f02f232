"""The universal guard: a packed result is trusted only after a plain masked forward has given the same.

Packing goes silently wrong where a layer mixes rows outside attention, counts row indices, or reads a mask the engine
did not see. Clean rows stay right in all of these cases, so variants are what is compared.
"""

import time
from dataclasses import replace

import torch

from chiasm.core.errors import GuardError
from chiasm.interventions import BlockedAttention, Change, Variant, ZeroedBranch
from chiasm.models.executors.jobs import Job, JobResult, Readout
from chiasm.models.executors.packed_batch import PackedBatch
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.executors.variant_groups import VariantGroup
from chiasm.models.view import ModelView

# Largest difference in log-probability that rounding explains. float64 models still compute norms and rotary
# embeddings in float32. In half precision the shape of a batch alone moves log-probabilities by up to 6e-2, and one
# step of a bfloat16 logit between 16 and 32 is 0.125.
TOLERANCE = {torch.float64: 1e-5, torch.float32: 2e-4, torch.float16: 6e-2, torch.bfloat16: 0.25}


class Guard:
    """Compares one variant per suffix length with the reference, once per view and kind of walk.

    `seconds` is the time spent so far, `largest` the largest difference seen and `allowed` what rounding explains (0
    where nothing was compared yet): they belong in the report.
    """

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self.allowed = 0.0
        self.seconds = 0.0
        self.largest = 0.0
        self._passed: set[tuple[object, ...]] = set()

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
        key = (id(view.model), view.dtype, *walk, layout)
        if not chosen or key in self._passed:
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
        difference = float((ours - plain).abs().max())
        self.seconds += time.perf_counter() - started
        self.largest = max(self.largest, difference)
        self.allowed = TOLERANCE[view.dtype]
        # `not <=` so that NaN is a mismatch too.
        if not difference <= TOLERANCE[view.dtype]:
            raise GuardError(
                f"computing cuts of {view.name} in one walk",
                f"log-probabilities differ from a plain masked forward by {difference:.2g} "
                f"(allowed {TOLERANCE[view.dtype]:.2g} in {view.dtype})",
                "Use --executor reference, and report the model: its layers mix rows in a way chiasm does not know",
            )
        self._passed.add(key)


def _representatives(job: Job, groups: list[VariantGroup], index: int) -> dict[tuple[int, tuple[str, ...]], int]:
    """One variant of the `index`-th job for every kind that it has: as many rows carried, the same kinds of changes."""
    chosen: dict[tuple[int, tuple[str, ...]], int] = {}
    for group in groups:
        for v in (v for j, v in group.members.values() if j == index):
            kind = (len(group.rows), tuple(_kind(change) for change in job.variants[v].changes))
            # The largest change of a kind is what a mask that was dropped or misplaced shows most in.
            if kind not in chosen or _size(job.variants[v]) > _size(job.variants[chosen[kind]]):
                chosen[kind] = v
    return chosen


def _kind(change: Change) -> str:
    """Changes of one kind go wrong together. Blocking no keys changes nothing, and so can show nothing."""
    empty = isinstance(change, BlockedAttention) and not change.keys
    return f"{type(change).__name__}{' of nothing' if empty else ''}"


def _size(variant: Variant) -> int:
    """How much a variant changes: pairs of rows and keys (rows, where a branch is zeroed) times layers."""
    return sum(
        (c.window.stop - c.window.start)
        * (len(c.positions) if isinstance(c, ZeroedBranch) else len(c.queries) * len(c.keys))
        for c in variant.changes
    )
