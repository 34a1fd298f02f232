"""How large tokens are, and how much they change, at every place inside the blocks."""

from typing import ClassVar

import numpy as np
from jaxtyping import Float
from torch import Tensor

from chiasm.core.statistics.jackknife import group_jackknife, means_without_each
from chiasm.measures.base import Measure, Price, Sizes, Tables, bound
from chiasm.models.observe import Batch, SiteStates, averaging_matrix
from chiasm.models.sites import SITES


class Inside(Measure):
    """Of the tokens of a span, at every tap: `norm`, the mean Euclidean norm; `change`, the mean cosine of a token with
    itself at the same tap one block later. Then means over examples.

    Source: Shukor & Cord 2024 (arXiv 2405.16700), Figure 8, there of mean tokens. Its third quantity, the cosine of
    the two spans, is in `similarity`.
    """

    name: ClassVar[str] = "inside"

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, SiteStates] = {}
        self._waiting: dict[str, Float[Tensor, " S"]] = {}

    def sites(self) -> frozenset[str]:
        return frozenset(SITES)

    def price(self, sizes: Sizes) -> Price:
        widths = 6 * sizes.width + sizes.inner
        return Price(4.0 * sizes.layers * sizes.read * widths, 4.0 * sizes.read * widths)

    def see(self, seen: SiteStates) -> None:
        pool = averaging_matrix(seen.batch, seen.states)
        self._waiting[f"{seen.site}/{seen.layer}/norm"] = pool @ seen.norms
        last = self._last.get(seen.site)
        # Blocks of different kinds may differ in width within.
        if last is not None and last.states.shape == seen.states.shape:
            past, inverse = last.states.to(seen.states.device), last.inverse_norms.to(seen.states.device)
            cosines = (seen.states * past).sum(dim=-1) * seen.inverse_norms * inverse
            self._waiting[f"{seen.site}/{last.layer}/change"] = pool @ cosines
        self._last[seen.site] = seen

    def end(self, batch: Batch) -> None:
        waiting, self._waiting, self._last = self._waiting, {}, {}
        sound = [(k, segment) for k, segment in enumerate(batch.segments) if batch.is_valid(segment)]
        for key, values in waiting.items():
            found = values.cpu().double().numpy()
            for k, segment in sound:
                unit = [batch.units[segment.example]]
                self.sums.add(f"{segment.span}/{key}", unit, np.array([[found[k], 1.0]]))

    def tables(self) -> Tables:
        rows = []
        for key in sorted(self.sums.arrays, key=_order):
            span, tap, layer, quantity = key.split("/")
            sums = self.sums[key]
            e = group_jackknife(means_without_each(sums[:, 0], sums[:, 1]), sums[:, 1])
            about = {"span": span, "layer": int(layer), "tap": tap, "quantity": quantity, "mean": float(e.mean)}
            rows.append(about | {"low": bound(float(e.low)), "high": bound(float(e.high)), "n": e.n})
        return {"inside": rows}


def _order(key: str) -> tuple[str, int, int, str]:
    span, tap, layer, quantity = key.split("/")
    return span, SITES.index(tap), int(layer), quantity
