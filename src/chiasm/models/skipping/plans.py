"""Plans beside models: whose they are, whether they fit, and how they are stored and found again."""

import logging
from dataclasses import replace
from pathlib import Path

from chiasm.core.errors import ChiasmError
from chiasm.interventions.skips import PERCEPTUAL, PLAN_FILE, ModelIdentity, SkipPlan, SkipSpan
from chiasm.models.view import ModelView

_log = logging.getLogger("chiasm")


def identity_of(view: ModelView) -> ModelIdentity:
    """What a plan remembers of the model it was made for."""
    return ModelIdentity(
        model_type=view.config.model_type, layers=view.n_layers, width=view.width, weights=view.fingerprint()
    )


def span_tokens(view: ModelView) -> dict[SkipSpan, tuple[int, ...]]:
    """The token ids by which spans are found in `input_ids`; of a model that is not listed, as they were found."""
    ids = view.family.span_ids(view.config)
    return {name: ids[name] for name in PERCEPTUAL if name in ids}


def require_fitting(view: ModelView, plan: SkipPlan, *, same_weights: bool = True) -> None:
    """Refuse a plan of another model, or one whose spans this model does not have.

    **Errors:** `ChiasmError`.
    """
    asked, made = f"apply the plan `{plan.name}` to `{view.name}`", plan.model
    shape = (view.config.model_type, view.n_layers, view.width)
    if shape != (made.model_type, made.layers, made.width):
        found = f"it was made for a {made.model_type} of {made.layers} layers and width {made.width}"
        found += f", and this is a {shape[0]} of {shape[1]} and {shape[2]}"
        raise ChiasmError(asked, found, "Make a plan for this model")
    if same_weights and made.weights != view.fingerprint():
        found = "the model has other weights, or another dtype, than the one it was made for"
        raise ChiasmError(asked, found, "Make a plan for this model, or pass same_weights=False to use it all the same")
    tokens = span_tokens(view)
    for part in dict.fromkeys(skip.part for skip in plan.skips):
        needed = ["skip feed-forward"] if part == "ffn" else ["skip attention"]
        for capability in [*needed, "skip feed-forward"] if part == "block" else needed:
            view.family.require_can(capability, "Make a plan that skips another part")
    for skip in plan.skips:
        if skip.span in PERCEPTUAL and skip.span not in tokens:
            there = ", ".join((*tokens, "text", "all"))
            raise ChiasmError(asked, f"it has no tokens of the span `{skip.span}`", f"Name one of {there}")
    _require_layer_kinds(view, plan, asked)


def _require_layer_kinds(view: ModelView, plan: SkipPlan, asked: str) -> None:
    kinds = set(getattr(view.text_config, "layer_types", None) or ["full_attention"])
    parts = {skip.part for skip in plan.skips}
    found = f"its layers are {', '.join(sorted(kinds))}"
    no_self_attention = any(not view.has_attention(layer) for layer in view.layers)
    not_windows = no_self_attention or kinds - {"full_attention", "sliding_attention"}
    if parts & {"attention", "block", "tokens"} and not_windows:
        if no_self_attention and len(kinds) == 1:
            across = "cross_attention" in view.kinds
            found = f"some of its layers {'attend across to the image' if across else 'mix tokens without attention'}"
        found += ", and attention is skipped in self-attention under full and sliding windows only"
        raise ChiasmError(asked, found, "Skip the feed-forward")
    if "sliding_attention" in kinds and ("tokens" in parts or any(skip.form == "released" for skip in plan.skips)):
        # The cache of such a layer holds the last columns and not the last positions: with gaps these are not the same.
        found += ", whose caches cannot have gaps or be lent"
        raise ChiasmError(asked, found, "Freeze tokens (`block`) instead of dropping them")


def save(view: ModelView, plan: SkipPlan, directory: str | Path, *, same_weights: bool = True) -> Path:
    """Write model, processor and plan.json to `directory`; plain transformers opens it (without the plan).

    `read_plan` gives the plan back, to be applied to the model loaded from there. `same_weights=False` also takes a
    model that was fine-tuned since: what is written is then a plan of the weights beside it, and nothing measured.

    **Errors:** `ChiasmError` for a plan of another model.
    """
    require_fitting(view, plan, same_weights=same_weights)
    identity = identity_of(view)
    if identity != plan.model:
        plan = replace(plan, model=identity, measured={})
    folder = Path(directory)
    view.model.save_pretrained(folder)
    view.processor.save_pretrained(folder)
    (folder / PLAN_FILE).write_text(plan.to_json())
    return folder


def log_stored_plan(directory: str | Path) -> None:
    """Log that a plan lies beside the checkpoint in `directory`, if one does, and how to put it into effect."""
    if (Path(directory) / PLAN_FILE).is_file():
        _log.warning(
            "A plan lies beside this model and is not in effect: chiasm.apply(view, %r) makes it skip.", str(directory)
        )


def read_plan(path: str | Path) -> SkipPlan:
    """The plan in a file, or in the plan.json of a directory (a run, or a checkpoint written by `save`).

    **Errors:** `ChiasmError` if there is none.
    """
    file, asked = Path(path), f"read the plan `{path}`"
    if file.is_dir() and not (file / PLAN_FILE).is_file():
        todo = "Name a run of `chiasm skip` that recommends a plan, or a file in its folder plans/"
        raise ChiasmError(asked, f"the folder holds no {PLAN_FILE}", todo)
    file = file / PLAN_FILE if file.is_dir() else file
    if not file.is_file():
        raise ChiasmError(asked, "there is no such file", f"Name a {PLAN_FILE}")
    try:
        return SkipPlan.from_json(file.read_text())
    except ChiasmError as error:
        raise ChiasmError(asked, error.found, error.todo) from error
