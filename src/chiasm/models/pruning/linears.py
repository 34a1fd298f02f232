"""Which weights can be pruned: the linear layers inside every decoder layer, found by type and not by name."""

from typing import NamedTuple

from torch import nn

from chiasm.core.errors import ChiasmError
from chiasm.interventions.masks import MaskPart
from chiasm.models.view import ModelView


class WeightMatrix(NamedTuple):
    """One linear layer of a decoder layer. `name` (`3.self_attn.q_proj`) is the same in every copy of the model."""

    name: str
    layer: int
    linear: nn.Linear


def matrices(view: ModelView, part: MaskPart = "all") -> tuple[WeightMatrix, ...]:
    """The matrices of `part`, in the order of the layers. Embeddings, norms, head, tower and projector stay.

    **Errors:** `ChiasmError` for what a mask cannot honestly be made for: experts, adapters, quantised or offloaded
    weights.
    """
    if view.is_peft:
        raise _refusal(view, "it is wrapped by PEFT", "Merge the adapter first (`merge_and_unload`)")
    found = tuple(found for index in range(view.n_layers) for found in _of_layer(view, index, part))
    if not found:
        raise _refusal(view, f"its decoder layers hold no linear layer of `{part}`", "Name another part")
    return found


def _of_layer(view: ModelView, index: int, part: MaskPart) -> list[WeightMatrix]:
    layer = view.layers[index]
    for name, module in layer.named_modules():
        if "expert" in name.rpartition(".")[2].lower() or "expert" in type(module).__name__.lower():
            raise _refusal(
                view,
                f"`{name}` of layer {index} holds experts, each of which sees only the tokens routed to it, so that "
                "the norms of its inputs rest on unequal and few tokens",
                "Prune a dense model",
            )
    match part:
        case "all":
            roots: tuple[nn.Module, ...] = (layer,)
        case "ffn":
            roots = view.feed_forward_of(layer)
        case "attention":
            roots = (view.attention_of(layer),)
    inside = {module for root in roots for module in root.modules()}
    chosen = [(n, m) for n, m in layer.named_modules() if isinstance(m, nn.Linear) and m in inside]
    for name, linear in chosen:
        if linear.weight.device.type == "meta":
            raise _refusal(view, f"`{name}` of layer {index} is offloaded", "Load it on one device")
        if not linear.weight.is_floating_point() or linear.weight.ndim != 2:
            raise _refusal(view, f"`{name}` of layer {index} is quantised", "Load it unquantised")
    return [WeightMatrix(f"{index}.{name}", index, linear) for name, linear in chosen]


def _refusal(view: ModelView, found: str, todo: str) -> ChiasmError:
    return ChiasmError(f"prune `{view.name}`", found, todo)
