"""What tokens mean in words: their distributions over the vocabulary, read through the output head."""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity

from chiasm.core.spans import cross_pairs, is_perceptual
from chiasm.core.statistics.jackknife import means_without_each, priority
from chiasm.core.statistics.streaming import NamedSums, sample_without_order
from chiasm.measures.base import Measure, MeasureConfig, MeasureCost, ReadSizes, RowsByTable, interval_columns
from chiasm.measures.parts import PARTS, part_rows
from chiasm.models.observe import Batch, SiteStates
from chiasm.models.words import text_of

_MIN_PROBABILITY = 1e-30
"""Probabilities are not taken for smaller than this, so that no divergence is infinite."""

NEAREST = 20
"""Words per span and state that the table `nearest` names."""

RANKS = (1, 5)
"""How many of a token's most probable words are counted."""

BINS = 120
"""Stretches of the vocabulary in the table `histogram`, as many as published."""


SPLITS = 4
"""Random splits of every span that its null is the mean of."""

_NULL = "null-"


class ReadTokens(NamedTuple):
    """The distributions of k tokens that were read of the `n` of a span, and random orders of them."""

    p: Float[Tensor, "k V"]
    n: int
    orders: Int[Tensor, "splits k"]


class Vocabulary(Measure):
    """Entropy of tokens' distributions, divergences between spans and between depths, and the nearest words.

    At sampled states, softmax(head(norm(state))) of at most `tokens` tokens per span, drawn by a seed. `entropy`: mean
    over tokens. Against another span, `kl` (of this span from that one) and `js` compare the spans' mean distributions
    within each example; where a span has more tokens than are read, `corrected` for that. Against a later state
    (`state k`), they are of each token with itself, averaged, and so is the `cosine` of the two distributions.
    `kl_sticky`, with `as_released`: the perceptual span stays at the embeddings, as the released code has it by a
    variable that is never reset (the right form, `kl`, is at the same depth); against
    a later state it is each perceptual token at the embeddings with itself there.

    Means of few tokens differ, also where the spans do not: the table `vocabulary_null` holds both divergences between
    k tokens of either span (half of what the smaller one has), beside those between k tokens of a span and k others of
    the same (mean of both spans and of four random splits). Their difference, `mean`, is 0 on average where tokens of
    both spans are alike: then all sets of k tokens can change places.

    Histograms: how often each word is among a token's 1 and 5 most probable ones.

    Source: Shukor & Cord 2024 (arXiv 2405.16700), section 3.1 and Figure 13; released `compute_histograms.py`, lines
    126, 479, 651 and 928. The released code also pairs tokens of unrelated examples by their place in a list, which
    depends on the order of the data and is not repeated here. Assumption: the head reads hidden states that it was
    not trained on; at early depths that is a convention and not a measurement.
    """

    name: ClassVar[str] = "vocabulary"
    order: ClassVar[int] = 9

    def __init__(
        self,
        spans: tuple[str, ...],
        layers: tuple[int, ...],
        unembed: Callable[[Tensor], Tensor],
        words: Callable[[int], str],
        *,
        tokens: int = 64,
        seed: int = 0,
        as_released: bool = False,
    ) -> None:
        self.counts = NamedSums("counts")
        super().__init__(self.counts)
        self.spans, self.layers, self.unembed, self.words = spans, layers, unembed, words
        self.tokens, self.seed, self.as_released = tokens, seed, as_released
        self._size = 0
        self._values: list[tuple[str, int, Tensor]] = []
        self._nulls: list[tuple[str, int, tuple[float, float, int]]] = []
        self._nearest: list[tuple[str, int, Tensor]] = []
        self._past: dict[int, Tensor] = {}
        self._first: dict[int, Tensor] = {}

    @classmethod
    def for_model(cls, config: MeasureConfig) -> Self | None:
        if not config.vocabulary_tokens:
            return None
        view = config.view

        def unembed(states: Float[Tensor, "n D"]) -> Float[Tensor, "n V"]:
            with torch.no_grad():
                return view.unembed(states.to(view.dtype))

        def word(token: int) -> str:
            return text_of(view.tokenizer, [token])

        return cls(
            config.spans,
            config.sampled,
            unembed,
            word,
            tokens=config.vocabulary_tokens,
            seed=config.seed,
            as_released=config.as_released,
        )

    def cost(self, sizes: ReadSizes) -> MeasureCost:
        read = sum(min(self.tokens, n) for n in sizes.tokens.values())
        operations = sizes.sampled * read * (2.0 * sizes.width + 20) * sizes.vocabulary
        held = 4.0 * read * sizes.vocabulary + 8.0 * len(RANKS) * sizes.sampled * len(sizes.tokens) * sizes.vocabulary
        return MeasureCost(operations, held)

    def update(self, seen: SiteStates) -> None:
        if seen.layer not in self.layers:
            return
        place = self.layers.index(seen.layer)
        before = self.layers[place - 1] if place else None
        read: dict[tuple[int, str], ReadTokens] = {}
        for index, segment in enumerate(seen.batch.segments):
            name = f"{segment.span}:{seen.batch.ids[segment.example]}"
            chosen = sample_without_order(segment.stop - segment.start, self.tokens, name, self.seed)
            at = torch.from_numpy(segment.start + chosen)
            logs = torch.log_softmax(self._logits(seen.states[at.to(seen.states.device)]), dim=-1)
            self._size = logs.shape[-1]
            p = logs.exp()
            here = f"{segment.span}/{seen.layer}"
            self._values.append((f"{here}/entropy/", segment.example, entropy(p).mean()))
            best = logs.topk(min(RANKS[-1], self._size), dim=-1).indices
            self._nearest += [(f"{here}/{k}", segment.example, best[:, :k].flatten()) for k in RANKS]
            if before is not None:
                past, there = self._past[index].to(p.device), f"{segment.span}/{before}"
                against = f"state {seen.layer}"
                if self.as_released and is_perceptual(segment.span):
                    sticky = kl(self._first[index].to(p.device), p).mean()
                    self._values.append((f"{there}/kl_sticky/{against}", segment.example, sticky))
                self._values += [
                    (f"{there}/{name}/{against}", segment.example, compare(past, p).mean())
                    for name, compare in (("kl", kl), ("js", js), ("cosine", cosine_similarity))
                ]
            self._past[index] = p
            orders = torch.from_numpy(_orders(len(p), name, self.seed)).to(p.device)
            read[segment.example, segment.span] = ReadTokens(p, segment.stop - segment.start, orders)
            self._first.setdefault(index, p)
        self._between(seen, read)

    def _between(self, seen: SiteStates, read: Mapping[tuple[int, str], ReadTokens]) -> None:
        segments = {(s.example, s.span): k for k, s in enumerate(seen.batch.segments)}
        for a, b in cross_pairs(self.spans):
            for example in range(len(seen.batch.ids)):
                if (example, a) not in read or (example, b) not in read:
                    continue
                p, q = read[example, a], read[example, b]
                for name, one, two, compare, mine, theirs in (
                    ("kl", a, b, kl, p, q), ("kl", b, a, kl, q, p), ("js", a, b, js, p, q),
                ):  # fmt: skip
                    self._values.append((f"{one}/{seen.layer}/{name}/{two}", example, corrected(compare, mine, theirs)))
                    k = min(len(mine.p), len(theirs.p)) // 2
                    if k:
                        found = matched(compare, mine, theirs)
                        self._nulls.append((f"{one}/{seen.layer}/{_NULL}{name}/{two}", example, (*found, k)))
                if self.as_released:
                    text = q.p.mean(dim=0)
                    entering = self._first[segments[example, a]].mean(dim=0).to(text.device)
                    self._values.append((f"{a}/{seen.layer}/kl_sticky/{b}", example, kl(entering, text)))

    def _logits(self, states: Float[Tensor, "n D"]) -> Float[Tensor, "n V"]:
        logits = self.unembed(states)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def end_batch(self, batch: Batch) -> None:
        values, self._values = self._values, []
        nulls, self._nulls = self._nulls, []
        nearest, self._nearest = self._nearest, []
        self._past, self._first = {}, {}
        for key, example, value in values:
            if example not in batch.failures:
                self.sums.add(key, [batch.units[example]], np.array([[float(value), 1.0]]))
        for key, example, (between, within, k) in nulls:
            if example not in batch.failures:
                row = np.array([[between - within, between, within, k, 1.0]])
                self.sums.add(key, [batch.units[example]], row)
        for key, example, ids in nearest:
            if example not in batch.failures:
                # The last cell counts the examples.
                cells = np.append(ids.cpu().numpy(), self._size)
                self.counts.add_array(key, np.bincount(cells, minlength=self._size + 1).astype(np.float64))

    def tables(self) -> RowsByTable:
        rows, nulls, parts = [], [], []
        for key in sorted(self.sums.arrays, key=_order):
            span, layer, quantity, against = key.split("/")
            name = quantity.removeprefix(_NULL)
            about = {"span": span, "layer": int(layer), "quantity": name, "against": against}
            means = self.sums.means(key)
            if name == quantity:
                rows.append(about | interval_columns(means, (0,)))
                continue
            _, between, within, k = means.mean.tolist()
            about |= {"tokens": k, "matched": between, "null": within}
            nulls.append(about | interval_columns(means, (0,)))
            counts = self.sums[key][:, -1]
            values = means_without_each(self.sums[key][:, :-1], counts)
            parts += part_rows(name, values[:, 0], counts, a=span, b=against, layer=int(layer))
            parts += part_rows(f"{name}_null", values[:, 2], counts, a=span, b=against, layer=int(layer))
        nearest, histogram = [], []
        for key in sorted(self.counts.arrays, key=_order):
            span, layer, rank = key.split("/")
            counts, n = self.counts[key][:-1], int(self.counts[key][-1])
            about = {"span": span, "layer": int(layer), "k": int(rank), "n": n}
            nearest += [about | word for word in self._words(counts, int(rank))]
            histogram += [about | stretch for stretch in _histogram(counts)]
        found = {"vocabulary": rows, "vocabulary_null": nulls, "nearest": nearest, "histogram": histogram, PARTS: parts}
        return {name: table for name, table in found.items() if table or name not in ("vocabulary_null", PARTS)}

    def _words(self, counts: Float[np.ndarray, " V"], rank: int) -> Iterator[dict[str, Any]]:
        # Ties in the order of the ids.
        for token in np.argsort(-counts, kind="stable")[:NEAREST].tolist():
            if counts[token]:
                share = rank * float(counts[token] / counts.sum())
                yield {"token_id": token, "word": self.words(token), "share": share}


