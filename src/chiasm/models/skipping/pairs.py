"""Layers that run side by side, and caches that are lent: forms of Shukor & Cord 2024 (arXiv 2410.09454)."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from chiasm.interventions.skips import Form
from chiasm.models.executors.frame import layer_arguments


def pair_blocks(
    layers: Sequence[nn.Module], first: int, form: Form, acting: Callable[[], bool], stack: ExitStack
) -> None:
    """Let layer `first + 1` read what layer `first` reads, while `acting`, until `stack` closes.

    Out comes input + both updates; in the released form the mean of both outputs, which halves the updates, with the
    mean of both layers' keys and values in both caches.
    """
    given: list[Tensor] = []
    own: list[Tensor] = []

    def before_first(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given.clear()
        if acting():
            given.append(layer_arguments(layer, args, kwargs)[0])

    def before_second(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not given:
            return None
        hidden, named = layer_arguments(layer, args, kwargs)
        own[:] = [hidden]
        return (), named | {"hidden_states": given[0].to(hidden.device)}

    def after_second(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if not given:
            return None
        second = output[0] if isinstance(output, tuple) else output
        start, one = given[0].to(second.device), own[0]
        joined = (one + second) / 2 if form == "released" else one + second - start
        if form == "released":
            _average(kwargs.get("past_key_values"), first, start.shape[1])
        given.clear()
        return (joined, *output[1:]) if isinstance(output, tuple) else joined

    stack.callback(layers[first].register_forward_pre_hook(before_first, with_kwargs=True).remove)
    stack.callback(layers[first + 1].register_forward_pre_hook(before_second, with_kwargs=True).remove)
    stack.callback(layers[first + 1].register_forward_hook(after_second, with_kwargs=True).remove)


def _average(cache: Any, first: int, rows: int) -> None:
    if cache is None:
        return
    pair = (cache.layers[first], cache.layers[first + 1])
    for kind in ("keys", "values"):
        one, two = (getattr(layer, kind) for layer in pair)
        mean = (one[:, :, -rows:] + two[:, :, -rows:].to(one.device)) / 2
        for layer, whole in zip(pair, (one, two), strict=True):
            setattr(layer, kind, torch.cat([whole[:, :, :-rows], mean.to(whole.device)], dim=2))


def lent(module: nn.Module, hidden: Float[Tensor, "B T D"], cache: Any, index: int) -> Float[Tensor, "B T D"]:
    """Nothing is computed, and the keys and values of the layer before are cached once more (the released form)."""
    if cache is not None:
        before, rows = cache.layers[index - 1], hidden.shape[1]
        cache.update(before.keys[:, :, -rows:], before.values[:, :, -rows:], module.layer_idx)
    return torch.zeros_like(hidden)
