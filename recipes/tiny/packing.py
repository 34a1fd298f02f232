"""Several questions behind one image or caption: each sees the prefix and itself, as if asked alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from recipes.tiny.questions import Content
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedTokenizerBase

IGNORED = -100
Block = tuple[str, str]
"""What is asked, and the answer that is learned."""


@dataclass(frozen=True, slots=True)
class Pack:
    """What stands before the questions, the questions, the kind of each for the log, and what they are about."""

    prefix: str
    blocks: list[Block]
    kinds: list[str]
    content: Content | None = None


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A batch of packs; `mask` is true where a token may attend. `labels` are shifted: the token to predict or -100."""

    ids: Int[Tensor, "B S"]
    positions: Int[Tensor, "B S"]
    labels: Int[Tensor, "B S"]
    mask: Bool[Tensor, "B 1 S S"]

    @property
    def learned(self) -> Bool[Tensor, "B S"]:
        """Which tokens are followed by one that is learned."""
        return self.labels != IGNORED

    def loss(self, scores: Float[Tensor, "N V"]) -> Tensor:
        """The mean loss over what is learned; `scores` are those of the tokens in `learned`."""
        return F.cross_entropy(scores.float(), self.labels[self.learned])

    @torch.no_grad()
    def accuracy(self, scores: Float[Tensor, "N V"], packs: Sequence[Pack]) -> dict[str, float]:
        """The share right per kind: the first token of an answer, every token of what is repeated or described."""
        learned = self.learned
        right = torch.zeros_like(learned)
        right[learned] = scores.argmax(-1) == self.labels[learned]
        begins = learned & ~F.pad(learned, (1, 0))[:, :-1]
        totals: dict[str, list[float]] = {}
        for number, pack in enumerate(packs):
            for kind, start in zip(pack.kinds, begins[number].nonzero().flatten().tolist(), strict=True):
                stop = start + 1
                if kind in ("caption", "relations", "repeat"):
                    while stop < learned.shape[1] and learned[number, stop]:
                        stop += 1
                totals.setdefault(kind, []).append(float(right[number, start:stop].float().mean()))
        return {kind: sum(values) / len(values) for kind, values in totals.items()}


class RememberedIds:
    """A tokenizer's ids of texts that come again and again."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        """Token ids without any added ones. Questions repeat, so they are remembered."""
        found = self._known.get(text)
        if found is None:
            found = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            if len(self._known) < 200_000:
                self._known[text] = found
        return found


@final
class Packer(RememberedIds):
    """Turns prefixes and blocks of text into batches, by a tokenizer."""

    def pack(self, packs: Sequence[Pack]) -> PackedBatch:
        """One row per pack, padded on the right."""
        packed = [self._row(pack) for pack in packs]
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
        return PackedBatch(ids, positions, labels, mask)

    def _row(self, pack: Pack) -> tuple[list[int], list[int], list[int], list[int]]:
        ids = [self._tokenizer.bos_token_id, *self.ids(pack.prefix)]
        start = len(ids)
        positions, labels, parts = list(range(start)), [IGNORED] * start, [0] * start
        for number, (asked, answered) in enumerate(pack.blocks, start=1):
            question, answer = self.ids(asked), self.ids(answered)
            ids += question + answer
            positions += range(start, start + len(question) + len(answer))
            # The last token of the question predicts the first of the answer; the last of the answer predicts nothing.
            labels += [IGNORED] * (len(question) - 1) + answer + [IGNORED]
            parts += [number] * (len(question) + len(answer))
        return ids, positions, labels, parts
