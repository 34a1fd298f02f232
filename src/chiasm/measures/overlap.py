"""Whether what is seen and what is read need the same weights: masks of either, and chance beside them."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product
from typing import Any, ClassVar, Self
from urllib.parse import quote, unquote

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from chiasm.core.statistics.intervals import Estimate
from chiasm.core.statistics.jackknife import GROUPS, group_jackknife, group_of, without_each
from chiasm.core.statistics.streaming import NamedSums
from chiasm.measures.base import Measure, MeasureConfig, MeasureCost, ReadSizes, RowsByTable, bound
from chiasm.measures.parts import PARTS, part_rows
from chiasm.models.observe import Batch, SiteStates, averaging_matrix
from chiasm.models.pruning.masks import dropped, kept_but, magnitude_scores, overlap, wanda_scores

SPARSITIES = (0.3, 0.5, 0.7)
_HALF = SPARSITIES.index(0.5)
SHUFFLES = 4
"""How many seeded shuffles of the second span's norms `null_permuted` is the mean of."""
FOLDS = 10
"""Parts of the examples that the interval leaves out one at a time; the halves of `ceiling` are five of them each."""


class Overlap(Measure):
    """Intersection over union of the weights that Wanda keeps for two spans.

    Input norms come from the tokens of either span as they are in one and the same prompt; padding never counts. Masks
    zero the least |W| x norm of each output row; at most `rows` rows of a matrix, drawn by the seed, are compared.
    Overlap alone proves little, since both masks rest on the same weights, so three nulls stand beside it: independent
    random masks (expected, k / (2 - k) for a kept share k), the mean overlap of either mask with that of |W| alone,
    and the overlap when the second span's norms are shuffled over the inputs (mean of four seeded shuffles). `ceiling`
    is what the same span gives when its norms come from either half of the examples. It is a reference, no bound:
    halves have noisier norms than the whole sets behind `iou`, and spans differ in tokens, so `iou` may exceed it.
    The interval of `iou` leaves out one of ten groups of examples at a time; it says how far the masks depend on the
    examples, not how matrices differ.

    `task_of` (example to task) adds the table `overlap_tasks`: a span between tasks, and two spans within one.

    Source: Shukor & Cord 2024, Figure 22; Wanda: Sun et al. 2024 (arXiv 2306.11695), without its block-by-block
    re-computation, since nothing is pruned here. Unlike the released code it sees no padding and one context for both.
    """

    name: ClassVar[str] = "overlap"
    order: ClassVar[int] = 6

    def __init__(
        self,
        spans: tuple[str, ...],
        matrices: Mapping[str, nn.Linear],
        *,
        rows: int = 512,
        seed: int = 0,
        task_of: Mapping[str, str] | None = None,
    ) -> None:
        self.squares = NamedSums("squares")
        super().__init__(self.squares)
        self.spans, self.matrices, self.rows, self.seed = spans, matrices, rows, seed
        self.task_of = task_of or {}
        self._waiting: list[tuple[int, tuple[str, ...], Float[Tensor, "S I"]]] = []

    @property
    def needs_inputs(self) -> bool:
        return True

    @classmethod
    def for_model(cls, config: MeasureConfig) -> Self:
        return cls(config.spans, matrices_of(config.view.layers), seed=config.seed, task_of=config.task_of)

    def cost(self, sizes: ReadSizes) -> MeasureCost:
        inputs = sizes.layers * (3 * sizes.width + sizes.inner)
        kept = sum(linear.in_features for linear in self.matrices.values())
        tasks = max(1, len(set(self.task_of.values())))
        return MeasureCost(3.0 * inputs * sizes.read, FOLDS * tasks * 8.0 * kept * len(sizes.tokens))

    def update(self, seen: SiteStates) -> None:
        """States of the residual stream are not used."""

    def update_inputs(self, layer: int, names: tuple[str, ...], batch: Batch, x: Float[Tensor, "N I"]) -> None:
        self._waiting.append((layer, names, averaging_matrix(batch, x) @ x.square()))

    def end_batch(self, batch: Batch) -> None:
        waiting, self._waiting = self._waiting, []
        for layer, names, means in waiting:
            values = means.cpu().double().numpy()
            for segment, mean in zip(batch.segments, values, strict=True):
                if batch.is_valid(segment):
                    count = segment.stop - segment.start
                    # The numbers of tokens and of examples travel with the sum of squares.
                    sums = np.append(mean * count, [count, 1])
                    fold = group_of(batch.units[segment.example]) * FOLDS // GROUPS
                    task = quote(self.task_of.get(batch.ids[segment.example], ""), safe=" ")
                    for name in names:
                        self.squares.add_array(f"{segment.span}/{fold}/{layer}.{name}/={task}", sums)

    @torch.no_grad()
    def tables(self) -> RowsByTable:
        parts: dict[str, dict[tuple[str, str, str], np.ndarray]] = {}
        for key, value in self.squares.arrays.items():
            span, fold, name, task = key.split("/")
            parts.setdefault(name, {})[span, fold, unquote(task[1:])] = value
        whole, by_task = [], []
        means: dict[tuple[str, str], list[Float[np.ndarray, "3 K"] | None]] = {}
        counts: dict[tuple[str, str], Float[np.ndarray, " folds"]] = {}
        for name in [name for name in self.matrices if name in parts]:
            found, masks = parts[name], _Masks(name, self.matrices[name], self.rows, self.seed)
            spans = [span for span in self.spans if any(key[0] == span for key in found)]
            for a, b in combinations(spans, 2):
                of_a, of_b = (_folds(found, span, None) for span in (a, b))
                whole += masks.rows(a, b, of_a, of_b)
                means.setdefault((a, b), []).append(masks.without_each_fold(a, b, of_a, of_b))
                counts[a, b] = np.maximum(of_a[:, -1], of_b[:, -1])
            tasks = sorted({task for _, _, task in found if task})
            for a, b in combinations(product(spans, tasks), 2):
                if (a[0] == b[0]) != (a[1] == b[1]):
                    of_a, of_b = (_folds(found, *each) for each in (a, b))
                    if of_a.any() and of_b.any():
                        by_task += masks.rows(f"{a[0]} [{a[1]}]", f"{b[0]} [{b[1]}]", of_a, of_b)
        rows = [row for pair, found in means.items() for row in _parts(*pair, found, counts[pair])]
        tables = {"overlap": whole, PARTS: rows}
        return tables | {"overlap_tasks": by_task} if by_task else tables


