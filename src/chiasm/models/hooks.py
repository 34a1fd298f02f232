"""Hooks that hand on what passes by at named places of the decoder, and one that changes what enters it."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from chiasm.models.executors.frame import layer_arguments
from chiasm.models.executors.masks import allowed_rows, as_layer_mask
from chiasm.models.sites import Block, Place, first_tensor
from chiasm.models.view import ModelView


def hook_sites(
    view: ModelView,
    blocks: Sequence[Block],
    sites: frozenset[str],
    hear: Callable[[int, str, Tensor], None],
    stack: ExitStack,
) -> None:
    """Call `hear(layer, site, states)` at every residual state and at `sites`, for as long as `stack` is open."""

    def before(index: int) -> Any:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hear(index, "residual", layer_arguments(layer, args, kwargs)[0])

        return hook

    def after(layer: nn.Module, args: Any, output: Any) -> None:
        hear(len(view.layers), "residual", output[0] if isinstance(output, tuple) else output)

    # The residual stream is always read: it tells whether an example's states are sound.
    for index, layer in enumerate(view.layers):
        stack.callback(layer.register_forward_pre_hook(before(index), with_kwargs=True).remove)
    stack.callback(view.layers[-1].register_forward_hook(after).remove)
    for index, block in enumerate(blocks):
        for site in sites & block.places.keys():
            _hook_place(block.places[site], lambda states, i=index, s=site: hear(i, s, states), stack)


def _hook_place(place: Place, hear: Callable[[Tensor], None], stack: ExitStack) -> None:
    def into(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hear(_states((*args, *kwargs.values()), module))

    def out(module: nn.Module, args: Any, output: Any) -> None:
        hear(_states(output, module))

    if place.side == "input":
        stack.callback(place.module.register_forward_pre_hook(into, with_kwargs=True).remove)
    else:
        stack.callback(place.module.register_forward_hook(out).remove)


def hook_inputs(
    blocks: Sequence[Block], hear: Callable[[int, tuple[str, ...], Tensor], None], stack: ExitStack
) -> None:
    """Call `hear(layer, names, input)` at what the matrices called `names` read, for as long as `stack` is open."""
    for index, block in enumerate(blocks):
        for names in block.linears:
            place = Place(block.matrix(names[0]), "input")
            _hook_place(place, lambda states, i=index, n=names: hear(i, n, states), stack)


def replace_embeddings(view: ModelView, change: Callable[[Tensor], Tensor], stack: ExitStack) -> None:
    """Let the first block read what `change` makes of its input, for as long as `stack` is open."""

    def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        hidden, named = layer_arguments(layer, args, kwargs)
        return (change(hidden),), named

    # Before the hooks that read, so that they see what is put in.
    handle = view.layers[0].register_forward_pre_hook(hook, with_kwargs=True, prepend=True)
    stack.callback(handle.remove)


def isolate_modalities(
    view: ModelView, blocks: int, perceptual: Bool[Tensor, "B T"], real: Bool[Tensor, "B T"], stack: ExitStack
) -> None:
    """Let no perceptual token attend to another kind, nor the other way, in the first `blocks` blocks.

    Source: the code released with Shukor & Cord 2024 (`unimodal_attention_mask`).
    """
    crossing = (perceptual[:, :, None] != perceptual[:, None, :]) & real[:, :, None] & real[:, None, :]

    def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        hidden, named = layer_arguments(layer, args, kwargs)
        size, length = hidden.shape[:2]
        kind = view.attention_implementation
        rows = torch.arange(length, device=hidden.device)
        allowed = allowed_rows(named.get("attention_mask"), rows, length, size, kind) & ~crossing.to(hidden.device)
        return (hidden,), named | {"attention_mask": as_layer_mask(allowed, kind, hidden.dtype)}

    for layer in view.layers[:blocks]:
        stack.callback(layer.register_forward_pre_hook(hook, with_kwargs=True).remove)


def _states(values: Any, module: nn.Module) -> Tensor:
    found = first_tensor(values)
    assert found is not None, f"{type(module).__name__} handles no states"
    return found
