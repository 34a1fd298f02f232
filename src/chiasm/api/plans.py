"""Plans on models: `apply`, `remove`, `save`, `read_plan`, and `recover`, which trains a model with one in effect."""

from dataclasses import replace
from pathlib import Path

from torch import nn

from chiasm.api.functions import function_of
from chiasm.core.errors import ChiasmError
from chiasm.interventions.skips import SkipPlan
from chiasm.models.skipping import apply as skipping
from chiasm.models.skipping import plans
from chiasm.models.view import ModelView
from chiasm.studies.inputs import is_endless, limit_of, read_examples, view_of
from chiasm.studies.options import LoadingOptions, Model, data_name, model_name
from chiasm.studies.skip.contributions import typical
from chiasm.studies.skip.recovery import Recovery, measure_recovery, training_examples
from chiasm.studies.skip.run import perceptual_span
from chiasm.studies.skip.spec import RecoverSpec
from chiasm.tiny.registry import world


def apply(model: Model | nn.Module, plan: SkipPlan | str | Path, *, same_weights: bool = True) -> nn.Module:
    """Put `plan` into effect: the model that is returned skips, in `forward` and in `generate()`.

    It is the model itself, an ordinary transformers model; `remove` undoes it. `plan`: a `SkipPlan`, or a path to a
    plan.json, a run, or a checkpoint that `save` wrote. `same_weights=False` also takes a model of the same shape with
    other weights.

    **Errors:** `ChiasmError` for a plan of another model.
    """
    return skipping.apply(_as_view(model), _as_plan(plan), same_weights=same_weights)


def remove(model: ModelView | nn.Module) -> nn.Module:
    """Undo `apply`. **Errors:** `ChiasmError` if no plan is in effect."""
    return skipping.remove(_as_view(model))


def save(model: ModelView, plan: SkipPlan | str | Path, directory: str | Path, *, same_weights: bool = True) -> Path:
    """Write model, processor and plan.json; plain transformers opens the directory, `apply` takes its plan.

    `same_weights=False`: for a model that was fine-tuned since the plan was made; it then becomes a plan of these
    weights.

    **Errors:** `ChiasmError` for a plan of another model.
    """
    return plans.save(model, _as_plan(plan), directory, same_weights=same_weights)


def read_plan(path: str | Path) -> SkipPlan:
    """The plan in a plan.json, a run, or a checkpoint that `save` wrote."""
    return plans.read_plan(path)


def _recover(spec: RecoverSpec) -> Recovery:
    data = world(model_name(spec.model) or "") if spec.data is None else spec.data
    found = _as_plan(spec.plan)
    if spec.train_on is None and not is_endless(data):
        judged_on = f"`{data_name(data)}` is what it is judged on"
        raise ChiasmError(f"train with the plan `{found.name}`", judged_on, "Give other examples with train_on")
    spec = replace(spec, limit=limit_of(data, spec.limit))
    judged = read_examples(spec, data)
    training = training_examples(data if spec.train_on is None else spec.train_on, spec.train_examples, spec)
    view = view_of(spec.model, spec)
    plans.require_fitting(view, found)
    measured = measure_recovery(
        view,
        found,
        training,
        judged,
        spec.recovery(),
        typical(view, judged, perceptual_span(judged), spec.instruction).inputs,
        instruction=spec.instruction,
        max_new_tokens=spec.max_new_tokens,
        batch_size=spec.batch_size,
        controls=spec.controls,
        finish=lambda handle: handle.keep(),
    )
    if spec.out is not None:
        plans.save(view, found, spec.out, same_weights=False)
    return measured


recover = function_of("recover", RecoverSpec, _recover, Recovery)


def _as_plan(plan: SkipPlan | str | Path) -> SkipPlan:
    return plan if isinstance(plan, SkipPlan) else plans.read_plan(plan)


def _as_view(model: Model | nn.Module) -> ModelView:
    # Nothing is encoded here, so a model on its own needs no processor.
    return ModelView(model, None) if isinstance(model, nn.Module) else view_of(model, LoadingOptions())
