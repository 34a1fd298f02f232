"""Statistics over all pairs of tokens of two spans: medians and extremes, which cannot be added up."""

from itertools import combinations_with_replacement
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.spans import cross_pairs
from chiasm.core.statistics.intervals import Estimate
from chiasm.core.statistics.jackknife import group_jackknife
from chiasm.core.statistics.streaming import Reservoir, sample_without_order
from chiasm.measures.base import Measure, MeasureConfig, MeasureCost, ReadSizes, RowsByTable, interval_columns
from chiasm.measures.centres import Centres, over_tokens
from chiasm.models.observe import Batch, SiteStates, safe_inverse

MODES = ("median", "max", "min", "max_mean", "diagonal")


class TokenPairs(Measure):
    """Modes of similarity over the n_a x n_b cosines between tokens, at sampled depths; with `inside` at all sites too.

    `median`, `max`, `min` over all of them; `max_mean`: mean over the tokens of `a` of the largest with any of `b`;
    `diagonal`: mean over tokens of equal rank within their spans. Paired rows use every example and all tokens, for
    pairs (perceptual, textual). Rows over pairs of examples use a reservoir of `examples` examples, drawn by a seeded
    hash, with at most `tokens` tokens of each span, drawn by the seed; a maximum over fewer tokens is smaller, so such
    rows compare with each other only.

    Source: Shukor & Cord 2024, released `compute_sim.py`, lines 131-187.
    """

    name: ClassVar[str] = "token_pairs"
    order: ClassVar[int] = 5

    def __init__(
        self,
        spans: tuple[str, ...],
        layers: tuple[int, ...],
        centres: Centres,
        *,
        examples: int = 16,
        tokens: int = 64,
        seed: int = 0,
        inside: bool = False,
    ) -> None:
        self.reservoir = Reservoir(examples, seed)
        super().__init__(self.reservoir)
        self.spans, self.layers, self.centres, self.tokens, self.seed = spans, layers, centres, tokens, seed
        self.inside = inside
        self._found: dict[tuple[str, int], Float[Tensor, " modes"]] = {}
        self._kept: dict[int, dict[str, np.ndarray]] = {}

    @classmethod
    def for_model(cls, config: MeasureConfig) -> Self:
        return cls(config.spans, config.sampled, config.centres, seed=config.seed, inside=config.token_pairs)

    def cost(self, sizes: ReadSizes) -> MeasureCost:
        pairs = sum(sizes.tokens.get(a, 0) * sizes.tokens.get(b, 0) for a, b in cross_pairs(self.spans))
        # Widths of all sites that are read at a depth; three variants of each.
        width = (6 * sizes.width + sizes.inner) if self.inside else sizes.width
        per_example = 3 * sizes.sampled * sum(min(self.tokens, n) for n in sizes.tokens.values()) * width
        return MeasureCost(3 * 2.0 * sizes.sampled * pairs * width, 4.0 * self.reservoir.size * per_example)

    def update(self, seen: SiteStates) -> None:
        if seen.layer not in self.layers:
            return
        places = {(s.example, s.span): slice(s.start, s.stop) for s in seen.batch.segments}
        for variant, states, size in self._variants(seen):
            directions = states * safe_inverse(torch.linalg.vector_norm(states, dim=-1), size)[:, None]
            for example, name in enumerate(seen.batch.ids):
                there = {span: directions[places[example, span]] for span in self.spans if (example, span) in places}
                for a, b in cross_pairs(self.spans):
                    if a in there and b in there:
                        self._found[f"{a}/{b}/{seen.site}/{seen.layer}/{variant}", example] = statistics(
                            there[a] @ there[b].T
                        )
                if self.reservoir.would_keep(name):
                    for span, tokens in there.items():
                        # Spans of equal length give up the same tokens, so that ranks stay comparable.
                        n = len(tokens)
                        chosen = tokens[sample_without_order(n, self.tokens, str(n), self.seed)].cpu().float().numpy()
                        self._kept.setdefault(example, {})[f"{seen.site}/{seen.layer}/{variant}/{span}"] = chosen

    def _variants(self, seen: SiteStates) -> list[tuple[str, Float[Tensor, "N D"], Tensor | float]]:
        """Name, states, and the norm of what was subtracted from each."""
        raw: list[tuple[str, Tensor, Tensor | float]] = [("raw", seen.states, 0.0)]
        centre = self.centres.get((seen.site, seen.layer))
        if centre is None:
            return raw
        offsets = over_tokens(seen.batch, centre.offsets(seen.batch, seen.states))
        centred = ("centred", seen.states - offsets, torch.linalg.vector_norm(offsets, dim=-1))
        return [*raw, centred, ("no_outliers", seen.states * centre.keep.to(seen.states), 0.0)]

    def end_batch(self, batch: Batch) -> None:
        found, self._found = self._found, {}
        kept, self._kept = self._kept, {}
        for (key, example), values in found.items():
            if example not in batch.failures:
                both = np.concatenate([values.cpu().double().numpy(), [1.0]])
                self.sums.add(key, [batch.units[example]], both[None])
        for example, arrays in kept.items():
            if example not in batch.failures:
                self.reservoir.add(batch.ids[example], arrays)

    def tables(self) -> RowsByTable:
        rows = []
        for key in sorted(self.sums.arrays):
            a, b, tap, layer, variant = key.split("/")
            rows += _rows(a, b, tap, int(layer), variant, True, self.sums.means(key))
        kept = {key.rpartition("/")[0] for arrays in self.reservoir.kept.values() for key in arrays}
        for key in sorted(kept):
            tap, layer, variant = key.split("/")
            for a, b in combinations_with_replacement(self.spans, 2):
                e = self._between(f"{key}/{a}", f"{key}/{b}")
                rows += [] if e is None else _rows(a, b, tap, int(layer), variant, False, e)
        return {"similarity": rows}

    def _between(self, in_a: str, in_b: str) -> Estimate | None:
        """Means over ordered pairs of different examples of the reservoir; each example is a group of its own."""
        names = self.reservoir.names(in_a, in_b)
        if len(names) < 2:
            return None
        kept = [self.reservoir.kept[name] for name in names]
        values = np.zeros((len(names), len(names), len(MODES)))
        for i, one in enumerate(kept):
            for j, other in enumerate(kept):
                if i != j:
                    cosines = torch.from_numpy(one[in_a]) @ torch.from_numpy(other[in_b]).T
                    values[i, j] = statistics(cosines).numpy()
        n, total = len(names), values.sum(axis=(0, 1))
        if n == 2:
            nothing = np.full(len(MODES), np.nan)
            return Estimate(total / 2, nothing, nothing, 2)
        without = total - values.sum(axis=0) - values.sum(axis=1)
        means = np.concatenate([total[None] / (n * (n - 1)), without / ((n - 1) * (n - 2))])
        return group_jackknife(means, np.ones(n))


def statistics(cosines: Float[Tensor, "n m"]) -> Float[Tensor, " modes"]:
    """The five modes of a matrix of cosines between tokens."""
    flat = cosines.flatten()
    return torch.stack([median(flat), flat.max(), flat.min(), cosines.amax(dim=1).mean(), cosines.diagonal().mean()])


def median(values: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """The median; of an even number of values the mean of the middle two."""
    n = values.numel()
    low = values.kthvalue((n + 1) // 2).values
    return low if n % 2 else (low + values.kthvalue(n // 2 + 1).values) / 2


def _rows(a: str, b: str, tap: str, layer: int, variant: str, paired: bool, e: Estimate) -> list[dict[str, Any]]:
    about = {"a": a, "b": b, "layer": layer, "tap": tap, "paired": paired, "variant": variant}
    return [about | {"mode": mode} | interval_columns(e, (k,)) for k, mode in enumerate(MODES)]
