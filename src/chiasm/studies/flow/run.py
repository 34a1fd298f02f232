"""Information flow: close routes between parts of the sequence, layer by layer, and see what the answer loses.

Source: Zhang et al. 2025, "Cross-modal Information Flow in Multimodal Large Language Models" (arXiv 2411.18620).
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.interventions import Intervention
from chiasm.measures.base import RowsByTable
from chiasm.models.encoded import Encoded
from chiasm.models.encoding.encode import first_tokens
from chiasm.models.executors.jobs import Executor, Job, JobResult
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.precision import Precision
from chiasm.models.view import ModelView
from chiasm.results import images
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.runners.driver import Computed
from chiasm.runners.examples import Work, run_examples
from chiasm.studies.flow import STUDY
from chiasm.studies.flow.heads import HeadSweep, head_sweep, heads_beside, planned_heads
from chiasm.studies.flow.own_answers import Answered, OwnAnswers, rightly_answered, with_longest_answer
from chiasm.studies.flow.plan import NOISE_EXAMPLES, ROUNDING_EXAMPLES, ExamplePlan, clean_job, plan
from chiasm.studies.flow.prepared import FlowExample, Unanswered
from chiasm.studies.flow.price import (
    BASELINE,
    BLANKED,
    CUTS,
    LENS,
    MAPS,
    MEANS,
    NOOPS,
    ROUNDED,
    SEARCHED,
    SWAPPED,
    RunPrice,
    price,
)
from chiasm.studies.flow.replaced_states import ReplacedStates, resamples
from chiasm.studies.flow.rows import (
    answer_rows,
    beside_rows,
    forms_of,
    map_rows,
    perceived,
    planned_rows,
    rounding_rows,
    swap_rows,
    swap_word_rows,
    target_text,
    word_rows,
)
from chiasm.studies.flow.spec import FlowSpec, default_cuts
from chiasm.studies.flow.sufficiency import checked_routes
from chiasm.studies.flow.sufficiency_rows import kept_rows
from chiasm.studies.flow.sufficient_search import searched_rows
from chiasm.studies.flow.swaps import Donors
from chiasm.studies.flow.tables import AUDIO_SWAP, BLANK, IMAGE_SWAP, VIDEO_SWAP
from chiasm.studies.inputs import (
    Inputs,
    blanked,
    example_row,
    executor_of,
    first_prepared,
    for_preparing,
    keep_thumbnails,
    load_inputs,
    model_of,
    random_models,
    read_examples,
    require_same_depth,
    sized,
    with_defaults,
)

_log = logging.getLogger("chiasm")
_SWAPS: Final = {"image": IMAGE_SWAP, "video": VIDEO_SWAP, "audio": AUDIO_SWAP}


class FlowWork(Work[FlowExample | Unanswered]):
    """The rows of `spec` on `view`, a batch of examples at a time."""

    def __init__(self, spec: FlowSpec, inputs: Inputs, executor: Executor) -> None:
        self.spec, self.view, self.examples, self.executor = spec, inputs.view, inputs.examples, executor
        baseline = inputs.baseline if spec.controls else None
        self.baselines = [] if baseline is None else random_models(baseline, spec.baseline, spec.random_models)
        self.interventions = spec.interventions()
        self.heads = head_sweep(spec, self.view, inputs.examples)
        self.baseline_heads = HeadSweep() if baseline is None else heads_beside(self.heads, baseline)
        self.donors = Donors(inputs.examples if spec.controls or resamples(spec) else (), spec.seed)
        raised = self.view.in_precision(Precision.of(self.view.model))
        self.raised = raised if self.view.precision.half and not raised.precision.half else None
        self.seconds = {"generate": 0.0, "compute": 0.0}
        self.parts: dict[str, float] = {}
        self._preparing = for_preparing(self.view)
        self._preparing_baseline = for_preparing(baseline) if baseline else None
        self.own = OwnAnswers(spec, self.view, self.examples) if spec.target == "words" else None
        with self._timed(MEANS):
            self.replaced = ReplacedStates(spec, self.view, self.examples, self.baselines, executor, self.donors)

    def prepare(self, index: int, example: Example) -> FlowExample | Unanswered:
        """Everything but what depends on an answer that the model has not given yet."""
        return self._prepared(index, example) if self.own is None else self.own.ask(index, example)

    def _prepared(self, index: int, example: Example) -> FlowExample:
        spec, view = self.spec, self._preparing
        prompt = view.encode(example, instruction=spec.instruction)
        forms = self._forms(view, example)
        if self.own is None and "lower" not in forms and (spec.keep == "correct" or spec.target == "answer"):
            raise ExampleError(f"the answer {example.answer!r} has no token, so it cannot be found right or followed")
        planned = self._plan(view, index, example, prompt, heads=self.heads)
        skipped = [*planned.skipped, *([(example.id, self.heads.left_out)] if self.heads.left_out else [])]
        baseline, forms_baseline = None, {}
        if self._preparing_baseline is not None:
            forms_baseline = self._forms(self._preparing_baseline, example)
            encoded = self._preparing_baseline.encode(example, instruction=spec.instruction)
            without = replace(spec, controls=False, words=0, keep_only=None)
            heads = self.baseline_heads
            baseline = self._plan(self._preparing_baseline, index, example, encoded, without, heads=heads)
        swapped = None
        if spec.controls and example.media:
            try:
                swapped = self._encode_answer(view, self._with_other_input(example))
            except ExampleError as error:
                skipped.append((example.id, f"{_SWAPS[example.kinds[0]]}: {error}"))
        blank = self._blank(index, example, skipped) if spec.controls and example.images else None
        raised = None
        if self.raised is not None and index < ROUNDING_EXAMPLES:
            raised = self._encode_answer(self._preparing.in_precision(self.raised.precision), example)
        controlled = (baseline, swapped, blank, forms, forms_baseline)
        return FlowExample(example, prompt, planned, *controlled, tuple(skipped), raised)

    def compute(self, prepared: Sequence[FlowExample | Unanswered]) -> Computed:
        started = time.perf_counter()
        kept, failures, left_out, skipped = self._kept(prepared)
        decoded = time.perf_counter()
        rows: RowsByTable = defaultdict(list)
        whole = 0
        with self._timed(CUTS):
            outcomes = self._run(self.view, [item.plan for item in kept])
        with self._timed(BASELINE):
            baselines = self._baseline_outcomes(kept)
        with self._timed(SWAPPED):
            swaps = self._swaps(kept, outcomes)
        with self._timed(BLANKED):
            blanks = self._blanks(kept, outcomes)
        for place, (item, outcome) in enumerate(zip(kept, outcomes, strict=True)):
            if isinstance(outcome, ExampleError):
                failures.append((item.example.id, str(outcome)))
                continue
            whole += 1
            rows["examples"].append(example_row(item.example))
            rows["followed"].append(self._followed(item, outcome))
            skipped += item.skipped
            planned_rows(rows, item.example, item.plan, outcome)
            rows["patch_values"] += map_rows(item.example, item.plan, outcome, target_text(self.view, outcome))
            rows["keep_only"] += kept_rows(item.example, item.plan, outcome, item.forms)
            self._read(rows, item, outcome)
            skipped += self._rounding(rows, item, outcome)
            if item.baseline is not None:
                skipped += self._baseline_rows(rows, item, item.baseline, baselines[place])
            if isinstance(swaps[place], JobResult):
                rows["controls"] += swap_rows(item.example, item.plan, outcome, swaps[place])
                rows["answer_words_controls"] += swap_word_rows(item.example, item.plan, outcome, swaps[place])
            elif isinstance(swaps[place], ExampleError):
                skipped.append((item.example.id, f"{_SWAPS[item.example.kinds[0]]}: {swaps[place]}"))
            if item.blank is not None:
                skipped += self._blank_rows(rows, item, item.blank, blanks[place])
        self.seconds["generate"] += decoded - started
        self.seconds["compute"] += time.perf_counter() - decoded
        return Computed({name: found for name, found in rows.items() if found}, failures, left_out, whole, skipped)

    @contextmanager
    def _timed(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            self.parts[part] = self.parts.get(part, 0.0) + taken
            if part in (MEANS, SEARCHED):  # before and behind the examples
                self.seconds["compute"] += taken

    def searched(self, directory: RunDirectory) -> dict[str, list[dict[str, Any]]]:
        """Rows of the search of sufficient routes, which comes behind the examples."""
        encode, forms = partial(self._encode_answer, self.view), partial(self._forms, self.view)
        with self._timed(SEARCHED):
            return searched_rows(self.spec, self.view, self.examples, directory, self.executor, encode, forms)

    def price(self) -> RunPrice | None:
        """The work ahead, from the first example that can be planned; None if none of the first can."""
        item = first_prepared(self.examples, self._first)
        if item is None:
            return None
        beside = [(BLANKED, item.blank), (BASELINE, item.baseline)]
        if item.raised is not None:
            beside.append((ROUNDED, item.plan.effects_alone(item.raised, ())))
        firsts = {MAPS: self.spec.patches, ROUNDED: ROUNDING_EXAMPLES}
        # In half precision every example has a no-op for every window.
        firsts |= {} if self.view.precision.half else {NOOPS: NOISE_EXAMPLES}
        return price(
            item.plan,
            self.view.n_layers,
            len(self.examples),
            decoding=self.spec.keep == "correct" or self.own is not None,
            beside=[(name, one) for name, one in beside if one is not None],
            swapped=item.swapped is not None,
            means=self.replaced.passes,
            firsts=firsts,
        )

    def _first(self, index: int, example: Example) -> FlowExample:
        if self.own is None:
            return self._prepared(index, example)
        answered = self.own.answered([self.own.ask(index, example)], self._prepared)
        if not answered.ready:
            raise ExampleError("its answer is not followed")
        return answered.ready[0]

    def _kept(self, prepared: Sequence[FlowExample | Unanswered]) -> Answered:
        """The examples to follow: all, or those whose greedy answer is the labelled one (the paper's filter)."""
        if self.own is not None:
            return self.own.answered([one for one in prepared if isinstance(one, Unanswered)], self._prepared)
        ready = [one for one in prepared if isinstance(one, FlowExample)]
        return Answered(ready, [], [], []) if self.spec.keep == "all" else rightly_answered(self.view, ready)

    def _plan(
        self,
        view: ModelView,
        index: int,
        example: Example,
        prompt: Encoded,
        spec: FlowSpec | None = None,
        cuts: Sequence[Intervention] | None = None,
        heads: HeadSweep | None = None,
    ) -> ExamplePlan:
        spec, cuts = self.spec if spec is None else spec, self.interventions if cuts is None else cuts
        encoded = prompt if spec.target == "first" else self._encode_answer(view, example)
        half, causal = view.precision.half, view.family.causal
        options: dict[str, Any] = {"controls": spec.controls, "draws": spec.draws, "causal": causal}
        more = () if heads is None else planned_heads(heads, encoded, key=(spec.seed, example.id), **options)
        sources = self.replaced.sources(view, example, random=view is self._preparing_baseline)
        # Without a lens nothing is made of states in between.
        beside: dict[str, Any] = {"sources": sources, "more": tuple(more), "states": view.family.can("lens")}
        found = plan(spec, cuts, view.kinds, index, example, encoded, half=half, causal=causal, **beside)
        return found if self.own is None else found._replace(words=self.own.words(example))

    def _blank(self, index: int, example: Example, skipped: list[tuple[str, str]]) -> ExamplePlan | None:
        """The cuts of what is perceived on a blank image of the same size, where there is nothing to see."""
        cuts = [one for one in self.interventions if perceived(one.text)]
        if not cuts:
            return None
        without = replace(self.spec, controls=False, patches=0, words=0, keep_only=None)
        try:
            blank = blanked(example)
            # An answer that is followed whole is put behind what `_plan` is given.
            encoded = self._preparing.encode(blank, instruction=self.spec.instruction)
            return self._plan(self._preparing, index, blank, encoded, without, cuts)
        except ExampleError as error:
            skipped.append((example.id, f"{BLANK}: {error}"))
            return None

    def _forms(self, view: ModelView, example: Example) -> dict[str, int]:
        """The first token of every written form of the answer that has one."""
        written = forms_of(example)
        words, instruction = list(written.values()), self.spec.instruction
        found = first_tokens(view.processor, view.family, example, words, instruction=instruction)
        return {form: found[word] for form, word in written.items() if word in found}

    def _encode_answer(self, view: ModelView, example: Example) -> Encoded:
        if self.own is not None:
            return self.own.encode(view, example)
        answer = example.answer if self.spec.target == "answer" else None
        return view.encode(example, instruction=self.spec.instruction, answer=answer)

    def _with_other_input(self, example: Example) -> Example:
        """The example with what its donor shows and plays; boxes are places in the example's own image."""
        other = self.donors.of(example)
        return replace(example, images=other.images, videos=other.videos, audios=other.audios, boxes=())

    def _run(self, view: ModelView, plans: Sequence[ExamplePlan]) -> list[JobResult | ExampleError]:
        """The outcomes of `plans`, in order; plans of one kind are computed together."""
        found: dict[int, JobResult | ExampleError] = {}
        kinds: dict[Any, list[int]] = {}
        for place, one in enumerate(plans):
            kinds.setdefault(one.kind, []).append(place)
        for places in kinds.values():
            found |= zip(places, self.executor.run(view, [plans[place].job for place in places]), strict=True)
        return [found[place] for place in range(len(plans))]

    def _swaps(
        self, kept: Sequence[FlowExample], outcomes: Sequence[JobResult | ExampleError]
    ) -> list[JobResult | ExampleError | None]:
        """Each example with another's image, scored for the tokens of its own clean run."""
        jobs: dict[int, Job] = {}
        for place, (item, outcome) in enumerate(zip(kept, outcomes, strict=True)):
            if item.swapped is not None and isinstance(outcome, JobResult):
                jobs[place] = clean_job(item.swapped, self.view.n_layers, tuple(outcome.tokens.tolist()))
        results = dict(zip(jobs, self.executor.run(self.view, list(jobs.values())), strict=True)) if jobs else {}
        return [results.get(place) for place in range(len(kept))]

    def _blanks(
        self, kept: Sequence[FlowExample], outcomes: Sequence[JobResult | ExampleError]
    ) -> dict[int, JobResult | ExampleError]:
        """The cuts on a blank image, by the place of the example, scored for the tokens of its own clean run."""
        plans: dict[int, ExamplePlan] = {}
        for place, (item, outcome) in enumerate(zip(kept, outcomes, strict=True)):
            if item.blank is not None and isinstance(outcome, JobResult):
                job = item.blank.job
                readout = replace(job.readout, tokens=tuple(outcome.tokens.tolist()))
                plans[place] = item.blank._replace(job=replace(job, readout=readout, states=()))
        return dict(zip(plans, self._run(self.view, list(plans.values())), strict=True))

    def _blank_rows(
        self, rows: RowsByTable, item: FlowExample, planned: ExamplePlan, outcome: JobResult | ExampleError
    ) -> list[tuple[str, str]]:
        """Append what the cuts do on a blank image as a control; returns what could not be computed."""
        if isinstance(outcome, ExampleError):
            return [(item.example.id, f"{BLANK}: {outcome}")]
        beside_rows(rows, item.example, planned, outcome, BLANK, 0)
        return []

    def _sample(self, example: Example) -> int:
        """Which of the random-weights models an example is given to; it depends on the example and the seed alone."""
        return model_of(example.id, self.spec.seed, len(self.baselines))

    def _baseline_outcomes(self, kept: Sequence[FlowExample]) -> dict[int, JobResult | ExampleError]:
        """What the random-weights models show, by the place of the example; each example is run on one of them."""
        found: dict[int, JobResult | ExampleError] = {}
        for sample, view in enumerate(self.baselines):
            plans = {
                place: item.baseline
                for place, item in enumerate(kept)
                if item.baseline is not None and self._sample(item.example) == sample
            }
            found |= zip(plans, self._run(view, list(plans.values())), strict=True)
        return found

    def _baseline_rows(
        self, rows: RowsByTable, item: FlowExample, planned: ExamplePlan, outcome: JobResult | ExampleError
    ) -> list[tuple[str, str]]:
        """Append what its random-weights model shows as a control; returns what could not be computed."""
        if isinstance(outcome, ExampleError):
            return [(item.example.id, f"{RANDOM_WEIGHTS}: {outcome}")]
        sample = self._sample(item.example)
        beside_rows(rows, item.example, planned, outcome, RANDOM_WEIGHTS, sample)
        valued = map_rows(item.example, planned, outcome, target_text(self.baselines[sample], outcome))
        rows["patch_values_controls"] += [row | {"control": RANDOM_WEIGHTS, "sample": sample} for row in valued]
        if self.view.family.can("lens"):
            forms = item.forms_baseline
            rows["answers_twin"] += answer_rows(self.baselines[sample], item.example, planned, outcome, forms)
        return []

    def _rounding(self, rows: RowsByTable, item: FlowExample, outcome: JobResult) -> list[tuple[str, str]]:
        """Append the same effects computed in float32; returns what could not be computed."""
        if self.raised is None or item.raised is None:
            return []
        planned = item.plan.effects_alone(item.raised, tuple(outcome.tokens.tolist()))
        with self._timed(ROUNDED):
            (exact,) = self.executor.run(self.raised, [planned.job])
        if isinstance(exact, ExampleError):
            return [(item.example.id, f"rounding: {exact}")]
        served, raised = defaultdict(list), defaultdict(list)
        planned_rows(served, item.example, item.plan, outcome)
        planned_rows(raised, item.example, planned, exact)
        rows["rounding"] += rounding_rows(served["effects"], raised["effects"])
        return []

    def _followed(self, item: FlowExample, outcome: JobResult) -> dict[str, Any]:
        first = int(outcome.tokens[0]) if len(outcome.tokens) else None
        right, text = self.spec.target == "answer" or first in item.forms.values(), target_text(self.view, outcome)
        if self.own is not None:
            right = self.own.right(item.example, text)
        return {"example_id": item.example.id, "text": text, "right": right}

    def _read(self, rows: RowsByTable, item: FlowExample, outcome: JobResult) -> None:
        if not self.view.family.can("lens"):
            return  # what the head makes of states in between is not known of this model; its cuts are
        with self._timed(LENS):
            rows["answers"] += answer_rows(self.view, item.example, item.plan, outcome, item.forms)
        if "question" in outcome.states:
            positions = [int(p) for p in item.prompt.spans["question"]]
            rows["words"] += word_rows(self.view, item.example, outcome.states["question"], positions)


def compute(spec: FlowSpec) -> RunDirectory:
    """The run of `spec`: what its directory already holds is not computed again.

    **Errors:** `ChiasmError` for an unknown span, a baseline of another depth, or if no example is left.
    """
    asked, spec = spec, with_defaults(spec)
    chosen = read_examples(spec, spec.data, spec.task)
    spec = with_longest_answer(spec, chosen)
    if spec.cuts is None:
        spec = spec.complete(cuts=default_cuts((kind for one in chosen for kind in one.kinds), spec.target))
    inputs = load_inputs(spec, chosen)
    spec = sized(spec, asked, inputs)
    if spec.windows == "centred":
        spec = spec.complete(window=spec.width_of(inputs.view.n_layers))
        spec.require_several_windows(inputs.view.n_layers)
    return STUDY.completed(spec, inputs.facts, lambda directory: _fill(directory, spec, inputs))


def _fill(directory: RunDirectory, spec: FlowSpec, inputs: Inputs) -> None:
    view, examples = inputs.view, inputs.examples
    if spec.patches and not any(example.images for example in examples[: spec.patches]):
        found = "the first examples have no image (frames of videos are not drawn)"
        raise ChiasmError("a map of patches", found, "Leave --patches out")
    require_same_depth(view, inputs.baseline)
    if spec.windows == "centred" and 2 * (width := spec.width_of(view.n_layers)) > view.n_layers:
        said = "Windows of %d layers are wide for a model of %d: --window %d or less separates layers."
        _log.warning(said, width, view.n_layers, max(1, view.n_layers // 2))
    executor = executor_of(spec.executor, spec.memory, spec.batch)
    work = FlowWork(spec, inputs, executor)
    if (ahead := work.price()) is not None:
        _log.info("%s", ahead)
    if spec.routes and (first := first_prepared(examples, lambda _, one: view.encode(one))) is not None:
        checked_routes(spec, view, first)
    run_examples(work, examples, directory, spec.batch, "flow")
    directory.take_turn()
    searched = work.searched(directory)
    # What was not asked for takes microseconds, and is no part of the run.
    parts = {name: round(value, 3) for name, value in work.parts.items() if value >= 0.001}
    facts: dict[str, Any] = {"seconds": {name: round(v, 3) for name, v in work.seconds.items()}, "parts": parts}
    if isinstance(executor, LockstepExecutor):
        # The guard's own cost and the largest difference it saw are no part of the sweep.
        guard = {name: vars(executor.guard)[name] for name in ("largest", "allowed", "reused")}
        facts["guard"] = guard | {"seconds": round(executor.guard.seconds, 3)}
    directory.manifest |= facts
    if "patches" in directory.tables():
        mapped = set(directory.table("patches")["example_id"])
        images.keep(directory, (example for example in examples[: spec.patches] if example.id in mapped))
    keep_thumbnails(directory, examples)
    directory.finish(searched)
