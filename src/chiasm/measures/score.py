"""One number for how well what a model sees is aligned with what it reads."""

from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.spans import cross_pairs
from chiasm.core.statistics.intervals import Estimate
from chiasm.core.statistics.jackknife import group_jackknife, means_without_each
from chiasm.core.statistics.streaming import RESAMPLES, PoissonBootstrap
from chiasm.measures.base import Measure, MeasureConfig, MeasureCost, ReadSizes, RowsByTable, interval_columns
from chiasm.measures.parts import PARTS, part_rows
from chiasm.measures.token_pairs import median
from chiasm.models.observe import Batch, SiteStates

_PAIRED = ("mean_token", "median_token")


class Score(Measure):
    """The implicit multimodal alignment score of every pair (perceptual span, textual span), mean over hidden states.

    `ima_0`: cosine of the perceptual tokens as they enter the decoder with the text at every depth; `ima_same`: of both
    at the same depth. Statistics: `mean_token` is the cosine of the two mean tokens and `median_token` the median over
    all pairs of tokens, each within one example, then averaged over examples; `mean_token_all_pairs` averages
    `mean_token` over all pairs of examples, as the paper does. Intervals of the first two are bootstrapped over
    examples, that of the last is a jackknife over groups, since pairs share examples.

    Source: Shukor & Cord 2024 (arXiv 2405.16700), section 3 and released code (`imagelayer0`). The paper's exact
    equation is not known to us, so both forms are given. Assumption: a cosine of means says something about the
    tokens; where a few dimensions or tokens dominate it does not, so compare `similarity`'s centred variant.
    """

    name: ClassVar[str] = "score"
    order: ClassVar[int] = 3

    def __init__(self, spans: tuple[str, ...], *, seed: int = 0) -> None:
        self.spans, self.bootstrap = spans, PoissonBootstrap(seed)
        super().__init__(self.bootstrap)
        self._directions: list[np.ndarray] = []
        self._entering: dict[int, Tensor] = {}
        self._medians: dict[tuple[str, str, int], list[Tensor]] = {}

    @classmethod
    def for_model(cls, config: MeasureConfig) -> Self:
        return cls(config.spans, seed=config.seed)

    def cost(self, sizes: ReadSizes) -> MeasureCost:
        pairs = sum(sizes.tokens.get(a, 0) * sizes.tokens.get(b, 0) for a, b in cross_pairs(self.spans))
        states = sizes.layers + 1
        held = 4.0 * sizes.read * sizes.width + 20 * 8.0 * len(self.spans) * states * sizes.width
        held += 8.0 * 7 * (RESAMPLES + 1) * len(cross_pairs(self.spans))
        return MeasureCost(4.0 * states * pairs * sizes.width, held)

    def update(self, seen: SiteStates) -> None:
        self._directions.append(seen.mean_directions.cpu().double().numpy())
        places = {(s.example, s.span): k for k, s in enumerate(seen.batch.segments)}
        for a, b in cross_pairs(self.spans):
            for example in range(len(seen.batch.ids)):
                if (example, a) not in places or (example, b) not in places:
                    continue
                perceived, text = places[example, a], seen.tokens(places[example, b])
                now = seen.tokens(perceived)
                if seen.layer == 0:
                    self._entering[perceived] = now
                entering = self._entering[perceived].to(text.device)
                both = [median((entering @ text.T).flatten()), median((now @ text.T).flatten())]
                self._medians.setdefault((a, b, example), []).append(torch.stack(both))

    def end_batch(self, batch: Batch) -> None:
        directions = np.stack(self._directions, axis=1)
        medians = {key: torch.stack([v.cpu() for v in value]).double() for key, value in self._medians.items()}
        self._directions, self._entering, self._medians = [], {}, {}
        for span in self.spans:
            examples, at = batch.places(span)
            names = [batch.units[e] for e in examples]
            self.sums.add(f"{span}/n", names, np.ones(len(names)))
            self.sums.add(f"{span}/directions", names, directions[at])
        for a, b in cross_pairs(self.spans):
            for example, in_a, in_b in zip(*batch.both(a, b), strict=True):
                # Rows: the perceptual span entering the decoder, and at the same depth; columns as `_PAIRED`.
                means = (directions[in_a, :1], directions[in_a])
                found = [
                    [(own * directions[in_b]).sum(-1).mean(), float(medians[a, b, example][:, k].mean())]
                    for k, own in enumerate(means)
                ]
                self.bootstrap.add(f"{a}/{b}", [batch.units[example]], np.array(found)[None])
                means_alone = [row[_PAIRED.index("mean_token")] for row in found]
                self.sums.add(f"{a}/{b}/mean_token", [batch.units[example]], np.array([[*means_alone, 1.0]]))

    def tables(self) -> RowsByTable:
        rows, parts = [], []
        for a, b in cross_pairs(self.spans):
            if f"{a}/{b}" not in self.bootstrap:
                continue
            paired = self.bootstrap.estimate(f"{a}/{b}", (2, len(_PAIRED)))
            everyone = group_jackknife(self._all_pairs(a, b), self.sums[f"{a}/n"])
            for k, name in enumerate(("ima_0", "ima_same")):
                for j, statistic in enumerate(_PAIRED):
                    rows.append(_row(name, statistic, a, b, paired, (k, j)))
                rows.append(_row(name, "mean_token_all_pairs", a, b, everyone, (k,)))
            sums = self.sums[f"{a}/{b}/mean_token"]
            values = means_without_each(sums[:, :-1], sums[:, -1])
            for k, name in enumerate(("ima_0", "ima_same")):
                parts += part_rows(name, values[:, k], sums[:, -1], a=a, b=b)
        return {"score": rows, PARTS: parts}

    def _all_pairs(self, a: str, b: str) -> Float[np.ndarray, "K 2"]:
        of_a, of_b = (means_without_each(self.sums[f"{s}/directions"], self.sums[f"{s}/n"]) for s in (a, b))
        entering = (of_a[:, :1] * of_b).sum(axis=-1).mean(axis=1)
        same = (of_a * of_b).sum(axis=-1).mean(axis=1)
        return np.stack([entering, same], axis=1)


def _row(name: str, statistic: str, a: str, b: str, e: Estimate, at: tuple[int, ...]) -> dict[str, Any]:
    columns = interval_columns(e, at)
    return {"name": name, "statistic": statistic, "value": columns.pop("mean"), **columns, "a": a, "b": b}
