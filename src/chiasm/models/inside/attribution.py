"""Which of the projector's output vectors an answer rests on: gradients along paths, and coalitions of patches.

The methods are captum's, run on `Rerun`: only the decoder and the head are computed again, many variants at a time.
Legend: B variants, n tokens that vary, D width, K images of the background, M features.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chiasm.core.errors import MissingExtraError
from chiasm.models.inside.methods import AttributionMethod
from chiasm.models.inside.rerun import Rerun, frozen_model, max_variants

MAX_ERROR: Final = 0.05
"""The largest completeness error (share of what is to be explained) at which a map counts as one."""

_POINTS, _FIRST_PARTS, _MAX_STEPS = 8, 4, 1024


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """What each token adds to the target (nat), from what replaces it to what stands there.

    `value` and `base_value`: the target with and without all of them. `error`: |sum of `tokens` - (value - base_value)|
    / |value - base_value|; of methods along paths the sum of this over the parts of all paths, relative to the whole.
    `steps`: points of the paths, or samples.
    """

    method: AttributionMethod
    tokens: Float[np.ndarray, " n"]
    value: float
    base_value: float
    error: float
    steps: int

    @property
    def complete(self) -> bool:
        """Whether the parts add up to the whole within 5 %."""
        return self.error <= MAX_ERROR


def integrated_gradients(
    rerun: Rerun, base: Float[Tensor, "n D"], *, first_parts: int = _FIRST_PARTS, max_steps: int = _MAX_STEPS
) -> Attribution:
    """Integrated Gradients from `base`, each token's dimensions summed.

    The path is cut into `first_parts` parts of 8 Gauss-Legendre points. Every part must add up to what the target
    gains on it; those that do not are halved, until all errors together (none offsets another, so this is stricter
    than the published check) are within 5 % of the whole, or `max_steps` points are spent. The error is in the result
    either way.

    Source: Sundararajan et al. 2017 (ICML), equation 1 and proposition 1. Assumption: the straight path leads through
    vectors that the decoder can make sense of; the further from them `base`, the less it does.
    """
    return _integrated("integrated-gradients", rerun, base[None], first_parts, max_steps)


def gradient_shap(
    rerun: Rerun,
    background: Float[Tensor, "K n D"],
    *,
    images: int = 4,
    first_parts: int = _FIRST_PARTS,
    max_steps: int = _MAX_STEPS,
    seed: int = 0,
) -> Attribution:
    """Expected gradients: Integrated Gradients averaged over starts at `images` others, drawn from the background.

    `base_value` is the mean of the target over the drawn images, so that the map must add up to the target less that.
    The error in the result is that of whole paths, of which none offsets another (of a single image, of its parts).
    The published estimate takes one random point of every path: with 64 of them its sum missed the whole by 54 %
    (median over 24 answers of `tiny`), as targets jump along the way.

    Source: Lundberg & Lee 2017; Erion et al. 2021, equation 3. Assumption: the drawn images stand for those that the
    answer is to be explained against.
    """
    count = min(images, len(background))
    drawn = np.sort(np.random.default_rng(seed).permutation(len(background))[:count])
    return _integrated("gradient-shap", rerun, background[torch.from_numpy(drawn)], first_parts, max_steps)


def _integrated(
    name: AttributionMethod, rerun: Rerun, bases: Float[Tensor, "K n D"], first_parts: int, max_steps: int
) -> Attribution:
    """The mean over straight paths from `bases`, with points added where the target does not add up."""
    method = _captum().IntegratedGradients(rerun)
    count = len(bases)
    value, *starts = evaluate(rerun, torch.cat([rerun.states[None], bases])).tolist()
    base_value = float(np.mean(starts))
    whole = abs(value - base_value)
    waiting = [(base, k / first_parts, (k + 1) / first_parts) for base in range(count) for k in range(first_parts)]
    parts: list[_PathPart] = []
    steps = 0
    with frozen_model(rerun.view):
        while waiting:
            parts += _along(method, rerun, bases, waiting)
            steps += _POINTS * len(waiting)
            total, allowed = _missed(parts), MAX_ERROR * whole * count
            # A part may be wrong by its share of what is allowed: halving the worst ones is where points are wanted.
            wrong = [part for part in parts if abs(part.gap) > allowed / (2 * len(parts))] if total > allowed else []
            if steps + 2 * _POINTS * len(wrong) > max_steps:
                break
            waiting = [
                half
                for k, a, b in (part.where for part in wrong)
                for half in ((k, a, (a + b) / 2), (k, (a + b) / 2, b))
            ]
            halved = {part.where for part in wrong}
            parts = [part for part in parts if part.where not in halved]
    tokens = np.sum([part.tokens for part in parts], axis=0) / count
    error = _missed(parts) / count / whole if whole else np.inf
    return Attribution(name, tokens, value, base_value, float(error), steps)


def _missed(parts: Sequence["_PathPart"]) -> float:
    """By how much the parts of a single path, or several whole paths, fail to add up: none offsets another."""
    paths: dict[int, float] = {}
    for part in parts:
        paths[part.where[0]] = paths.get(part.where[0], 0.0) + part.gap
    return sum(map(abs, paths.values())) if len(paths) > 1 else sum(abs(part.gap) for part in parts)


class _PathPart(NamedTuple):
    """Attribution on a part of a path: which, its two ends (shares of it), and by how much `tokens` fail to add up."""

    where: tuple[int, float, float]
    tokens: Float[np.ndarray, " n"]
    gap: float


def _along(
    method: Any, rerun: Rerun, bases: Float[Tensor, "K n D"], parts: Sequence[tuple[int, float, float]]
) -> list[_PathPart]:
    found, limit = [], max_variants(rerun, gradients=True)
    for first in range(0, len(parts), limit):
        some = parts[first : first + limit]
        which, *sides = zip(*some, strict=True)
        base = bases[list(which)]
        starts, ends = (torch.tensor(side, device=base.device, dtype=base.dtype)[:, None, None] for side in sides)
        whole = rerun.states - base
        maps, gaps = method.attribute(
            base + ends * whole,
            baselines=base + starts * whole,
            n_steps=_POINTS,
            method="gausslegendre",
            internal_batch_size=max(limit, len(some)),
            return_convergence_delta=True,
        )
        tokens = maps.detach().double().sum(-1).cpu().numpy()
        found += [_PathPart(e, t, float(g)) for e, t, g in zip(some, tokens, gaps.tolist(), strict=True)]
    return found


def kernel_shap(
    rerun: Rerun,
    base: Float[Tensor, "n D"],
    features: Int[np.ndarray, " n"],
    *,
    samples: int = 512,
    seed: int = 0,
) -> Attribution:
    """Shapley values of groups of tokens (`features` numbers them from 0), each spread evenly over its tokens.

    Source: Lundberg & Lee 2017, theorem 2; weighted least squares over sampled coalitions. Needs no gradient.
    Assumption: a group without its vectors is one at `base`.
    """
    method = _captum().KernelShap(rerun)
    device = rerun.states.device
    mask = torch.from_numpy(features).to(device)[None, :, None].expand(1, -1, rerun.states.shape[-1])
    value, base_value = _ends(rerun, base)
    with torch.no_grad(), frozen_model(rerun.view), _seeded(seed):
        found = method.attribute(
            rerun.states[None],
            baselines=base[None],
            feature_mask=mask,
            n_samples=samples,
            perturbations_per_eval=max_variants(rerun, gradients=False),
        )
    # The same number stands in every dimension of every token of a group.
    tokens = found[0, :, 0].double().cpu().numpy() / np.bincount(features)[features]
    return Attribution("kernel-shap", tokens, value, base_value, _error(tokens, value - base_value), samples)


def super_patches(rects: Float[np.ndarray, "n 4"], width: int, height: int, side: int = 6) -> Int[np.ndarray, " n"]:
    """Tokens grouped by their place in the image: `side` x `side` squares of the image, numbered without gaps.

    Tokens without a place (a resampler's) are grouped by their order.
    """
    n = len(rects)
    if np.isnan(rects).any() or len(np.unique(rects, axis=0)) < n:
        return np.arange(n) * min(n, side * side) // n
    x, y = (rects[:, 0] + rects[:, 2]) / 2 / width, (rects[:, 1] + rects[:, 3]) / 2 / height
    cells = [np.clip((side * v).astype(np.int64), 0, side - 1) for v in (y, x)]
    return np.unique(cells[0] * side + cells[1], return_inverse=True)[1].reshape(-1)


def two_players(rerun: Rerun, base: Float[Tensor, "n D"], first: Bool[np.ndarray, " n"]) -> tuple[float, float]:
    """Exact Shapley values (nat) of two players, the tokens marked in `first` and all others: four forwards.

    Source: Shapley 1953. No sampling, and no sum of absolute values that noise could swell.
    """
    here = torch.from_numpy(first).to(rerun.states.device)[:, None]
    whole, none = rerun.states, base
    one, other = torch.where(here, whole, none), torch.where(here, none, whole)
    a, b, c, d = evaluate(rerun, torch.stack([whole, one, other, none])).tolist()
    return ((a - c) + (b - d)) / 2, ((a - b) + (c - d)) / 2


@torch.no_grad()
def evaluate(
    rerun: Rerun, states: Float[Tensor, "B n D"], read: Callable[[Tensor], Tensor] | None = None
) -> Float[np.ndarray, " B"]:
    """The target (or what `read` gives) of many variants, as many together as fit."""
    with frozen_model(rerun.view):
        chunks = [(read or rerun)(part).double().cpu() for part in states.split(max_variants(rerun, gradients=False))]
    return torch.cat(chunks).numpy()


def ranked_scores(
    rerun: Rerun, base: Float[Tensor, "n D"], orders: Sequence[Int[np.ndarray, " n"]], counts: Sequence[int]
) -> Float[np.ndarray, "orders 2 counts"]:
    """The answer's log-probability (nat) with the first `counts` tokens of each order deleted, then with only those in.

    A deleted token stands at `base`.

    Source: Petsiuk et al. 2018 (RISE), section 4.3, on the projector's output in place of pixels.
    """
    n = len(rerun.rows)
    kept = np.empty((len(orders), 2, len(counts), n), dtype=bool)
    for k, order in enumerate(orders):
        rank = np.empty(n, dtype=np.int64)
        rank[order] = np.arange(n)
        for c, count in enumerate(counts):
            kept[k, 0, c], kept[k, 1, c] = rank >= count, rank < count
    # Many variants are the same (nothing or everything deleted): each is computed once.
    different, where = np.unique(kept.reshape(-1, n), axis=0, return_inverse=True)
    chosen, found, limit = torch.from_numpy(different).to(rerun.states.device), [], max_variants(rerun, gradients=False)
    for start in range(0, len(chosen), limit):
        variants = torch.where(chosen[start : start + limit, :, None], rerun.states, base)
        found.append(evaluate(rerun, variants, rerun.logprob))
    return np.concatenate(found)[where.reshape(-1)].reshape(kept.shape[:-1])


def _ends(rerun: Rerun, base: Float[Tensor, "n D"]) -> tuple[float, float]:
    value, base_value = evaluate(rerun, torch.stack([rerun.states, base])).tolist()
    return value, base_value


def _error(tokens: Float[np.ndarray, " n"], whole: float) -> float:
    gap = abs(float(tokens.sum()) - whole)
    return gap / abs(whole) if whole else (np.inf if gap else 0.0)


def _captum() -> Any:
    try:
        from captum import attr
    except ImportError as error:
        raise MissingExtraError("attribution", "captum", "attribution") from error
    return attr


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """captum draws from the global generators of torch and numpy: they are put back as they were."""
    before = np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            np.random.set_state(before)
