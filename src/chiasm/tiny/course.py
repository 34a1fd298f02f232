"""The curriculum: which packs the decoder sees when, from random words to questions on pictures."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from chiasm.data.scenes.language import caption
from chiasm.data.scenes.questions import TYPES
from chiasm.data.scenes.world import COLORS, COLUMNS, ROWS, SHAPES, SIZES, Scene, draw_scene, place
from chiasm.tiny.lessons import LOOKUPS, caption_block, lesson, question_block
from chiasm.tiny.tokens import vocabulary

Blocks = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Row:
    """One pack: what stands before the questions, the questions, and the kind of each for the log."""

    prefix: str
    blocks: Blocks
    kinds: list[str]
    scene: Scene | None = None


def train_scene(rng: random.Random, counts: tuple[int, ...] = (2, 3, 3, 4, 4)) -> Scene:
    """A scene from the training side of the split."""
    while True:
        scene = draw_scene(rng, rng.choice(counts))
        if scene.split() == "train":
            return scene


def crowd(rng: random.Random, counts: tuple[int, ...] = (3, 4, 5, 6)) -> Scene:
    """More objects than the world has, all of different colours: for texts only, where guessing must not pay."""
    count = rng.choice(counts)
    things = zip(rng.sample(SHAPES, count), rng.sample(COLORS, count), rng.sample(range(9), count), strict=True)
    return Scene(tuple(place(rng, s, c, rng.choice(SIZES), ROWS[k // 3], COLUMNS[k % 3]) for s, c, k in things))


_WORDS: Final = vocabulary()


def words_row(rng: random.Random, backward: bool) -> Row:
    """Random words to be repeated, or pairs of them to be completed.

    This is where the habit of looking a word up in what came before is learnt: captions alone leave it on a plateau.
    `backward` also asks for the first word of a pair, given the second.
    """
    drawn = rng.sample(_WORDS, rng.randint(6, 16))
    if rng.random() < 0.35:
        told = " " + " ".join(drawn)
        return Row(f"USER:{told}\n", [("ASSISTANT:", told)], ["repeat"])
    pairs = list(zip(drawn[::2], drawn[1::2], strict=False))
    prefix = "USER: " + " ".join(f"{a} {b}" for a, b in pairs) + "\n"
    rng.shuffle(pairs)
    if backward and rng.random() < 0.55:
        return Row(prefix, [(f"ASSISTANT: {b}", f" {a}") for a, b in pairs], ["back"] * len(pairs))
    return Row(prefix, [(f"ASSISTANT: {a}", f" {b}") for a, b in pairs], ["pair"] * len(pairs))


def scene_row(
    scene: Scene, prefix: str, kinds: dict[str, float], count: int, rng: random.Random, captions: float = 1.0
) -> Row:
    """Up to `count` questions, and with probability `captions` a caption to be said, all behind `prefix`."""
    blocks: Blocks = []
    named: list[str] = []
    if rng.random() < captions:
        spoken = rng.random() < 0.3
        blocks.append(caption_block(scene, rng, spoken))
        named.append("relations" if spoken else "caption")
    asked: set[str] = set()
    for kind in rng.choices(list(kinds), list(kinds.values()), k=count):
        made = lesson(scene, kind, rng)
        if made is not None and made[0] not in asked:
            asked.add(made[0])
            blocks.append(question_block(*made))
            named.append(kind)
    return Row(prefix, blocks, named, scene)


# Comparing and joining two facts takes longer to learn than reading one.
_HARD: Final = {"ChooseRel": 2.0, "LogicalObj": 2.0, "QueryAttr": 2.0, "is": 2.0}


def mix(lookups: float) -> dict[str, float]:
    """Shares of the kinds of questions: `lookups` in all for the look-ups, the rest for the six types."""
    shares = {}
    for kinds, whole in ((LOOKUPS, lookups), (TYPES, 1 - lookups)):
        total = sum(_HARD.get(kind, 1.0) for kind in kinds)
        shares |= {kind: whole * _HARD.get(kind, 1.0) / total for kind in kinds}
    return shares


WORDS: Final = 400
"""Steps of the recall stage that are words only."""


def recall_rows(step: int, rng: random.Random, batch: int) -> list[Row]:
    """The batch of one step of the first half of the text stage: words, then captions of crowds and look-ups."""
    if step < WORDS:
        return [words_row(rng, backward=step >= WORDS // 2) for _ in range(batch * 2)]
    rows = []
    for _ in range(batch):
        if rng.random() < 0.2:
            rows.append(words_row(rng, backward=True))
        else:
            scene = crowd(rng)
            rows.append(scene_row(scene, f"USER: {caption(scene, rng)}\n", mix(1.0), 6, rng))
    return rows


def text_rows(share: float, rng: random.Random, batch: int) -> list[Row]:
    """The batch `share` (0..1) of the way through the second half: the six types, and less of what came before."""
    words, many, lookups = (0.1, 0.5, 0.4) if share < 0.4 else (0.03, 0.2, 0.2)
    rows = []
    for _ in range(batch):
        if rng.random() < words:
            rows.append(words_row(rng, backward=True))
        else:
            scene = crowd(rng) if rng.random() < many else train_scene(rng)
            rows.append(scene_row(scene, f"USER: {caption(scene, rng)}\n", mix(lookups), 9, rng, captions=0.3))
    return rows