def _histogram(counts: Float[np.ndarray, " V"]) -> Iterator[dict[str, Any]]:
    edges = np.unique(np.linspace(0, len(counts), BINS + 1).round().astype(int)).tolist()
    shares = np.add.reduceat(counts, edges[:-1]) / counts.sum()
    for (start, stop), share in zip(pairwise(edges), shares.tolist(), strict=True):
        if share:
            yield {"start": start, "stop": stop, "share": share}


def entropy(p: Float[Tensor, "*n V"]) -> Float[Tensor, "*n"]:
    """Of distributions, in nat."""
    return -(p * p.clamp(min=_MIN_PROBABILITY).log()).sum(dim=-1)


def kl(p: Float[Tensor, "*n V"], q: Float[Tensor, "*n V"]) -> Float[Tensor, "*n"]:
    """Kullback-Leibler divergence of `p` from `q`, in nat, with probabilities of at least 1e-30."""
    return (p * (p.clamp(min=_MIN_PROBABILITY).log() - q.clamp(min=_MIN_PROBABILITY).log())).sum(dim=-1)


def js(p: Float[Tensor, "*n V"], q: Float[Tensor, "*n V"]) -> Float[Tensor, "*n"]:
    """Jensen-Shannon divergence, in nat: at most log 2, and the same both ways."""
    middle = (p + q) / 2
    return (kl(p, middle) + kl(q, middle)) / 2


