"""One plain forward of the untouched model, and what passes by at named places, token by token.

Legend: N tokens of all segments, one after the other; S segments (an example's span each); D width.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chiasm.core.spans import TOP_LEVEL
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.executors.frame import keep_logits
from chiasm.models.hooks import hook_inputs, hook_sites, isolate_modalities, replace_embeddings
from chiasm.models.sites import Block
from chiasm.models.view import ModelView


class ModalityIsolation(NamedTuple):
    """No attention between the tokens of `spans` and all others in the first `blocks` blocks."""

    spans: tuple[str, ...]
    blocks: int


class Segment(NamedTuple):
    """The tokens of one span of one example: `start` to `stop` (half-open) among the N tokens of a batch."""

    example: int
    span: str
    start: int
    stop: int


@dataclass(eq=False)
class Batch:
    """Which tokens of a padded batch are read. `failures`: index of an example and why its states mean nothing.

    `rows` (N): places in the batch flattened to (B T); padding is never among them. `units`: what each example is
    drawn with (questions on one picture share theirs); by default every example stands for itself.
    """

    ids: tuple[str, ...]
    segments: tuple[Segment, ...]
    rows: np.ndarray
    failures: dict[int, str] = field(default_factory=dict)
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.units = self.units or self.ids

    def is_valid(self, segment: Segment) -> bool:
        """Whether the segment's example has sound states."""
        return segment.example not in self.failures

    def places(self, span: str) -> tuple[np.ndarray, np.ndarray]:
        """Of the sound examples that have `span`: their indices, and those of their segments, in one order."""
        found = [(s.example, k) for k, s in enumerate(self.segments) if s.span == span and self.is_valid(s)]
        return np.array([e for e, _ in found], dtype=int), np.array([k for _, k in found], dtype=int)

    def both(self, a: str, b: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the sound examples that have both spans: their indices, and those of their segments of `a` and of `b`."""
        (of_a, in_a), (of_b, in_b) = self.places(a), self.places(b)
        shared, at_a, at_b = np.intersect1d(of_a, of_b, return_indices=True)
        return shared, in_a[at_a], in_b[at_b]


@dataclass(eq=False)
class SiteStates:
    """The states of a batch's tokens at one site, in float32 at least. What several measures need is computed once.

    `layer`: for the site `residual` the hidden state (0 embeddings, k after block k-1), else the 0-based block.
    A state of norm zero has the cosine 0 to everything.
    """

    batch: Batch
    layer: int
    site: str
    states: Float[Tensor, "N D"]

    @cached_property
    def norms(self) -> Float[Tensor, " N"]:
        return torch.linalg.vector_norm(self.states, dim=-1)

    @cached_property
    def inverse_norms(self) -> Float[Tensor, " N"]:
        return safe_inverse(self.norms)

    @cached_property
    def means(self) -> Float[Tensor, "S D"]:
        """The mean token of each segment."""
        return averaging_matrix(self.batch, self.states) @ self.states

    @cached_property
    def mean_directions(self) -> Float[Tensor, "S D"]:
        """The mean token of each segment, scaled to norm 1."""
        return self.means * safe_inverse(torch.linalg.vector_norm(self.means, dim=-1))[:, None]

    @cached_property
    def directions_mean(self) -> Float[Tensor, "S D"]:
        """The mean over each segment of its tokens scaled to norm 1."""
        return (averaging_matrix(self.batch, self.states) * self.inverse_norms) @ self.states

    def tokens(self, segment: int) -> Float[Tensor, "n D"]:
        """The tokens of one segment scaled to norm 1."""
        part = slice(*self.batch.segments[segment][2:])
        return self.states[part] * self.inverse_norms[part, None]


StatesCallback = Callable[[SiteStates], None]
InputsCallback = Callable[[int, tuple[str, ...], Batch, Float[Tensor, "N D"]], None]
Replacement = Callable[[Float[Tensor, "B T D"], list[int]], Float[Tensor, "B T D"]]


def safe_inverse(norms: Tensor, of: Tensor | float = 0.0) -> Tensor:
    """1 / norm, and 0 where the norm is 0, or no more than the rounding of a difference of vectors of norm `of`."""
    limits = torch.finfo(norms.dtype)
    return torch.where(norms > 16 * limits.eps * of, 1 / norms.clamp(min=limits.tiny), 0)


def averaging_matrix(batch: Batch, like: Tensor) -> Float[Tensor, "S N"]:
    """The matrix that averages tokens within segments."""
    weights = like.new_zeros(len(batch.segments), len(batch.rows))
    for index, segment in enumerate(batch.segments):
        weights[index, segment.start : segment.stop] = 1 / (segment.stop - segment.start)
    return weights


def lay_out(encoded: Sequence[Encoded], spans: Sequence[str], padding: Sequence[int], length: int) -> Batch:
    """The tokens of `spans` in a left-padded batch whose rows have `length` positions.

    A top-level span that an example does not have is left out there.

    **Errors:** `ChiasmError` for a name that is no span.
    """
    segments, rows, start = [], [np.empty(0, dtype=np.int64)], 0
    for index, (item, before) in enumerate(zip(encoded, padding, strict=True)):
        for span in spans:
            if span not in item.spans and span in TOP_LEVEL:
                continue
            positions = item.spans[span]
            if len(positions):
                segments.append(Segment(index, span, start, start + len(positions)))
                rows.append(positions + before + index * length)
                start += len(positions)
    return Batch(tuple(item.example_id for item in encoded), tuple(segments), np.concatenate(rows))


@torch.no_grad()
def observe(
    view: ModelView,
    blocks: Sequence[Block],
    encoded: Sequence[Encoded],
    spans: Sequence[str],
    listen: StatesCallback,
    *,
    sites: frozenset[str] = frozenset({"residual"}),
    listen_inputs: InputsCallback | None = None,
    replace: Replacement | None = None,
    isolation: ModalityIsolation | None = None,
) -> Batch:
    """Run `encoded` as one batch and hand what passes `sites` to `listen`, layer by layer; nothing is kept here.

    `listen_inputs` gets what the matrices of every block read. `replace` changes the embeddings before the first
    block (batch, then the padding before each example). `isolation` keeps kinds of tokens from attending to each other in
    the first blocks. Examples with NaN or infinite states are named, with their
    layer, in the batch's `failures` as soon as the forward has ended; until then their unsound tokens count as zero.
    """
    inputs, padding = view.collate(encoded)
    batch = lay_out(encoded, spans, padding, inputs["input_ids"].shape[1])
    finite: list[tuple[str, Tensor]] = []
    gather = _Gather(batch)

    def sound(where: str, states: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """The states, zero at unsound tokens: means are matrix products, and 0 x NaN would reach their neighbours."""
        good = torch.isfinite(states.abs().amax(dim=-1))
        finite.append((where, good))
        return states if bool(good.all()) else states.masked_fill(~good[:, None], 0)

    def hear(layer: int, site: str, states: Tensor) -> None:
        listen(SiteStates(batch, layer, site, sound(_told(layer, site), gather(states))))

    def hear_inputs(layer: int, names: tuple[str, ...], x: Tensor) -> None:
        if listen_inputs is not None:
            listen_inputs(layer, names, batch, sound(f"the input of {names[0]} in layer {layer}", gather(x)))

    with ExitStack() as stack:
        hook_sites(view, blocks, sites, hear, stack)
        if replace is not None:
            replace_embeddings(view, lambda states: replace(states, padding), stack)
        if isolation is not None:
            isolate_modalities(
                view, isolation.blocks, *_kinds(encoded, isolation.spans, padding, inputs["input_ids"].shape[1]), stack
            )
        if listen_inputs is not None:
            hook_inputs(blocks, hear_inputs, stack)
        stack.enter_context(view.readable_attention())
        view.model(**inputs, **keep_logits(view, slice_to=1), use_cache=False)
    batch.failures |= _failures(batch, {where: good.cpu().numpy() for where, good in finite})
    return batch


def _told(layer: int, site: str) -> str:
    if site != "residual":
        return f"`{site}` in layer {layer}"
    return (
        "the embeddings (hidden state 0)" if layer == 0 else f"the output of layer {layer - 1} (hidden state {layer})"
    )


def _kinds(
    encoded: Sequence[Encoded], spans: Sequence[str], padding: Sequence[int], length: int
) -> tuple[Bool[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Which positions are of `spans`, and which are no padding."""
    inside = torch.zeros(len(encoded), length, dtype=torch.bool)
    real = torch.zeros_like(inside)
    for row, (item, before) in enumerate(zip(encoded, padding, strict=True)):
        real[row, before:] = True
        for span in spans:
            if span in item.spans:
                inside[row, torch.from_numpy(item.spans[span] + before)] = True
    return inside, real


class _Gather:
    """States of the batch's tokens in float32 at least, from a tensor of the whole batch."""

    def __init__(self, batch: Batch) -> None:
        self.rows = torch.from_numpy(batch.rows)

    def __call__(self, states: Tensor) -> Float[Tensor, "N D"]:
        self.rows = self.rows.to(states.device)
        found = states.reshape(-1, states.shape[-1]).index_select(0, self.rows)
        return found.to(torch.promote_types(found.dtype, torch.float32))


def _failures(batch: Batch, finite: Mapping[str, Bool[np.ndarray, " N"]]) -> dict[int, str]:
    """Where the states of each unsound example go wrong first; `finite` in the order of the forward."""
    found: dict[int, str] = {}
    for where, good in finite.items():
        for segment in batch.segments if not good.all() else ():
            count = int((~good[segment.start : segment.stop]).sum())
            if count and segment.example not in found:
                tokens = f"{count} of {segment.stop - segment.start} tokens of `{segment.span}`"
                found[segment.example] = f"{where} is NaN or infinite at {tokens}"
    return found
