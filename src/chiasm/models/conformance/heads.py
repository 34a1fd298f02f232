"""Whether heads can be told apart: close keys in some of them, and look at what the output projection reads.

Slice h of what the projection reads is head h in most models, but nothing says so: heads may be fused, interleaved, or
mixed by a norm before the projection, and a mask of each head may be ignored.
"""

from contextlib import ExitStack
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chiasm.core.errors import ChiasmError
from chiasm.models.encoded import Encoded
from chiasm.models.executors.packed_batch import PackedBatch
from chiasm.models.frame import record_frame
from chiasm.models.masks import as_layer_mask
from chiasm.models.view import ModelView
from chiasm.models.weights import ready_while_called

# Rows of the prompt that are looked at: a head that reads other keys than its own changes in most of them.
_ROWS = 24
# Of the largest number that a projection reads: less is rounding.
_ROUNDING = 1e-4
_NO_HEADS = {
    "token_mixer": "positions are mixed without heads",
    "cross_attention": "attention goes to the image, not to positions",
}
_QUESTION = "slices of the output projection are heads"


class HeadAnatomy(NamedTuple):
    """Query heads and key heads in each of `layers`, those whose heads are what the projection's slices say.

    `left_out`: which layers are none of these and why; empty where there are none.
    """

    heads: int
    groups: int
    layers: tuple[int, ...]
    left_out: str = ""


@torch.no_grad()
def head_anatomy(view: ModelView, encoded: Encoded) -> HeadAnatomy:
    """What is measured on a few rows of `encoded`, once for the weights that the model has.

    **Errors:** `ChiasmError` where no layer's heads can be told apart.
    """
    view.remembered.refresh()
    known = view.remembered.get((_QUESTION, view.precision))
    found = _measured(view, encoded) if known is None else known
    view.remembered.put((_QUESTION, view.precision), found)
    if not found.layers:
        todo = "Leave the heads out: cuts of all heads together can be asked of this model"
        raise ChiasmError(f"changing single attention heads of {view.name}", found.left_out, todo)
    return found


def _measured(view: ModelView, encoded: Encoded) -> HeadAnatomy:
    heads, why = view.n_heads, dict[str, list[int]]()
    layers: list[int] = []
    with view.readable_attention():
        frame = record_frame(view, dict(encoded.inputs))
        packed = PackedBatch(frame, (), view.attention_implementation, view.kinds, heads)
        for index, kind in enumerate(view.kinds):
            reason = _reason(view, packed, index) if kind == "attention" else _NO_HEADS[kind]
            if reason:
                why.setdefault(reason, []).append(index)
            else:
                layers.append(index)
    parts = [f"layer{'s'[: len(at) - 1]} {', '.join(map(str, at))}: {text}" for text, at in why.items()]
    return HeadAnatomy(heads, _key_heads(view, heads), tuple(layers), "; ".join(parts))


def _key_heads(view: ModelView, heads: int) -> int:
    """Heads of keys and values; as many as of queries where the configuration names none that divide them."""
    named = {getattr(layer, "num_key_value_heads", None) for layer in view.layer_configurations()}
    groups = named.pop() if len(named) == 1 else None
    return groups if isinstance(groups, int) and groups > 0 and heads % groups == 0 else heads


def _reason(view: ModelView, packed: PackedBatch, layer: int) -> str:
    """Why the heads of a layer cannot be told apart; empty where they can."""
    heads, rows = packed.heads, min(_ROWS, packed.main.length)
    try:
        whole = _read(view, packed, layer, torch.zeros(heads, dtype=torch.bool), rows)
    except ChiasmError as error:
        return error.found
    except Exception as error:
        # Whatever a strange layer raises when it is called with a mask of each head is the answer.
        return f"no mask of each of {heads} heads is taken ({type(error).__name__})"
    if whole.shape[-1] % heads:
        return f"the output projection reads {whole.shape[-1]} numbers, which {heads} heads do not share evenly"
    scale = float(whole.abs().max())
    any_changed = False
    for closed in _codes(heads):
        read = _read(view, packed, layer, closed, rows)
        moved = (read - whole).abs().reshape(rows, heads, -1).amax(dim=(0, 2)) > _ROUNDING * scale
        any_changed |= bool(moved.any())
        if bool((moved & ~closed.to(moved.device)).any()):
            return "heads are mixed before the output projection reads them, or stand in another order"
    return "" if any_changed else "a mask of each head is not heeded"


def _codes(heads: int) -> list[Bool[Tensor, " H"]]:
    """Sets of heads such that any two heads differ in some set that holds the one and some that holds the other."""
    number = torch.arange(heads)
    bits = [(number >> bit) & 1 == side for bit in range(max(1, (heads - 1).bit_length())) for side in (0, 1)]
    return [one for one in bits if bool(one.any())]


def _read(
    view: ModelView, packed: PackedBatch, layer: int, closed: Bool[Tensor, " H"], rows: int
) -> Float[Tensor, "n w"]:
    """What the output projection of a layer reads at the first rows, where `closed` heads see their own row alone."""
    module, seen = view.layers[layer], list[Tensor]()
    device = packed.device
    places = torch.arange(rows, device=device)
    causal = places[None, :] <= places[:, None]
    own = torch.eye(rows, dtype=torch.bool, device=device)
    allowed = torch.where(closed.to(device)[:, None, None], own, causal)[None].expand(packed.batch, -1, -1, -1)
    states = packed.main.hidden[:, :rows]
    named = packed.row_arguments(layer, places)
    named["attention_mask"] = as_layer_mask(allowed, packed.implementation, states.dtype)
    with ExitStack() as stack:
        keep = view.output_projection_of(module).register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        stack.callback(keep.remove)
        ready_while_called(module, stack, raise_weights=view.precision.raised)
        module(states, **named)
    return seen[-1].reshape(packed.batch * rows, -1)[:rows]
