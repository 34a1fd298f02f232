"""Whether what is seen and what is read need the same weights: masks of either, and chance beside them."""

import zlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from chiasm.measures.base import Measure, Price, Sizes, Tables
from chiasm.measures.pairs import cross_pairs
from chiasm.models.observe import Batch, Seen, averaging
from chiasm.models.pruning.masks import keep_per_row, overlap
from chiasm.models.pruning.scores import magnitude_scores, wanda_scores

SPARSITIES = (0.3, 0.5, 0.7)


class Overlap(Measure):
    """Intersection over union of the weights that Wanda keeps for a perceptual and for a textual span.

    Input norms come from the tokens of either span as they are in one and the same prompt; padding never counts. Masks
    zero the least |W| x norm of each output row; at most `rows` rows of a matrix, drawn by the seed, are compared.
    Overlap alone proves little, since both masks rest on the same weights, so three nulls stand beside it: independent
    random masks (expected, k / (2 - k) for a kept share k), the mean overlap of either mask with that of |W| alone,
    and the overlap when the second span's norms are shuffled over the inputs.

    Source: Shukor & Cord 2024, Figure 22; Wanda: Sun et al. 2024 (arXiv 2306.11695), without its block-by-block
    re-computation, since nothing is pruned here. Unlike the released code it sees no padding and one context for both.
    """

    name: ClassVar[str] = "overlap"

    def __init__(
        self, spans: tuple[str, ...], matrices: Mapping[str, nn.Linear], *, rows: int = 512, seed: int = 0
    ) -> None:
        super().__init__()
        self.spans, self.matrices, self.rows, self.seed = spans, matrices, rows, seed
        self.squares: dict[str, np.ndarray] = {}
        self._waiting: list[tuple[int, tuple[str, ...], Float[Tensor, "S I"]]] = []

    @property
    def wants_inputs(self) -> bool:
        return True

    def price(self, sizes: Sizes) -> Price:
        inputs = sizes.layers * (3 * sizes.width + sizes.inner)
        return Price(3.0 * inputs * sizes.read, 8.0 * inputs * len(sizes.tokens))

    def see(self, seen: Seen) -> None:
        """States of the residual stream are not used."""

    def see_inputs(self, layer: int, names: tuple[str, ...], batch: Batch, x: Float[Tensor, "N I"]) -> None:
        self._waiting.append((layer, names, averaging(batch, x) @ x.square()))

    def end(self, batch: Batch) -> None:
        waiting, self._waiting = self._waiting, []
        for layer, names, means in waiting:
            values = means.cpu().double().numpy()
            for segment, mean in zip(batch.segments, values, strict=True):
                if batch.good(segment):
                    count = segment.stop - segment.start
                    # The number of tokens travels with their sum of squares.
                    sums = np.append(mean * count, count)
                    for name in names:
                        key = f"{segment.span}/{layer}.{name}"
                        self.squares[key] = self.squares[key] + sums if key in self.squares else sums

    def merge(self, other: "Overlap") -> None:
        for key, value in other.squares.items():
            self.squares[key] = self.squares[key] + value if key in self.squares else value.copy()

    def state(self) -> dict[str, np.ndarray]:
        return {f"squares:{key}": value for key, value in self.squares.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.squares = {k.removeprefix("squares:"): np.array(v) for k, v in state.items()}

    @torch.no_grad()
    def tables(self) -> Tables:
        rows = []
        for a, b in cross_pairs(self.spans):
            for name, linear in self.matrices.items():
                of_a, of_b = (self.squares.get(f"{span}/{name}") for span in (a, b))
                if of_a is not None and of_b is not None:
                    layer, _, matrix = name.partition(".")
                    about = {"a": a, "b": b, "layer": int(layer), "matrix": matrix}
                    about |= {"tokens_a": int(of_a[-1]), "tokens_b": int(of_b[-1])}
                    rows += [
                        about | row for row in self._compared(name, linear, np.sqrt(of_a[:-1]), np.sqrt(of_b[:-1]))
                    ]
        return {"overlap": rows}

    def _compared(self, name: str, linear: nn.Linear, of_a: np.ndarray, of_b: np.ndarray) -> list[dict[str, Any]]:
        rng = np.random.default_rng([self.seed, zlib.crc32(name.encode())])
        chosen = np.sort(rng.permutation(linear.weight.shape[0])[: self.rows])
        weight = linear.weight.detach()[torch.from_numpy(chosen).to(linear.weight.device)]
        shuffled = rng.permutation(of_b)
        scores = [wanda_scores(weight, torch.from_numpy(norms)) for norms in (of_a, of_b, shuffled)]
        scores.append(magnitude_scores(weight))
        found = []
        for sparsity in SPARSITIES:
            a, b, permuted, magnitude = (keep_per_row(score, sparsity) for score in scores)
            found.append(
                {
                    "sparsity": sparsity,
                    "iou": overlap(a, b),
                    "null_random": random_overlap(a),
                    "null_magnitude": (overlap(a, magnitude) + overlap(b, magnitude)) / 2,
                    "null_permuted": overlap(a, permuted),
                }
            )
        return found


def random_overlap(mask: Bool[Tensor, "O I"]) -> float:
    """The overlap expected of two independent random masks that keep as many weights as `mask` in every row."""
    kept = mask.sum(dim=1).double()
    shared = (kept**2 / mask.shape[1]).sum()
    return float(shared / (2 * kept.sum() - shared))


def matrices_of(layers: nn.ModuleList) -> dict[str, nn.Linear]:
    """The matrices of all decoder layers whose weights can be compared, as `3.self_attn.q_proj`."""
    return {
        f"{index}.{name}": module
        for index, layer in enumerate(layers)
        for name, module in layer.named_modules()
        if isinstance(module, nn.Linear) and module.weight.is_floating_point() and module.weight.device.type != "meta"
    }
