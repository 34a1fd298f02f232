"""What rows of one layer call may attend to, and which rows of a branch count: reading and writing the masks.

A mask that transformers hands to decoder layers is normalised to booleans, True where a row may attend. Three forms
occur: None under sdpa means causal; 4-D bool; 4-D float with `finfo.min` where blocked. Anything else is refused rather
than guessed.

In layers with cross-attention to images, the token of an image in the prompt stands for all of it: hiding that token
from a row blocks the image's columns of the cross-attention to that row. A row left without any column would, under the
public mask, attend to all of them alike (transformers multiplies its mask by zero), so the output of the branch is
zeroed there instead; what the row's feed-forward branch does is left as it was.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.interventions import BlockedAttention, Component
from chiasm.models.encoded import Encoded
from chiasm.models.view import ModelView


def allowed_rows(
    mask: Any, rows: Int[Tensor, " n"], length: int, batch: int, implementation: str
) -> Bool[Tensor, "B n T"]:
    """The columns that `rows` may attend to under a recorded layer mask, for a sequence of `length` positions."""
    if mask is None:
        if implementation != "sdpa":
            raise _unreadable(mask, implementation)
        columns = torch.arange(length, device=rows.device)
        return (columns[None, :] <= rows[:, None]).expand(batch, -1, -1)
    if not isinstance(mask, Tensor) or mask.ndim != 4 or mask.shape[-2:] != (length, length):
        raise _unreadable(mask, implementation)
    if mask.shape[1] != 1:
        raise _biased("holds a bias of each head on the scores (ALiBi)")
    picked = mask[:, 0].index_select(1, rows)
    if picked.dtype == torch.bool:
        if implementation != "sdpa":
            raise _biased("marks what is hidden")
    else:
        blocked = picked < torch.finfo(picked.dtype).min / 2
        if bool(((picked != 0) & ~blocked).any()):
            raise _biased("holds a bias on the scores (ALiBi)")
        picked = ~blocked
    return picked.expand(batch, -1, -1)


def as_layer_mask(
    allowed: Bool[Tensor, "B n C"] | Bool[Tensor, "B H n C"], implementation: str, dtype: torch.dtype
) -> Bool[Tensor, "B H n C"] | Tensor:
    """The form the attention implementation understands: eager silently adds a bool mask as 0/1, so it gets floats."""
    mask = allowed[:, None] if allowed.ndim == 3 else allowed
    if implementation == "sdpa":
        return mask
    blocked = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return blocked.masked_fill_(~mask, torch.finfo(dtype).min)


def require_keys(allowed: Bool[Tensor, "B n C"], what: str) -> None:
    """Refuse rows without any key: implementations disagree on what they then attend to.

    **Errors:** `ExampleError` naming the cut.
    """
    if not bool(allowed.any(-1).all()):
        raise ExampleError(f"{what} leaves a position nothing to attend to; cut fewer source spans")


def _biased(found: str) -> ChiasmError:
    todo = "Nothing that changes attention (flow, patch, isolation) can be asked of this model; its states can be read"
    return ChiasmError("closing attention between tokens", f"the mask that its layers are given {found}", todo)


def _unreadable(mask: Any, implementation: str) -> ChiasmError:
    shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
    found = f"the `{implementation}` implementation passes {shape} to its layers"
    if isinstance(mask, Tensor) and mask.ndim == 2:
        found = f"its layers are given one of the shape {shape}, which says what is padding, not who attends to whom"
    return ChiasmError("reading the attention mask", found, "Load the model with attn_implementation='sdpa'")


def hidden_images(encoded: Encoded, change: BlockedAttention) -> list[int]:
    """The images of which `change` hides all tokens, by number."""
    keys = set(change.keys)
    return [number for number, layout in enumerate(encoded.layouts) if keys.issuperset(layout.positions.tolist())]


def hide_images(
    mask: Float[Tensor, "B 1 n K"], hidden: Bool[Tensor, "B n I"]
) -> tuple[Float[Tensor, "B 1 n K"], Bool[Tensor, "B n"]]:
    """The cross-attention mask without the columns of `hidden` images, and the rows that lost all of theirs.

    Columns come image by image, as many for each.
    """
    lowest = torch.finfo(mask.dtype).min
    seen = mask[:, 0] > lowest / 2
    left = seen & ~hidden.repeat_interleave(mask.shape[-1] // hidden.shape[-1], dim=-1)
    empty = ~left.any(-1)
    # What an emptied row attends to does not matter, since its output is zeroed.
    blocked = ~left & ~empty[..., None]
    return mask.masked_fill(blocked[:, None], lowest), empty & hidden.any(-1)


@contextmanager
def zeroed_branches(view: ModelView, layer: nn.Module, rows: Mapping[Component, Bool[Tensor, "B T"]]) -> Iterator[None]:
    """Within: the named branches of `layer` add zero to the residual stream at the marked rows."""
    with ExitStack() as stack:
        for component, marked in rows.items():
            stack.enter_context(branch_of(view, layer, component).register_forward_hook(partial(_zero, marked)))
        yield


@contextmanager
def zeroed_heads(view: ModelView, layer: nn.Module, marked: Bool[Tensor, "B T H"]) -> Iterator[None]:
    """Within: the marked heads of `layer` give zero at their rows, before the output projection reads them."""

    def zero(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        read = args[0].reshape(*marked.shape, -1)
        return (read.masked_fill(marked[..., None], 0).reshape(args[0].shape), *args[1:])

    with view.output_projection_of(layer).register_forward_pre_hook(zero):
        yield


@contextmanager
def replaced_branches(
    view: ModelView, layer: nn.Module, replace: Mapping[Component, Callable[[Tensor], Tensor]], shape: tuple[int, int]
) -> Iterator[None]:
    """Within: the named branches of `layer` add to the residual stream what `replace` makes of it (B x T x D)."""

    def put(change: Callable[[Tensor], Tensor], module: nn.Module, args: Any, output: Any) -> Any:
        first, *more = output if isinstance(output, tuple) else (output,)
        # Some branches see the rows of all examples as one list.
        changed = change(first.reshape(*shape, -1)).reshape(first.shape)
        return (changed, *more) if isinstance(output, tuple) else changed

    with ExitStack() as stack:
        for component, change in replace.items():
            stack.enter_context(branch_of(view, layer, component).register_forward_hook(partial(put, change)))
        yield


def branch_of(view: ModelView, layer: nn.Module, component: Component) -> nn.Module:
    """The module whose output a branch adds to the residual stream.

    **Errors:** `ChiasmError` for a layer that has no such branch.
    """
    if not view.has_branch(layer, component):
        found = f"layers of `{view.name}` have one branch each, and this one is of another kind"
        raise ChiasmError(f"the {component} branch of {type(layer).__name__}", found, "Name layers that have one")
    return view.mixer_of(layer) if component == "attention" else view.feed_forward_of(layer)[-1]


def _zero(marked: Bool[Tensor, "B T"], module: nn.Module, args: Any, output: Any) -> Any:
    first, *more = output if isinstance(output, tuple) else (output,)
    # Some branches see the rows of all examples as one list.
    zeroed = first.masked_fill(marked.reshape(first.shape[:-1])[..., None], 0)
    return (zeroed, *more) if isinstance(output, tuple) else zeroed
