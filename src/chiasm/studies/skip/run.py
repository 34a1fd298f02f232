"""Skipping: find the work on perceptual tokens that a model can do without, verify it, and hand back a plan.

Sources: Shukor & Cord 2024 (arXiv 2405.16700, section on skipping; arXiv 2410.09454). The criterion is the divergence
of the answer, as in ShortV (arXiv 2504.00502), not how little a token changes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.data.scoring import correct
from chiasm.interventions.skips import SkipPlan
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.executors.jobs import Executor
from chiasm.models.generation import GeneratedAnswer, generate
from chiasm.models.likelihood import answer_logprobs
from chiasm.models.skipping.apply import skipping
from chiasm.models.skipping.plans import identity_of
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import with_inputs
from chiasm.runners import local
from chiasm.runners.base import Computed, Work
from chiasm.studies.common import example_row, for_preparing
from chiasm.studies.skip.contributions import contribution_job, contribution_rows, rows_of
from chiasm.studies.skip.plans import write_plans
from chiasm.studies.skip.price import typical
from chiasm.studies.skip.recovery import plan_to_train, require_plan, run_recovery
from chiasm.studies.skip.search import Candidate, candidates
from chiasm.studies.skip.spec import SkipSpec
from chiasm.studies.skip.summary import mean_contributions, verdict_rows
from chiasm.studies.skip.tables import RANDOM_LAYERS

_Reasons = list[tuple[str, str]]


class Prepared(NamedTuple):
    """An example ready to compute: its prompt, and as the twin takes it where the twin measures too."""

    example: Example
    calibrates: bool
    prompt: Encoded
    twin: Encoded | None


class Answered(NamedTuple):
    """An example with the untouched model's greedy answer, and that answer teacher-forced behind the prompt."""

    item: Prepared
    answer: GeneratedAnswer
    forced: Encoded


class SkipWork(Work[Prepared]):
    """First the contributions on the calibration examples, then every candidate's answers on the others."""

    def __init__(
        self,
        spec: SkipSpec,
        view: ModelView,
        calibrating: int,
        executor: Executor,
        directory: RunDirectory,
        twin: ModelView | None,
        inputs: Mapping[str, Any],
    ) -> None:
        self.spec, self.view, self.executor, self.directory, self.inputs = spec, view, executor, directory, inputs
        self.twin = twin if spec.controls else None
        self._calibrating = calibrating
        self._preparing = for_preparing(view)
        self._preparing_twin = for_preparing(self.twin) if self.twin else None
        self._candidates: list[Candidate] | None = None

    def prepare(self, index: int, example: Example) -> Prepared:
        instruction, calibrates = self.spec.instruction, index < self._calibrating
        prompt = self._preparing.encode(example, instruction=instruction)
        rows_of(prompt, self.spec.span)
        if not example.answer.strip():
            raise ExampleError("it has no labelled answer to be judged by")
        twin = None
        if self._preparing_twin is not None and calibrates:
            twin = self._preparing_twin.encode(example, instruction=instruction)
        return Prepared(example, calibrates, prompt, twin)

    def compute(self, prepared: Sequence[Prepared]) -> Computed:
        rows: dict[str, list[dict[str, Any]]] = {"contributions": [], "contributions_controls": [], "verdicts": []}
        rows["examples"] = [example_row(item.example) for item in prepared]
        answered, failures = self._answered(self.view, prepared, [item.prompt for item in prepared])
        measured = [one for one in answered if one.item.calibrates]
        judged = [one for one in answered if not one.item.calibrates]
        if measured:
            rows["contributions"], failed = self._contributions(self.view, measured)
            failures += failed
        with_twin = [one.item for one in measured if one.item.twin is not None]
        if self.twin is not None and with_twin:
            answers, _ = self._answered(self.twin, with_twin, [item.twin for item in with_twin if item.twin])
            found, _ = self._contributions(self.twin, answers)
            rows["contributions_controls"] = [row | {"control": RANDOM_WEIGHTS} for row in found]
        if judged:
            rows["verdicts"], failed = self._verdicts(judged)
            failures += failed
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
                raise ChiasmError(
                    "propose plans", f"no calibration example could be measured ({reasons})", "Change the data"
                )
            table = self.directory.table("contributions")
            identity = identity_of(self.view)
            found = candidates(self.spec, self.view, identity, mean_contributions(table), self.inputs)
            if self.spec.train_plan is not None:
                require_plan(self.spec.train_plan, trainable(found))  # told before the answers, not behind them
            self._candidates = found
        return self._candidates

    def _answered(
        self, view: ModelView, items: Sequence[Prepared], prompts: Sequence[Encoded]
    ) -> tuple[list[Answered], _Reasons]:
        """What the untouched `view` answers. Its own wording is followed: a label may be written as it never would."""
        found: list[Answered] = []
        failures: _Reasons = []
        for item, answer in zip(items, generate(view, prompts, self.spec.max_new_tokens), strict=True):
            try:
                forced = view.encode(item.example, instruction=self.spec.instruction, answer=answer.text)
                found.append(Answered(item, answer, forced))
            except ExampleError as error:
                failures.append((item.example.id, f"the untouched model's answer {answer.text!r}: {error}"))
        return found, failures

    def _contributions(self, view: ModelView, answered: Sequence[Answered]) -> tuple[list[dict[str, Any]], _Reasons]:
        jobs = [contribution_job(one.forced, view.n_layers, self.spec.span) for one in answered]
        rows: list[dict[str, Any]] = []
        failures: _Reasons = []
        for one, job, outcome in zip(answered, jobs, self.executor.run(view, jobs), strict=True):
            if isinstance(outcome, ExampleError):
                failures.append((one.item.example.id, str(outcome)))
                continue
            rows += contribution_rows(one.item.example, job, outcome)
        return rows, failures

    def _verdicts(self, answered: Sequence[Answered]) -> tuple[list[dict[str, Any]], _Reasons]:
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
                rows.append(
                    {
                        "example_id": item.example.id,
                        "type": item.example.type,
                        "plan": plan.name,
                        "kind": kind,
                        "answer": item.example.answer,
                        "generated": answer.text,
                        "correct": correct(answer.text, item.example.answer),
                        "logprob": float(logprobs.double().sum()),
                    }
                )
        # An example is judged under all plans or under none, so that all plans answer the same ones.
        return [row for row in rows if row["example_id"] not in broken], list(broken.items())


