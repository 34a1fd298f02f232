"""How much each weight counts, and from scores which weights are kept. Pure functions of tensors; True is kept.

Legend: O outputs, I inputs of a matrix, K calibrations.
"""

import math
import zlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from chiasm.core.errors import ChiasmError
from chiasm.interventions.masks import blocks, require_sparsity


def wanda_scores(weight: Float[Tensor, "O I"], norms: Float[Tensor, " I"]) -> Float[Tensor, "O I"]:
    """|W_ij| times the L2 norm of input feature j over the calibration tokens, in at least float32.

    Source: Sun et al. 2024, equation 1. Comparable within one output row; between rows only as far as their outputs
    matter alike.
    """
    return magnitude_scores(weight) * norms.to(weight.device, torch.promote_types(weight.dtype, torch.float32))


def magnitude_scores(weight: Float[Tensor, "O I"]) -> Float[Tensor, "O I"]:
    """|W_ij|, in at least float32 (what Sun et al. 2024 compare with)."""
    return weight.detach().abs().to(torch.promote_types(weight.dtype, torch.float32))


def random_scores(shape: tuple[int, int], name: str, seed: int) -> Float[Tensor, "O I"]:
    """Uniform scores that depend on the seed and the matrix's name alone: the same on every machine and device."""
    rng = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
    return torch.from_numpy(rng.random(shape, dtype=np.float32))


def ranks(scores: Float[Tensor, "O I"], block: int | None = None) -> Int[Tensor, "O I"]:
    """Place of each weight within its row, or within `block` consecutive inputs of it: 0 is zeroed first.

    Of equal scores the one further left is zeroed first.
    """
    grouped = scores.reshape(-1, block or scores.shape[1])
    order = grouped.argsort(dim=1, stable=True)
    places = torch.empty_like(order)
    places.scatter_(1, order, torch.arange(grouped.shape[1], device=scores.device).expand_as(order).contiguous())
    return places.reshape(scores.shape)


def kept_but(scores: Float[Tensor, "O I"], counts: Sequence[int]) -> list[Bool[Tensor, "O I"]]:
    """The masks that zero so many of every row as each of `counts` says: those of the lowest `ranks`.

    Scores are compared with the lowest that stays, since sorting values alone takes a thirtieth of ranking them.
    """
    width = scores.shape[1]
    on_cpu = scores.device.type == "cpu"
    ordered = torch.from_numpy(np.sort(scores.numpy(), axis=1)) if on_cpu else scores.sort(dim=1).values
    masks = []
    for count in counts:
        if count in (0, width):
            masks.append(torch.full_like(scores, count == 0, dtype=torch.bool))
            continue
        lowest = ordered[:, count : count + 1]
        kept = scores >= lowest
        # Where the highest that goes equals the lowest that stays, their places decide.
        tied = (ordered[:, count - 1 : count] == lowest)[:, 0]
        if tied.any():
            kept[tied] = ranks(scores[tied]) >= count
        masks.append(kept)
    return masks


def cumulative(scores: Float[Tensor, "O I"]) -> Float[Tensor, "O I"]:
    """For each weight, the share of its row's sum that it and all lower scores of the row make up, in float64.

    A threshold on it zeroes weights of a row up to one share of its sum, so rows with few large scores lose more.
    The released code of Wanda finds the threshold of a matrix by bisection, to 0.001 of the sparsity; ranking a matrix
    by these shares gives it exactly.
    """
    wide = scores.double()
    ordered, order = wide.sort(dim=1, stable=True)
    shares = ordered.cumsum(dim=1) / ordered.sum(dim=1, keepdim=True).clamp_min(torch.finfo(wide.dtype).tiny)
    return torch.zeros_like(wide).scatter_(1, order, shares)


