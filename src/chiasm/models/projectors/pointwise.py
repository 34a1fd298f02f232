"""Projectors that map every patch on its own, or averages of neighbouring ones. N patches, V their width, D out."""

from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


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
