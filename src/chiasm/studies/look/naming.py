"""Whether words read at an object's tokens name it: beside the rest of the image, other objects, random directions."""

import re
from collections.abc import Mapping, Sequence
from heapq import nsmallest
from typing import Any, Final, NamedTuple, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.example import Box, Example, check_boxes
from chiasm.core.spans import PERCEPTUAL
from chiasm.core.statistics.jackknife import priority
from chiasm.core.statistics.streaming import sample_without_order
from chiasm.data.sequences import all_without_media
from chiasm.measures.base import sampled
from chiasm.models.encoded import Encoded
from chiasm.models.geometry import touched
from chiasm.models.inside.context_index import IndexLens
from chiasm.models.inside.lenses import ContextLens, InputLens, Lens, OutputLens, random_directions
from chiasm.models.observe import SiteStates, observe
from chiasm.models.view import ModelView
from chiasm.studies.look.tables import DESCRIBED, ELSEWHERE, NAME, OBJECT, OTHER_OBJECT, RANDOM_DIRECTION, RANKS

TEXTS: Final = 64
"""Examples whose texts words are read in: those whose seeded hash is least."""
_TOKENS: Final = 64
"""Tokens of a place that are read, at most."""
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
# A phrase begins behind one of these, or behind anything that is no letter.
_BEGINS: Final = frozenset(
    "a an the this that these those some any one two three four five six his her its their my your our "  # noqa: SIM905
    "and or with of in on at by near is are".split()
)
_MODIFIERS: Final = 3
"""Words before a name that can describe it."""


def texts_of(examples: Sequence[Example], seed: int) -> list[str]:
    """The texts that words are read in: of each of 64 examples its first caption, else its question and answer."""
    chosen = nsmallest(TEXTS, all_without_media(examples), key=lambda one: (priority(one.id, seed), one.id))
    found = (one.captions[0] if one.captions else f"{one.question} {one.answer}" for one in chosen)
    return list(dict.fromkeys(text.strip() for text in found if text.strip()))


def words_of(box: Box, captions: Sequence[str]) -> dict[str, frozenset[str]]:
    """The words that name an object, and those that captions describe it with, in lower case.

    A description is what stands directly before the name, back to an article, a mark, or the like: of "a small red
    ring" `small` and `red`. Assumption: captions are English, and speak of one object of a name.
    """
    name = box.name.lower().strip()
    described: set[str] = set()
    for caption in captions:
        for match in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", caption.lower()) if name else ():
            before = re.search(r"(?:[^\W\d_]+[ -])*$", caption.lower()[: match.start()])
            words = _WORD.findall(before.group() if before else "")
            begin = max((k + 1 for k, word in enumerate(words) if word in _BEGINS), default=0)
            phrase = words[max(begin, len(words) - _MODIFIERS) :]
            described.update(phrase)
    named = frozenset(_WORD.findall(name))
    return {NAME: named, DESCRIBED: frozenset(described) - named}


class _Asked(NamedTuple):
    """Words that are looked for at some tokens, by their rows in the states that were read."""

    word: str
    place: str
    words: frozenset[str]
    rows: np.ndarray