def trainable(found: Sequence[Candidate]) -> list[SkipPlan]:
    """The plans that training may have in effect: none of the controls."""
    return [plan for plan, kind in found if kind != RANDOM_LAYERS]


def whole_units(spec: SkipSpec, calibrating: Sequence[Example]) -> list[Example]:
    """The calibration examples that fill whole units: no unit both measures and verifies."""
    unit = min(spec.unit, len(calibrating))
    return list(calibrating[: len(calibrating) // unit * unit])


def run_skip(
    spec: SkipSpec,
    view: ModelView,
    calibrating: Sequence[Example],
    examples: Sequence[Example],
    directory: RunDirectory,
    executor: Executor,
    twin: ModelView | None = None,
    say: Callable[[str], None] | None = None,
    training: Sequence[Example] = (),
) -> None:
    """Fill `directory` with the tables of `spec`, the recommended `plan.json`, and every verified plan in `plans/`.

    What it already holds is not computed again, times excepted. `calibrating`: none of `examples`; a remainder that
    fills no unit is not used. `training`: what a plan is trained with, where `spec` asks for it; none of `examples`.

    **Errors:** `ChiasmError` if no example is left, or none with the span.
    """
    unit = min(spec.unit, len(calibrating))
    calibrating = whole_units(spec, calibrating)
    prompt = typical(view, spec, [*calibrating, *examples])
    work = SkipWork(spec, view, len(calibrating), executor, directory, twin, prompt.inputs)
    local.run(work, [*calibrating, *examples], directory, unit, "skip")
    if "verdicts" not in directory.tables():
        directory.finish()
        raise ChiasmError("verify plans", "no held-out example could be answered", "Give more examples")
    answers = with_inputs(directory.table("verdicts"), directory.table("examples"))
    verified = {row["plan"]: row for row in verdict_rows(answers)}
    if say is not None:
        say(f"Timing {len(work.candidates)} plans, {spec.repeats} repeats, taking turns.")
    rows = write_plans(spec, view, prompt, work.candidates, verified, directory)
    if spec.train_with_plan is not None:
        plan = plan_to_train(rows, spec.train_plan, trainable(work.candidates))
        run_recovery(spec, view, plan, training, examples, directory, prompt.inputs)
    directory.finish()
