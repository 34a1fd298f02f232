"""From scores to which weights are kept. Pure functions of tensors; True is kept."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chiasm.core.errors import ChiasmError
from chiasm.interventions.masks import blocks, require_sparsity
from chiasm.models.pruning.scores import cumulative, ranks


def dropped(width: int, sparsity: float) -> int:
    """How many of `width` weights a sparsity zeroes: the floor of their product.

    The product is rounded first: 0.29 of 100 is 29, though in floating point it lies below.
    """
    require_sparsity(sparsity)
    return math.floor(round(width * sparsity, 9))


def keep_per_row(scores: Float[Tensor, "O I"], sparsity: float) -> Bool[Tensor, "O I"]:
    """All but the floor(I * sparsity) lowest scores of every output row (Sun et al. 2024, section 3)."""
    return ranks(scores) >= dropped(scores.shape[1], sparsity)


def keep_per_matrix(scores: Float[Tensor, "O I"], sparsity: float) -> Bool[Tensor, "O I"]:
    """All but the floor(O * I * sparsity) lowest scores of the whole matrix."""
    return (ranks(scores.reshape(1, -1)) >= dropped(scores.numel(), sparsity)).reshape(scores.shape)


def keep_n_of_m(scores: Float[Tensor, "O I"], zeroed: int, block: int) -> Bool[Tensor, "O I"]:
    """All but the `zeroed` lowest scores of every `block` consecutive inputs of a row (Sun et al. 2024, section 3).

    **Errors:** `ChiasmError` where the block does not divide the number of inputs.
    """
    if scores.shape[1] % block:
        raise ChiasmError(
            f"the pattern {zeroed}:{block}",
            f"a matrix has {scores.shape[1]} inputs, which {block} does not divide",
            f"Use a pattern N:M whose M divides {scores.shape[1]}, or none",
        )
    return ranks(scores, block) >= zeroed


def keep(scores: Float[Tensor, "O I"], sparsity: float, pattern: str) -> Bool[Tensor, "O I"]:
    """The mask of a pattern, per row where it is `unstructured`."""
    zeroed = blocks(pattern)
    return keep_per_row(scores, sparsity) if zeroed is None else keep_n_of_m(scores, *zeroed)


def keep_by(method: str, scores: Float[Tensor, "O I"], sparsity: float, pattern: str) -> Bool[Tensor, "O I"]:
    """The mask as `method` groups its weights: within the whole matrix, by cumulative share, or as `keep`."""
    if method == "magnitude" and blocks(pattern) is None:
        return keep_per_matrix(scores, sparsity)
    return (
        keep_per_matrix(cumulative(scores), sparsity)
        if method == "wanda-cumulative"
        else keep(scores, sparsity, pattern)
    )


def keep_all_but(chosen: Bool[Tensor, "O I"], count: int, seed: Sequence[int]) -> Bool[Tensor, "O I"]:
    """All but `count` of the weights that are `chosen`, drawn at random from `seed`."""
    places = chosen.reshape(-1).cpu().nonzero()[:, 0]
    drawn = np.random.default_rng(list(seed)).permutation(len(places))[:count]
    kept = torch.ones(chosen.numel(), dtype=torch.bool)
    kept[places[torch.from_numpy(drawn)]] = False
    return kept.reshape(chosen.shape)


def overlap(a: Bool[Tensor, "O I"], b: Bool[Tensor, "O I"]) -> float:
    """Intersection over union of the kept weights of two masks.

    Independent random masks that keep a share k give k / (2 - k): 1/3 at half, so look at it beside controls.
    """
    return float((a & b).sum() / (a | b).sum())


def pack(mask: Bool[Tensor, "O I"]) -> Tensor:
    """A mask in one bit per weight, row by row, the first weight in the lowest bit; the last byte is filled with 0."""
    flat = mask.reshape(-1).cpu()
    padded = torch.nn.functional.pad(flat.to(torch.uint8), (0, -len(flat) % 8)).reshape(-1, 8)
    return (padded << torch.arange(8, dtype=torch.uint8)).sum(dim=1, dtype=torch.uint8)


def unpack(bits: Tensor, shape: tuple[int, int]) -> Bool[Tensor, "O I"]:
    """The mask of `shape` that `pack` wrote."""
    found = (bits[:, None] >> torch.arange(8, dtype=torch.uint8, device=bits.device)) & 1
    return found.reshape(-1)[: shape[0] * shape[1]].reshape(shape).bool()
