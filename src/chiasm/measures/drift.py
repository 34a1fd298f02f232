"""How much tokens change from layer to layer."""

from collections import deque
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from chiasm.core.statistics.jackknife import group_jackknife, means_without_each, without_each
from chiasm.measures.base import Measure, Price, Sizes, Tables, bound
from chiasm.models.observe import Batch, SiteStates


class Drift(Measure):
    """Cosine of a token with itself `gap` layers later: mean over the tokens of a span, then over examples.

    `as_released` adds the form of the released code: the cosine between mean tokens, averaged over all pairs of
    examples, of which n - 1 in n compare different examples. It stands beside the same cosine paired by example, so
    that the two differ in nothing but the pairing.

    Source: Shukor & Cord 2024 (arXiv 2405.16700), Figure 3; released form: `compute_sim.py`, lines 131-187 and 417.
    """

    name: ClassVar[str] = "drift"

    def __init__(self, gaps: tuple[int, ...] = (1, 8), *, as_released: bool = False) -> None:
        super().__init__()
        self.gaps, self.as_released = gaps, as_released
        self._recent: deque[SiteStates] = deque(maxlen=max(gaps))
        self._cosines: dict[tuple[int, int], Tensor] = {}
        self._means: list[np.ndarray] = []

    def price(self, sizes: Sizes) -> Price:
        operations = 2.0 * len(self.gaps) * sizes.layers * sizes.read * sizes.width
        held = 4.0 * max(self.gaps) * sizes.read * sizes.width
        if self.as_released:
            held += 20 * 8.0 * len(sizes.tokens) * (sizes.layers + 1) * sizes.width
        return Price(operations, held)

    def see(self, seen: SiteStates) -> None:
        if seen.site != "residual":
            return
        for gap in self.gaps:
            if gap <= len(self._recent):
                past = self._recent[-gap]
                dots = (seen.states * past.states.to(seen.states.device)).sum(dim=-1)
                cosine = dots * seen.inverse_norms * past.inverse_norms.to(dots.device)
                self._cosines[gap, seen.layer - gap] = cosine
        if self.as_released:
            self._means.append(seen.mean_directions.cpu().double().numpy())
        self._recent.append(seen)

    def end(self, batch: Batch) -> None:
        self._recent.clear()
        cosines = {key: value.cpu().double().numpy() for key, value in self._cosines.items()}
        means = np.stack(self._means, axis=1) if self._means else None
        self._cosines, self._means = {}, []
        for index, segment in enumerate(batch.segments):
            if not batch.is_valid(segment):
                continue
            name = [batch.units[segment.example]]
            self.sums.add(f"{segment.span}/n", name, np.ones(1))
            for gap in self.gaps:
                found = [value[segment.start : segment.stop].mean() for (g, _), value in cosines.items() if g == gap]
                self.sums.add(f"{segment.span}/token/{gap}", name, np.array(found)[None])
                if means is not None:
                    own = means[index]
                    paired = (own[gap:] * own[: max(0, len(own) - gap)]).sum(axis=-1)
                    self.sums.add(f"{segment.span}/paired/{gap}", name, paired[None])
            if means is not None:
                self.sums.add(f"{segment.span}/directions", name, means[index][None])

    def tables(self) -> Tables:
        found: Tables = {"drift": []}
        if self.as_released:
            found["drift_released"] = []
        for span in sorted({key.partition("/")[0] for key in self.sums.arrays}):
            counts = self.sums[f"{span}/n"]
            for gap in self.gaps:
                values = means_without_each(self.sums[f"{span}/token/{gap}"], counts)
                found["drift"] += self._rows(span, gap, values, counts)
                if self.as_released:
                    paired = means_without_each(self.sums[f"{span}/paired/{gap}"], counts).T
                    released = self._rows(span, gap, self._all_pairs(span, gap, counts), counts)
                    found["drift_released"] += [row | {"paired": float(paired[row["layer"], 0])} for row in released]
        return found

    def _all_pairs(self, span: str, gap: int, counts: np.ndarray) -> Float[np.ndarray, "K layers"]:
        """Mean over all pairs (i, j) of a cosine: the product of the two sums of directions."""
        sums, n = without_each(self.sums[f"{span}/directions"]), without_each(counts)
        products = (sums[:, gap:] * sums[:, : max(0, sums.shape[1] - gap)]).sum(axis=-1)
        return products / np.maximum(n, 1)[:, None] ** 2

    def _rows(self, span: str, gap: int, values: np.ndarray, counts: np.ndarray) -> list[dict[str, Any]]:
        e = group_jackknife(values, counts)
        return [
            {
                "span": span,
                "layer": layer,
                "gap": gap,
                "mean": float(e.mean[layer]),
                "low": bound(e.low[layer]),
                "high": bound(e.high[layer]),
                "n": e.n,
            }
            for layer in range(values.shape[1])
        ]
