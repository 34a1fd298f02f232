"""What a model hands to its decoder layers, recorded by a dry walk in which the layers do nothing.

The dry walk runs the model's own embedding, vision tower and mask code, so every family exception in there (merging
of image features, M-RoPE, sliding windows, prefix masks) is read, not re-implemented.
"""

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.models.view import ModelView
from chiasm.models.weights import replaced_forward


class Frame(NamedTuple):
    """Inputs of the decoder stack: `hidden` (B x T x D) of layer 0, and every layer's arguments by name."""

    hidden: Float[Tensor, "B T D"]
    arguments: tuple[dict[str, Any], ...]

    @property
    def length(self) -> int:
        return self.hidden.shape[1]


def layer_arguments(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """The hidden states and all other arguments of a layer call, by name."""
    names = list(inspect.signature(type(layer).forward).parameters)[1:]
    named = dict(zip(names, args, strict=False)) | kwargs
    hidden = named.pop(names[0])
    return hidden, named


def layer_output(output: Any) -> Tensor:
    """The states that a decoder layer returned, be it alone or first of a tuple."""
    return output[0] if isinstance(output, tuple) else output


def change_arguments(
    layer: nn.Module,
    change: Callable[[Tensor, dict[str, Any]], tuple[Tensor, dict[str, Any]]],
    stack: ExitStack,
    *,
    first: bool = False,
) -> None:
    """Call `layer` with what `change` makes of its hidden states and other arguments, for as long as `stack` is open.

    `first`: before the hooks that are there already.
    """

    def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        hidden, named = change(*layer_arguments(layer, args, kwargs))
        return (hidden,), named

    stack.callback(layer.register_forward_pre_hook(hook, with_kwargs=True, prepend=first).remove)


@torch.no_grad()
def record_frame(view: ModelView, inputs: dict[str, Any]) -> Frame:
    """Walk the model with its decoder layers short-circuited and keep what each was given."""
    hidden: list[Tensor] = []
    arguments: list[dict[str, Any]] = []

    def record(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
        states, named = layer_arguments(layer, args, kwargs)
        hidden.append(states)
        arguments.append(named)
        return (states,) if view.family.layers_return_tuples else states

    def no_logits(states: Tensor) -> Tensor:
        return states.new_zeros(*states.shape[:-1], view.head.weight.shape[0])

    with ExitStack() as stack:
        for layer in view.layers:
            stack.enter_context(replaced_forward(layer, partial(record, layer)))
        # Its logits would mean nothing, and its weights are many.
        stack.enter_context(replaced_forward(view.head, no_logits))
        view.model(**inputs, **keep_logits(view, slice_to=1), use_cache=False)
    return Frame(hidden[0], tuple(arguments))


def keep_logits(view: ModelView, *, slice_to: int | Tensor) -> dict[str, Any]:
    """`logits_to_keep` where the model takes it: the head is then not run over every position."""
    model = view.model.get_base_model() if view.is_peft else view.model
    accepted = inspect.signature(type(model).forward).parameters
    return {"logits_to_keep": slice_to} if "logits_to_keep" in accepted else {}
