"""Which rows of a forward a plan leaves out, found from the token ids as they come.

Shape legend: B examples, T rows of this forward (padding included), n rows gathered.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chiasm.core.errors import ChiasmError
from chiasm.interventions.skips import PERCEPTUAL, Phase, Skip, SkipPlan, SkipSpan
from chiasm.models.frame import cache_name


class Gathered(NamedTuple):
    """Rows taken out of a batch: `rows` B x n in ascending order; where `valid` is False a row only fills up."""

    rows: Int[Tensor, "B n"]
    valid: Bool[Tensor, "B n"]
    whole: bool  # all entries are valid

    @classmethod
    def of(cls, marked: Bool[Tensor, "B T"]) -> "Gathered":
        """The marked rows of every example, as many columns as the example with the most has."""
        counts = marked.sum(1)
        width = int(counts.max())
        rows = marked.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :width]
        return cls(rows, torch.arange(width, device=rows.device)[None] < counts[:, None], bool((counts == width).all()))

    def on(self, device: torch.device) -> "Gathered":
        """The same rows for tensors on `device`: layers may be spread over several."""
        return Gathered(self.rows.to(device), self.valid.to(device), self.whole)

    def take(self, value: Float[Tensor, "B T *D"]) -> Float[Tensor, "B n *D"]:
        """The gathered rows of `value`, whose first axis may be 1 where all examples share it."""
        value = value.expand(self.rows.shape[0], *value.shape[1:])
        if self.rows.shape[0] == 1:
            return value.index_select(1, self.rows[0])
        examples = torch.arange(self.rows.shape[0], device=self.rows.device)[:, None]
        return value[examples, self.rows]

    def put(self, value: Float[Tensor, "B n D"], length: int) -> Float[Tensor, "B T D"]:
        """`value` back in its places, and zero elsewhere."""
        batch, _, width = value.shape
        full = value.new_zeros(batch * length, width)
        places = self.rows + length * torch.arange(batch, device=self.rows.device)[:, None]
        if self.whole:
            full.index_copy_(0, places.reshape(-1), value.reshape(-1, width))
        else:
            full.index_copy_(0, places[self.valid], value[self.valid])
        return full.view(batch, length, width)


class Selection:
    """The rows that each skip of `plan` leaves out in the forward at hand."""

    def __init__(self, plan: SkipPlan, tokens: dict[SkipSpan, tuple[int, ...]], inputs: dict[str, Any]) -> None:
        ids = inputs.get("input_ids")
        if ids is None:
            found = "it brings no input_ids, by which the tokens to skip are found"
            raise ChiasmError(f"a forward under the plan `{plan.name}`", found, "Call the model with input_ids")
        past = inputs.get(cache_name(inputs) or "")
        self.past = 0 if past is None else int(past.get_seq_length())
        self.phase: Phase = "decode" if self.past and ids.shape[1] == 1 else "prefill"
        self.batch, self.length = ids.shape
        self._plan, self._tokens, self._ids = plan, tokens, ids
        self._real = _real_rows(ids, inputs.get("attention_mask"))
        self._chosen: dict[int, Bool[Tensor, "B T"]] = {}
        self._merged: dict[frozenset[int], Bool[Tensor, "B T"] | None] = {}
        self._gathered: dict[frozenset[int], Gathered] = {}
        self._flat: dict[frozenset[int], Int[Tensor, " K"]] = {}

    def acting(self, layer: int, parts: Sequence[str]) -> frozenset[int]:
        """Indices of the skips that leave out one of `parts` in `layer` of this forward."""
        return frozenset(
            k
            for k, skip in enumerate(self._plan.skips)
            if skip.part in parts and layer in skip.layers and skip.acts_in(self.phase)
        )

    def left_out(self, skips: frozenset[int]) -> Bool[Tensor, "B T"] | None:
        """The rows that any of `skips` leaves out, and padding with them; None where there is no such row."""
        if skips not in self._merged:
            marks = [self._rows_of(k) for k in sorted(skips)]
            merged = torch.stack(marks).any(0) if marks else None
            # Nobody reads padding: leaving it out as well evens the rows of a batch.
            self._merged[skips] = merged | ~self._real if merged is not None and bool(merged.any()) else None
        return self._merged[skips]

    def kept(self, skips: frozenset[int]) -> Gathered:
        """The rows that none of `skips` leaves out."""
        if skips not in self._gathered:
            out = self.left_out(skips)
            self._gathered[skips] = Gathered.of(torch.ones_like(self._real) if out is None else ~out)
        return self._gathered[skips]

    def kept_flat(self, skips: frozenset[int]) -> Int[Tensor, " K"]:
        """The rows that none of `skips` leaves out, counted through the batch (example x T + row)."""
        if skips not in self._flat:
            out = self.left_out(skips)
            kept = torch.ones_like(self._real) if out is None else ~out
            self._flat[skips] = kept.reshape(-1).nonzero()[:, 0]
        return self._flat[skips]

    def span(self, name: SkipSpan) -> Bool[Tensor, "B T"]:
        """The rows of a span, padding left out."""
        if name == "all":
            return self._real
        if name == "text":
            perceptual = [token for name in PERCEPTUAL for token in self._tokens.get(name, ())]
            return self._real & ~torch.isin(self._ids, torch.tensor(perceptual, device=self._ids.device))
        return torch.isin(self._ids, torch.tensor(self._tokens[name], device=self._ids.device))

    def choose(self, index: int, score: Float[Tensor, "B T"]) -> None:
        """Let skip `index` leave out the rows of its span with the lowest `score`, as many as its share says."""
        skip = self._plan.skips[index]
        rows = self.span(skip.span)
        counts = (skip.share * rows.sum(1).double()).round()
        ranks = score.float().to(rows.device).masked_fill(~rows, torch.inf).argsort(dim=1, stable=True).argsort(dim=1)
        self._chosen[index] = rows & (ranks < counts[:, None])

    def _rows_of(self, index: int) -> Bool[Tensor, "B T"]:
        skip = self._plan.skips[index]
        if index not in self._chosen:
            if skip.choice == "all":
                self._chosen[index] = self.span(skip.span)
            elif skip.choice == "random":
                self.choose(index, _random_scores(skip, self.span(skip.span)))
            else:
                raise RuntimeError(f"the rows of skip {index} were asked for before its layer was reached")
        return self._chosen[index]


def _random_scores(skip: Skip, rows: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Scores by seed and place in the span alone, so that padding and neighbours do not matter."""
    scores = torch.zeros(rows.shape)
    for index, own in enumerate(rows.cpu()):
        generator = torch.Generator().manual_seed(skip.seed)
        scores[index, own] = torch.rand(int(own.sum()), generator=generator)
    return scores.to(rows.device)


def _real_rows(ids: Int[Tensor, "B T"], mask: Any) -> Bool[Tensor, "B T"]:
    if isinstance(mask, Tensor) and mask.ndim == 2:
        return mask[:, -ids.shape[1] :].bool()
    return torch.ones_like(ids, dtype=torch.bool)
