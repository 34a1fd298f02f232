"""Projectors as modules: some map every patch, or averages of neighbours, others read all patches by learned queries.

The latter give as many image tokens as they have queries, whatever the image's grid. Legend: N patches of width V,
M queries, D the decoder's width.
"""

from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Blip2QFormerConfig, Blip2QFormerModel

_HEAD_WIDTH: Final = 64


@final
class Orthogonal(nn.Module):
    """Nothing is learned: a fixed random rotation, so the encoder's tokens go straight into the decoder.

    Every patch is divided by its root mean square and multiplied by that of the decoder's token embeddings (`scale`),
    since a decoder's first norm reads directions and its residual stream keeps sizes. Where V > D the map drops
    V - D directions.
    """

    map: Tensor
    scale: Tensor

    def __init__(self, vision: int, width: int) -> None:
        super().__init__()
        self.register_buffer("map", torch.empty(width, vision))
        self.register_buffer("scale", torch.ones(()))
        if not self.map.is_meta:
            nn.init.orthogonal_(self.map)

    def forward(self, patches: Float[Tensor, "B N V"]) -> Float[Tensor, "B N D"]:
        return F.linear(F.rms_norm(patches, patches.shape[-1:]), self.map) * self.scale


def mlp(vision: int, width: int, depth: int, hidden: int) -> nn.Sequential:
    """`depth` linear layers with GELU between them; depth 2 is LLaVA-1.5's projector, depth 1 LLaVA's."""
    inner = hidden or width
    layers: list[nn.Module] = [nn.Linear(vision, width if depth == 1 else inner)]
    for place in range(1, depth):
        layers += [nn.GELU(), nn.Linear(inner, width if place == depth - 1 else inner)]
    return nn.Sequential(*layers)


@final
class Residual(nn.Module):
    """x + MLP(LN(x)), as in LLaVA-NeXT's `mlpKx_resMx_gelu`."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = mlp(width, width, 2, hidden)

    def forward(self, tokens: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        return tokens + self.inner(self.norm(tokens))


@final
class Pooled(nn.Module):
    """The mean of every square of `stride` x `stride` patches, then `inner`. Patches form a square grid."""

    def __init__(self, stride: int, inner: nn.Module) -> None:
        super().__init__()
        self.stride, self.inner = stride, inner

    def forward(self, patches: Float[Tensor, "B N V"]) -> Float[Tensor, "B M D"]:
        side = round(patches.shape[1] ** 0.5)
        grid = patches.transpose(1, 2).unflatten(2, (side, side))
        return self.inner(F.avg_pool2d(grid, self.stride).flatten(2).transpose(1, 2))


def _heads(width: int) -> int:
    """As many heads of 64 as fit, so that they divide the width."""
    heads = max(1, width // _HEAD_WIDTH)
    while width % heads:
        heads -= 1
    return heads


@final
class _CrossAttentionBlock(nn.Module):
    """Queries attend to the patches, then a feed-forward layer of four times the width."""

    def __init__(self, width: int, seen: int, gated: bool) -> None:
        super().__init__()
        self.heads = _heads(width)
        self.norm_query, self.norm_seen, self.norm_inner = nn.LayerNorm(width), nn.LayerNorm(seen), nn.LayerNorm(width)
        self.query, self.out = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(seen, 2 * width, bias=False)
        self.inner = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        # tanh(0) = 0: a gated layer starts as the identity.
        self.gates = nn.Parameter(torch.zeros(2)) if gated else None
        # A Perceiver's queries also see each other.
        self.self_attends = not gated

    def forward(self, queries: Float[Tensor, "B M W"], patches: Float[Tensor, "B N S"]) -> Float[Tensor, "B M W"]:
        normed, seen = self.norm_query(queries), self.norm_seen(patches)
        key, value = self.key_value(torch.cat([seen, normed], dim=1) if self.self_attends else seen).chunk(2, dim=-1)
        parts = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query(normed), key, value))
        attended = self.out(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))
        attention_gate, inner_gate = (1.0, 1.0) if self.gates is None else self.gates.tanh().unbind()
        queries = queries + attention_gate * attended
        return queries + inner_gate * self.inner(self.norm_inner(queries))


@final
class Resampler(nn.Module):
    """Queries read the patches, block by block.

    Not gated: the Perceiver resampler, whose keys and values are patches and queries together (Alayrac et al. 2022,
    section 3.1.1). `gated`: gated cross-attention, prepended; soft prompts read the patches through gates that start
    shut. Flamingo's layers (section 3.1.2 there) stand inside the decoder and let every text token read; here they
    stand before it, and M prompts read, so that the decoder is untouched and the projectors stay comparable. At the
    start the decoder sees prompts that say nothing of the image.
    """

    def __init__(self, vision: int, width: int, tokens: int, depth: int, inner: int, *, gated: bool) -> None:
        super().__init__()
        inner = inner or vision
        seen = vision if gated else inner
        self.lift = nn.Identity() if seen == vision else nn.Linear(vision, seen)
        self.queries = nn.Parameter(torch.randn(tokens, inner) / inner**0.5)
        self.blocks = nn.ModuleList(_CrossAttentionBlock(inner, seen, gated) for _ in range(depth))
        self.norm, self.out = nn.LayerNorm(inner), nn.Linear(inner, width)

    def forward(self, patches: Float[Tensor, "B N V"]) -> Float[Tensor, "B M D"]:
        seen, queries = self.lift(patches), self.queries.expand(len(patches), -1, -1)
        for block in self.blocks:
            queries = block(queries, seen)
        return self.out(self.norm(queries))


@final
class QFormer(nn.Module):
    """transformers' BLIP-2 Q-Former: a BERT over the queries, every other layer also reading the patches.

    Source: Li et al. 2023 (BLIP-2), section 3.1. The question is not shown to it (InstructBLIP's is).
    """

    def __init__(self, vision: int, width: int, tokens: int, depth: int, inner: int) -> None:
        super().__init__()
        inner = inner or vision
        self.queries = nn.Parameter(torch.randn(1, tokens, inner) / inner**0.5)
        self.inner = Blip2QFormerModel(
            Blip2QFormerConfig(
                hidden_size=inner,
                num_hidden_layers=depth,
                num_attention_heads=_heads(inner),
                intermediate_size=4 * inner,
                encoder_hidden_size=vision,
                cross_attention_frequency=2,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
            )
        )
        self.out = nn.Linear(inner, width)

    def forward(self, patches: Float[Tensor, "B N V"]) -> Float[Tensor, "B M D"]:
        queries = self.queries.expand(len(patches), -1, -1)
        read = self.inner(query_embeds=queries, encoder_hidden_states=patches).last_hidden_state
        return self.out(read.to(self.out.weight.dtype))
