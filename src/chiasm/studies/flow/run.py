"""Information flow: close routes between parts of the sequence, layer by layer, and see what the answer loses.

Source: Zhang et al. 2025, "Cross-modal Information Flow in Multimodal Large Language Models" (arXiv 2411.18620).
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import torch

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example, media_key
from chiasm.data.scoring import correct
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.encoding.words import first_tokens
from chiasm.models.executors.base import Executor, Job, Outcome
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.generation import generate
from chiasm.models.view import ModelView
from chiasm.results import images as pictures
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import AUDIO_SWAP, IMAGE_SWAP, TWIN, VIDEO_SWAP
from chiasm.runners import local
from chiasm.runners.base import Computed, Work
from chiasm.studies.common import example_row, for_preparing
from chiasm.studies.flow.answers import answer_rows, forms_of
from chiasm.studies.flow.plan import Plan, bare, plan
from chiasm.studies.flow.rows import Rows, planned_rows, swap_rows
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.words import word_rows

_NAMES: Final = {"image": "an image", "video": "a video", "audio": "a sound"}
_SWAPS: Final = {"image": IMAGE_SWAP, "video": VIDEO_SWAP, "audio": AUDIO_SWAP}


class Prepared(NamedTuple):
    """An example ready to compute. `prompt` has no answer behind it; `swapped` shows or plays another example's input.

    `forms`: the first token of each written form of the answer. `skipped`: (example, what it does not have).
    """

    example: Example
    prompt: Encoded
    plan: Plan
    twin: Plan | None
    swapped: Encoded | None
    forms: dict[str, int]
    forms_twin: dict[str, int]
    skipped: tuple[tuple[str, str], ...]


class FlowWork(Work[Prepared]):
    """The rows of `spec` on `view`, a unit of examples at a time."""

    def __init__(
        self, spec: FlowSpec, view: ModelView, examples: Sequence[Example], executor: Executor, twin: ModelView | None
    ) -> None:
        self.spec, self.view, self.examples, self.executor = spec, view, examples, executor
        self.twin = twin if spec.controls else None
        self.routes = spec.routes()
        self.seconds = {"generate": 0.0, "compute": 0.0}
        self._preparing = for_preparing(view)
        self._preparing_twin = for_preparing(self.twin) if self.twin else None

    def prepare(self, index: int, example: Example) -> Prepared:
        spec, view = self.spec, self._preparing
        prompt = view.encode(example, instruction=spec.instruction)
        forms = self._forms(view, example)
        if "lower" not in forms and (spec.keep == "correct" or spec.target == "answer"):
            raise ExampleError(f"the answer {example.answer!r} has no token, so it cannot be found right or followed")
        planned = self._plan(view, index, example, prompt)
        skipped = list(planned.skipped)
        twin, forms_twin = None, {}
        if self._preparing_twin is not None:
            forms_twin = self._forms(self._preparing_twin, example)
            encoded = self._preparing_twin.encode(example, instruction=spec.instruction)
            without = replace(spec, controls=False, patches=0, words=0)
            twin = self._plan(self._preparing_twin, index, example, encoded, without)
        swapped = None
        if spec.controls and example.media:
            try:
                swapped = self._encode_answer(view, self._with_other_input(index, example))
            except ExampleError as error:
                skipped.append((example.id, f"{_SWAPS[example.kinds[0]]}: {error}"))
        return Prepared(example, prompt, planned, twin, swapped, forms, forms_twin, tuple(skipped))

    def compute(self, prepared: Sequence[Prepared]) -> Computed:
        started = time.perf_counter()
        kept, left_out = self._kept(prepared)
        decoded = time.perf_counter()
        rows: Rows = defaultdict(list)
        failures, skipped, whole = [], [], 0
        outcomes = self._run(self.view, self.executor, [item.plan for item in kept])
        twins = self._run(self.twin, self.executor, [item.twin for item in kept if item.twin]) if self.twin else []
        swaps = self._swaps(kept, outcomes)
        for place, (item, outcome) in enumerate(zip(kept, outcomes, strict=True)):
            if isinstance(outcome, ExampleError):
                failures.append((item.example.id, str(outcome)))
                continue
            whole += 1
            rows["examples"].append(example_row(item.example))
            skipped += item.skipped
            planned_rows(rows, item.example, item.plan, outcome)
            self._read(rows, item, outcome)
            if item.twin is not None:
                skipped += self._twin_rows(rows, item, item.twin, twins[place])
            if isinstance(swaps[place], Outcome):
                rows["controls"] += swap_rows(item.example, item.plan, outcome, swaps[place])
            elif isinstance(swaps[place], ExampleError):
                skipped.append((item.example.id, f"{_SWAPS[item.example.kinds[0]]}: {swaps[place]}"))
        self.seconds["generate"] += decoded - started
        self.seconds["compute"] += time.perf_counter() - decoded
        return Computed({name: found for name, found in rows.items() if found}, failures, left_out, whole, skipped)

    def _kept(self, prepared: Sequence[Prepared]) -> tuple[list[Prepared], list[tuple[str, str]]]:
        """The examples to follow: all, or those whose greedy answer is the labelled one (the paper's filter)."""
        if self.spec.keep == "all":
            return list(prepared), []
        answers = generate(self.view, [item.prompt for item in prepared])
        kept, left_out = [], []
        for item, answer in zip(prepared, answers, strict=True):
            if correct(answer.text, item.example.answer):
                kept.append(item)
            else:
                left_out.append((item.example.id, f"answered {answer.text!r} instead of {item.example.answer!r}"))
        return kept, left_out

    def _plan(
        self, view: ModelView, index: int, example: Example, prompt: Encoded, spec: FlowSpec | None = None
    ) -> Plan:
        spec = self.spec if spec is None else spec
        encoded = self._encode_answer(view, example) if spec.target == "answer" else prompt
        half = view.dtype in (torch.bfloat16, torch.float16)
        causal = view.family.causal
        return plan(spec, self.routes, view.kinds, index, example, encoded, half=half, causal=causal)

    def _forms(self, view: ModelView, example: Example) -> dict[str, int]:
        """The first token of every written form of the answer that has one."""
        written = forms_of(example)
        found = first_tokens(view, example, list(written.values()), instruction=self.spec.instruction)
        return {form: found[word] for form, word in written.items() if word in found}

    def _encode_answer(self, view: ModelView, example: Example) -> Encoded:
        answer = example.answer if self.spec.target == "answer" else None
        return view.encode(example, instruction=self.spec.instruction, answer=answer)

    def _with_other_input(self, index: int, example: Example) -> Example:
        """The example with what the next one shows and plays, as much of each kind, with another answer if any has.

        An image to which the same answer belongs could leave the answer as probable as it was.
        """
        own, kinds = {media_key(item) for item in example.media}, example.kinds
        following = [self.examples[(index + step) % len(self.examples)] for step in range(1, len(self.examples))]
        others = sorted(following, key=lambda other: other.answer.lower() == example.answer.lower())
        for other in others:
            if other.kinds == kinds and own.isdisjoint(media_key(item) for item in other.media):
                # Boxes are places in the example's own image.
                shown = {"images": other.images, "videos": other.videos, "audios": other.audios}
                return replace(example, **shown, boxes=())
        raise ExampleError(f"no other example has {_NAMES[kinds[0]]} to swap in")

    def _run(self, view: ModelView, executor: Executor, plans: Sequence[Plan]) -> list[Outcome | ExampleError]:
        """The outcomes of `plans`, in order; plans of one kind are computed together."""
        found: dict[int, Outcome | ExampleError] = {}
        kinds: dict[Any, list[int]] = {}
        for place, one in enumerate(plans):
            kinds.setdefault(one.kind, []).append(place)
        for places in kinds.values():
            found |= zip(places, executor.run(view, [plans[place].job for place in places]), strict=True)
        return [found[place] for place in range(len(plans))]

    def _swaps(
        self, kept: Sequence[Prepared], outcomes: Sequence[Outcome | ExampleError]
    ) -> list[Outcome | ExampleError | None]:
        """Each example with another's image, scored for the tokens of its own clean run."""
        jobs: dict[int, Job] = {}
        for place, (item, outcome) in enumerate(zip(kept, outcomes, strict=True)):
            if item.swapped is not None and isinstance(outcome, Outcome):
                jobs[place] = bare(item.swapped, self.view.n_layers, tuple(outcome.tokens.tolist()))
        results = dict(zip(jobs, self.executor.run(self.view, list(jobs.values())), strict=True)) if jobs else {}
        return [results.get(place) for place in range(len(kept))]

    def _twin_rows(
        self, rows: Rows, item: Prepared, planned: Plan, outcome: Outcome | ExampleError
    ) -> list[tuple[str, str]]:
        """Append what the twin shows as a control; what could not be computed is returned as skipped."""
        if isinstance(outcome, ExampleError) or self.twin is None:
            return [(item.example.id, f"{TWIN}: {outcome}")]
        own: Rows = defaultdict(list)
        planned_rows(own, item.example, planned, outcome)
        rows["controls"] += [row | {"control": TWIN, "sample": 0} for row in own["effects"]]
        states, target = outcome.taps["last"][:, 0], int(outcome.tokens[0])
        clean = float(outcome.clean[0])
        rows["answers_twin"] += answer_rows(self.twin, item.example, states, item.forms_twin, target, clean)
        return []

    def _read(self, rows: Rows, item: Prepared, outcome: Outcome) -> None:
        states, target = outcome.taps["last"][:, 0], int(outcome.tokens[0])
        rows["answers"] += answer_rows(self.view, item.example, states, item.forms, target, float(outcome.clean[0]))
        if "question" in outcome.taps:
            positions = [int(p) for p in item.prompt.spans["question"]]
            rows["words"] += word_rows(self.view, item.example, outcome.taps["question"], positions)


def run_flow(
    spec: FlowSpec,
    view: ModelView,
    examples: Sequence[Example],
    directory: RunDirectory,
    executor: Executor,
    twin: ModelView | None = None,
) -> None:
    """Fill `directory` with the tables of `spec`; what it already holds is not computed again.

    **Errors:** `ChiasmError` for an unknown span, a twin of another depth, or if no example is left.
    """
    if spec.patches and not any(example.images for example in examples[: spec.patches]):
        raise ChiasmError(
            "a map of patches",
            "the first examples have no image (frames of videos are not drawn)",
            "Leave --patches out",
        )
    if twin is not None and twin.n_layers != view.n_layers:
        found = f"it has {twin.n_layers} layers and {view.name} has {view.n_layers}"
        raise ChiasmError(f"{twin.name} as the twin", found, "Name a model of the same shape with random weights")
    work = FlowWork(spec, view, examples, executor, twin)
    local.run(work, examples, directory, spec.unit, "flow")
    told: dict[str, Any] = {"seconds": {name: round(value, 3) for name, value in work.seconds.items()}}
    if isinstance(executor, LockstepExecutor):
        # The guard's own cost and the largest difference it saw are told apart from the sweep.
        told["guard"] = {"seconds": round(executor.guard.seconds, 3), "largest": executor.guard.largest}
        told["guard"]["allowed"] = executor.guard.allowed
    directory.manifest = directory.manifest | told
    if "patches" in directory.tables():
        mapped = set(directory.table("patches")["example_id"])
        pictures.keep(directory, [example for example in examples[: spec.patches] if example.id in mapped])
    directory.finish()