def vote_scores(scores: Sequence[Float[Tensor, "O I"]], votes: int, block: int | None = None) -> Float[Tensor, "O I"]:
    """Scores whose best k are the weights that at least `votes` of K calibrations keep, at a common sparsity.

    With votes = K this is the intersection of the kept weights, with K // 2 + 1 the majority, with 1 the union. An
    intersection of masks is sparser than the masks; lowering their common sparsity until a row has k weights left
    keeps those whose `votes`-th best rank is highest, which is what this ranks by. So every combination can be had
    at the very sparsity of what it is compared with. Weights that enter together are ordered by `mean_scores`.

    Source: the AND of kept weights in Shukor & Cord 2024, released code (there at a higher final sparsity).
    """
    if not 1 <= votes <= len(scores):
        raise ValueError(f"{votes} votes of {len(scores)} calibrations")
    placed = torch.stack([ranks(one, block) for one in scores])
    reached = placed.sort(dim=0, descending=True).values[votes - 1]
    # Ranks of the mean break ties: below 1, so that they never overrule the votes.
    return reached.double() + ranks(mean_scores(scores), block).double() / scores[0].shape[1]


def mean_scores(scores: Sequence[Float[Tensor, "O I"]]) -> Float[Tensor, "O I"]:
    """Mean over calibrations of each row's scores as shares of the row's sum.

    Without that scale the calibration with the largest activations would decide alone.
    """
    total = torch.zeros_like(scores[0])
    for one in scores:
        total += one / one.sum(dim=1, keepdim=True).clamp_min(torch.finfo(one.dtype).tiny)
    return total / len(scores)


def dropped(width: int, sparsity: float) -> int:
    """How many of `width` weights a sparsity zeroes: the floor of their product.

    The product is rounded first: 0.29 of 100 is 29, though in floating point it lies below.
    """
    require_sparsity(sparsity)
    return math.floor(round(width * sparsity, 9))


def keep_per_row(scores: Float[Tensor, "O I"], sparsity: float) -> Bool[Tensor, "O I"]:
    """All but the floor(I * sparsity) lowest scores of every output row (Sun et al. 2024, section 3)."""
    return kept_but(scores, [dropped(scores.shape[1], sparsity)])[0]


def keep_per_matrix(scores: Float[Tensor, "O I"], sparsity: float) -> Bool[Tensor, "O I"]:
    """All but the floor(O * I * sparsity) lowest scores of the whole matrix."""
    return kept_but(scores.reshape(1, -1), [dropped(scores.numel(), sparsity)])[0].reshape(scores.shape)


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
    return kept_but(scores.reshape(-1, block), [zeroed])[0].reshape(scores.shape)


def keep(scores: Float[Tensor, "O I"], sparsity: float, pattern: str) -> Bool[Tensor, "O I"]:
    """The mask of a pattern, per row where it is `unstructured`."""
    zeroed = blocks(pattern)
    return keep_per_row(scores, sparsity) if zeroed is None else keep_n_of_m(scores, *zeroed)


def keep_by(method: str, scores: Float[Tensor, "O I"], sparsity: float, pattern: str) -> Bool[Tensor, "O I"]:
    """The mask as `method` groups its weights: within the whole matrix, by cumulative share, or as `keep`."""
    if method == "wanda-cumulative":
        return keep_per_matrix(cumulative(scores), sparsity)
    by_matrix = method == "magnitude" and blocks(pattern) is None
    return keep_per_matrix(scores, sparsity) if by_matrix else keep(scores, sparsity, pattern)


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
    both = int((a & b).count_nonzero())
    either = int(a.count_nonzero()) + int(b.count_nonzero()) - both
    return both / either if either else math.nan


def pack(mask: Bool[Tensor, "O I"]) -> Tensor:
    """A mask in one bit per weight, row by row, the first weight in the lowest bit; the last byte is filled with 0."""
    flat = mask.reshape(-1).cpu()
    padded = F.pad(flat.to(torch.uint8), (0, -len(flat) % 8)).reshape(-1, 8)
    return (padded << torch.arange(8, dtype=torch.uint8)).sum(dim=1, dtype=torch.uint8)


def unpack(bits: Tensor, shape: tuple[int, int]) -> Bool[Tensor, "O I"]:
    """The mask of `shape` that `pack` wrote."""
    found = (bits[:, None] >> torch.arange(8, dtype=torch.uint8, device=bits.device)) & 1
    return found.reshape(-1)[: shape[0] * shape[1]].reshape(shape).bool()
