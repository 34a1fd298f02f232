"""The facade's `skip`, and plans on models: `apply`, `remove`, `save`."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from chiasm.api.recovering import perceptual_span, to_train_on
from chiasm.api.shared import (
    Data,
    Model,
    data_name,
    data_of,
    finished,
    is_endless,
    limit_of,
    name_of,
    subject_of,
    twin_of,
    view_of,
)
from chiasm.core.errors import ChiasmError
from chiasm.core.example import DEFAULT_INSTRUCTION, Example
from chiasm.data import examples
from chiasm.data.sources import Split
from chiasm.interventions.skips import SkipPlan, SkipSpan
from chiasm.models.skipping import apply as _skipping
from chiasm.models.skipping import plans as _plans
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.common import ExecutorName, data_facts, executor_of
from chiasm.studies.prune.sets import held_out
from chiasm.studies.run import Run
from chiasm.studies.skip.price import price
from chiasm.studies.skip.run import run_skip, whole_units
from chiasm.studies.skip.spec import SkipSpec
from chiasm.training.settings import RecoveryPart


def skip(
    model: Model,
    data: Data | None = None,
    *,
    max_loss: float = 0.01,
    span: SkipSpan | None = None,
    calibration: int = 32,
    peers: bool = True,
    controls: bool = True,
    twin: Model | None = None,
    draws: int = 2,
    repeats: int = 7,
    limit: int | None = None,
    split: Split = "heldout",
    media: str | Path | None = None,
    instruction: str = DEFAULT_INSTRUCTION,
    max_new_tokens: int = 32,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    memory: int | None = None,
    executor: ExecutorName = "lockstep",
    train_with_plan: RecoveryPart | None = None,
    train_plan: str | None = None,
    train_on: Data | None = None,
    train_examples: int = 1024,
    train_steps: int = 200,
    train_rate: float | None = None,
    say: Callable[[str], None] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    fresh: bool = False,
) -> Run:
    """Find the work on perceptual tokens that the model can do without, at a loss of at most `max_loss` right answers.

    `max_loss`: a share of all answers (0.01: one of a hundred). `span`: image, video, audio, text or all; default: what
    the examples have besides text. `calibration`: so many of the examples measure what
    each layer contributes, the others verify. The run holds the recommended `plan.json` and every verified plan in
    `plans/`; `apply` puts one into effect. `memory`: bytes above the clean pass. `say` is told the price before it is
    paid. `train_with_plan`: also fine-tune the projector or LoRA with a plan in effect, and measure what that gives
    back; the run then holds the trained model in `recovered/`. The remaining names are those of `SkipSpec` and of the
    command line.

    Sources: Shukor & Cord 2024 (arXiv 2405.16700, 2410.09454); ShortV (arXiv 2504.00502) for the criterion.
    """
    data = data_of(model, data)
    named = name_of(model)
    beside = twin_of(named, twin) if controls else None
    limit = limit_of(data, limit)
    chosen = list(examples(data, limit, seed, split, media))
    spec = SkipSpec(
        model=named,
        data=data_name(data),
        max_loss=max_loss,
        span=span or perceptual_span(chosen),
        limit=limit,
        split=split,
        calibration=calibration,
        peers=peers,
        controls=controls,
        twin=None if beside is None else name_of(beside),
        draws=draws,
        repeats=repeats,
        instruction=instruction,
        max_new_tokens=max_new_tokens,
        seed=seed,
        unit=8 if batch_size is None else batch_size,
        executor=executor,
        train_with_plan=train_with_plan,
        train_plan=train_plan,
        train_on=None if train_on is None else data_name(train_on),
        train_examples=train_examples,
        train_steps=train_steps,
        train_rate=train_rate,
    )
    calibrating, rest = _parted(spec, chosen)
    training = calibrating if train_with_plan else []
    if train_with_plan and (train_on is not None or is_endless(data)):
        training = to_train_on(data if train_on is None else train_on, train_examples, seed, split, media)
    subject = subject_of(model, beside, rest, spec.data, seed=seed, device=device, dtype=dtype)
    calibrated = {"calibration": data_facts(spec.data, calibrating)}
    facts = subject.facts | {"asked": len(chosen), "data": subject.facts["data"] | calibrated}
    if say is not None:
        say(str(price(spec, subject.view, calibrating, rest)))
    with RunDirectory.open(out, spec, resume=resume, fresh=fresh, facts=facts) as directory:
        if not directory.complete:
            computing = executor_of(executor, memory, spec.unit)
            run_skip(spec, subject.view, calibrating, rest, directory, computing, subject.twin, say, training)
    return finished(directory, out)


def apply(model: Model | nn.Module, plan: SkipPlan | str | Path, *, same_weights: bool = True) -> nn.Module:
    """Put `plan` into effect: the model that is returned skips, in `forward` and in `generate()`.

    It is the model itself, an ordinary transformers model; `remove` undoes it. `plan`: a `SkipPlan`, or a path to a
    plan.json, a run, or a checkpoint that `save` wrote. `same_weights=False` also takes a model of the same shape with
    other weights.

    **Errors:** `ChiasmError` for a plan of another model.
    """
    found = plan if isinstance(plan, SkipPlan) else _plans.read_plan(plan)
    return _skipping.apply(_as_view(model), found, same_weights=same_weights)


def remove(model: ModelView | nn.Module) -> nn.Module:
    """Undo `apply`. **Errors:** `ChiasmError` if no plan is in effect."""
    return _skipping.remove(_as_view(model))


def save(model: ModelView, plan: SkipPlan | str | Path, directory: str | Path, *, same_weights: bool = True) -> Path:
    """Write model, processor and plan.json; plain transformers opens the directory, `apply` takes its plan.

    `same_weights=False`: for a model that was fine-tuned since the plan was made; it then becomes a plan of these
    weights.

    **Errors:** `ChiasmError` for a plan of another model.
    """
    found = plan if isinstance(plan, SkipPlan) else _plans.read_plan(plan)
    return _plans.save(model, found, directory, same_weights=same_weights)


def read_plan(path: str | Path) -> SkipPlan:
    """The plan in a plan.json, a run, or a checkpoint that `save` wrote."""
    return _plans.read_plan(path)


def _as_view(model: Model | nn.Module) -> ModelView:
    # Nothing is encoded here, so a bare model needs no processor.
    return ModelView(model, None) if isinstance(model, nn.Module) else view_of(model, None, None)


def _parted(spec: SkipSpec, chosen: list[Example]) -> tuple[list[Example], list[Example]]:
    if len(chosen) < 2:
        raise ChiasmError(
            f"measure and verify on `{spec.data}`",
            f"it has {len(chosen)} examples",
            "Give at least two, rather hundreds",
        )
    types = len({example.type for example in chosen})
    calibrating, rest = held_out(chosen, -(-spec.calibration // types), spec.seed)
    return whole_units(spec, calibrating), rest
