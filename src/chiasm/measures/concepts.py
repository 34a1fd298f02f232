"""TCAV: does the answer grow when the image's tokens move along a concept's direction?

Legend: n images, L layers, D width, e examples of the class, R random sets, M random concepts.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import stdtr

from chiasm.core.statistics.intervals import share_interval

_RIDGE = 1.0


class Sensitivity(NamedTuple):
    """TCAV of one concept by layer, and what random concepts give.

    `score`: share of class examples whose answer grows along the concept, mean over random sets, with the 95 %
    interval of a share over examples. `random`, `random_low`, `random_high`: mean and central 95 % over random
    concepts.
    `p`: that a random concept is as far out at any layer (corrected over layers). `published`: the uncorrected t-test
    of Kim et al. `accuracy`: of the direction on images that it was not made from (chance 0.5).
    """

    score: Float[np.ndarray, " L"]
    low: Float[np.ndarray, " L"]
    high: Float[np.ndarray, " L"]
    random: Float[np.ndarray, " L"]
    random_low: Float[np.ndarray, " L"]
    random_high: Float[np.ndarray, " L"]
    p: Float[np.ndarray, " L"]
    published: Float[np.ndarray, " L"]
    accuracy: Float[np.ndarray, " L"]


def sensitivity(
    states: Float[np.ndarray, "n L D"],
    shown: Bool[np.ndarray, " n"],
    gradients: Float[np.ndarray, "e L D"],
    *,
    draws: int = 10,
    concepts: int = 500,
    seed: int = 0,
) -> Sensitivity:
    """TCAV of the concept that the images marked in `shown` have, against `concepts` random ones of the same size.

    Every direction is made from half of the concept's images and as many others; the other halves judge it. A random
    concept is a set of images drawn once, as the real one is: with a new set for every draw, as published, the
    t-test finds sets of no meaning significant, because their directions agree with themselves.

    Source: Kim et al. 2018 (ICML), section 3; the test is a permutation of the marks, single-step max-T over layers
    (Westfall & Young 1993). Assumption: without a meaning, any images could have been marked.

    **Errors:** `ValueError` for fewer than 4 images of the concept, or fewer others than half of them twice.
    """
    n = int(shown.sum())
    if n < 4 or len(shown) - n < 2 * (n // 2):
        raise ValueError(f"{n} images of the concept and {len(shown) - n} others are too few")
    rng = np.random.default_rng(seed)
    signs, accuracy, beside = _signs(states, shown, gradients, draws, rng)
    score = signs.mean(axis=(0, 1))
    null = np.empty((concepts, states.shape[1]))
    for k in range(concepts):
        null[k] = _signs(states, rng.permutation(shown), gradients, draws, rng)[0].mean(axis=(0, 1))
    centre, spread = null.mean(axis=0), null.std(axis=0)
    usable = np.where(spread > 0, spread, 1)
    largest = (np.abs(null - centre) / usable).max(axis=1)
    reached = (largest[:, None] >= np.abs(score - centre) / usable - 1e-12).sum(axis=0)
    # Signs are answers of yes or no: most of a found concept's agree, and a bootstrap would see no spread in them.
    agree, tried = signs.sum(axis=0), np.full(signs.shape[1], float(len(signs)))
    shares = [share_interval(agree[:, k], wholes=tried) for k in range(agree.shape[1])]
    random_low, random_high = np.percentile(null, [2.5, 97.5], axis=0)
    return Sensitivity(
        score,
        np.array([float(one.low) for one in shares]),
        np.array([float(one.high) for one in shares]),
        centre,
        random_low,
        random_high,
        (1 + reached) / (1 + concepts),
        np.array([_welch(signs.mean(axis=1)[:, k], beside[:, k]) for k in range(len(score))]),
        accuracy,
    )


def _signs(
    states: Float[np.ndarray, "n L D"],
    shown: Bool[np.ndarray, " n"],
    gradients: Float[np.ndarray, "e L D"],
    draws: int,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "R e L"], Float[np.ndarray, " L"], Float[np.ndarray, "R L"]]:
    """Whether each answer grows along the direction of each draw, the directions' accuracy, and what directions
    between random others give (Kim et al.'s random concepts)."""
    own, others = np.flatnonzero(shown), np.flatnonzero(~shown)
    half = len(own) // 2
    mine = np.stack([rng.permutation(own) for _ in range(draws)])
    beside = np.stack([rng.permutation(others)[: 2 * half] for _ in range(draws)])
    layers = range(states.shape[1])
    signs = np.empty((draws, len(gradients), len(layers)))
    right, control = np.empty(len(layers)), np.empty((draws, len(layers)))
    for k in layers:
        x, g = states[:, k], gradients[:, k]
        direction, middle = directions(x[mine[:, :half]], x[beside[:, :half]])
        signs[..., k] = np.einsum("ed,rd->re", g, direction) > 0
        for_it = np.einsum("rnd,rd->rn", x[mine[:, half:]], direction) > middle[:, None]
        against = np.einsum("rnd,rd->rn", x[beside[:, half:]], direction) <= middle[:, None]
        right[k] = (for_it.mean() + against.mean()) / 2
        random, _ = directions(x[beside[:, :half]], x[beside[:, half:]])
        control[:, k] = (np.einsum("ed,rd->re", g, random) > 0).mean(axis=1)
    return signs, right, control


def directions(
    concept: Float[np.ndarray, "R n D"], others: Float[np.ndarray, "R m D"]
) -> tuple[Float[np.ndarray, "R D"], Float[np.ndarray, " R"]]:
    """The unit vectors that separate the concept from others by ridge regression, and the thresholds along them.

    Inputs are centred and scaled to mean square 1, so that one penalty suits every layer; solved over images, of
    which there are fewer than dimensions.
    """
    both = np.concatenate([concept, others], axis=1).astype(np.float64)
    sizes = concept.shape[1], others.shape[1]
    labels = np.repeat([1.0, -1.0], sizes)
    centred = both - both.mean(axis=1, keepdims=True)
    scale = np.sqrt((centred**2).mean(axis=(1, 2), keepdims=True))
    scaled = centred / np.where(scale > 0, scale, 1)
    kernel = scaled @ scaled.transpose(0, 2, 1) + _RIDGE * sum(sizes) * np.eye(sum(sizes))
    weights = np.linalg.solve(kernel, np.broadcast_to((labels - labels.mean())[:, None], (len(kernel), sum(sizes), 1)))
    found = np.einsum("rnd,rn->rd", scaled, weights[..., 0])
    length = np.linalg.norm(found, axis=1, keepdims=True)
    found = found / np.where(length > 0, length, 1)
    middle = (concept.mean(axis=1) + others.mean(axis=1)) / 2
    return found, np.einsum("rd,rd->r", middle, found)


def _welch(a: Float[np.ndarray, " R"], b: Float[np.ndarray, " R"]) -> float:
    """Welch's two-sided p; 1 where both are constant and alike, 0 where they are constant and differ.

    SciPy gives neither of these two, and the others with another last digit.
    """
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    if va + vb == 0:
        return float(a[0] == b[0])
    freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return float(2 * stdtr(freedom, -abs(a.mean() - b.mean()) / np.sqrt(va + vb)))
