"""Which parameters train, and the values they had before."""

import warnings
from collections.abc import Collection, Mapping
from typing import Final, final

import torch
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError, MissingExtraError
from chiasm.models.view import ModelView
from chiasm.training.settings import ModelPart, RateGroup, TuningSetting

_DROPOUT: Final = 0.05  # of the adapters, in LLaVA's `finetune_task_lora.sh` by default
_MIN_RANK: Final = 8


def trainable(view: ModelView, setting: TuningSetting, seed: int = 0) -> ModelView:
    """Let exactly the parameters that `setting` names train. With adapters it is another view, of the wrapped model.

    The decoder is everything that is neither tower nor projector: embeddings, layers, final norm and head. Of the
    tower, what lies behind the layer that the projector reads gets no gradient and is left out. `seed`: of the
    adapters' first values, whatever was drawn before.

    **Errors:** `ChiasmError` for a model without a projector; `MissingExtraError` for adapters without PEFT.
    """
    if view.projector is None:
        raise ChiasmError(f"tune the projector of {view.name}", "none was found", "Use a model that has one")
    view.model.requires_grad_(False)
    if setting.rank:
        view = _adapted(view, rank_for(setting.rank, view.width), seed)
    for name, part in parts_of(view).items():
        chosen = part in setting.parts and not (part == "decoder" and setting.rank)
        if chosen or "lora_" in name:
            view.model.get_parameter(name).requires_grad_(True)
    return view


def rank_for(rank: int, width: int) -> int:
    """The rank of adapters for a decoder of that width: as asked, at most an eighth of it, and no less than 8.

    The published rank is as wide as a small decoder: its adapters would be larger than what they adapt.
    """
    return min(rank, max(_MIN_RANK, width // 8))


def parts_of(view: ModelView) -> dict[str, ModelPart]:
    """The part of the model that each parameter belongs to; a tower's unread end belongs to none."""
    unread = view.unread_tower_parameters()
    assert view.vision_tower is not None, "what is tuned has a tower"
    tower = {id(p) for p in view.vision_tower.parameters()} - unread
    projector = {id(p) for p in view.projector.parameters()} if view.projector is not None else set()
    found: dict[str, ModelPart] = {}
    for name, parameter in view.model.named_parameters():
        if id(parameter) not in unread:
            key = id(parameter)
            found[name] = "projector" if key in projector else "tower" if key in tower else "decoder"
    return found


def rate_groups(view: ModelView) -> dict[int, RateGroup]:
    """The group, with a learning rate of its own, of each parameter by its `id`."""
    where = parts_of(view)
    named = view.model.named_parameters()
    return {id(p): "adapters" if "lora_" in name else where[name] for name, p in named if name in where}


def _adapted(view: ModelView, rank: int, seed: int) -> ModelView:
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingExtraError("tuning with low-rank adapters", "peft", "lora") from error
    inside = {id(m) for layer in view.layers for m in layer.modules() if isinstance(m, nn.Linear)}
    names = [name for name, module in view.model.named_modules() if id(module) in inside]
    config = LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=_DROPOUT, target_modules=names)
    devices = sorted({p.device.index or 0 for p in view.model.parameters() if p.device.type == "cuda"})
    with warnings.catch_warnings(), torch.random.fork_rng(devices):
        # Or adapters would start from whatever ran before: not the same in a run that goes on, nor under two plans.
        torch.manual_seed(seed)
        # PEFT 0.21 asks transformers 5.23 for a name that the latter renames.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
        return ModelView(
            get_peft_model(view.model, config), view.processor, view.name, family=view.family, precision=view.precision
        )


@final
class ParameterSnapshot:
    """The values of a model's trainable parameters as they are now, on the CPU, to compare with or go back to."""

    def __init__(self, view: ModelView) -> None:
        self._view = view
        self.values: Mapping[str, Tensor] = trained_state(view)

    def changed(self) -> set[str]:
        """Names of the parameters that differ in any bit."""
        now = dict(self._view.model.named_parameters())
        return {name for name, before in self.values.items() if not torch.equal(before, now[name].detach().cpu())}

    def relative_change(self, only: Collection[str]) -> float:
        """||now - before|| / ||before|| over those of the held parameters that are named."""
        now = dict(self._view.model.named_parameters())
        held = {name: value.double() for name, value in self.values.items() if name in only}
        difference = sum(float((now[n].detach().cpu().double() - v).square().sum()) for n, v in held.items())
        size = sum(float(value.square().sum()) for value in held.values())
        return (difference / size) ** 0.5 if size else 0.0

    def restore(self) -> None:
        """Put the values back, in place."""
        set_parameters(self._view, self.values)


@torch.no_grad()
def set_parameters(view: ModelView, values: Mapping[str, Tensor]) -> None:
    """Give parameters these values, in place."""
    now = dict(view.model.named_parameters())
    for name, value in values.items():
        now[name].copy_(value.to(now[name].device))


def trained_state(view: ModelView) -> dict[str, Tensor]:
    """Copies, on the CPU, of the parameters that train."""
    return {n: p.detach().to("cpu", copy=True) for n, p in view.model.named_parameters() if p.requires_grad}
