"""Models of the same shape with weights drawn at random: what an architecture shows before it has learnt anything."""

import copy

import torch
from torch import nn

from chiasm.core.errors import ChiasmError
from chiasm.models.view import ModelView

_DRAWN = "_is_hf_initialized"  # transformers' mark on what it will not draw again


def redrawn(view: ModelView, seed: int) -> ModelView:
    """A copy of `view` whose weights are drawn from `seed` as transformers draws those of a new model of its class.

    It takes as much memory as the model. Assumption: the class initialises all of its modules, as those of
    transformers do; parameters that it leaves alone keep their values.

    **Errors:** `ChiasmError` for a model whose weights are not all in memory, or that PEFT wraps.
    """
    if view.is_peft or any(tensor.is_meta for tensor in view.model.state_dict().values()):
        found = "it is wrapped by PEFT" if view.is_peft else "its weights are not all in memory"
        raise ChiasmError(f"draw the weights of {view.name} at random", found, "Name a model as the baseline instead")
    model = copy.deepcopy(view.model)
    devices = [view.device] if view.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad():
        torch.manual_seed(seed)
        _forget_drawn(model)
        model.initialize_weights()  # type: ignore[operator]  # of every PreTrainedModel
    model.eval()
    name = f"{view.name}, weights drawn from seed {seed}"
    return ModelView(model, view.processor, name, family=view.family, precision=view.precision)


def _forget_drawn(model: nn.Module) -> None:
    for module in model.modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False), module]
        for holder in own:
            if hasattr(holder, _DRAWN):
                delattr(holder, _DRAWN)
