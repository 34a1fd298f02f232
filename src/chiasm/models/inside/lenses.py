"""Hidden states in words: through the output head, by the rows of the input embeddings, by words read in texts.

Legend: n states of width D, k nearest words, V tokens in the vocabulary, W words of texts.
"""

import logging
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Final, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.core.text import reason_of
from chiasm.models.encoded import Encoded
from chiasm.models.observe import SiteStates, observe
from chiasm.models.view import ModelView
from chiasm.models.words import text_of

_log: Final = logging.getLogger(__name__)
_ROWS: Final = 8192
"""Rows of the embeddings that are compared at once."""
_PIECE: Final = 3
"""Letters that the first piece of a word must have to stand for the word."""
CONTEXTS: Final = 4
"""Places in texts at which one word is read, at most."""
WORDS: Final = 1024
"""Words in context that are kept, at most."""
_WORD: Final = re.compile(r"[^\W\d_]{2,}")


def _stands_for(piece: str, word: str) -> bool:
    return word == piece or (len(piece) >= _PIECE and word.startswith(piece))


class Nearest(NamedTuple):
    """The words nearest to states, the nearest first; `values`: probabilities or cosines, as the lens has them."""

    ids: Int[Tensor, "n k"]
    values: Float[Tensor, "n k"]


class Lens(ABC):
    """A way to say which words a hidden state is nearest to. Words have numbers of the lens's own."""

    name: ClassVar[str]
    probable: ClassVar[bool] = False
    """Whether values are probabilities; else they are cosines."""

    @abstractmethod
    def nearest(self, states: Float[Tensor, "n D"], k: int) -> Nearest:
        """The `k` words nearest to each state, fewer where there are not so many."""

    @abstractmethod
    def word(self, number: int) -> str:
        """A word by its number."""

    @abstractmethod
    def numbers(self, word: str) -> frozenset[int]:
        """The numbers that stand for a word, whatever its case; none where the lens does not have it."""

    @abstractmethod
    def token(self, number: int) -> int:
        """The token of the vocabulary that a number stands for."""


class _VocabularyLens(Lens):
    """A lens whose words are the tokens of the vocabulary."""

    def __init__(self, view: ModelView) -> None:
        self.view = view

    def word(self, number: int) -> str:
        return text_of(self.view.tokenizer, [number]).strip()

    def token(self, number: int) -> int:
        return number

    def numbers(self, word: str) -> frozenset[int]:
        """The tokens that the word begins with as it is written, capitalised or not, behind a space or not.

        A piece of a word counts from three letters on: what is shorter begins too many words.
        """
        found = set()
        for form in (word.lower(), word.capitalize()):
            for written in (form, f" {form}"):
                ids = self.view.tokenizer(written, add_special_tokens=False)["input_ids"]
                first = next(((i, text) for i in ids if (text := self.word(int(i)).lower())), None)
                if first is not None and _stands_for(first[1], word.lower()):
                    found.add(int(first[0]))
        return frozenset(found)


@final
class OutputLens(_VocabularyLens):
    """The most probable tokens of softmax(head(norm(state))): the logit lens.

    Source: nostalgebraist 2020. Assumption: the head was trained on the last state alone.
    """

    name: ClassVar[str] = "output"
    probable: ClassVar[bool] = True

    @torch.no_grad()
    def nearest(self, states: Float[Tensor, "n D"], k: int) -> Nearest:
        logits = self.view.unembed(states.to(self.view.device, self.view.dtype))
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        best = torch.softmax(logits, dim=-1).topk(min(k, logits.shape[-1]), dim=-1)
        return Nearest(best.indices.cpu(), best.values.cpu())


@final
class InputLens(_VocabularyLens):
    """The tokens whose rows of the input embeddings have the largest cosine with the state."""

    name: ClassVar[str] = "input"

    @torch.no_grad()
    def nearest(self, states: Float[Tensor, "n D"], k: int) -> Nearest:
        rows = int(self.view.embeddings.weight.shape[0])  # pyright: ignore[reportArgumentType, reportCallIssue, reportIndexIssue, reportOptionalSubscript, reportAttributeAccessIssue]
        unit = unit_length(states.to(self.view.device))
        ids, values = torch.empty(len(unit), 0, dtype=torch.long), torch.empty(len(unit), 0)
        for start in range(0, rows, _ROWS):
            some = torch.arange(start, min(start + _ROWS, rows), device=self.view.device)
            with self.view.raised(self.view.embeddings):
                of = unit_length(self.view.embeddings(some))
            best = (unit @ of.T.to(unit)).topk(min(k, len(some)), dim=-1)
            ids = torch.cat([ids, best.indices.cpu() + start], dim=1)
            values = torch.cat([values.to(best.values.dtype), best.values.cpu()], dim=1)
        best = values.topk(min(k, rows), dim=-1)
        return Nearest(ids.gather(1, best.indices), best.values)