Divergence = Callable[[Float[Tensor, "*n V"], Float[Tensor, "*n V"]], Float[Tensor, "*n"]]


def corrected(compare: Divergence, one: ReadTokens, two: ReadTokens) -> Float[Tensor, ""]:
    """The divergence of two spans' mean distributions, corrected for tokens that were not read.

    A divergence of means of k tokens out of n is too large by c (1 / k - 1 / n) and terms of higher order. That of
    either half of the k tokens is so by c (2 / k - 1 / n), which gives c, for either span alone. Nothing is changed
    where all tokens were read. Source: second-order bias of plug-in estimates; Quenouille 1956 (Biometrika 43).
    Assumption: tokens are drawn without replacement, and enough that higher orders are small.
    """
    p, q = one.p.mean(dim=0), two.p.mean(dim=0)
    found = whole = compare(p, q)
    for read, halved in (
        (one, lambda half: compare(half, q)),
        (two, lambda half: compare(p, half)),
    ):
        k = len(read.p)
        if 1 < k < read.n:
            halves = [read.p[part].mean(dim=1) for part in read.orders.tensor_split(2, dim=1)]
            grown = sum(halved(half).mean() for half in halves) / 2 - whole
            per_token = grown / ((1 / (k - k // 2) + 1 / (k // 2)) / 2 - 1 / k)
            found = found - per_token * (1 / k - 1 / read.n)
    return found


def matched(compare: Divergence, one: ReadTokens, two: ReadTokens) -> tuple[float, float]:
    """The divergence between k tokens of either span, and between k and k others of the same span.

    k is half of what the smaller span has. Means over the splits, and over both spans and directions.
    """
    k = min(len(one.p), len(two.p)) // 2
    p1, p2, q1, q2 = (
        read.p.to(one.p.device)[read.orders.to(one.p.device)[:, start : start + k]].mean(dim=1)
        for read in (one, two)
        for start in (0, k)
    )
    between = (compare(p1, q1) + compare(p2, q2)) / 2
    within = (compare(p1, p2) + compare(p2, p1) + compare(q1, q2) + compare(q2, q1)) / 4
    return float(between.mean()), float(within.mean())


def _orders(n: int, name: str, seed: int) -> Int[np.ndarray, "splits n"]:
    rng = np.random.default_rng([seed, priority(name, seed)])
    return np.stack([rng.permutation(n) for _ in range(SPLITS)])


def _order(key: str) -> tuple[str, int, str]:
    span, layer, *rest = key.split("/")
    return span, int(layer), "/".join(rest)
