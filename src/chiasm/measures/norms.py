"""How large tokens are, layer by layer."""

from typing import ClassVar

import numpy as np

from chiasm.measures.base import Measure, Price, Sizes, Tables
from chiasm.models.observe import Batch, SiteStates

STATISTICS = ("median", "mean", "min", "max")


class Norms(Measure):
    """Median, mean, least and largest Euclidean norm over the tokens of a span; then mean and spread over examples.

    The median of an even number of tokens is the mean of the middle two. `std` is the sample standard deviation.

    Source: Shukor & Cord 2024 (arXiv 2405.16700), Figure 3.
    """

    name: ClassVar[str] = "norms"

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[np.ndarray] = []

    def price(self, sizes: Sizes) -> Price:
        return Price(2.0 * (sizes.layers + 1) * sizes.read * sizes.width, 0.0)

    def see(self, seen: SiteStates) -> None:
        if seen.site == "residual":
            self._waiting.append(seen.norms.cpu().double().numpy())

    def end(self, batch: Batch) -> None:
        norms, self._waiting = np.stack(self._waiting), []
        for segment in batch.segments:
            if batch.is_valid(segment):
                part = norms[:, segment.start : segment.stop]
                found = np.stack([np.median(part, 1), part.mean(1), part.min(1), part.max(1)])
                moments = np.stack([np.ones_like(found), found, found**2])
                self.sums.add(segment.span, [batch.units[segment.example]], moments[None])

    def tables(self) -> Tables:
        rows = []
        for span in sorted(self.sums.arrays):
            n, total, squares = self.sums[span].sum(axis=0)
            mean = total / n
            spread = np.sqrt(np.maximum(squares - n * mean**2, 0) / np.maximum(n - 1, 1))
            rows += [
                {
                    "span": span,
                    "layer": layer,
                    "statistic": statistic,
                    "mean": float(mean[k, layer]),
                    "std": float(spread[k, layer]) if n[k, layer] > 1 else None,
                    "n": int(n[k, layer]),
                }
                for layer in range(mean.shape[1])
                for k, statistic in enumerate(STATISTICS)
            ]
        return {"norms": rows}
