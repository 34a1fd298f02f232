"""How large tokens are, and how much they change: between blocks and at every site inside them."""

from collections import deque
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float
from torch import Tensor

from chiasm.core.statistics.jackknife import group_jackknife, means_without_each, without_each
from chiasm.measures.base import Measure, MeasureConfig, MeasureCost, ReadSizes, RowsByTable, interval_columns
from chiasm.measures.parts import PARTS, part_rows
from chiasm.models.hooks import SITES
from chiasm.models.observe import Batch, SiteStates, averaging_matrix

STATISTICS = ("median", "mean", "min", "max")


class Norms(Measure):
    """Median, mean, smallest and largest Euclidean norm over a span's tokens; then mean and deviation over examples.

    The median of an even number of tokens is the mean of the middle two. `std` is the sample standard deviation.

    Source: Shukor & Cord 2024 (arXiv 2405.16700), Figure 3.
    """

    name: ClassVar[str] = "norms"
    order: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[np.ndarray] = []

    @classmethod
    def for_model(cls, config: MeasureConfig) -> Self:
        return cls()

    def cost(self, sizes: ReadSizes) -> MeasureCost:
        return MeasureCost(2.0 * (sizes.layers + 1) * sizes.read * sizes.width, 0.0)

    def update(self, seen: SiteStates) -> None:
        self._waiting.append(seen.norms.cpu().double().numpy())

    def end_batch(self, batch: Batch) -> None:
        norms, self._waiting = np.stack(self._waiting), []
        for segment in batch.segments:
            if batch.is_valid(segment):
                part = norms[:, segment.start : segment.stop]
                found = np.stack([np.median(part, 1), part.mean(1), part.min(1), part.max(1)])
                moments = np.stack([np.ones_like(found), found, found**2])
                self.sums.add(segment.span, [batch.units[segment.example]], moments[None])

    def tables(self) -> RowsByTable:
        rows, parts = [], []
        for span in sorted(self.sums.arrays):
            counts = self.sums[span][:, 0, 0, 0]
            medians = means_without_each(self.sums[span][:, 1, STATISTICS.index("median")], counts)
            for layer, values in enumerate(medians.T):
                if (values > 0).all():
                    parts += part_rows("log_norm", np.log(values), counts, a=span, layer=layer)
            n, total, squares = self.sums[span].sum(axis=0)
            mean = total / n
            std = np.sqrt(np.maximum(squares - n * mean**2, 0) / np.maximum(n - 1, 1))
            rows += [
                {
                    "span": span,
                    "layer": layer,
                    "statistic": statistic,
                    "mean": float(mean[k, layer]),
                    "std": float(std[k, layer]) if n[k, layer] > 1 else None,
                    "n": int(n[k, layer]),
                }
                for layer in range(mean.shape[1])
                for k, statistic in enumerate(STATISTICS)
            ]
        return {"norms": rows, PARTS: parts}


class Drift(Measure):
    """Cosine of a token with itself `gap` layers later: mean over the tokens of a span, then over examples.

    `as_released` adds the form of the released code: the cosine between mean tokens, averaged over all pairs of
    examples, of which n - 1 in n compare different examples. It stands beside the same cosine paired by example, so
    that the two differ in nothing but the pairing.

    Source: Shukor & Cord 2024 (arXiv 2405.16700), Figure 3; released form: `compute_sim.py`, lines 131-187 and 417.
    """

    name: ClassVar[str] = "drift"
    order: ClassVar[int] = 2

    def __init__(self, gaps: tuple[int, ...] = (1, 8), *, as_released: bool = False) -> None:
        super().__init__()
        self.gaps, self.as_released = gaps, as_released
        self._recent: deque[SiteStates] = deque(maxlen=max(gaps))
        self._cosines: dict[tuple[int, int], Tensor] = {}
        self._means: list[np.ndarray] = []

    @classmethod
    def for_model(cls, config: MeasureConfig) -> Self:
        return cls(as_released=config.as_released)

    def cost(self, sizes: ReadSizes) -> MeasureCost:
        operations = 2.0 * len(self.gaps) * sizes.layers * sizes.read * sizes.width
        held = 4.0 * max(self.gaps) * sizes.read * sizes.width
        if self.as_released:
            held += 20 * 8.0 * len(sizes.tokens) * (sizes.layers + 1) * sizes.width
        return MeasureCost(operations, held)

    def update(self, seen: SiteStates) -> None:
        for gap in self.gaps:
            if gap <= len(self._recent):
                past = self._recent[-gap]
                dots = (seen.states * past.states.to(seen.states.device)).sum(dim=-1)
                cosine = dots * seen.inverse_norms * past.inverse_norms.to(dots.device)
                self._cosines[gap, seen.layer - gap] = cosine
        if self.as_released:
            self._means.append(seen.mean_directions.cpu().double().numpy())
        self._recent.append(seen)

    def end_batch(self, batch: Batch) -> None:
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

    def tables(self) -> RowsByTable:
        found: RowsByTable = {"drift": [], PARTS: []}
        if self.as_released:
            found["drift_released"] = []
        for span in sorted({key.partition("/")[0] for key in self.sums.arrays}):
            counts = self.sums[f"{span}/n"]
            for gap in self.gaps:
                values = means_without_each(self.sums[f"{span}/token/{gap}"], counts)
                found["drift"] += self._rows(span, gap, values, counts)
                if gap == min(self.gaps):
                    found[PARTS] += _drift_parts("drift", span, values, counts)
                if self.as_released:
                    paired = means_without_each(self.sums[f"{span}/paired/{gap}"], counts)
                    released = self._all_pairs(span, gap, counts)
                    rows = self._rows(span, gap, released, counts)
                    found["drift_released"] += [row | {"paired": float(paired[0, row["layer"]])} for row in rows]
                    if gap == min(self.gaps):
                        found[PARTS] += _drift_parts("drift_released", span, released, counts)
                        found[PARTS] += _drift_parts("drift_of_means", span, paired, counts)
        return found

    def _all_pairs(self, span: str, gap: int, counts: np.ndarray) -> Float[np.ndarray, "K layers"]:
        """Mean over all pairs (i, j) of a cosine: the product of the two sums of directions."""
        sums, n = without_each(self.sums[f"{span}/directions"]), without_each(counts)
        products = (sums[:, gap:] * sums[:, : max(0, sums.shape[1] - gap)]).sum(axis=-1)
        return products / np.maximum(n, 1)[:, None] ** 2

    def _rows(self, span: str, gap: int, values: np.ndarray, counts: np.ndarray) -> list[dict[str, Any]]:
        e = group_jackknife(values, counts)
        return [
            {"span": span, "layer": layer, "gap": gap} | interval_columns(e, (layer,))
            for layer in range(values.shape[1])
        ]


