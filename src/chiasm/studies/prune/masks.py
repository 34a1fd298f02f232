"""Masks of a pruning run: calibration sets, one after the other, then masks from their norms."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.interventions.masks import CALIBRATED, MaskMethod, MaskPart, MaskSpec
from chiasm.models.encoded import Encoded
from chiasm.models.pruning.calibrate import (
    InputNorms,
    calibrate,
    calibration_batches,
    calibration_bytes,
    choose_tokens,
    span_rows,
)
from chiasm.models.pruning.weights import WeightMask, make_mask
from chiasm.models.view import ModelView
from chiasm.studies.prune.answers import written_answers
from chiasm.studies.prune.spec import PlannedMask, PruneSpec
from chiasm.studies.prune.tables import IMAGE_TOKENS, POOLED, TEXT_TOKENS

_log = logging.getLogger("chiasm")
_SPANS = {IMAGE_TOKENS: (POOLED, "image"), TEXT_TOKENS: (POOLED, "text")}


class _NormKey(NamedTuple):
    """What norms depend on: block by block, they see what the same mask did before."""

    calibration: str
    method: MaskMethod
    part: MaskPart
    sparsity: float
    pattern: str


def source(calibration: str) -> tuple[str, str]:
    """The set of examples and the span whose tokens a calibration counts."""
    return _SPANS.get(calibration, (calibration, "all"))


class MaskMaker:
    """Makes the masks of a run on one model.

    `sets`: calibration examples by name (`all` and question types). Their hidden states are held for one set at a
    time; what remains of a calibration is one norm per input feature. `tokens`: how many every mask rests on. `failed`:
    (example, reason) of calibration examples that could not be used.
    """

    def __init__(self, spec: PruneSpec, view: ModelView, sets: Mapping[str, Sequence[Example]]) -> None:
        self.spec, self.view, self.sets = spec, view, sets
        self.failed: dict[str, str] = {}
        self.tokens: int | None = None
        self._written: dict[str, dict[str, str]] = {}
        self._norms: dict[_NormKey, InputNorms] = {}
        self._weights = view.fingerprint()

    def prepare(self, plan: Iterable[PlannedMask], left: Iterable[PlannedMask] | None = None) -> None:
        """Measure all norms that the masks of `plan` need, or those of them that are `left` to make.

        Every mask rests on as many tokens as the poorest calibration of the whole plan has, whatever is left of it.

        **Errors:** `ChiasmError` for too few tokens, or more memory than allowed.
        """
        by_set: dict[str, list[_NormKey]] = {}
        planned = list(plan)
        calibrations = {key.calibration for key in _all_keys(planned)}
        for key in _all_keys(planned if left is None else left):
            by_set.setdefault(source(key.calibration)[0], []).append(key)
        if not calibrations:
            return
        self.tokens = self._common_tokens(calibrations)
        for name, keys in by_set.items():
            encoded = self._encoded(name)
            self._require_memory(name, encoded)
            batches = calibration_batches(self.view, encoded, self.spec.batch)
            for key in keys:
                rows = choose_tokens(span_rows(encoded, source(key.calibration)[1]), self.tokens, self.spec.seed)
                shape = {"sparsity": key.sparsity, "pattern": key.pattern, "part": key.part}
                asked = MaskSpec(method=key.method, calibrations=(key.calibration,), **shape)
                self._norms[key] = calibrate(self.view, batches, rows, asked)

    def make(self, spec: MaskSpec) -> WeightMask:
        """The mask of `spec`, for which `prepare` has been called."""
        return make_mask(self.view, spec, [self._norms[key] for key in _keys(spec)], self._weights)

    def _common_tokens(self, calibrations: set[str]) -> int:
        """As many tokens for every mask as the poorest calibration has, or as many as were asked for."""
        counts: dict[str, int] = {}
        for name in sorted({source(calibration)[0] for calibration in calibrations}):
            encoded = self._encoded(name)
            for calibration in calibrations:
                held, span = source(calibration)
                if held == name:
                    counts[calibration] = sum(int(row.sum()) for row in span_rows(encoded, span))
        poorest = min(counts, key=lambda name: (counts[name], name))
        count = counts[poorest] if self.spec.tokens is None else self.spec.tokens
        try:
            choose_tokens(span_rows(self._encoded(source(poorest)[0]), source(poorest)[1]), count)
        except ChiasmError as error:
            todo = f"{error.todo}, or --no-combine" if self.spec.combine and poorest != POOLED else error.todo
            raise ChiasmError(error.asked, f"`{poorest}`: {error.found}", todo) from error
        return count

    def _encoded(self, name: str) -> list[Encoded]:
        """A set's examples with their answers behind the question, as the model writes them, where they have one."""
        if name not in self._written:
            labelled = [example for example in self.sets[name] if example.answer.strip()]
            self._written[name] = written_answers(self.view, labelled, self.spec.instruction, self.spec.batch)
        found = []
        for example in self.sets[name]:
            try:
                answer = self._written[name].get(example.id)
                found.append(self.view.encode(example, instruction=self.spec.instruction, answer=answer))
            except ExampleError as error:
                self.failed[example.id] = str(error)
        if not found:
            reason = next(iter(self.failed.values()), "there is none")
            raise ChiasmError(f"calibrate on `{name}`", f"no example can be used ({reason})", "Give other examples")
        return found

    def _require_memory(self, name: str, encoded: Sequence[Encoded]) -> None:
        needed, allowed = calibration_bytes(self.view, encoded, self.spec.batch), self.spec.memory
        if allowed is not None and needed > int(allowed):
            raise ChiasmError(
                f"a memory budget of {int(allowed):,} bytes",
                f"calibrating on {len(encoded)} examples holds about {needed:,} bytes of hidden states",
                f"Give at least --memory {-(-needed // 10**6)}MB, or a smaller --calibration",
            )
        _log.info("Calibrating on %d examples (%s) holds about %.1f MB on the CPU.", len(encoded), name, needed / 1e6)


def _all_keys(masks: Iterable[PlannedMask]) -> list[_NormKey]:
    return sorted({key for one in masks if one.spec is not None for key in _keys(one.spec)})


def _keys(spec: MaskSpec) -> list[_NormKey]:
    own: MaskMethod = spec.method if spec.method in CALIBRATED else "wanda"
    return [_NormKey(name, own, spec.part, spec.within or spec.sparsity, spec.pattern) for name in spec.calibrations]
