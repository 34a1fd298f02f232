"""Wanda's inputs as one released code reads them: padded with zeros that are seen and counted. For comparison only."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.models.executors.frame import record_frame
from chiasm.models.hooks import hook_inputs
from chiasm.models.observe import Batch, Segment
from chiasm.models.sites import Block
from chiasm.models.view import ModelView

PADDED = 128
"""Rows that every sequence is filled up to, as released."""

InputsCallback = Callable[[int, tuple[str, ...], Batch, Float[Tensor, "N I"]], None]


@torch.no_grad()
def entering(view: ModelView, inputs: dict) -> Float[Tensor, "T D"]:
    """The embeddings that enter the decoder, those of pictures among them."""
    with view.readable_attention():
        return record_frame(view, inputs).hidden[0]


@torch.no_grad()
def beginning(view: ModelView) -> Float[Tensor, "n D"]:
    """The embedding of the token that begins a sequence; nothing where the tokenizer has none."""
    token = view.tokenizer.bos_token_id
    ids = torch.tensor([] if token is None else [token], dtype=torch.long, device=view.device)
    return view.embeddings(ids)


@torch.no_grad()
def observe_padded(
    view: ModelView,
    blocks: Sequence[Block],
    example_id: str,
    span: str,
    embeddings: Float[Tensor, "n D"],
    listen_inputs: InputsCallback,
) -> Batch:
    """Run `embeddings` alone, filled up with zeros to `PADDED` rows, all of which see each other and are handed on.

    Source: the code released with Shukor & Cord 2024, `wanda_mm.py`, lines 129-160. The mask there is all zeros, which
    added to attention scores hides nothing: neither padding from tokens nor the future from the past.
    """
    n, width = embeddings.shape
    rows = torch.zeros(1, max(PADDED, n), width, dtype=embeddings.dtype, device=embeddings.device)
    rows[0, :n] = embeddings
    length = rows.shape[1]
    batch = Batch((example_id,), (Segment(0, span, 0, length),), np.arange(length))

    def hear(layer: int, names: tuple[str, ...], x: Tensor) -> None:
        found = x.reshape(-1, x.shape[-1])
        listen_inputs(layer, names, batch, found.to(torch.promote_types(found.dtype, torch.float32)))

    with ExitStack() as stack:
        hook_inputs(blocks, hear, stack)
        stack.enter_context(view.readable_attention())
        mask = torch.zeros(1, 1, length, length, dtype=rows.dtype, device=rows.device)
        view.decoder(inputs_embeds=rows, attention_mask=mask, use_cache=False)
    return batch
