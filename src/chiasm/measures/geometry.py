"""The shape of sets of vectors, above all of mean tokens: dimension, similarity to another set, neighbours, maps."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from jaxtyping import Float

from chiasm.core.spans import cross_pairs
from chiasm.core.statistics.intervals import Estimate
from chiasm.core.statistics.jackknife import GROUPS, group_jackknife, group_of, priority
from chiasm.core.statistics.streaming import Reservoir
from chiasm.measures.base import Measure, MeasureConfig, MeasureCost, ReadSizes, RowsByTable, interval_columns
from chiasm.measures.neighbours import (
    ALIKE,
    common_without_each,
    neighbour_weights,
    shuffled_in_common,
    unit_distances,
)
from chiasm.measures.parts import PARTS, part_rows
from chiasm.models.observe import Batch, SiteStates

_TSNE_SEED = 42
_MIN_CKA = 8
MIN_NEIGHBOURS = 8
"""Inputs from which on neighbours in common are counted."""
NEIGHBOURS = 10
"""Nearest neighbours that are counted; of few inputs a quarter of them."""
_SHUFFLES = 200
_UNIT = "unit"


class Geometry(Measure):
    """Of mean tokens, at sampled states, over a reservoir of at most `examples` examples drawn by a seeded hash.

    `effective_rank`: the exponential of the entropy of the covariance's eigenvalues (Roy & Vetterli 2007); it cannot
    exceed the number of examples, so compare it only at equal n; its interval says how it varies at that n. `cka`:
    linear centred kernel alignment of a perceptual and a textual span over the same examples (Kornblith et al. 2019),
    with the unbiased estimator of HSIC (Song et al. 2012), without which it nears 1 wherever examples are fewer than
    dimensions; unrelated sets give 0. `neighbours`: of the k examples nearest to one in a perceptual span, the share
    that is nearest to it in the textual span (mutual nearest neighbours; Huh et al. 2024, arXiv 2405.07987): mean
    tokens, by cosine, one example of every input, k = 10 or a quarter of the inputs. It does not change where all of a
    span's vectors are turned or scaled, each by a factor of its own too; it does where they are shifted. By chance it
    is k / (n - 1), which is the mean over all shuffled pairings (`neighbours_shuffled`, with the range of 95 % of 200
    of them). Maps: PCA and t-SNE (scikit-learn's defaults, seed 42) of all spans together
    at the first state, at three quarters of the depth (as published) and at the last. In t-SNE neither distances
    between clusters nor their sizes mean anything.
    """

    name: ClassVar[str] = "geometry"
    order: ClassVar[int] = 7

    def __init__(
        self,
        spans: tuple[str, ...],
        layers: tuple[int, ...],
        *,
        examples: int = 256,
        seed: int = 0,
        maps: bool = True,
    ) -> None:
        self.spans, self.layers, self.reservoir, self.maps = spans, layers, Reservoir(examples, seed), maps
        super().__init__(self.reservoir)
        self._waiting: dict[int, Float[np.ndarray, "S D"]] = {}

    @classmethod
    def for_model(cls, config: MeasureConfig) -> Self:
        return cls(config.spans, config.sampled, seed=config.seed, maps=config.maps)

    def cost(self, sizes: ReadSizes) -> MeasureCost:
        size = self.reservoir.size * sizes.sampled * len(sizes.tokens) * sizes.width
        # The means themselves come from what other measures share.
        return MeasureCost(2.0 * sizes.sampled * sizes.read * sizes.width, 4.0 * size)

    def update(self, seen: SiteStates) -> None:
        if seen.layer in self.layers:
            self._waiting[seen.layer] = seen.means.cpu().float().numpy()

    def end_batch(self, batch: Batch) -> None:
        waiting, self._waiting = self._waiting, {}
        for example, name in enumerate(batch.ids):
            if example in batch.failures or not self.reservoir.would_keep(name):
                continue
            found = {
                f"{layer}/{segment.span}": means[k]
                for layer, means in waiting.items()
                for k, segment in enumerate(batch.segments)
                if segment.example == example
            }
            if found:
                unit = np.array(priority(batch.units[example], 0))
                self.reservoir.add(name, found | {_UNIT: unit})

    def tables(self) -> RowsByTable:
        rows: list[dict[str, Any]] = []
        parts: list[dict[str, Any]] = []
        for layer in self.layers:
            for span in self.spans:
                rows += self._rows(layer, effective_rank, (span,), min_examples=2, min_left=2)
            for pair in cross_pairs(self.spans):
                rows += self._rows(layer, cka, pair, min_examples=_MIN_CKA, min_left=4)
                more, changed = self._neighbours(layer, *pair)
                rows, parts = rows + more, parts + changed
        found = {"geometry": rows, "map": self._maps() if self.maps else [], PARTS: parts}
        return {name: table for name, table in found.items() if table or name == "geometry"}

    def _neighbours(self, layer: int, a: str, b: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The rows of neighbours in common, as they are and by chance, and what each group of inputs adds to them."""
        kept: dict[int, str] = {}  # one example of every input: two questions on one image are neighbours of course
        for name in self.reservoir.names(f"{layer}/{a}", f"{layer}/{b}"):
            kept.setdefault(int(self.reservoir.kept[name][_UNIT]), name)
        n = len(kept)
        if n < MIN_NEIGHBOURS:
            return [], []
        k = min(NEIGHBOURS, n // 4)
        groups = np.array([unit % GROUPS for unit in kept])
        counts = np.bincount(groups, minlength=GROUPS).astype(float)
        one, two = (unit_distances(self._matrix(layer, [(span, name) for name in kept.values()])) for span in (a, b))
        beyond, chance = common_without_each(one, two, groups, k)
        e = group_jackknife(beyond, counts)
        e = Estimate(e.mean + chance[0], e.low + chance[0], e.high + chance[0], n)
        near_a, near_b = (neighbour_weights(distances, k, alike=ALIKE) for distances in (one, two))
        low, high = np.percentile(shuffled_in_common(near_a, near_b, _SHUFFLES), [2.5, 97.5])
        null = Estimate(np.array(chance[0]), np.array(low), np.array(high), n)
        about = {"span": a, "layer": layer, "against": b}
        rows = [
            about | {"quantity": name} | interval_columns(value)
            for name, value in (("neighbours", e), ("neighbours_shuffled", null))
        ]
        parts = part_rows("neighbours", beyond, counts, a=a, b=b, layer=layer)
        return rows, parts + part_rows("neighbours_null", chance, counts, a=a, b=b, layer=layer)

    def _rows(
        self, layer: int, of: Callable[..., float], spans: tuple[str, ...], *, min_examples: int, min_left: int
    ) -> list[dict[str, Any]]:
        """The row of the quantity `of`, at the examples that have all of `spans`; none where they are too few."""
        names = self.reservoir.names(*(f"{layer}/{span}" for span in spans))
        if len(names) < min_examples:
            return []
        e = over_groups(names, [self._matrix(layer, [(s, n) for n in names]) for s in spans], of, min_left)
        about = {"span": spans[0], "layer": layer, "quantity": of.__name__, "against": "".join(spans[1:])}
        return [about | interval_columns(e)]

    def _matrix(self, layer: int, points: list[tuple[str, str]]) -> Float[np.ndarray, "n D"]:
        """The mean tokens of `points`: spans and examples."""
        return np.stack([self.reservoir.kept[name][f"{layer}/{span}"] for span, name in points]).astype(np.float64)

    def _maps(self) -> list[dict[str, Any]]:
        from sklearn.manifold import TSNE  # slow to import, and what nothing else here needs

        rows: list[dict[str, Any]] = []
        for layer in dict.fromkeys((self.layers[0], self.layers[3 * (len(self.layers) - 1) // 4], self.layers[-1])):
            points = [(span, name) for span in self.spans for name in self.reservoir.names(f"{layer}/{span}")]
            if len(points) < 6:
                continue
            data = self._matrix(layer, points)
            if not data.std(axis=0).any():
                continue
            perplexity = min(30.0, (len(points) - 1) / 3)
            tsne = TSNE(2, perplexity=perplexity, random_state=_TSNE_SEED).fit_transform(data)
            for method, places in (("pca", pca(data)), ("tsne", tsne)):
                rows += [
                    {"example_id": name, "span": span, "layer": layer, "method": method, "x": float(x), "y": float(y)}
                    for (span, name), (x, y) in zip(points, places, strict=True)
                ]
        return rows


def over_groups(
    names: Sequence[str], features: Sequence[Float[np.ndarray, "n D"]], of: Callable[..., float], min_left: int
) -> Estimate:
    """A quantity of sets of vectors with its jackknife; a group without which fewer than `min_left` are left counts as
    no change.

    `names`: the examples in the order of the sets' rows.
    """
    groups = np.array([group_of(name) for name in names])
    values = [of(*features)]
    for group in range(GROUPS):
        rest = groups != group
        values.append(of(*(x[rest] for x in features)) if rest.sum() >= min_left else values[0])
    return group_jackknife(np.array(values), np.bincount(groups, minlength=GROUPS).astype(float))


def effective_rank(x: Float[np.ndarray, "n D"]) -> float:
    """exp of the entropy of the covariance's eigenvalues as shares of their sum; 0 where nothing varies."""
    centred = x - x.mean(axis=0)
    # Inner products have the same spectrum, and examples are mostly fewer than dimensions.
    gram = centred @ centred.T if len(x) < x.shape[1] else centred.T @ centred
    values = np.linalg.eigvalsh(gram)
    values = values[values > max(values.max(initial=0.0), 0.0) * 1e-14]
    if values.sum() <= 0:
        return 0.0
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def cka(x: Float[np.ndarray, "n D"], y: Float[np.ndarray, "n E"]) -> float:
    """Linear centred kernel alignment with unbiased HSIC; 0 where either does not vary."""
    a, b = (_centred_gram(z) for z in (x, y))
    scale = (a * a).sum() * (b * b).sum()
    return float((a * b).sum() / np.sqrt(scale)) if scale > 0 else 0.0


def _centred_gram(x: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n n"]:
    """U-centred inner products (Székely & Rizzo 2014): their entrywise products are unbiased for HSIC."""
    # Taking the mean away changes nothing but the rounding.
    centred = x - x.mean(axis=0)
    gram, n = centred @ centred.T, len(x)
    np.fill_diagonal(gram, 0)
    rows = gram.sum(axis=0)
    gram = gram - (rows[:, None] + rows[None, :]) / (n - 2) + rows.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(gram, 0)
    return gram


def pca(x: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n 2"]:
    """The first two principal components; of each axis the entry of largest size is positive."""
    centred = x - x.mean(axis=0)
    u, s, axes = np.linalg.svd(centred, full_matrices=False)
    found = np.zeros((len(x), 2))
    k = min(2, len(s))
    signs = np.sign(axes[np.arange(k), np.abs(axes[:k]).argmax(axis=1)])
    found[:, :k] = u[:, :k] * s[:k] * signs
    return found
