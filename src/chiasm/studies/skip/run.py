"""Skipping: find the work on perceptual tokens that a model can do without, verify it, and hand back a plan.

Sources: Shukor & Cord 2024 (arXiv 2405.16700, section on skipping; arXiv 2410.09454). The criterion is the divergence
of the answer, as in ShortV (arXiv 2504.00502), not how little a token changes.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import polars as pl
import torch

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.interventions.skips import PERCEPTUAL, PLAN_FILE, SkipPlan, SkipSpan
from chiasm.models.encoded import Encoded
from chiasm.models.generation import GeneratedAnswer, generate
from chiasm.models.likelihood import answer_logprobs
from chiasm.models.skipping.apply import skipping
from chiasm.models.skipping.operations import prefill_operations
from chiasm.models.skipping.plans import identity_of
from chiasm.models.skipping.timing import costs
from chiasm.models.view import ModelView
from chiasm.results.reasons import noted
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import with_inputs
from chiasm.results.storage import whole_file
from chiasm.runners.driver import Computed
from chiasm.runners.examples import Work, run_examples
from chiasm.runners.progress import progress
from chiasm.studies.inputs import (
    Inputs,
    data_facts,
    example_row,
    executor_of,
    for_preparing,
    is_endless,
    keep_thumbnails,
    load_inputs,
    model_of,
    random_models,
    read_examples,
    with_defaults,
)
from chiasm.studies.options import data_name
from chiasm.studies.prune.answers import answer_columns
from chiasm.studies.prune.sets import held_out
from chiasm.studies.skip import STUDY
from chiasm.studies.skip.contributions import contribution_job, contribution_rows, price, rows_of, typical
from chiasm.studies.skip.decision import decide, loss_bounds, time_shares
from chiasm.studies.skip.modalities import modality_job, modality_rows
from chiasm.studies.skip.recovery import plan_to_train, require_plan, run_recovery, training_examples
from chiasm.studies.skip.scores import mean_contributions, pareto, verdict_rows
from chiasm.studies.skip.search import Candidate, candidates, in_words
from chiasm.studies.skip.spec import SkipSpec
from chiasm.studies.skip.tables import NO_BATCH, NONE, RANDOM_LAYERS

_log = logging.getLogger("chiasm")
_Reasons = list[tuple[str, str]]


class SkipExample(NamedTuple):
    """An example ready to compute: its prompt, and as the baseline takes it where the baseline measures too."""

    example: Example
    calibrates: bool
    prompt: Encoded
    baseline: Encoded | None


class AnsweredExample(NamedTuple):
    """An example with the untouched model's greedy answer, and that answer teacher-forced behind the prompt."""

    item: SkipExample
    answer: GeneratedAnswer
    forced: Encoded


