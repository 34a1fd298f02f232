"""One plain forward of the untouched model, and what passes by at named places, token by token.

Legend: N tokens of all segments, one after the other; S segments (an example's span each); D width.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chiasm.core.positions import concatenate
from chiasm.core.spans import TOP_LEVEL
from chiasm.models.encoded import Encoded
from chiasm.models.frame import keep_logits, record_frame
from chiasm.models.hooks import Block, hook_inputs, hook_sites, isolate_modalities, replace_embeddings
from chiasm.models.view import ModelView

PADDED: Final = 128
"""Rows that `observe_padded` fills every sequence up to, as released."""


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
    drawn with (questions on one image share theirs); by default every example stands for itself.
    """

    ids: tuple[str, ...]
    segments: tuple[Segment, ...]
    rows: np.ndarray
    failures: dict[int, str] = field(default_factory=dict)
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.units = self.units or self.ids

    def is_valid(self, segment: Segment) -> bool:
        """Whether the segment's example has finite states."""
        return segment.example not in self.failures

    def places(self, span: str) -> tuple[np.ndarray, np.ndarray]:
        """Of the valid examples that have `span`: their indices, and those of their segments, in one order."""
        found = [(s.example, k) for k, s in enumerate(self.segments) if s.span == span and self.is_valid(s)]
        return np.array([e for e, _ in found], dtype=int), np.array([k for _, k in found], dtype=int)

    def both(self, a: str, b: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the valid examples that have both spans: their indices, and those of their segments of `a` and of `b`."""
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
    segments, rows, start = [], [], 0
    for index, (item, before) in enumerate(zip(encoded, padding, strict=True)):
        for span in spans:
            if span not in item.spans and span in TOP_LEVEL:
                continue
            positions = item.spans[span]
            if len(positions):
                segments.append(Segment(index, span, start, start + len(positions)))
                rows.append(positions + before + index * length)
                start += len(positions)
    return Batch(tuple(item.example_id for item in encoded), tuple(segments), concatenate(rows))


@torch.no_grad()
def observe(
    view: ModelView,
    blocks: Sequence[Block],
    encoded: Sequence[Encoded],
    spans: Sequence[str],
    on_states: StatesCallback,
    *,
    sites: frozenset[str] = frozenset({"residual"}),
    on_inputs: InputsCallback | None = None,
    replace: Replacement | None = None,
    isolation: ModalityIsolation | None = None,
) -> Batch:
    """Run `encoded` as one batch and hand what passes `sites` to `on_states`, layer by layer; nothing is kept here.

    `on_inputs` gets what the matrices of every block read. `replace` changes the embeddings before the first block
    (batch, then the padding before each example). `isolation` keeps kinds of tokens from attending to each other in
    the first blocks. Examples with NaN or infinite states are named, with their layer, in the batch's `failures` as
    soon as the forward has ended; until then their tokens that are not finite count as zero.
    """
    view.family.require_can("sites", "`chiasm check` on it shows what holds")
    inputs, padding = view.collate(encoded)
    length = inputs["input_ids"].shape[1]
    batch = lay_out(encoded, spans, padding, length)
    rows = torch.from_numpy(batch.rows)
    finite: list[tuple[str, Bool[Tensor, " N"]]] = []

    def read(where: str, states: Float[Tensor, "*b D"]) -> Float[Tensor, "N D"]:
        """The tokens' states in float32 at least, zero where not finite: in matrix products 0 x NaN would spread."""
        nonlocal rows
        rows = rows.to(states.device)
        found = _wide(states.reshape(-1, states.shape[-1]).index_select(0, rows))
        is_finite = torch.isfinite(found.abs().amax(dim=-1))
        finite.append((where, is_finite))
        return found if bool(is_finite.all()) else found.masked_fill(~is_finite[:, None], 0)

    def read_site(layer: int, site: str, states: Tensor) -> None:
        on_states(SiteStates(batch, layer, site, read(_site_name(layer, site), states)))

    def read_inputs(layer: int, names: tuple[str, ...], states: Tensor) -> None:
        if on_inputs is not None:
            on_inputs(layer, names, batch, read(f"the input of {names[0]} in layer {layer}", states))

    with ExitStack() as stack:
        hook_sites(view, blocks, sites, read_site, stack)
        if replace is not None:
            replace_embeddings(view, lambda states: replace(states, padding), stack)
        if isolation is not None:
            inside, real = _positions_of(encoded, isolation.spans, padding, length)
            isolate_modalities(view, isolation.blocks, inside, real, stack)
        if on_inputs is not None:
            hook_inputs(blocks, read_inputs, stack)
        stack.enter_context(view.readable_attention())
        view.model(**inputs, **keep_logits(view, slice_to=1), use_cache=False)
    batch.failures |= _failures(batch, [(where, mask.cpu().numpy()) for where, mask in finite])
    return batch


@torch.no_grad()
def decoder_inputs(view: ModelView, inputs: dict) -> Float[Tensor, "T D"]:
    """The embeddings that enter the decoder for a batch of one, those of images among them."""
    with view.readable_attention():
        return record_frame(view, inputs).hidden[0]


@torch.no_grad()
def bos_embedding(view: ModelView) -> Float[Tensor, "n D"]:
    """The embedding of the token that begins a sequence; nothing (n = 0) where the tokenizer has none."""
    token = view.tokenizer.bos_token_id
    ids = torch.tensor([] if token is None else [token], dtype=torch.long, device=view.device)
    return view.embeddings(ids).to(view.dtype)


@torch.no_grad()
def observe_padded(
    view: ModelView,
    blocks: Sequence[Block],
    example_id: str,
    span: str,
    embeddings: Float[Tensor, "n D"],
    on_inputs: InputsCallback,
) -> Batch:
    """Run `embeddings` alone, filled up with zeros to `PADDED` rows, all of which are handed on.

    For comparison with published numbers only: Wanda's inputs as one released code reads them. Its mask is one of
    zeros, which hides nothing, into which the causal mask of the real rows is copied: a real row sees the real rows
    before it and all padding, a padding row sees everything. Every padding row has position 0.

    Source: the code released with Shukor & Cord 2024, `wanda_mm.py`, lines 129-160.
    """
    n, width = embeddings.shape
    rows = torch.zeros(1, max(PADDED, n), width, dtype=embeddings.dtype, device=embeddings.device)
    rows[0, :n] = embeddings
    length = rows.shape[1]
    batch = Batch((example_id,), (Segment(0, span, 0, length),), np.arange(length))

    def read_inputs(layer: int, names: tuple[str, ...], states: Tensor) -> None:
        on_inputs(layer, names, batch, _wide(states.reshape(-1, states.shape[-1])))

    with ExitStack() as stack:
        hook_inputs(blocks, read_inputs, stack)
        stack.enter_context(view.readable_attention())
        mask = torch.zeros(1, 1, length, length, dtype=rows.dtype, device=rows.device)
        mask[..., :n, :n] = torch.full_like(mask[..., :n, :n], torch.finfo(rows.dtype).min).triu(1)
        positions = torch.zeros(1, length, dtype=torch.long, device=rows.device)
        positions[0, :n] = torch.arange(n)
        view.decoder(inputs_embeds=rows, attention_mask=mask, position_ids=positions, use_cache=False)
    return batch


def _wide(states: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    return states.to(torch.promote_types(states.dtype, torch.float32))


def _site_name(layer: int, site: str) -> str:
    if site != "residual":
        return f"`{site}` in layer {layer}"
    return (
        "the embeddings (hidden state 0)" if layer == 0 else f"the output of layer {layer - 1} (hidden state {layer})"
    )


def _positions_of(
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


def _failures(batch: Batch, finite: Sequence[tuple[str, Bool[np.ndarray, " N"]]]) -> dict[int, str]:
    """Where the states of each example first are not finite; `finite` in the order of the forward."""
    found: dict[int, str] = {}
    for where, is_finite in finite:
        for segment in batch.segments if not is_finite.all() else ():
            count = int((~is_finite[segment.start : segment.stop]).sum())
            if count and segment.example not in found:
                tokens = f"{count} of {segment.stop - segment.start} tokens of `{segment.span}`"
                found[segment.example] = f"{where} is NaN or infinite at {tokens}"
    return found
