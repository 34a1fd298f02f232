"""What a model hands to its decoder layers, recorded by a dry walk in which the layers do nothing.

The dry walk runs the model's own embedding, vision tower and mask code, so every family exception in there (merging
of image features, M-RoPE, sliding windows, prefix masks) is read, not re-implemented.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.models.view import ModelView
from chiasm.models.weights import replaced_forward

_CACHES: Final = ("past_key_values", "cache", "layer_past")


class Frame(NamedTuple):
    """Inputs of the decoder stack: `hidden` (B x T x D) of layer 0, and every layer's arguments by name.

    Some decoders carry several streams of states at once: `hidden` is then streams x B x T x D (Gemma 3n, `leading`) or
    B x T x streams x D.
    """

    hidden: Float[Tensor, "B T D"] | Float[Tensor, "B T streams D"] | Float[Tensor, "streams B T D"]
    arguments: tuple[dict[str, Any], ...]
    leading: bool = False

    @property
    def length(self) -> int:
        return self.hidden.shape[1 + self.leading]

    @property
    def batch(self) -> int:
        return self.hidden.shape[int(self.leading)]

    @property
    def streams(self) -> int:
        if self.hidden.ndim == len("BTD"):
            return 1
        return self.hidden.shape[0 if self.leading else 2]


def layer_arguments(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
    """The hidden states and all other arguments of a layer call, by name."""
    names = list(inspect.signature(type(layer).forward).parameters)[1:]
    named = dict(zip(names, args, strict=False)) | kwargs
    hidden = named.pop(names[0])
    return hidden, named


def layer_output(output: Any) -> Tensor:
    """The states that a decoder layer returned, be it alone or first of a tuple."""
    return output[0] if isinstance(output, tuple) else output


def cache_name(named: Mapping[str, Any]) -> str | None:
    """Under which name the arguments of a layer, or of its attention, hold the cache; None where none is passed."""
    return next((name for name in _CACHES if name in named), None)


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
    with _without_head(view):
        return _dry_walk(view, inputs)[0]


@torch.no_grad()
def takes_other_lengths(view: ModelView, inputs: dict[str, Any]) -> bool:
    """Whether the model goes on with another number of rows from its last layer than it gave it.

    The first decoders (GPT-2, GPT-J, ...) bring what comes out into the shape of what went in.
    """
    twice: Callable[[Tensor], Tensor] = lambda states: torch.cat([states, states], dim=1)  # noqa: E731
    with _without_head(view):
        try:
            frame, logits = _dry_walk(view, inputs, twice)
        except RuntimeError:
            # torch's word for a shape that does not fit. Nothing else is computed here.
            return False
    return logits.shape[0] == frame.hidden.shape[0]


@torch.no_grad()
def logits_of(view: ModelView, inputs: dict[str, Any], last: Float[Tensor, "B T D"]) -> Float[Tensor, "B T N"]:
    """The logits that the model itself makes of `last`, as if its last layer had returned that."""
    return _dry_walk(view, inputs, lambda states: last)[1]


def _dry_walk(
    view: ModelView, inputs: dict[str, Any], last: Callable[[Tensor], Tensor] | None = None
) -> tuple[Frame, Tensor]:
    """What the layers are given, and the logits. `last`: what the last layer makes of its input."""
    hidden: list[Tensor] = []
    arguments: list[dict[str, Any]] = []
    tuples = view.family.layers_return_tuples

    def record(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
        nonlocal tuples
        states, named = layer_arguments(layer, args, kwargs)
        if hidden and states.ndim < hidden[0].ndim:
            # The model took the first example out of what the layer before gave: it expects a tuple.
            tuples, states = True, hidden[-1]
        hidden.append(states)
        arguments.append(named)
        if last is not None and len(arguments) == len(view.layers):
            states = last(states)
        return (states, *[None] * view.family.layer_extras) if tuples else states

    with ExitStack() as stack:
        for layer in view.layers:
            stack.enter_context(replaced_forward(layer, partial(record, layer)))
        keep = keep_logits(view, slice_to=1) if last is None else {}
        try:
            logits = view.model(**inputs, **keep, use_cache=False).logits
        except ValueError as error:
            if "to unpack" not in str(error):
                raise
            found = "its layers return more than their states, and how much more is not known"
            todo = "Use another checkpoint: nothing that is computed layer by layer can be asked of this one"
            raise ChiasmError(f"walking through {type(view.decoder).__name__}", found, todo) from error
    # Of four axes the tokens are the second, or the third behind streams.
    shape, tokens = hidden[0].shape, inputs["input_ids"].shape[1]
    leading = hidden[0].ndim > len("BTD") and shape[1] != tokens == shape[2]
    return Frame(hidden[0], tuple(arguments), leading), logits


@contextmanager
def _without_head(view: ModelView) -> Iterator[None]:
    """Within: the head gives zeros. Its logits would mean nothing, and its weights are many."""

    def no_logits(states: Tensor) -> Tensor:
        return states.new_zeros(*states.shape[:-1], view.head.weight.shape[0])

    with replaced_forward(view.head, no_logits):
        yield


def keep_logits(view: ModelView, *, slice_to: int | Tensor) -> dict[str, Any]:
    """`logits_to_keep` where the model takes it: the head is then not run over every position."""
    model = view.model.get_base_model() if view.is_peft else view.model
    accepted = inspect.signature(type(model).forward).parameters
    return {"logits_to_keep": slice_to} if "logits_to_keep" in accepted else {}