def _drift_parts(
    quantity: str, span: str, values: Float[np.ndarray, "K layers"], counts: Float[np.ndarray, " G"]
) -> list[dict[str, Any]]:
    found = [part_rows(quantity, of_layer, counts, a=span, layer=layer) for layer, of_layer in enumerate(values.T)]
    return [row for rows in found for row in rows]


class InsideBlocks(Measure):
    """Of the tokens of a span, at every site: `norm`, the mean Euclidean norm; `change`, the mean cosine of a token
    with itself at the same site one block later. Then means over examples.

    Source: Shukor & Cord 2024 (arXiv 2405.16700), Figure 8, there of mean tokens. Its third quantity, the cosine of
    the two spans, is in `similarity`.
    """

    name: ClassVar[str] = "inside"
    order: ClassVar[int] = 8
    inside = True

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, SiteStates] = {}
        self._waiting: dict[str, Float[Tensor, " S"]] = {}

    @classmethod
    def for_model(cls, config: MeasureConfig) -> Self | None:
        return cls() if config.inside else None

    def cost(self, sizes: ReadSizes) -> MeasureCost:
        widths = 6 * sizes.width + sizes.inner
        return MeasureCost(4.0 * sizes.layers * sizes.read * widths, 4.0 * sizes.read * widths)

    def update(self, seen: SiteStates) -> None:
        pool = averaging_matrix(seen.batch, seen.states)
        self._waiting[f"{seen.site}/{seen.layer}/norm"] = pool @ seen.norms
        last = self._last.get(seen.site)
        # Blocks of different kinds may differ in width within.
        if last is not None and last.states.shape == seen.states.shape:
            past, inverse = last.states.to(seen.states.device), last.inverse_norms.to(seen.states.device)
            cosines = (seen.states * past).sum(dim=-1) * seen.inverse_norms * inverse
            self._waiting[f"{seen.site}/{last.layer}/change"] = pool @ cosines
        self._last[seen.site] = seen

    def end_batch(self, batch: Batch) -> None:
        waiting, self._waiting, self._last = self._waiting, {}, {}
        valid = [(k, segment) for k, segment in enumerate(batch.segments) if batch.is_valid(segment)]
        for key, values in waiting.items():
            found = values.cpu().double().numpy()
            for k, segment in valid:
                unit = [batch.units[segment.example]]
                self.sums.add(f"{segment.span}/{key}", unit, np.array([[found[k], 1.0]]))

    def tables(self) -> RowsByTable:
        rows = []
        for key in sorted(self.sums.arrays, key=_order):
            span, tap, layer, quantity = key.split("/")
            about = {"span": span, "layer": int(layer), "tap": tap, "quantity": quantity}
            rows.append(about | interval_columns(self.sums.means(key), (0,)))
        return {"inside": rows}


def _order(key: str) -> tuple[str, int, int, str]:
    span, tap, layer, quantity = key.split("/")
    return span, SITES.index(tap), int(layer), quantity