def _parts(
    a: str, b: str, found: Sequence[Float[np.ndarray, "3 K"] | None], counts: Float[np.ndarray, " folds"]
) -> Iterator[dict[str, Any]]:
    """At half of the weights, means over all matrices: whole inputs are left out of all of them at once."""
    known = [values for values in found if values is not None]
    if len(known) == len(found):
        for quantity, values in zip(("iou", "iou_permuted", "iou_magnitude"), np.mean(known, axis=0), strict=True):
            yield from part_rows(quantity, values, counts, a=a, b=b)


def _folds(
    found: Mapping[tuple[str, str, str], np.ndarray], span: str, task: str | None
) -> Float[np.ndarray, "folds I2"]:
    """Of each fold of the examples the sums of squares, and the numbers of tokens and of examples behind them."""
    folds = np.zeros((FOLDS, len(next(iter(found.values())))))
    for (s, fold, t), value in found.items():
        if s == span and task in (None, t):
            folds[int(fold)] += value
    return folds


class _Masks:
    """Masks of one matrix at all sparsities, each computed once."""

    def __init__(self, name: str, linear: nn.Linear, rows: int, seed: int) -> None:
        self.layer, _, self.matrix = name.partition(".")
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        chosen = np.sort(rng.permutation(linear.weight.shape[0])[:rows])
        self.weight = linear.weight.detach()[torch.from_numpy(chosen).to(linear.weight.device)]
        self.shuffles = [rng.permutation(linear.weight.shape[1]) for _ in range(SHUFFLES)]
        self.magnitude = _masks(magnitude_scores(self.weight))
        self._known: dict[str, list[Bool[Tensor, "O I"]]] = {}

    def rows(
        self, a: str, b: str, of_a: Float[np.ndarray, "folds I2"], of_b: Float[np.ndarray, "folds I2"]
    ) -> list[dict[str, Any]]:
        """What two spans have in common, at every sparsity, beside its nulls and its ceiling."""
        in_a, in_b = of_a.sum(axis=0), of_b.sum(axis=0)
        about = {"a": a, "b": b, "layer": int(self.layer), "matrix": self.matrix}
        about |= {"tokens_a": int(in_a[-2]), "tokens_b": int(in_b[-2]), "n": int(min(in_a[-1], in_b[-1]))}
        mine, theirs = self._of(a, in_a), self._of(b, in_b)
        permuted = [
            self._of(f"{b}/shuffled/{draw}", np.append(in_b[:-2][shuffle], in_b[-2:]))
            for draw, shuffle in enumerate(self.shuffles)
        ]
        ceilings = [found for name, folds in ((a, of_a), (b, of_b)) if (found := self._ceiling(name, folds))]
        estimate = self._without(a, b, of_a, of_b)
        return [
            about
            | {
                "sparsity": sparsity,
                "iou": float(estimate.mean[k]),
                "low": bound(float(estimate.low[k])),
                "high": bound(float(estimate.high[k])),
                "null_random": random_overlap(mine[k]),
                "null_magnitude": (overlap(mine[k], self.magnitude[k]) + overlap(theirs[k], self.magnitude[k])) / 2,
                "null_permuted": float(np.mean([overlap(mine[k], masks[k]) for masks in permuted])),
                "ceiling": float(np.mean([ceiling[k] for ceiling in ceilings])) if ceilings else None,
            }
            for k, sparsity in enumerate(SPARSITIES)
        ]

    def _without(
        self, a: str, b: str, of_a: Float[np.ndarray, "folds I2"], of_b: Float[np.ndarray, "folds I2"]
    ) -> Estimate:
        """The overlap at all sparsities with its jackknife; without an interval where one fold holds all of a span."""
        counts = of_a[:, -1] + of_b[:, -1]
        sums_a, sums_b = without_each(of_a), without_each(of_b)
        # The first is the whole. A fold without examples changes nothing and is not counted.
        parts = [0, *(1 + np.flatnonzero(counts))]
        known = bool((sums_a[parts, -1] > 0).all() and (sums_b[parts, -1] > 0).all())
        values = np.zeros((1 + FOLDS, len(SPARSITIES)))
        for part in parts if known else [0]:
            suffix = f"/without/{part}" if part else ""
            masks = zip(self._of(a + suffix, sums_a[part]), self._of(b + suffix, sums_b[part]), strict=True)
            values[part] = [overlap(x, y) for x, y in masks]
        if known:
            return group_jackknife(values, counts)
        nothing = np.full(len(SPARSITIES), np.nan)
        return Estimate(values[0], nothing, nothing, int(counts.sum()))

    def without_each_fold(
        self, a: str, b: str, of_a: Float[np.ndarray, "folds I2"], of_b: Float[np.ndarray, "folds I2"]
    ) -> Float[np.ndarray, "3 K"] | None:
        """At half of the weights: overlap, that with shuffled norms and with magnitude, on all folds and without each.

        What a fold changes in the overlap with shuffled norms is taken from the first shuffle. None where one fold
        holds all of a span. Called after `rows`.
        """
        sums_a, sums_b = without_each(of_a), without_each(of_b)
        parts = [0, *(1 + np.flatnonzero(of_a[:, -1] + of_b[:, -1]))]
        if not ((sums_a[parts, -1] > 0).all() and (sums_b[parts, -1] > 0).all()):
            return None
        values = np.zeros((3, 1 + FOLDS))
        shuffle = self.shuffles[0]
        for part in parts:
            suffix = f"/without/{part}" if part else ""
            mine, theirs = self._of(a + suffix, sums_a[part])[_HALF], self._of(b + suffix, sums_b[part])[_HALF]
            moved = np.append(sums_b[part, :-2][shuffle], sums_b[part, -2:])
            shuffled = self._of(f"{b}/shuffled/0{suffix}", moved)[_HALF]
            magnitude = self.magnitude[_HALF]
            values[:, part] = (
                overlap(mine, theirs),
                overlap(mine, shuffled),
                (overlap(mine, magnitude) + overlap(theirs, magnitude)) / 2,
            )
        others = [self._known[f"{b}/shuffled/{draw}"][_HALF] for draw in range(SHUFFLES)]
        values[1] += np.mean([overlap(self._of(a, sums_a[0])[_HALF], other) for other in others]) - values[1, 0]
        values[:, [k for k in range(1 + FOLDS) if k not in parts]] = values[:, :1]
        return values

    def _ceiling(self, name: str, folds: Float[np.ndarray, "folds I2"]) -> list[float]:
        halves = folds.reshape(2, FOLDS // 2, -1).sum(axis=1)
        if not halves[:, -1].all():
            return []
        one, two = (self._of(f"{name}/half/{half}", sums) for half, sums in enumerate(halves))
        return [overlap(x, y) for x, y in zip(one, two, strict=True)]

    def _of(self, name: str, sums: Float[np.ndarray, " I2"]) -> list[Bool[Tensor, "O I"]]:
        if name not in self._known:
            # Sums without a fold are differences, which rounding may take below zero.
            norms = np.sqrt(np.maximum(sums[:-2], 0))
            self._known[name] = _masks(wanda_scores(self.weight, torch.from_numpy(norms)))
        return self._known[name]


def _masks(scores: Float[Tensor, "O I"]) -> list[Bool[Tensor, "O I"]]:
    return kept_but(scores, [dropped(scores.shape[1], sparsity) for sparsity in SPARSITIES])


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