class SkipWork(Work[SkipExample]):
    """First the contributions on the calibration examples, then every candidate's answers on the others.

    `calibrating`: how many of the examples, which come first, calibrate. `prompt`: a typical one, by which
    operations are counted.
    """

    def __init__(
        self, spec: SkipSpec, inputs: Inputs, calibrating: int, directory: RunDirectory, prompt: Mapping[str, Any]
    ) -> None:
        self.spec, self.view, self.directory, self.prompt = spec, inputs.view, directory, prompt
        self.executor = executor_of(spec.executor, spec.memory, spec.batch)
        baseline = inputs.baseline if spec.controls else None
        self.baselines = [] if baseline is None else random_models(baseline, spec.baseline, spec.random_models)
        self._calibrating = calibrating
        self._preparing = for_preparing(self.view)
        self._preparing_baseline = for_preparing(baseline) if baseline else None
        self._candidates: list[Candidate] | None = None

    def prepare(self, index: int, example: Example) -> SkipExample:
        instruction, calibrates = self.spec.instruction, index < self._calibrating
        prompt = self._preparing.encode(example, instruction=instruction)
        rows_of(prompt, self.spec.skipped_span)
        if not example.answer.strip():
            raise ExampleError("it has no labelled answer to be judged by")
        baseline = None
        if self._preparing_baseline is not None and calibrates:
            baseline = self._preparing_baseline.encode(example, instruction=instruction)
        return SkipExample(example, calibrates, prompt, baseline)

    def compute(self, prepared: Sequence[SkipExample]) -> Computed:
        names = ("contributions", "contributions_controls", "verdicts", "modalities")
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        rows["examples"] = [example_row(item.example) for item in prepared]
        answered, failures = self._answered(self.view, prepared, [item.prompt for item in prepared])
        measured = [one for one in answered if one.item.calibrates]
        judged = [one for one in answered if not one.item.calibrates]
        if measured:
            rows["contributions"], failed = self._contributions(self.view, measured)
            failures += failed
        for sample, model in enumerate(self.baselines):
            controls = [
                (one.item, one.item.baseline)
                for one in measured
                if one.item.baseline is not None
                and model_of(one.item.example.id, self.spec.seed, len(self.baselines)) == sample
            ]
            if controls:
                answers, _ = self._answered(model, [item for item, _ in controls], [own for _, own in controls])
                found, _ = self._contributions(model, answers)
                control = {"control": RANDOM_WEIGHTS, "sample": sample}
                rows["contributions_controls"] += [row | control for row in found]
        if judged:
            rows["verdicts"], failed = self._verdicts(judged)
            failures += failed
            if self.spec.peers:
                broken = {example for example, _ in failed}
                rows["modalities"] = self._modalities([one for one in judged if one.item.example.id not in broken])
        kept = len(prepared) - len({example for example, _ in failures})
        return Computed({name: part for name, part in rows.items() if part}, failures, kept=kept)

    @property
    def candidates(self) -> list[Candidate]:
        """The plans to verify; known once all calibration examples are measured.

        **Errors:** `ChiasmError` if none of them could be.
        """
        if self._candidates is None:
            if "contributions" not in self.directory.tables():
                reasons = "; ".join(sorted({f["reason"] for f in self.directory.failures()})[:3])
                found = f"no calibration example could be measured ({reasons})"
                raise ChiasmError("propose plans", found, "Change the data")
            table = self.directory.table("contributions")
            found = candidates(self.spec, self.view, identity_of(self.view), mean_contributions(table), self.prompt)
            if self.spec.train_plan is not None:
                require_plan(self.spec.train_plan, trainable(found))  # before the answers, not behind them
            self._candidates = found
        return self._candidates

    def _answered(
        self, view: ModelView, items: Sequence[SkipExample], prompts: Sequence[Encoded]
    ) -> tuple[list[AnsweredExample], _Reasons]:
        """What the untouched `view` answers. Its own wording is followed: a label may be written as it never would."""
        found: list[AnsweredExample] = []
        failures: _Reasons = []
        for item, answer in zip(items, generate(view, prompts, self.spec.max_new_tokens), strict=True):
            try:
                forced = view.encode(item.example, instruction=self.spec.instruction, answer=answer.text)
                found.append(AnsweredExample(item, answer, forced))
            except ExampleError as error:
                failures.append((item.example.id, f"the untouched model's answer {answer.text!r}: {error}"))
        return found, failures

    def _contributions(
        self, view: ModelView, answered: Sequence[AnsweredExample]
    ) -> tuple[list[dict[str, Any]], _Reasons]:
        jobs = [contribution_job(one.forced, view.n_layers, self.spec.skipped_span) for one in answered]
        rows: list[dict[str, Any]] = []
        failures: _Reasons = []
        for one, job, outcome in zip(answered, jobs, self.executor.run(view, jobs), strict=True):
            if isinstance(outcome, ExampleError):
                failures.append((one.item.example.id, str(outcome)))
                continue
            rows += contribution_rows(one.item.example, job, outcome)
        return rows, failures

    def _modalities(self, answered: Sequence[AnsweredExample]) -> list[dict[str, Any]]:
        """The feed-forward of perceptual and of as many text tokens left out; what breaks there is left out of both."""
        own, layers = self.spec.skipped_span, self.view.n_layers
        span = own if own in PERCEPTUAL else "image"
        jobs = [modality_job(one.forced, layers, span, self.spec.seed) for one in answered]
        there = [(one, job) for one, job in zip(answered, jobs, strict=True) if job is not None]
        outcomes = self.executor.run(self.view, [job for _, job in there])
        return [
            row
            for (one, job), outcome in zip(there, outcomes, strict=True)
            if not isinstance(outcome, ExampleError)
            for row in modality_rows(one.item.example, job, outcome)
        ]

    def _verdicts(self, answered: Sequence[AnsweredExample]) -> tuple[list[dict[str, Any]], _Reasons]:
        rows = []
        broken: dict[str, str] = {}
        items = [one.item for one in answered]
        for plan, kind in self.candidates:
            with skipping(self.view, plan, same_weights=False):
                answers = [one.answer for one in answered]
                if plan.skips:
                    answers = generate(self.view, [item.prompt for item in items], self.spec.max_new_tokens)
                scored = answer_logprobs(self.view, [one.forced for one in answered])
            for item, answer, logprobs in zip(items, answers, scored, strict=True):
                if not bool(torch.isfinite(logprobs).all()):
                    broken.setdefault(item.example.id, f"{plan.name}: the model gives NaN or infinite logits")
                rows.append({"plan": plan.name, "kind": kind, **answer_columns(item.example, answer, logprobs)})
        # An example is judged under all plans or under none, so that all plans answer the same ones.
        return [row for row in rows if row["example_id"] not in broken], list(broken.items())


