"""Pruning: leave weights out, and see what is lost, for whom, and whether one mask serves all.

Sources: Sun et al. 2024, Wanda (arXiv 2306.11695); Shukor & Cord 2024, alpha-SubNet (arXiv 2405.16700).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from rich.progress import Progress, TaskID

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.data.scoring import correct
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.generation import generate
from chiasm.models.likelihood import answer_logprobs
from chiasm.models.pruning.weights import WeightMask, masked
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import TWIN
from chiasm.results.series import with_inputs
from chiasm.runners.local import progress
from chiasm.studies.common import example_row
from chiasm.studies.prune.answers import written_answers
from chiasm.studies.prune.masks import MaskMaker
from chiasm.studies.prune.sets import calibration_sets, require_disjoint, types_of
from chiasm.studies.prune.spec import Planned, PruneSpec, planned, planned_for_twin
from chiasm.studies.prune.summary import KEYS, mask_rows

Say = Callable[[str], None]
_Pair = tuple[Example, Encoded, Encoded]  # the example, its prompt, and the same with the labelled answer behind it
_Reasons = list[tuple[str, str]]
# Encoded examples are kept for the next mask up to so many bytes; beyond, they are encoded again.
_KEPT = 1 << 29
_BEYOND = 4


class Evaluation:
    """Greedy answers and probabilities of the labelled answers, under whatever mask is on.

    Made while none is on: the form in which an answer is written is the untouched model's choice, for all masks.
    """

    def __init__(self, spec: PruneSpec, view: ModelView, examples: Sequence[Example]) -> None:
        self.spec, self.view, self.examples = spec, view, examples
        self._written = written_answers(view, examples, spec.instruction, spec.unit)
        self._kept: dict[int, tuple[list[_Pair], _Reasons]] = {}
        self._bytes = 0

    def rows(self, columns: dict[str, Any], done: Callable[[int], None]) -> tuple[list[dict[str, Any]], _Reasons]:
        """The rows of one mask, and (example, reason) of those that gave none."""
        rows, failures = [], []
        for pairs, failed in self._batches():
            failures += failed
            # A badly pruned model does not stop by itself; past the longest label every answer is wrong already.
            longest = max((len(forced.answer_tokens) for _, _, forced in pairs), default=0) + _BEYOND
            answers = generate(self.view, [prompt for _, prompt, _ in pairs], self.spec.max_new_tokens or longest)
            scored = answer_logprobs(self.view, [forced for _, _, forced in pairs])
            for (example, _, _), answer, logprobs in zip(pairs, answers, scored, strict=True):
                if not bool(torch.isfinite(logprobs).all()):
                    failures.append((example.id, f"{columns['mask']}: the model gives NaN or infinite logits"))
                    continue
                rows.append(
                    {"example_id": example.id, "type": example.type, **columns}
                    | {
                        "answer": example.answer,
                        "written": self._written[example.id],
                        "generated": answer.text,
                        "correct": correct(answer.text, example.answer),
                        "logprob": float(logprobs.double().sum()),
                        "tokens": len(logprobs),
                    }
                )
            done(len(pairs) + len(failed))
        return rows, failures

    def _batches(self) -> Iterator[tuple[list[_Pair], _Reasons]]:
        for start in range(0, len(self.examples), self.spec.unit):
            if start in self._kept:
                yield self._kept[start]
                continue
            pairs, failed = [], []
            for example in self.examples[start : start + self.spec.unit]:
                try:
                    prompt, forced = (
                        self.view.encode(example, instruction=self.spec.instruction, answer=answer)
                        for answer in (None, self._written.get(example.id, example.answer))
                    )
                    pairs.append((example, prompt, forced))
                except ExampleError as error:
                    failed.append((example.id, str(error)))
            self._bytes += sum(_size(one) for _, prompt, forced in pairs for one in (prompt, forced))
            if self._bytes <= _KEPT:
                self._kept[start] = pairs, failed
            yield pairs, failed


def run_prune(
    spec: PruneSpec,
    view: ModelView,
    calibration: Sequence[Example],
    examples: Sequence[Example],
    directory: RunDirectory,
    twin: ModelView | None = None,
    memory: int | None = None,
    say: Say | None = None,
) -> None:
    """Fill `directory` with the tables of `spec`; a mask whose answers it holds is not made again.

    `calibration`: none of `examples`. `memory`: bytes for the hidden states of calibration examples. One shard holds
    one mask.

    **Errors:** `ChiasmError` if the two sets share an example or an image, for too few calibration tokens, or if no
    example is left.
    """
    require_disjoint(calibration, examples)
    sets = calibration_sets(calibration, _types(spec, calibration, examples), spec.calibration)
    done = directory.done()
    plan = list(enumerate(_plan(spec, sets)))
    total = len(plan) + (len(planned_for_twin(spec)) if twin is not None and spec.controls else 0)
    try:
        with progress() as bar:
            task = bar.add_task("prune", total=total * len(examples), completed=len(done) * len(examples))
            maker = MaskMaker(spec, view, sets, memory, say)
            _fill(spec, view, examples, directory, maker, plan, "", (bar, task))
            told = {"tokens": maker.tokens, "failed": len(maker.failed)}
            if twin is not None and spec.controls:
                others = MaskMaker(spec, twin, sets, memory)
                rest = list(enumerate(planned_for_twin(spec), len(plan)))
                _fill(spec, twin, examples, directory, others, rest, TWIN, (bar, task))
    except KeyboardInterrupt as stop:
        stop.add_note(
            f"Interrupted: {len(directory.done())} of {total} masks are finished in {directory.path}.\n"
            "Run the same command again with --resume (in Python: resume=True) to go on from there."
        )
        raise
    counted = {name: len(part) for name, part in sets.items()}
    directory.manifest = directory.manifest | {"calibration": {"examples": counted} | told}
    _write_masks(directory)
    directory.finish()


def mask_of(
    spec: PruneSpec,
    view: ModelView,
    calibration: Sequence[Example],
    examples: Sequence[Example],
    method: str,
    memory: int | None = None,
) -> WeightMask:
    """The mask that the run of `spec` evaluates under the name `method`: calibrated on all types, or combining them.

    **Errors:** `ChiasmError` if the run has none of that name, or several.
    """
    sets = calibration_sets(calibration, _types(spec, calibration, examples), spec.calibration)
    own = ("all", "types", "none")
    found = [p.spec for p in _plan(spec, sets) if p.spec and p.spec.method == method and p.calibration in own]
    if len(found) != 1:
        raise ChiasmError(
            f"export the mask `{method}`",
            f"this run makes {len(found)} of that name",
            "Name one --sparsity or --pattern, one --part, and a mask of the run such as `wanda`",
        )
    maker = MaskMaker(spec, view, sets, memory)
    maker.prepare([Planned(found[0], "")])
    return maker.make(found[0])


def _size(encoded: Encoded) -> int:
    return sum(value.nbytes for value in encoded.inputs.values())


def _types(spec: PruneSpec, calibration: Sequence[Example], examples: Sequence[Example]) -> tuple[str, ...]:
    """The types that masks are made for: those on both sides, where masks by type are wanted."""
    return tuple(sorted(set(types_of(calibration)) & set(types_of(examples)))) if spec.combine else ()


def _plan(spec: PruneSpec, sets: Any) -> tuple[Planned, ...]:
    types = tuple(name for name in sets if name != "all")
    pictures = any(example.images for example in sets["all"])
    return planned(spec, types, modalities=pictures)


def _fill(
    spec: PruneSpec,
    view: ModelView,
    examples: Sequence[Example],
    directory: RunDirectory,
    maker: MaskMaker,
    plan: Sequence[tuple[int, Planned]],
    control: str,
    shown: tuple[Progress, TaskID],
) -> None:
    """One shard for every mask of `plan` that is missing."""
    missing = [(index, one) for index, one in plan if index not in directory.done()]
    maker.prepare(one for _, one in missing)
    evaluation = Evaluation(spec, view, examples)
    table = "pruned_controls" if control else "pruned"
    extra = {"control": control} if control else {}
    bar, task = shown
    for index, one in missing:
        on = nullcontext() if one.spec is None else masked(view, maker.make(one.spec), same_weights=False)
        with on:
            rows, failures = evaluation.rows(one.columns | extra, lambda count: bar.advance(task, count))
        # Examples are counted once, with the untouched model; what fails there fails under every mask.
        first = index == 0
        own = [] if first else [f for f in failures if "logits" in f[1]]
        answered = {row["example_id"] for row in rows}
        known = [example_row(example) for example in examples if example.id in answered] if first else []
        directory.write_shard(
            index,
            {table: rows} | ({"examples": known} if known else {}),
            failures=failures if first else (),
            kept=len(rows) if first else 0,
            skipped=own,
        )


def _write_masks(directory: RunDirectory) -> None:
    examples = directory.table("examples")
    directory.write_table("masks", mask_rows(with_inputs(directory.table("pruned"), examples)))
    if "pruned_controls" in directory.tables():
        rows = mask_rows(with_inputs(directory.table("pruned_controls"), examples), (*KEYS, "control"))
        directory.write_table("masks_controls", rows)
