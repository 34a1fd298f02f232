"""What the model answers when nothing is changed: greedy decoding in left-padded batches."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from chiasm.models.encoded import Encoded
from chiasm.models.view import ModelView
from chiasm.models.words import text_of


class GeneratedAnswer(NamedTuple):
    """The greedy answer: its text without special tokens, and its token ids without the end-of-sequence token.

    `ended`: whether the model ended it; otherwise it was cut off at the longest answer that was asked for. `finite`:
    whether all logits behind it were numbers; otherwise it is no answer.
    """

    text: str
    tokens: tuple[int, ...]
    ended: bool = True
    finite: bool = True


@final
class _FiniteRows(LogitsProcessor):
    """Watches the logits of every step, and changes none: which rows were always numbers."""

    def __init__(self) -> None:
        self.rows: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        # Minus infinity is how a token is ruled out, and NaN is both maximum and not finite.
        finite = scores.amax(dim=-1).isfinite()
        self.rows = finite if self.rows is None else self.rows & finite
        return scores


@torch.no_grad()
def generate(view: ModelView, encoded: Sequence[Encoded], max_new_tokens: int = 32) -> list[GeneratedAnswer]:
    """The greedy answers to `encoded`, decoded together as one batch, each stopping at its own end.

    Sampling, penalties and the like that the checkpoint's own generation config asks for are left out: the studies
    follow the most probable token.
    """
    if not encoded:
        return []
    inputs, _ = view.collate(encoded)
    ends = _end_tokens(view)
    # Filler behind answers that ended earlier; it is cut off again, so any token will do.
    filler = next(token for token in (view.tokenizer.pad_token_id, *ends, 0) if token is not None)
    config = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=ends or None, pad_token_id=filler
    )
    watch = _FiniteRows()
    with view.readable_attention():
        produced: Tensor = view.model.generate(
            **inputs, generation_config=config, logits_processor=LogitsProcessorList([watch])
        )
    start = inputs["input_ids"].shape[1]
    finite = [True] * len(encoded) if watch.rows is None else watch.rows.tolist()
    return [_answer(view, row, ends, held) for row, held in zip(produced[:, start:].tolist(), finite, strict=True)]


def _answer(view: ModelView, row: list[int], ends: list[int], finite: bool) -> GeneratedAnswer:
    stop = next((k for k, token in enumerate(row) if token in ends), len(row))
    tokens = tuple(row[:stop])
    text = text_of(view.tokenizer, tokens, skip_special_tokens=True).strip()
    return GeneratedAnswer(text, tokens, stop < len(row), finite)


def _end_tokens(view: ModelView) -> list[int]:
    """The tokens that end an answer: the checkpoint's generation config names them, else its tokenizer."""
    configured = view.model.generation_config.eos_token_id
    if configured is None:
        configured = view.tokenizer.eos_token_id
    if configured is None:
        return []
    return [configured] if isinstance(configured, int) else list(configured)
