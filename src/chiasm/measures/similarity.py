"""How near the tokens of two spans are to each other, within examples and between them."""

from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import Any, ClassVar, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.spans import cross_pairs
from chiasm.core.statistics.intervals import Estimate
from chiasm.core.statistics.jackknife import (
    GROUPS,
    group_jackknife,
    means_without_each,
    pairs_across,
    without_each,
)
from chiasm.measures.base import Measure, MeasureConfig, MeasureCost, ReadSizes, RowsByTable, interval_columns
from chiasm.measures.centres import Centres, over_tokens
from chiasm.measures.parts import PARTS, part_rows
from chiasm.models.hooks import SITES
from chiasm.models.observe import Batch, SiteStates, averaging_matrix, safe_inverse

HALVES = ("[first half]", "[second half]")


class Similarity(Measure):
    """Cosines between spans: of mean tokens (`avg`), and the mean over all pairs of tokens (`mean`), at every depth.

    `paired`: both spans of one example; otherwise of all pairs of different examples, exact from sums of unit vectors.
    A span with itself, over pairs of examples, says how narrow the cone is that it lies in; the halves are the paper's
    p-p and t-t (first and second half of the examples). Pairs of examples include two questions on one image, except
    between halves: questions on one image are in one half. Variants: `raw`; `centred`, after the span's own mean
    token in the pilot was subtracted; `no_outliers`, without the pilot's outlier dimensions. Inside the block (sites
    norm1 to down): `avg`, and with `token_pairs` also `mean`.

    The same sums give the table `geometry` its `narrowness`: the mean cosine of a span's tokens to their mean
    direction, tokens weighted so that examples count alike. And the modality gap (Liang et al. 2022, arXiv 2203.02053)
    of a perceptual and a textual span: `gap`, the distance of their means over examples, every example's mean token
    scaled to norm 1 (0 to 2); `gap_share`, the share of the variance of these vectors that lies between the two means
    (both spans weighing alike): 0 where the means are the same, 1 where nothing but the span tells two vectors apart.
    Both rest on pairs of different inputs alone, so that noise of the means adds nothing: of one span cut at random
    in two they are 0 on average.

    Source: Shukor & Cord 2024 (arXiv 2405.16700), Figures 2 and 8; released `compute_sim.py`, lines 131-187.
    """

    name: ClassVar[str] = "similarity"
    order: ClassVar[int] = 4

    def __init__(
        self, spans: tuple[str, ...], centres: Centres, *, inside: bool = True, token_pairs: bool = False
    ) -> None:
        super().__init__()
        self.spans, self.centres, self.inside, self.token_pairs = spans, centres, inside, token_pairs
        self._waiting: dict[str, Float[np.ndarray, "S D"]] = {}

    @classmethod
    def for_model(cls, config: MeasureConfig) -> Self:
        return cls(config.spans, config.centres, inside=config.inside, token_pairs=config.token_pairs)

    def cost(self, sizes: ReadSizes) -> MeasureCost:
        vectors = 6.0 * (sizes.layers + 1) * sizes.width
        operations = 5.0 * (sizes.layers + 1) * sizes.read * sizes.width
        if self.inside:
            modes, each = (2, 5.0) if self.token_pairs else (1, 2.0)
            widths = 5 * sizes.width + sizes.inner
            vectors += 3.0 * modes * sizes.layers * widths
            operations += each * sizes.layers * sizes.read * widths
        return MeasureCost(operations, GROUPS * 8.0 * len(sizes.tokens) * vectors)

    def update(self, seen: SiteStates) -> None:
        for mode, variant, vectors in self._vectors(seen):
            key = f"{seen.site}/{seen.layer}/{mode}/{variant}"
            self._waiting[key] = vectors.cpu().double().numpy()

    def _vectors(self, seen: SiteStates) -> Iterator[tuple[str, str, Float[Tensor, "S D"]]]:
        """Vectors whose products are the cosines of a mode: mode, variant, one vector per segment."""
        yield "avg", "raw", seen.mean_directions
        centre = self.centres.get((seen.site, seen.layer))
        if centre is not None:
            offsets = centre.offsets(seen.batch, seen.states)
            yield "avg", "centred", _unit(seen.means - offsets, torch.linalg.vector_norm(offsets, dim=-1))
            keep = centre.keep.to(seen.states)
            yield "avg", "no_outliers", _unit(seen.means * keep)
        if seen.site != "residual" and not self.token_pairs:
            return
        yield "mean", "raw", seen.directions_mean
        if centre is None:
            return
        pool = averaging_matrix(seen.batch, seen.states)
        shifts = over_tokens(seen.batch, offsets)
        centred = seen.states - shifts
        sizes = torch.linalg.vector_norm(centred, dim=-1)
        yield "mean", "centred", (pool * safe_inverse(sizes, torch.linalg.vector_norm(shifts, dim=-1))) @ centred
        size = safe_inverse(torch.linalg.vector_norm(seen.states * keep, dim=-1))
        yield "mean", "no_outliers", ((pool * size) @ seen.states) * keep

    def end_batch(self, batch: Batch) -> None:
        waiting, self._waiting = self._waiting, {}
        for span in self.spans:
            examples, _ = batch.places(span)
            self.sums.add(f"n/{span}", [batch.units[e] for e in examples], np.ones(len(examples)))
        for a, b in self._pairs():
            shared, _, _ = batch.both(a, b)
            self.sums.add(f"n/{a}/{b}", [batch.units[e] for e in shared], np.ones(len(shared)))
        for key, vectors in waiting.items():
            for span in self.spans:
                examples, at = batch.places(span)
                self.sums.add(f"{key}/{span}", [batch.units[e] for e in examples], vectors[at])
            for a, b in self._pairs():
                shared, in_a, in_b = batch.both(a, b)
                products = (vectors[in_a] * vectors[in_b]).sum(axis=-1)
                self.sums.add(f"{key}/{a}/{b}", [batch.units[e] for e in shared], products)

    def _pairs(self) -> list[tuple[str, str]]:
        return list(combinations_with_replacement(self.spans, 2))

    def tables(self) -> RowsByTable:
        keys = [k.rpartition("/")[0] for k in self.sums.arrays if not k.startswith("n/") and k.count("/") == 4]
        rows: list[dict[str, Any]] = []
        cones, parts = [], []
        for key in sorted(dict.fromkeys(keys), key=_order):
            tap, layer, mode, variant = key.split("/")
            about = {"layer": int(layer), "tap": tap, "mode": mode, "variant": variant}
            for a, b in self._pairs():
                if f"{key}/{a}" in self.sums and f"{key}/{b}" in self.sums:
                    rows += [about | row for row in self._rows(key, a, b)]
            if (tap, mode) == ("residual", "avg") and variant in ("raw", "centred"):
                parts += self._parts(key, int(layer), variant)
            if (tap, mode, variant) == ("residual", "avg", "raw"):
                for a, b in cross_pairs(self.spans):
                    of_rows, of_parts = self._gap(key, int(layer), a, b)
                    cones, parts = cones + of_rows, parts + of_parts
            if (tap, mode, variant) == ("residual", "mean", "raw"):
                cones += [self._narrowness(key, int(layer), s) for s in self.spans if f"{key}/{s}" in self.sums]
        return {"similarity": rows, "geometry": cones, PARTS: parts}

    def _parts(self, key: str, layer: int, variant: str) -> list[dict[str, Any]]:
        """Cosines of two spans of one example (`paired_...`), and of spans of different inputs (`others_...`)."""
        parts = []
        crossed = cross_pairs(self.spans)
        for a, b in self._pairs():
            if f"{key}/{a}/{b}" in self.sums and (a, b) in crossed:
                counts = self.sums[f"n/{a}/{b}"]
                values = means_without_each(self.sums[f"{key}/{a}/{b}"], counts)
                parts += part_rows(f"paired_{variant}", values, counts, a=a, b=b, layer=layer)
            if f"{key}/{a}" in self.sums and f"{key}/{b}" in self.sums:
                n_a, n_b = self.sums[f"n/{a}"], self.sums[f"n/{b}"]
                others = pairs_across(self.sums[f"{key}/{a}"], self.sums[f"{key}/{b}"], n_a, n_b)
                parts += part_rows(f"others_{variant}", others, np.maximum(n_a, n_b), a=a, b=b, layer=layer)
        return parts

    def _gap(self, key: str, layer: int, a: str, b: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The modality gap and its share of the variance, and what each group of inputs adds to the share."""
        if not {f"{key}/{a}", f"{key}/{b}"} <= self.sums.arrays.keys():
            return [], []
        n = {span: self.sums[f"n/{span}"] for span in (a, b)}
        sums = {span: self.sums[f"{key}/{span}"] for span in (a, b)}
        within_a, within_b, across = (pairs_across(sums[s], sums[t], n[s], n[t]) for s, t in ((a, a), (b, b), (a, b)))
        if within_a is None or within_b is None or across is None:
            return [], []
        squared, counts = within_a + within_b - 2 * across, np.maximum(n[a], n[b])
        # A quarter of the squared distance lies between the means, half of either span's variance within.
        total = 1 - (within_a + within_b + 2 * across) / 4
        if not (total > 1e-12).all():
            return [], []  # nothing varies at all
        share = squared / 4 / total
        about = {"span": a, "layer": layer, "against": b}
        rows = [
            about | {"quantity": name} | interval_columns(group_jackknife(values, counts))
            for name, values in (("gap", np.sqrt(np.maximum(squared, 0))), ("gap_share", share))
        ]
        return rows, part_rows("gap_share", share, counts, a=a, b=b, layer=layer)

    def _rows(self, key: str, a: str, b: str) -> Iterator[dict[str, Any]]:
        of_a, of_b = without_each(self.sums[f"{key}/{a}"]), without_each(self.sums[f"{key}/{b}"])
        n_a, n_b = without_each(self.sums[f"n/{a}"]), without_each(self.sums[f"n/{b}"])
        if f"{key}/{a}/{b}" in self.sums:
            own, both = without_each(self.sums[f"{key}/{a}/{b}"]), without_each(self.sums[f"n/{a}/{b}"])
            counts = self.sums[f"n/{a}/{b}"]
        else:
            own, both, counts = np.zeros(GROUPS + 1), np.zeros(GROUPS + 1), self.sums[f"n/{a}"] + self.sums[f"n/{b}"]
        if a != b and both[0]:
            yield _row(a, b, True, _ratio(own, both, counts))
        pairs = n_a * n_b - both
        if pairs[0]:
            yield _row(a, b, False, _ratio((of_a * of_b).sum(axis=-1) - own, pairs, counts))
        if a == b:
            yield from self._halves(key, a)

    def _halves(self, key: str, span: str) -> Iterator[dict[str, Any]]:
        """The first ten groups of examples against the other ten."""
        sums, counts = self.sums[f"{key}/{span}"], self.sums[f"n/{span}"]
        first = np.arange(GROUPS) < GROUPS // 2
        one, two = (without_each(sums * half[:, None]) for half in (first, ~first))
        n_one, n_two = (without_each(counts * half) for half in (first, ~first))
        if n_one[0] * n_two[0]:
            e = _ratio((one * two).sum(axis=-1), n_one * n_two, counts)
            yield _row(f"{span} {HALVES[0]}", f"{span} {HALVES[1]}", False, e)

    def _narrowness(self, key: str, layer: int, span: str) -> dict[str, Any]:
        counts = self.sums[f"n/{span}"]
        sums, n = without_each(self.sums[f"{key}/{span}"]), without_each(counts)
        e = group_jackknife(np.linalg.norm(sums, axis=-1) / np.maximum(n, 1), counts)
        about = {"span": span, "layer": layer, "quantity": "narrowness", "against": ""}
        return about | interval_columns(e)


def _ratio(
    numerator: Float[np.ndarray, " K"], denominator: Float[np.ndarray, " K"], counts: Float[np.ndarray, " G"]
) -> Estimate:
    """The jackknife of a ratio; without an interval where leaving out one group leaves nothing."""
    if (denominator > 0).all():
        return group_jackknife(numerator / denominator, counts)
    nothing = np.array(np.nan)
    return Estimate(np.array(numerator[0] / denominator[0]), nothing, nothing, int(counts.sum()))


def _unit(vectors: Float[Tensor, "S D"], of: Tensor | float = 0.0) -> Float[Tensor, "S D"]:
    return vectors * safe_inverse(torch.linalg.vector_norm(vectors, dim=-1), of)[:, None]


def _order(key: str) -> tuple[int, int, str, str]:
    tap, layer, mode, variant = key.split("/")
    return SITES.index(tap), int(layer), mode, variant


def _row(a: str, b: str, paired: bool, e: Estimate) -> dict[str, Any]:
    return {"a": a, "b": b, "paired": paired} | interval_columns(e)