@final
class WordReader:
    """The lenses on one model, and what they say of an example's tokens.

    `texts`: what words in context are read in; they are read at the nine states that the tokens are judged at. `index`:
    what LatentLens read already.
    """

    def __init__(self, view: ModelView, texts: Sequence[str], seed: int, index: IndexLens | None = None) -> None:
        self.view, self.seed = view, seed
        self.layers = sampled(view.n_layers)
        context = ContextLens(view, texts, self.layers) if index is None else index
        self.lenses: tuple[Lens, ...] = (OutputLens(view), InputLens(view), context)
        self._numbers: dict[tuple[str, str], frozenset[int]] = {}

    def states(self, encoded: Encoded, spans: Sequence[str]) -> Float[Tensor, "L n D"] | None:
        """Every hidden state of the tokens of `spans`; None where one is not finite."""
        found: dict[int, Tensor] = {}

        def listen(seen: SiteStates) -> None:
            found[seen.layer] = seen.states

        batch = observe(self.view, (), [encoded], spans, listen)
        return None if batch.failures or not found else torch.stack([found[k] for k in sorted(found)])

    def nearest_words(self, example: Example, encoded: Encoded) -> list[dict[str, Any]]:
        """Rows of the table `lens`: the nearest word of every perceptual token, at every state, by every lens."""
        spans = [span for span in PERCEPTUAL if span in encoded.spans and len(encoded.spans[span])]
        states = self.states(encoded, spans) if spans else None
        if states is None:
            return []
        positions = [int(p) for span in spans for p in encoded.spans[span]]
        captioned = {word for caption in example.captions for word in re.findall(r"\w+", caption.lower())}
        rows = []
        for lens in self.lenses:
            for layer, state in enumerate(states):
                best = lens.nearest(state, 1)
                for position, number, value in zip(positions, best.ids.flatten(), best.values.flatten(), strict=False):
                    word = lens.word(int(number))
                    rows.append(
                        {"example_id": example.id, "type": example.type, "layer": layer, "position": position}
                        | {"lens": lens.name, "token_id": lens.token(int(number)), "word": word}
                        | {"prob": float(value) if lens.probable else None}
                        | {"cosine": None if lens.probable else float(value)}
                        | {"in_captions": word.lower() in captioned if captioned else None}
                    )
        return rows

    def named(self, example: Example, encoded: Encoded) -> list[dict[str, Any]]:
        """Rows of the table `named`: how often words of an object are among the nearest, at its tokens and at others.

        Empty where no object of the first image has a name and a token. Tokens lie at an object where its box covers
        any of what they see; other objects are those that the words do not name or describe as well.
        """
        asked, positions = self._asked(example, encoded)
        if not asked:
            return []
        states = self.states(encoded, ("image",))
        if states is None:
            return []
        at = torch.from_numpy(np.searchsorted(encoded.spans["image"], positions))
        chosen = states[:, at.to(states.device)]
        generator = torch.Generator().manual_seed(priority(example.id, self.seed))
        rows = []
        for layer in self.layers:
            drawn = random_directions(chosen[layer].cpu(), generator)
            both = torch.cat([chosen[layer], drawn.to(chosen.device)])
            for lens in self.lenses:
                rows += [
                    {"example_id": example.id, "type": example.type, "layer": layer, "lens": lens.name} | row
                    for row in self._counted(lens, lens.nearest(both, max(RANKS)).ids, asked, len(positions))
                ]
        return rows

    def _counted(self, lens: Lens, best: Tensor, asked: Sequence[_Asked], n: int) -> list[dict[str, Any]]:
        """`best`: the nearest words of `n` tokens, then of a random direction for each of them."""
        hits: dict[tuple[str, str, int], list[np.ndarray]] = {}
        for one in asked:
            numbers = torch.tensor(sorted(set().union(*(self._known(lens, word) for word in one.words))))
            if not len(numbers):
                continue  # a lens without the word cannot say it
            rows = torch.from_numpy(one.rows)
            for k in RANKS:
                found = torch.isin(best[:, :k], numbers).any(dim=1)
                hits.setdefault((one.word, one.place, k), []).append(found[rows].numpy())
                if one.place == OBJECT:
                    hits.setdefault((one.word, RANDOM_DIRECTION, k), []).append(found[rows + n].numpy())
        return [
            {"word": word, "place": place, "k": k, "share": float(np.concatenate(found).mean())}
            | {"tokens": sum(map(len, found))}
            for (word, place, k), found in hits.items()
        ]

    def _known(self, lens: Lens, word: str) -> frozenset[int]:
        if (lens.name, word) not in self._numbers:
            self._numbers[lens.name, word] = lens.numbers(word)
        return self._numbers[lens.name, word]

    def _asked(self, example: Example, encoded: Encoded) -> tuple[list[_Asked], np.ndarray]:
        """What is looked for where, and the positions that are read."""
        if not example.boxes or not encoded.layouts or not encoded.layouts[0].has_places:
            return [], np.empty(0, dtype=int)
        layout = encoded.layouts[0]
        boxes = check_boxes(example, layout.width, layout.height).boxes
        placed = np.isfinite(layout.rects).all(axis=1)
        on = [touched(layout.rects, (box,), layout.width, layout.height) for box in boxes]
        objects = [words_of(box, example.captions) for box in boxes]
        found: list[tuple[str, str, frozenset[str], np.ndarray]] = []
        for own, words in zip(on, objects, strict=True):
            for kind, named in words.items():
                if not named or not own.any():
                    continue
                same = [(kind_of[kind] & named, mask) for kind_of, mask in zip(objects, on, strict=True)]
                alike = np.any([mask for shared, mask in same if shared], axis=0)
                others = [mask for shared, mask in same if not shared]
                other = np.any(others, axis=0) & ~alike if others else np.zeros_like(own)
                places: Mapping[str, np.ndarray] = {
                    OBJECT: own & placed,
                    OTHER_OBJECT: other & placed,
                    ELSEWHERE: ~alike & placed,
                }
                for place, mask in places.items():
                    name = f"{example.id}:{place}:{' '.join(sorted(named))}"
                    inside = np.flatnonzero(mask)
                    kept = inside[sample_without_order(len(inside), _TOKENS, name, self.seed)]
                    if len(kept):
                        found.append((kind, place, named, layout.positions[kept]))
        positions = np.unique(np.concatenate([at for *_, at in found])) if found else np.empty(0, dtype=int)
        rows = [_Asked(kind, place, named, np.searchsorted(positions, at)) for kind, place, named, at in found]
        return rows, positions
