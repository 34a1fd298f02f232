"""What the projector is trained on: scenes, with questions and some captions, asked in SmolLM2's own turn."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from recipes.tiny.curriculum import train_scene
from recipes.tiny.packing import RememberedIds
from recipes.tiny.questions import LOOKUPS, question_about
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from chiasm.data.layouts import DESCRIBE
from chiasm.data.scenes.questions import TYPES, brief
from chiasm.data.scenes.world import COLUMNS, ROWS, Scene
from chiasm.tiny.tokens import INSTRUCTION

_IGNORED: Final = -100
_CLOSE: Final = "<|im_end|>"
CAPTION: Final = "caption"
Block = tuple[str, str, str]
"""The kind, what is asked, the answer that is learned."""


def asked(text: str) -> str:
    """What follows the image in the user's turn, up to where the answer begins."""
    return f"{text}{_CLOSE}\n<|im_start|>assistant\n"


@dataclass(frozen=True, slots=True)
class Course:
    """What is shown and asked: objects per scene, the share of look-ups, of scenes that are described; weights.

    `lookups`: the share of questions that one object answers by itself; the six types share the rest evenly.
    `caption_weight`: what a token of a caption weighs beside one of an answer.
    """

    counts: tuple[int, ...]
    lookups: float
    captioned: float
    caption_weight: float

    @property
    def kinds(self) -> dict[str, float]:
        return {
            **dict.fromkeys(LOOKUPS, self.lookups / len(LOOKUPS)),
            **dict.fromkeys(TYPES, (1 - self.lookups) / len(TYPES)),
        }


# Naming comes before finding: with several objects from the start, the answers' format is all that is learnt for long.
# Two objects come before four: straight from one object to four, answers fell from 0.8 to 0.6 and stayed there.
COURSES: Final = (
    (0.2, Course((1, 1, 2), 0.6, 1.0, 0.2)),
    (0.6, Course((1, 2, 2, 3), 0.6, 1.0, 0.2)),
    (1.0, Course((2, 3, 3, 4, 4), 0.35, 0.5, 0.1)),
)
"""Up to which share of the steps each course is taken."""

ADAPTED_COURSES: Final = (
    (0.12, Course((1, 2, 2, 3), 0.4, 0.5, 0.15)),
    (1.0, Course((2, 3, 3, 4, 4), 0.25, 0.3, 0.1)),
)
"""Where adapters are trained as well, which learn to find among several objects at once."""


def course(share: float, courses: tuple[tuple[float, Course], ...]) -> Course:
    """The course that is taken `share` (0..1) of the way through."""
    return next(taken for stop, taken in courses if share < stop or stop == 1.0)


def blocks_about(scene: Scene, count: int, taken: Course, rng: random.Random) -> list[Block]:
    """Up to `count` different questions, and in a share of scenes a caption, in the order of reading.

    Answers are in lower case: the frozen decoder finds them likelier than capitalised ones, and more of them are one
    token.
    """
    found: dict[str, Block] = {}
    for kind in rng.choices(list(taken.kinds), list(taken.kinds.values()), k=count):
        made = question_about(scene, kind, rng)
        if made is not None:
            found.setdefault(made[0], (kind, asked(f"{made[0]}\n{INSTRUCTION}"), f"{made[1]}{_CLOSE}"))
    if rng.random() < taken.captioned:
        # A fixed order: with a free one most of the loss would be guessing which object comes next.
        ordered = sorted(scene.things, key=lambda thing: (ROWS.index(thing.row), COLUMNS.index(thing.column)))
        found[CAPTION] = (CAPTION, asked(DESCRIBE["image"]), f"{brief(ordered)}{_CLOSE}")
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Batch:
    """What follows the images, packed: every block sees the image and itself, as if it were asked alone.

    `labels` are shifted (the token to predict, or -100); `begins` marks where an answer's first token is predicted.
    `kinds` are those of the blocks, row by row. `weights` are those of the tokens in `labels`.
    """

    ids: Int[Tensor, "B T"]
    positions: Int[Tensor, "B T"]
    labels: Int[Tensor, "B T"]
    parts: Int[Tensor, "B T"]
    begins: Bool[Tensor, "B T"]
    weights: Float[Tensor, "B T"]
    kinds: list[str]

    def mask(self, before: int) -> Bool[Tensor, "B 1 S W"]:
        """Who attends to whom: `before` tokens precede the packed ones, of which the image's are rows as well."""
        rows, width = self.ids.shape
        parts = torch.cat([torch.zeros(rows, before, dtype=self.parts.dtype), self.parts], dim=1)
        seen = (parts[:, :, None] == parts[:, None, :]) | (parts[:, None, :] == 0)
        return (seen & torch.ones(before + width, before + width, dtype=torch.bool).tril())[:, None]


class Packer(RememberedIds):
    """Turns blocks into batches, by the decoder's tokenizer. `start` is the position of a block's first token."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, start: int) -> None:
        super().__init__(tokenizer)
        self._start = start

    def pack(self, packs: Sequence[Sequence[Block]], caption_weight: float) -> Batch:
        """One row per image, padded on the right."""
        rows = [self._row(blocks, caption_weight) for blocks in packs]
        width = max(len(row) for row in rows)
        fill = (0, 0, _IGNORED, -1, 0, 0.0)
        ids, positions, labels, parts, begins, weights = (
            torch.tensor([[token[k] for token in row] + [fill[k]] * (width - len(row)) for row in rows])
            for k in range(len(fill))
        )
        kinds = [kind for blocks in packs for kind, *_ in blocks]
        return Batch(ids, positions, labels, parts, begins.bool(), weights, kinds)

    def _row(self, blocks: Sequence[Block], caption_weight: float) -> list[tuple[int, int, int, int, int, float]]:
        row = []
        for part, (kind, question, answer) in enumerate(blocks, start=1):
            before, learned = self.ids(question), self.ids(answer)
            tokens = [*before, *learned[:-1]]
            first = len(before) - 1
            weight = caption_weight if kind == CAPTION else 1.0
            for offset, token in enumerate(tokens):
                ahead = offset - first
                label = learned[ahead] if ahead >= 0 else _IGNORED
                row.append((token, self._start + offset, label, part, int(ahead == 0), weight * (ahead >= 0)))
        return row


def draw_packs(rng: random.Random, count: int, questions: int, taken: Course) -> tuple[list[Scene], list[list[Block]]]:
    """`count` scenes of the training side and what is asked about each."""
    scenes = [train_scene(rng, taken.counts) for _ in range(count)]
    return scenes, [blocks_about(scene, questions, taken, rng) for scene in scenes]
