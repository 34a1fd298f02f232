"""Attention rows of chosen queries, computed from the model's own queries and keys while it runs as usual.

Legend: B examples, H heads, K key-value heads, Q chosen queries, T positions, E width of a head.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from chiasm.core.errors import ChiasmError
from chiasm.models.encoded import Encoded
from chiasm.models.frame import keep_logits
from chiasm.models.view import ModelView, attending_by

RowsCallback = Callable[[int, int, Float[Tensor, "H Q T"]], None]

_NAME: Final = "chiasm_rows"
# What some models add to attention scores or to their sum, and the rows below do not follow.
_UNKNOWN: Final = ("s_aux", "position_bias", "sinks", "alibi")


@torch.no_grad()
def attention_rows(
    view: ModelView, encoded: Sequence[Encoded], queries: Sequence[Sequence[int]], on_rows: RowsCallback
) -> None:
    """One forward of `encoded`, handing the attention weights of `queries` (positions, per example) to `on_rows`.

    `on_rows(layer, example, weights)` is called once per layer and example as soon as the layer's attention has run;
    weights cover the example's own positions, padding cut off, and each row adds up to 1. Memory grows with queries
    times positions, never with positions squared, and no eager attention is needed.

    Assumption: softmax attention over scaled products (optionally soft-capped). A large weight says where a head
    reads, not that what it reads matters for the answer: attention knockout shows that.

    Token mixers without softmax attention (convolutions, linear attention) have no rows and are not called.

    **Errors:** `ChiasmError` for a model whose attention adds terms that are not followed here, has no attention
    function that can be exchanged, or reads the image outside the sequence.
    """
    view.family.require_can("look", "Use `chiasm flow`, which needs no attention rows")
    inputs, padding = view.collate(encoded)
    rows = [
        torch.tensor([before + q for q in chosen], device=view.device)
        for before, chosen in zip(padding, queries, strict=True)
    ]
    layers = _attentions(view)
    read: set[int] = set()

    def read_layer(module: nn.Module, weights: Iterator[Float[Tensor, "H Q T"]]) -> None:
        layer = layers.get(id(module))
        if layer is None:
            return
        read.add(layer)
        for index, found in enumerate(weights):
            on_rows(layer, index, found[..., padding[index] :])

    with _reading_rows(view, rows, read_layer):
        view.model(**inputs, **keep_logits(view, slice_to=1), use_cache=False)
    if len(read) < len(layers):
        missing = ", ".join(str(k) for k in sorted(set(layers.values()) - read))
        raise ChiasmError(
            f"the attention rows of {view.name}",
            f"its layers {missing} do not take their attention function from transformers' registry",
            "Use `chiasm flow`, which needs none",
        )


def _attentions(view: ModelView) -> dict[int, int]:
    """The number of the layer by the identity of its attention; other token mixers have no rows."""
    cross_attention = [str(number) for number, kind in enumerate(view.kinds) if kind == "cross_attention"]
    if cross_attention:
        raise ChiasmError(
            f"the attention rows of {view.name}",
            f"its layers {', '.join(cross_attention)} attend to the image outside the sequence, "
            "where no token stands for a part of it",
            "Use `chiasm flow`, whose cuts close these layers",
        )
    kinds = zip(view.layers, view.kinds, strict=True)
    return {id(view.attention_of(layer)): k for k, (layer, kind) in enumerate(kinds) if kind == "attention"}


_LayerCallback = Callable[[nn.Module, Iterator[Float[Tensor, "H Q T"]]], None]


@contextmanager
def _reading_rows(view: ModelView, rows: Sequence[Int[Tensor, " Q"]], read_layer: _LayerCallback) -> Iterator[None]:
    """Every attention of the decoder computes as with sdpa, and hands the weights of `rows` to `read_layer`."""

    def attend(
        module: nn.Module,
        query: Float[Tensor, "B H T E"],
        key: Float[Tensor, "B K T E"],
        value: Float[Tensor, "B K T E"],
        attention_mask: Tensor | None,
        **options: Any,
    ) -> tuple[Tensor, Tensor | None]:
        unknown = [name for name in _UNKNOWN if options.get(name) is not None]
        if unknown:
            raise ChiasmError(
                f"the attention rows of {view.name}", f"its attention adds {', '.join(unknown)}", "Use `chiasm flow`"
            )
        read_layer(module, _weights(query, key, attention_mask, rows, options))
        if options.get("softcap") is not None:
            return _capped(query, key, value, attention_mask, options), None
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)

    # A function without a mask function of the same name is called with no mask at all: padding would be lost.
    AttentionInterface.register(_NAME, attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    with view.readable_attention(), attending_by(view.decoder, _NAME):
        yield


def _weights(
    query: Float[Tensor, "B H T E"],
    key: Float[Tensor, "B K T E"],
    mask: Tensor | None,
    rows: Sequence[Int[Tensor, " Q"]],
    options: dict[str, Any],
) -> Iterator[Float[Tensor, "H Q T"]]:
    scale = options.get("scaling")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    for index, chosen in enumerate(rows):
        scores = _scores(query[index, :, chosen], key[index], scale, options.get("softcap"))
        own = None if mask is None else mask[min(index, mask.shape[0] - 1)]
        if own is None:
            # Without a mask sdpa is causal by the number of a row.
            open_ = torch.arange(key.shape[2], device=chosen.device) <= chosen[:, None]
            scores = scores.masked_fill(~open_, -math.inf)
        elif own.dtype == torch.bool:
            scores = scores.masked_fill(~own[:, chosen, : key.shape[2]], -math.inf)
        else:
            scores = scores + own[:, chosen, : key.shape[2]]
        yield torch.softmax(scores, dim=-1)


def _scores(
    query: Float[Tensor, "H Q E"], key: Float[Tensor, "K T E"], scale: float, cap: float | None
) -> Float[Tensor, "H Q T"]:
    """Scaled products in float32 at least; keys shared by a group of heads are not copied for each."""
    wide = torch.promote_types(query.dtype, torch.float32)
    grouped = query.unflatten(0, (key.shape[0], -1)).to(wide)
    scores = (scale * torch.einsum("kgqe,kte->kgqt", grouped, key.to(wide))).flatten(0, 1)
    return scores if cap is None else torch.tanh(scores / cap) * cap


def _capped(
    query: Float[Tensor, "B H T E"],
    key: Float[Tensor, "B K T E"],
    value: Float[Tensor, "B K T E"],
    mask: Tensor | None,
    options: dict[str, Any],
) -> Float[Tensor, "B T H E"]:
    """Attention with soft-capped scores, which sdpa cannot compute, one example and a block of queries at a time."""
    found = torch.empty_like(query.transpose(1, 2))
    groups = query.shape[1] // key.shape[1]
    every = torch.arange(query.shape[2], device=query.device)
    for index in range(query.shape[0]):
        wide = value[index].repeat_interleave(groups, dim=0)
        own = None if mask is None else mask[index : index + 1]
        for block in every.split(256):
            (weights,) = _weights(query[index : index + 1], key[index : index + 1], own, [block], options)
            if own is not None and own.dtype == torch.bool:
                # A row of padding has no key. As sdpa does it: what it attends to is zero, not a number that spreads.
                seen = own[0, :, block, : key.shape[2]].any(dim=-1, keepdim=True)
                weights = weights.masked_fill(~seen, 0)
            found[index, block] = (weights.to(wide.dtype) @ wide).transpose(0, 1)
    return found


def sinks(weights: Float[Tensor, "L N T"], queries: Sequence[int], threshold: float = 0.3) -> Bool[Tensor, " T"]:
    """Which keys are attention sinks, from the attention (mean over heads) of N `queries` in every layer.

    A sink takes at least `threshold` of the attention of every other query, in half of the layers or more.

    Source: the threshold is that of Gu et al. 2025 (arXiv 2410.10781), who average over all queries of a text; here
    the chosen ones stand for them.
    """
    own = torch.zeros(len(queries), weights.shape[-1], dtype=torch.bool)
    own[torch.arange(len(queries)), torch.tensor(queries)] = True
    strong = ((weights >= threshold) | own).all(dim=1)
    return (2 * strong.sum(dim=0) >= weights.shape[0]) & ~own.all(dim=0)
