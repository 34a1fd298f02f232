"""Several questions behind one image or caption: each sees the prefix and itself, as if asked alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows. Shapes: `ids, positions, labels` (B, S); `mask` (B, 1, S, S), true where a row may look.

    `labels` are already shifted: what the model is to say after this token, or -100.
    """

    ids: Tensor
    positions: Tensor
    labels: Tensor
    mask: Tensor

    @property
    def said(self) -> Tensor:
        """Which tokens are followed by something that is to be said, (B, S)."""
        return self.labels != IGNORED


class Packer:
    """Turns prefixes and blocks of text into batches, by a tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        """Token ids without `<s>`. Questions repeat, so they are remembered."""
        found = self._known.get(text)
        if found is None:
            found = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            if len(self._known) < 200_000:
                self._known[text] = found
        return found

    def pack(self, rows: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> Batch:
        """One row per (prefix, [(asked, said), ...]). The loss is on what is said."""
        packed = [self._row(prefix, blocks) for prefix, blocks in rows]
        width = max(len(row[0]) for row in packed)
        pad = self._tokenizer.pad_token_id
        fills = (pad, 0, IGNORED, -1)
        ids, positions, labels, parts = (
            torch.tensor([row[k] + [fill] * (width - len(row[k])) for row in packed]) for k, fill in enumerate(fills)
        )
        # Part 0 is the prefix; a token sees it and its own part. Padding is a part of its own and sees itself, since
        # a row with nothing to attend to would be NaN.
        same = parts[:, :, None] == parts[:, None, :]
        seen = same | (parts[:, None, :] == 0)
        mask = (seen & torch.ones(width, width, dtype=torch.bool).tril())[:, None]
        return Batch(ids, positions, labels, mask)

    def _row(self, prefix: str, blocks: Sequence[tuple[str, str]]) -> tuple[list[int], list[int], list[int], list[int]]:
        ids = [self._tokenizer.bos_token_id, *self.ids(prefix)]
        start = len(ids)
        positions, labels, parts = list(range(start)), [IGNORED] * start, [0] * start
        for number, (asked, said) in enumerate(blocks, start=1):
            question, answer = self.ids(asked), self.ids(said)
            ids += question + answer
            positions += range(start, start + len(question) + len(answer))
            # The last token of the question says the first of the answer; the last of the answer says nothing.
            labels += [IGNORED] * (len(question) - 1) + answer + [IGNORED]
            parts += [number] * (len(question) + len(answer))
        return ids, positions, labels, parts
