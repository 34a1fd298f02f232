"""Pruning: leave weights out, and see what is lost, for whom, and whether one mask serves all.

Sources: Sun et al. 2024, Wanda (arXiv 2306.11695); Shukor & Cord 2024, alpha-SubNet (arXiv 2405.16700).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.models.encoded import Encoded
from chiasm.models.pruning.linears import matrices
from chiasm.models.pruning.weights import WeightMask, export, masked
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import with_inputs
from chiasm.runners.driver import Computed, KeyedJob, Tracker, drive, one_by_one
from chiasm.studies.inputs import Inputs, data_facts, example_row, keep_thumbnails, load_inputs, with_defaults
from chiasm.studies.options import data_name
from chiasm.studies.prune import STUDY
from chiasm.studies.prune.answers import JudgedExample, answer_rows, written_answers
from chiasm.studies.prune.masks import MaskMaker
from chiasm.studies.prune.scores import KEYS, mask_rows
from chiasm.studies.prune.sets import calibration_sets, examples_of, require_disjoint, types_of
from chiasm.studies.prune.sizes import size_rows
from chiasm.studies.prune.spec import PlannedMask, PruneSpec, masks_for_baseline, planned_masks
from chiasm.studies.prune.tables import POOLED, TYPES, UNCALIBRATED

_Reasons = list[tuple[str, str]]
_Sets = Mapping[str, Sequence[Example]]
# Encoded examples are kept for the next mask up to so many bytes; beyond, they are encoded again.
_KEPT = 1 << 29
_BEYOND = 4


class Evaluation:
    """Greedy answers and probabilities of the labelled answers, under whatever mask is on.

    Made while none is on: the form in which an answer is written is the untouched model's choice, for all masks.
    """

    def __init__(self, spec: PruneSpec, view: ModelView, examples: Sequence[Example]) -> None:
        self.spec, self.view, self.examples = spec, view, examples
        self._written = written_answers(view, examples, spec.instruction, spec.batch)
        self._kept: dict[int, tuple[list[JudgedExample], _Reasons]] = {}
        self._bytes = 0

    def rows(self, columns: Mapping[str, Any], advance: Callable[[int], None]) -> tuple[list[dict[str, Any]], _Reasons]:
        """The rows of one mask, and (example, reason) of those that gave none."""
        rows, failures = [], []
        for judged, failed in self._batches():
            failures += failed
            # A badly pruned model does not stop by itself; past the longest label every answer is wrong already.
            longest = max((len(one.forced.answer_tokens) for one in judged), default=0) + _BEYOND
            for example, logprobs, answer in answer_rows(self.view, judged, self.spec.max_new_tokens or longest):
                if not bool(torch.isfinite(logprobs).all()):
                    failures.append((example.id, f"{columns['mask']}: the model gives NaN or infinite logits"))
                    continue
                written = {"written": self._written[example.id], "tokens": len(logprobs)}
                rows.append({**columns, **answer, **written})
            advance(len(judged) + len(failed))
        return rows, failures

    def _batches(self) -> Iterator[tuple[list[JudgedExample], _Reasons]]:
        for start in range(0, len(self.examples), self.spec.batch):
            if start in self._kept:
                yield self._kept[start]
                continue
            judged, failed = [], []
            for example in self.examples[start : start + self.spec.batch]:
                try:
                    prompt, forced = (
                        self.view.encode(example, instruction=self.spec.instruction, answer=answer)
                        for answer in (None, self._written.get(example.id, example.answer))
                    )
                    judged.append(JudgedExample(example, prompt, forced))
                except ExampleError as error:
                    failed.append((example.id, str(error)))
            self._bytes += sum(_size(one.prompt) + _size(one.forced) for one in judged)
            if self._bytes <= _KEPT:
                self._kept[start] = judged, failed
            yield judged, failed


class MaskWork:
    """The masks of one model: made, put on, and answered under, one after the other.

    `control`: what the model is a control of, for the tables of controls; none for the model that is asked about.
    """

    def __init__(
        self, spec: PruneSpec, view: ModelView, examples: Sequence[Example], sets: _Sets, control: str = ""
    ) -> None:
        self.spec, self.view, self.examples, self.control = spec, view, examples, control
        self.maker = MaskMaker(spec, view, sets)
        self._evaluation: Evaluation | None = None

    def drive(self, jobs: Sequence[KeyedJob[PlannedMask]], directory: RunDirectory, label: str) -> None:
        """Each mask in order, the norms of all that are left first."""
        left = [job.payload for job in jobs if not directory.has(job.key)]
        self.maker.prepare((job.payload for job in jobs), left)
        drive(jobs, one_by_one(self._compute), directory, label, noun="answers")

    def _compute(self, mask: PlannedMask, tracker: Tracker) -> Computed:
        if self._evaluation is None:
            self._evaluation = Evaluation(self.spec, self.view, self.examples)
        return self._answers(self._evaluation, mask, tracker)

    def _answers(self, evaluation: Evaluation, mask: PlannedMask, tracker: Tracker) -> Computed:
        on = nullcontext() if mask.spec is None else masked(self.view, self.maker.make(mask.spec), same_weights=False)
        table, extra = ("pruned_controls", {"control": self.control}) if self.control else ("pruned", {})
        with on:
            rows, failures = evaluation.rows(mask.columns | extra, tracker.advance)
        if mask.spec is not None or self.control:
            return Computed({table: rows}, skipped=[one for one in failures if "logits" in one[1]])
        # Examples are counted once, with the untouched model; what fails there fails under every mask.
        answered = {row["example_id"] for row in rows}
        known = [example_row(example) for example in self.examples if example.id in answered]
        return Computed({table: rows, **({"examples": known} if known else {})}, failures, kept=len(rows))


def compute(spec: PruneSpec) -> RunDirectory:
    """The run of `spec`: what its directory already holds is not computed again.

    **Errors:** `ChiasmError` for what cannot be pruned or exported, where both sets share an example or an image, for
    too few calibration tokens, or if no example is left.
    """
    spec = with_defaults(spec)
    folder = None if spec.export is None else Path(spec.export)
    if folder is not None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ChiasmError(f"export to `{folder}`", "it is there already and not empty", "Choose another folder")
    examples, calibrating = examples_of(spec)
    inputs = load_inputs(spec, examples)
    for part in spec.parts:
        matrices(inputs.view, part)  # before anything is computed: what cannot be pruned is refused
    calibrated = data_facts(data_name(spec.calibrate_on) or data_name(spec.data) or "", calibrating)
    facts = inputs.facts | {"data": inputs.facts["data"] | {"calibration": calibrated}}
    directory = STUDY.completed(spec, facts, lambda directory: _fill(directory, spec, inputs, calibrating))
    if folder is not None and not folder.exists():  # the run was finished before
        export(inputs.view, mask_of(spec, inputs.view, calibrating, examples), folder)
        directory.note(exported=folder.name)
    return directory


def _fill(directory: RunDirectory, spec: PruneSpec, inputs: Inputs, calibration: Sequence[Example]) -> None:
    """Write the tables of `spec`; a mask whose answers the run holds is not made again. One job is one mask."""
    examples, baseline = inputs.examples, inputs.baseline
    require_disjoint(calibration, examples)
    sets = _calibration_sets(spec, calibration, examples)
    masks = _planned(spec, sets)
    work = MaskWork(spec, inputs.view, examples, sets)
    work.drive(_jobs(masks, 0, len(examples)), directory, "prune")
    calibrated = {"tokens": work.maker.tokens, "failed": len(work.maker.failed)}
    if baseline is not None and spec.controls:
        control = MaskWork(spec, baseline, examples, sets, RANDOM_WEIGHTS)
        jobs = _jobs(masks_for_baseline(spec), len(masks), len(examples))
        control.drive(jobs, directory, "prune the baseline")
    directory.take_turn()
    counted = {name: len(part) for name, part in sets.items()}
    directory.manifest = directory.manifest | {"calibration": {"examples": counted} | calibrated}
    known = directory.table("examples")
    directory.write_table(
        "masks", mask_rows(with_inputs(directory.table("pruned"), known), max_loss=float(spec.max_loss))
    )
    directory.write_table("sizes", size_rows(spec, inputs.view))
    if "pruned_controls" in directory.tables():
        rows = mask_rows(with_inputs(directory.table("pruned_controls"), known), (*KEYS, "control"))
        directory.write_table("masks_controls", rows)
    keep_thumbnails(directory, examples)
    if spec.export is not None:
        # One process of several does.
        export(inputs.view, mask_of(spec, inputs.view, calibration, examples), Path(spec.export))
        directory.manifest = directory.manifest | {"exported": Path(spec.export).name}
    directory.finish()


def mask_of(
    spec: PruneSpec, view: ModelView, calibration: Sequence[Example], examples: Sequence[Example]
) -> WeightMask:
    """The mask to export: as the run of `spec` evaluates it, calibrated on all types, or combining them.

    **Errors:** `ChiasmError` if the run has none of that name, or several.
    """
    sets = _calibration_sets(spec, calibration, examples)
    own = (POOLED, TYPES, UNCALIBRATED)
    method = spec.export_mask
    found = [p for p in _planned(spec, sets) if p.spec and p.spec.method == method and p.calibration in own]
    if len(found) != 1:
        todo = "Name one --sparsity or --pattern, one --part, and a mask of the run such as `wanda`"
        raise ChiasmError(f"export the mask `{method}`", f"this run makes {len(found)} of that name", todo)
    maker = MaskMaker(spec, view, sets)
    maker.prepare(found)
    assert found[0].spec is not None
    return maker.make(found[0].spec)


def _jobs(masks: Sequence[PlannedMask], first: int, examples: int) -> list[KeyedJob[PlannedMask]]:
    return [KeyedJob(key, mask, examples) for key, mask in enumerate(masks, first)]


def _size(encoded: Encoded) -> int:
    return sum(value.nbytes for value in encoded.inputs.values() if isinstance(value, torch.Tensor))


def _calibration_sets(spec: PruneSpec, calibration: Sequence[Example], examples: Sequence[Example]) -> _Sets:
    """The pooled set, and one for every type that is on both sides, where masks by type are wanted."""
    types = sorted(set(types_of(calibration)) & set(types_of(examples))) if spec.combine else []
    return calibration_sets(calibration, types, spec.calibration)


def _planned(spec: PruneSpec, sets: _Sets) -> tuple[PlannedMask, ...]:
    types = tuple(name for name in sets if name != POOLED)
    if spec.as_released and len(types) < 2:
        found = "the examples have no two question types to calibrate on"
        raise ChiasmError("--as-released", found, "Give examples of several types, or leave it out")
    return planned_masks(spec, types, modalities=any(example.images for example in sets[POOLED]))