class _InContext(NamedTuple):
    word: str
    token: int
    states: Float[Tensor, "L D"]


@final
class ContextLens(Lens):
    """The words whose states, as the model read them in texts without an image, have the largest cosine.

    Each word is read at its last token, at the hidden states `layers`, which are all compared with, whatever state
    asks: an early state of an image may resemble a late one of a text. At most 4 places of a word, 1,024 in all; of a
    word that is near at several places the nearest counts.
    """

    name: ClassVar[str] = "context"

    def __init__(self, view: ModelView, texts: Iterable[str], layers: Sequence[int]) -> None:
        seen: Counter[str] = Counter()
        kept: list[_InContext] = []
        try:
            for text in texts:
                for one in _in_context(view, text, layers, first=not kept):
                    if len(kept) < WORDS and seen[one.word] < CONTEXTS:
                        seen[one.word] += 1
                        kept.append(one)
        except _NoTextAloneError as error:
            _log.warning("Words in context are left out: %s takes no text without an input (%s).", view.name, error)
        self.words = list(dict.fromkeys(one.word for one in kept))
        self.tokens = {one.word: one.token for one in kept}
        order = sorted(kept, key=lambda one: self.words.index(one.word))
        counts = [seen[word] * len(layers) for word in self.words]
        self._ends = np.cumsum([0, *counts])
        self._states = unit_length(torch.cat([one.states for one in order])) if order else torch.empty(0, view.width)

    def nearest(self, states: Float[Tensor, "n D"], k: int) -> Nearest:
        unit = unit_length(states)
        cosines = unit @ self._states.to(unit).T
        places = zip(self._ends[:-1], self._ends[1:], strict=True)
        by_word = [cosines[:, start:stop].amax(dim=1) for start, stop in places]
        if not by_word:
            nothing = torch.empty(len(unit), 0)
            return Nearest(nothing.long(), nothing)
        best = torch.stack(by_word, dim=1).topk(min(k, len(self.words)), dim=-1)
        return Nearest(best.indices.cpu(), best.values.cpu())

    def word(self, number: int) -> str:
        return self.words[number]

    def token(self, number: int) -> int:
        return self.tokens[self.words[number]]

    def numbers(self, word: str) -> frozenset[int]:
        return frozenset(k for k, one in enumerate(self.words) if one == word.lower())


class _NoTextAloneError(Exception):
    """The model's forward needs an image, video or sound beside text."""


@torch.no_grad()
def _require_text_alone(view: ModelView, encoded: Encoded) -> None:
    """Whether the model's own forward takes a text: whatever it says against that is the reason (Kosmos-2)."""
    try:
        with view.readable_attention():
            view.model(**encoded.inputs, use_cache=False)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        raise _NoTextAloneError(reason_of(error)) from error


def _in_context(view: ModelView, text: str, layers: Sequence[int], *, first: bool) -> Iterator[_InContext]:
    """The words of a text, in lower case, each with its states at its last token; none of a text that does not fit."""
    try:
        encoded = view.encode(Example(id=text, question=text), instruction="")
    except ExampleError:
        return
    found: dict[int, Tensor] = {}

    def listen(seen: SiteStates) -> None:
        if seen.layer in layers:
            found[seen.layer] = seen.states

    if first:
        _require_text_alone(view, encoded)
    batch = observe(view, (), [encoded], ("question",), listen)
    if batch.failures or not found:
        return
    states = torch.stack([found[layer] for layer in layers], dim=1).cpu()
    ids = encoded.inputs["input_ids"][0].cpu()[torch.from_numpy(encoded.spans["question"])].tolist()
    written = [text_of(view.tokenizer, ids[:count]) for count in range(len(ids) + 1)]
    stops = np.array([len(one) for one in written[1:]])
    for match in _WORD.finditer(written[-1]):
        # The first token that takes the text to the word's end is its last one.
        last = int(np.searchsorted(stops, match.end()))
        if last < len(ids):
            yield _InContext(match.group().lower(), ids[last], states[last])


def unit_length(states: Float[Tensor, "n D"]) -> Float[Tensor, "n D"]:
    """States of length 1, in float32 at least; zeros stay zeros."""
    return torch.nn.functional.normalize(states.to(torch.promote_types(states.dtype, torch.float32)), dim=-1)


def random_directions(states: Float[Tensor, "n D"], generator: torch.Generator) -> Float[Tensor, "n D"]:
    """A random direction of the norm of each state."""
    drawn = torch.randn(states.shape, generator=generator, dtype=torch.float32).to(states)
    return unit_length(drawn).to(states) * torch.linalg.vector_norm(states, dim=-1, keepdim=True)
