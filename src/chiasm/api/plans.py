"""Plans on models: `apply`, `remove`, `save`, `read_plan`, and `recover`, which trains a model with one in effect."""

from pathlib import Path

from torch import nn

from chiasm.core.errors import ChiasmError
from chiasm.core.example import DEFAULT_INSTRUCTION
from chiasm.interventions.skips import SkipPlan
from chiasm.models.skipping import apply as skipping
from chiasm.models.skipping import plans
from chiasm.models.view import ModelView
from chiasm.studies.inputs import is_endless, limit_of, read_examples, view_of
from chiasm.studies.options import Data, DataType, ExamplesSpec, Model, Split, StudySpec, data_name, model_name
from chiasm.studies.skip.contributions import typical
from chiasm.studies.skip.recovery import Recovery, measure_recovery, training_examples
from chiasm.studies.skip.run import perceptual_span
from chiasm.tiny.registry import world
from chiasm.training.settings import RecoveryPart, RecoverySettings


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


def recover(
    model: Model,
    plan: SkipPlan | str | Path,
    data: Data | None = None,
    *,
    train: RecoveryPart = "projector",
    train_on: Data | None = None,
    train_examples: int = 1024,
    steps: int = 200,
    batch_size: int = 16,
    rate: float | None = None,
    rank: int = 8,
    controls: bool = True,
    limit: int | None = None,
    split: Split = "heldout",
    media: str | Path | None = None,
    instruction: str = DEFAULT_INSTRUCTION,
    max_new_tokens: int = 32,
    seed: int = 0,
    device: str | None = None,
    dtype: DataType | None = None,
    out: str | Path | None = None,
) -> Recovery:
    """Fine-tune `model` with `plan` in effect, and measure on `data` what that gives back.

    `model` is changed: it stays trained, without the plan in effect; give the same one to `apply`, with
    `same_weights=False`. `train`: the projector, or low-rank updates of the decoder (`rank`), merged at the end.
    `train_on`: needed unless `data` have no end, whose other split is then used. `controls`: also train as long without
    the plan, and undo it. `out`: a new folder for the trained model and its plan.

    Source: Shukor & Cord 2024 (arXiv 2410.09454); the optimiser's settings for other models than theirs are ours.
    """
    if data is None:
        data = world(model_name(model) or "")
    found = _as_plan(plan)
    if train_on is None and not is_endless(data):
        judged_on = f"`{data_name(data)}` is what it is judged on"
        raise ChiasmError(f"train with the plan `{found.name}`", judged_on, "Give other examples with train_on")
    settings = RecoverySettings(
        train=train, steps=steps, batch_size=batch_size, learning_rate=rate, rank=rank, seed=seed
    )
    shown = {"limit": limit_of(data, limit), "split": split, "media": media, "instruction": instruction}
    spec = ExamplesSpec(seed=seed, device=device, dtype=dtype, **shown)
    judged = read_examples(spec, data)
    training = training_examples(data if train_on is None else train_on, train_examples, spec)
    view = view_of(model, spec)
    plans.require_fitting(view, found)
    measured = measure_recovery(
        view,
        found,
        training,
        judged,
        settings,
        typical(view, judged, perceptual_span(judged)).inputs,
        instruction=instruction,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        controls=controls,
        finish=lambda handle: handle.keep(),
    )
    if out is not None:
        plans.save(view, found, out, same_weights=False)
    return measured


def _as_plan(plan: SkipPlan | str | Path) -> SkipPlan:
    return plan if isinstance(plan, SkipPlan) else plans.read_plan(plan)


def _as_view(model: Model | nn.Module) -> ModelView:
    # Nothing is encoded here, so a model on its own needs no processor.
    return ModelView(model, None) if isinstance(model, nn.Module) else view_of(model, StudySpec())
