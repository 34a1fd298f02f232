"""Recovery measured: the model before, under a plan, and after training with the plan or without it."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import polars as pl

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.data import examples as read
from chiasm.interventions.skips import SkipPlan, SkipSpan
from chiasm.models.skipping.apply import skipping
from chiasm.models.skipping.operations import prefill_operations
from chiasm.models.skipping.plans import save
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import EXAMPLES
from chiasm.results.series import with_inputs
from chiasm.results.storage import reporting_full_disk, whole_directory
from chiasm.results.tables import conform
from chiasm.studies.inputs import example_row
from chiasm.studies.options import Data, ReadingOptions
from chiasm.studies.prune.answers import JudgedExample, answer_rows, written_answers
from chiasm.studies.prune.sets import other_split, require_disjoint
from chiasm.studies.skip.contributions import rows_of
from chiasm.studies.skip.scores import recovery_rows
from chiasm.studies.skip.spec import SkipSpec
from chiasm.studies.skip.tables import (
    RECOVERED,
    RECOVERED_FOLDER,
    RECOVERY,
    TRAINED_PLAIN,
    TRAINED_WITH_PLAN,
    UNTRAINED,
)
from chiasm.training.recovery import RecoveredModel, trained_while_skipping
from chiasm.training.settings import RecoverySettings

_log = logging.getLogger("chiasm")


@dataclass(frozen=True, slots=True)
class Recovery:
    """What training with a plan gave back.

    `summary` and `answers` have the columns of the tables `recovery` and `recovered`; `losses`: of training with the
    plan, nat per token and step.
    """

    summary: pl.DataFrame
    answers: pl.DataFrame
    losses: tuple[float, ...]


def measure_recovery(
    view: ModelView,
    plan: SkipPlan,
    training: Sequence[Example],
    examples: Sequence[Example],
    settings: RecoverySettings,
    inputs: Mapping[str, Any],
    *,
    instruction: str,
    max_new_tokens: int,
    batch_size: int,
    controls: bool = True,
    finish: Callable[[RecoveredModel], None] = lambda handle: None,
) -> Recovery:
    """Answers to `examples` with and without `plan`: untrained, trained without the plan (control), and with it.

    `inputs`: a typical prompt, by which operations are counted. The form in which a label is written is the untouched
    model's. `finish` is called while the model trained with the plan is there; the model is as it was afterwards,
    unless `finish` keeps it.

    **Errors:** `ChiasmError` if both sets share an example or an image, or nothing can be used.
    """
    require_disjoint(training, examples)
    span = plan.skips[0].span if plan.skips else "all"
    encoded = [one.forced for one in _encode(view, training, span, instruction, batch_size, ends=True)]
    judged = list(_encode(view, examples, span, instruction, batch_size, ends=False))
    if not judged:
        raise ChiasmError("measure recovery", "no held-out example can be used", "Give others")

    def cells(trained: str) -> list[dict[str, Any]]:
        rows = []
        for name, on in (("", nullcontext), (plan.name, lambda: skipping(view, plan, same_weights=False))):
            with on():
                for start in range(0, len(judged), batch_size):
                    found = answer_rows(view, judged[start : start + batch_size], max_new_tokens)
                    rows += [{"trained": trained, "plan": name, **answer} for _, _, answer in found]
        return rows

    rows = cells(UNTRAINED)
    losses: tuple[float, ...] = ()
    for trained, under in ((TRAINED_PLAIN, None), (TRAINED_WITH_PLAN, plan)):
        if under is None and not controls:
            continue
        _log.info("Training on %d examples, %d steps, %s.", len(encoded), settings.steps, trained.replace("-", " "))
        with trained_while_skipping(view, encoded, settings, under) as handle:
            rows += cells(trained)
            if under is not None:
                losses = handle.losses
                finish(handle)
    share = prefill_operations(view, inputs, plan).total / prefill_operations(view, inputs).total
    answers = conform(RECOVERED, rows)
    known = conform(EXAMPLES, [example_row(example) for example in examples])
    return Recovery(conform(RECOVERY, recovery_rows(with_inputs(answers, known), share)), answers, losses)


def _encode(
    view: ModelView, examples: Sequence[Example], span: SkipSpan, instruction: str, batch_size: int, *, ends: bool
) -> Iterator[JudgedExample]:
    """The examples that have a label, the span and room in the context; others cannot be trained or judged on."""
    labelled = [example for example in examples if example.answer.strip()]
    written = written_answers(view, labelled, instruction, batch_size)
    for example in labelled:
        answer = written.get(example.id, example.answer)
        try:
            prompt = view.encode(example, instruction=instruction)
            rows_of(prompt, span)
            forced = view.encode(example, instruction=instruction, answer=answer, ends=ends)
        except ExampleError:
            continue  # the run records its reason where it verifies plans
        yield JudgedExample(example, prompt, forced)


def training_examples(data: Data, count: int, spec: ReadingOptions) -> list[Example]:
    """What a model is trained on: the other split of data that are made; of others what is there."""
    return list(read(data, count, spec.seed, other_split(spec.split), spec.media, allow_outside=spec.allow_outside))


def plan_to_train(plans: Sequence[dict[str, Any]], name: str | None, eligible: Sequence[SkipPlan]) -> SkipPlan:
    """The plan called `name`; without a name, of the `eligible` the one with the fewest operations.

    **Errors:** `ChiasmError` if there is none of that name.
    """
    names = {plan.name for plan in eligible if plan.skips}
    shares = {row["plan"]: row["operations_share"] for row in plans if row["plan"] in names}
    return require_plan(min(shares, key=lambda plan: shares[plan]) if name is None else name, eligible)


def require_plan(name: str, eligible: Sequence[SkipPlan]) -> SkipPlan:
    """The plan called `name`.

    **Errors:** `ChiasmError` if there is none of that name.
    """
    by_name = {plan.name: plan for plan in eligible if plan.skips}
    if name not in by_name:
        raise ChiasmError(f"train with the plan `{name}`", f"this run has {', '.join(by_name)}", "Name one of those")
    return by_name[name]


def run_recovery(
    spec: SkipSpec,
    view: ModelView,
    plan: SkipPlan,
    training: Sequence[Example],
    examples: Sequence[Example],
    directory: RunDirectory,
    inputs: Mapping[str, Any],
) -> None:
    """Write the tables of recovery, and the trained model with its plan to `recovered/` of the run.

    `inputs`: a typical prompt, by which operations are counted. What the run holds already is not done again.
    """
    settings, folder = spec.recovery(), directory.path / RECOVERED_FOLDER
    assert settings is not None
    if {"recovered", "recovery"} <= set(directory.tables()) and folder.is_dir():
        return

    def finish(handle: RecoveredModel) -> None:
        with reporting_full_disk("a model", folder.parent), whole_directory(folder) as partial:
            handle.merge()
            save(view, plan, partial, same_weights=False)

    found = measure_recovery(
        view,
        plan,
        training,
        examples,
        settings,
        inputs,
        instruction=spec.instruction,
        max_new_tokens=spec.max_new_tokens,
        batch_size=spec.batch,
        controls=spec.controls,
        finish=finish,
    )
    directory.write_table("recovered", found.answers)
    directory.write_table("recovery", found.summary)
