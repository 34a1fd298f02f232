"""Recovery measured: the model before, under a plan, and after training with the plan or without it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.data.scoring import correct
from chiasm.interventions.skips import SkipPlan, SkipSpan
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.generation import generate
from chiasm.models.likelihood import answer_logprobs
from chiasm.models.skipping.apply import skipping
from chiasm.models.skipping.operations import prefill_operations
from chiasm.models.skipping.plans import save
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.results.series import with_inputs
from chiasm.results.storage import telling_full_disk, whole_directory
from chiasm.runners import local
from chiasm.studies.prune.answers import written_answers
from chiasm.studies.prune.sets import require_disjoint
from chiasm.studies.skip.contributions import rows_of
from chiasm.studies.skip.spec import SkipSpec
from chiasm.studies.skip.summary import recovery_rows
from chiasm.studies.skip.tables import TRAINED_PLAIN, TRAINED_WITH_PLAN, UNTRAINED
from chiasm.training.recovery import RecoverySettings, TunedModel, tuned

_Pair = tuple[Example, Encoded, Encoded]
RECOVERED_FOLDER = "recovered"
"""Where a run keeps the model that was trained with its plan."""


class Recovered(NamedTuple):
    """`rows`: one per example and cell, for the table `recovered`. `losses`: of training with the plan."""

    rows: list[dict[str, Any]]
    losses: tuple[float, ...]


def measure_recovery(
    view: ModelView,
    plan: SkipPlan,
    training: Sequence[Example],
    examples: Sequence[Example],
    settings: RecoverySettings,
    *,
    instruction: str,
    max_new_tokens: int,
    unit: int,
    controls: bool = True,
    done: Callable[[str], None] = lambda what: None,
    finish: Callable[[TunedModel], None] = lambda handle: None,
) -> Recovered:
    """Answers to `examples` with and without `plan`: untrained, trained without the plan (control), and with it.

    The form in which a label is written is the untouched model's. `finish` is called while the model trained with the
    plan is there; the model is as it was afterwards, unless `finish` keeps it.

    **Errors:** `ChiasmError` if both sets share an example or an image, or nothing can be used.
    """
    require_disjoint(training, examples)
    span = plan.skips[0].span if plan.skips else "all"
    taught = [forced for _, _, forced in _encode(view, training, span, instruction, unit, ends=True)]
    judged = list(_encode(view, examples, span, instruction, unit, ends=False))
    if not judged:
        raise ChiasmError("measure recovery", "no held-out example can be used", "Give others")

    def cells(trained: str) -> list[dict[str, Any]]:
        rows = []
        for name, on in (("", nullcontext), (plan.name, lambda: skipping(view, plan, same_weights=False))):
            with on():
                rows += _answers(view, judged, {"trained": trained, "plan": name}, max_new_tokens, unit)
        return rows

    rows = cells(UNTRAINED)
    for trained, under in ((TRAINED_PLAIN, None), (TRAINED_WITH_PLAN, plan)):
        if under is None and not controls:
            continue
        with tuned(view, taught, settings, under) as handle:
            done(trained)
            rows += cells(trained)
            if under is not None:
                losses = handle.losses
                finish(handle)
    return Recovered(rows, losses)


def _encode(
    view: ModelView, examples: Sequence[Example], span: SkipSpan, instruction: str, unit: int, *, ends: bool
) -> Iterator[_Pair]:
    """The examples that have a label, the span and room in the context; others cannot be trained or judged on."""
    labelled = [example for example in examples if example.answer.strip()]
    written = written_answers(view, labelled, instruction, unit)
    for example in labelled:
        answer = written.get(example.id, example.answer)
        try:
            prompt = view.encode(example, instruction=instruction)
            rows_of(prompt, span)
            yield example, prompt, view.encode(example, instruction=instruction, answer=answer, ends=ends)
        except ExampleError:
            continue  # the run records its reason where it verifies plans


def _answers(
    view: ModelView, judged: Sequence[_Pair], columns: dict[str, Any], max_new_tokens: int, unit: int
) -> list[dict[str, Any]]:
    rows = []
    for start in range(0, len(judged), unit):
        part = judged[start : start + unit]
        answers = generate(view, [prompt for _, prompt, _ in part], max_new_tokens)
        scored = answer_logprobs(view, [forced for _, _, forced in part])
        for (example, _, _), answer, logprobs in zip(part, answers, scored, strict=True):
            rows.append(
                {"example_id": example.id, "type": example.type, **columns}
                | {
                    "answer": example.answer,
                    "generated": answer.text,
                    "correct": correct(answer.text, example.answer),
                    "logprob": float(logprobs.double().sum()),
                }
            )
    return rows


def plan_to_train(plans: Sequence[dict[str, Any]], wanted: str | None, eligible: Sequence[SkipPlan]) -> SkipPlan:
    """The plan named `wanted`; without a name, of those that are no control the one with the fewest operations.

    **Errors:** `ChiasmError` if there is none of that name.
    """
    if wanted is not None:
        return require_plan(wanted, eligible)
    by_name = {plan.name: plan for plan in eligible if plan.skips}
    shares = {row["plan"]: row["operations_share"] for row in plans if row["plan"] in by_name}
    return by_name[min(shares, key=lambda name: shares[name])]


def require_plan(wanted: str, eligible: Sequence[SkipPlan]) -> SkipPlan:
    """The plan named `wanted`.

    **Errors:** `ChiasmError` if there is none of that name.
    """
    by_name = {plan.name: plan for plan in eligible if plan.skips}
    if wanted not in by_name:
        known = ", ".join(by_name)
        raise ChiasmError(f"train with the plan `{wanted}`", f"this run has {known}", "Name one of those")
    return by_name[wanted]


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

    def finish(handle: TunedModel) -> None:
        with telling_full_disk("a model", folder.parent), whole_directory(folder) as partial:
            handle.merge()
            save(view, plan, partial, same_weights=False)

    with local.progress() as bar:
        task = bar.add_task("train", total=2 if spec.controls else 1)
        found = measure_recovery(
            view,
            plan,
            training,
            examples,
            settings,
            instruction=spec.instruction,
            max_new_tokens=spec.max_new_tokens,
            unit=spec.unit,
            controls=spec.controls,
            done=lambda trained: bar.advance(task),
            finish=finish,
        )
    share = prefill_operations(view, inputs, plan).total / prefill_operations(view, inputs).total
    directory.write_table("recovered", found.rows)
    answers = with_inputs(directory.table("recovered"), directory.table("examples"))
    directory.write_table("recovery", recovery_rows(answers, share))