def trainable(found: Sequence[Candidate]) -> list[SkipPlan]:
    """The plans that training may have in effect: none of the controls."""
    return [plan for plan, kind in found if kind != RANDOM_LAYERS]


def whole_batches(spec: SkipSpec, calibrating: Sequence[Example]) -> list[Example]:
    """The calibration examples that fill whole batches: no batch both measures and verifies."""
    size = min(spec.batch, len(calibrating))
    return list(calibrating[: len(calibrating) // size * size])


def _unused(chosen: Sequence[Example], held: Sequence[Example], used: Sequence[Example]) -> _Reasons:
    """The chosen examples that neither calibrate nor judge, and why. `held`: those kept for calibration."""
    there, calibrating = {one.id for one in used}, {one.id for one in held}
    reasons = "shares an image with a calibration example", NO_BATCH
    return [(one.id, reasons[one.id in calibrating]) for one in chosen if one.id not in there]


def perceptual_span(examples: Sequence[Example]) -> SkipSpan:
    """What the first example that has something besides text has."""
    kinds = next((example.kinds for example in examples if example.kinds), ("image",))
    return next(span for span in PERCEPTUAL if span in kinds)


def compute(spec: SkipSpec) -> RunDirectory:
    """The run of `spec`: what its directory already holds is not computed again, times excepted.

    **Errors:** `ChiasmError` for too few examples, if none is left, or none has the span.
    """
    spec = with_defaults(spec)
    assert spec.data is not None
    chosen = list(read_examples(spec, spec.data))  # they are sorted, and parted by what they show
    spec = spec.complete(span=spec.span or perceptual_span(chosen))
    if len(chosen) < 2:
        asked = f"measure and verify on `{data_name(spec.data)}`"
        raise ChiasmError(asked, f"it has {len(chosen)} examples", "Give at least two, rather hundreds")
    types = len({example.type for example in chosen})
    held, rest = held_out(chosen, -(-spec.calibration // types), spec.seed)
    calibrating = whole_batches(spec, held)
    unused = noted(_unused(chosen, held, [*calibrating, *rest]))
    training = []
    if spec.train_with_plan is not None:
        own = spec.train_on is None and not is_endless(spec.data)
        source = spec.data if spec.train_on is None else spec.train_on
        training = calibrating if own else training_examples(source, spec.train_examples, spec)
    inputs = load_inputs(spec, rest)
    calibrated = {"calibration": data_facts(data_name(spec.data) or "", calibrating)}
    calibrated["training"] = data_facts(data_name(spec.train_on) or "", training)
    facts = inputs.facts | {"asked": len(chosen), "unused": unused, "data": inputs.facts["data"] | calibrated}
    _log.info("%s", price(spec, inputs.view, calibrating, rest))
    return STUDY.completed(spec, facts, lambda directory: _fill(directory, spec, inputs, calibrating, training))


def _fill(
    directory: RunDirectory,
    spec: SkipSpec,
    inputs: Inputs,
    calibrating: Sequence[Example],
    training: Sequence[Example],
) -> None:
    """Write the tables of `spec`, the recommended `plan.json`, and every verified plan in `plans/`.

    `calibrating`, in whole batches, and `training`, what a plan is trained with, share nothing with the inputs'
    examples.
    """
    view, examples = inputs.view, inputs.examples
    prompt = typical(view, [*calibrating, *examples], spec.skipped_span, spec.instruction)
    work = SkipWork(spec, inputs, len(calibrating), directory, prompt.inputs)
    size = min(spec.batch, len(calibrating))
    # Plans are proposed from all of the first, whoever measured them.
    run_examples(work, calibrating, directory, size, "skip: measure")
    run_examples(work, [*calibrating, *examples], directory, size, "skip: verify", first=len(calibrating))
    directory.take_turn()
    if "verdicts" not in directory.tables():
        directory.finish()
        raise ChiasmError("verify plans", "no held-out example could be answered", "Give more examples")
    answers = with_inputs(directory.table("verdicts"), directory.table("examples"))
    verified = {row["plan"]: row for row in verdict_rows(answers)}
    rows = write_plans(spec, view, prompt, work.candidates, verified, answers, directory)
    keep_thumbnails(directory, examples)
    if spec.train_with_plan is not None:
        plan = plan_to_train(rows, spec.train_plan, trainable(work.candidates))
        run_recovery(spec, view, plan, training, examples, directory, prompt.inputs)
    directory.finish()


def write_plans(
    spec: SkipSpec,
    view: ModelView,
    prompt: Encoded,
    proposed: Sequence[Candidate],
    verified: Mapping[str, dict[str, Any]],
    answers: pl.DataFrame,
    directory: RunDirectory,
) -> list[dict[str, Any]]:
    """Time the `verified` plans on `prompt`; write the tables `timings` and `plans`, every plan, and plan.json.

    `answers`: the table `verdicts` with the input of every example. No plan is written that is a control.
    """
    _log.info("Timing %d plans, %d repeats, taking turns.", len(proposed), spec.repeats)
    inputs = prompt.inputs
    together, _ = view.collate([prompt] * spec.batch)
    # What a user gains is what the model gains as it is served.
    served = view.as_served()
    found = [one for one in proposed if one.plan.name in verified]
    plain = prefill_operations(view, inputs).total
    with served.readable_attention(), progress("steps") as bar:
        task = bar.add_task("time", total=len(found) + spec.repeats)
        given = (served.cast(inputs), served.cast(together), [plan for plan, _ in found], spec.repeats)
        timed = costs(served, *given, lambda: bar.advance(task))
    rows, timings = [], []
    for (plan, _), cost in zip(found, timed, strict=True):
        rows.append(
            verified[plan.name]
            | {
                "skipped": in_words(plan),
                "operations_share": prefill_operations(view, inputs, plan).total / plain,
                "prefill_seconds": cost.prefill_seconds,
                "prefill_spread": cost.prefill_spread,
                "decode_seconds": cost.decode_seconds,
                "peak_bytes": cost.peak_bytes,
                "max_loss": float(spec.max_loss),
            }
        )
        timings += [{"plan": plan.name, "repeat": k, **one._asdict()} for k, one in enumerate(cost.repeats)]
    times = pl.DataFrame(timings)
    decision = decide(answers, pl.DataFrame(rows, infer_schema_length=None), times)
    chosen, front, shares = decision.recommended, pareto(rows), time_shares(times, decision.claims)
    losses = loss_bounds(decision.claims)
    for row in rows:
        row |= shares[row["plan"]] | losses.get(row["plan"], {})
        row["recommended"], row["pareto"] = row["plan"] == chosen, row["plan"] in front
        row["loss_bound"] = decision.bounds.get(row["plan"])
    directory.write_table("timings", timings)
    directory.write_table("plans", rows)
    (directory.path / "plans").mkdir(exist_ok=True)
    for (plan, kind), row in zip(found, rows, strict=True):
        if kind == RANDOM_LAYERS:
            continue
        measured = {k: v for k, v in row.items() if v is not None and k not in ("plan", "kind")}
        for name in (f"plans/{plan.name}.json", *([PLAN_FILE] if plan.name == chosen else [])):
            with whole_file(directory.path / name) as file:
                file.write(replace(plan, measured=measured).to_json().encode())
    assert chosen == NONE or (directory.path / PLAN_FILE).exists()
    return rows
