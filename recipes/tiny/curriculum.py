"""The curriculum: which packs the decoder sees when, from random words to questions on images."""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeVar

from recipes.tiny.packing import Block, Pack
from recipes.tiny.questions import (
    LOOKUPS,
    MELODY_KINDS,
    MELODY_NOTED,
    MOVING_KINDS,
    MOVING_NOTED,
    Content,
    caption_block,
    describe,
    describe_frames,
    note_melody,
    note_moving,
    question_about,
    question_block,
)

from chiasm.data.scenes.melodies import Melody, draw_melody
from chiasm.data.scenes.moving import MovingScene, draw_moving
from chiasm.data.scenes.questions import TYPES, choose_relation
from chiasm.data.scenes.world import COLORS, COLUMNS, ROWS, SHAPES, SIZES, Scene, draw_scene, place
from chiasm.tiny.tokens import vocabulary

Drawn = TypeVar("Drawn", Scene, MovingScene, Melody)


def drawn_train(draw: Callable[[random.Random], Drawn], rng: random.Random) -> Drawn:
    """What `draw` gives, from the training side of the split."""
    while (made := draw(rng)).split() != "train":
        pass
    return made


def train_scene(rng: random.Random, counts: tuple[int, ...] = (2, 3, 3, 4, 4)) -> Scene:
    """A scene from the training side of the split."""
    return drawn_train(lambda source: draw_scene(source, source.choice(counts)), rng)


def crowd(rng: random.Random, counts: tuple[int, ...] = (3, 4, 5, 6)) -> Scene:
    """More objects than the world has, all of different colours: for texts only, where guessing must not pay."""
    count = rng.choice(counts)
    things = zip(rng.sample(SHAPES, count), rng.sample(COLORS, count), rng.sample(range(9), count), strict=True)
    return Scene(tuple(place(rng, s, c, rng.choice(SIZES), ROWS[k // 3], COLUMNS[k % 3]) for s, c, k in things))


_WORDS: Final = vocabulary()


def words_pack(rng: random.Random, backward: bool) -> Pack:
    """Random words to be repeated, or pairs of them to be completed.

    This is where the habit of looking a word up in what came before is learnt: captions alone leave it on a plateau.
    `backward` also asks for the first word of a pair, given the second, and asks as every study does: a question,
    the instruction, the answer capitalised.
    """
    drawn = rng.sample(_WORDS, rng.randint(6, 16))
    if rng.random() < 0.35:
        text = " " + " ".join(drawn)
        return Pack(f"USER:{text}\n", [("ASSISTANT:", text)], ["repeat"])
    pairs = list(zip(drawn[::2], drawn[1::2], strict=False))
    prefix = "USER: " + " ".join(f"{a} {b}" for a, b in pairs) + "\n"
    rng.shuffle(pairs)
    if backward and rng.random() < 0.15:
        return Pack(prefix, [question_block(f"What is {a}?", b) for a, b in pairs], ["quiz"] * len(pairs))
    if backward and rng.random() < 0.5:
        return Pack(prefix, [(f"ASSISTANT: {b}", f" {a}") for a, b in pairs], ["back"] * len(pairs))
    return Pack(prefix, [(f"ASSISTANT: {a}", f" {b}") for a, b in pairs], ["pair"] * len(pairs))


def pack_about(
    scene: Content, prefix: str, kinds: dict[str, float], count: int, rng: random.Random, captions: float = 1.0
) -> Pack:
    """Up to `count` questions, and with probability `captions` a caption to be given, all behind `prefix`."""
    blocks: list[Block] = []
    named: list[str] = []
    if rng.random() < captions:
        as_relations = rng.random() < 0.3
        blocks.append(caption_block(scene, rng, as_relations))
        named.append("relations" if as_relations else "caption")
    asked: set[str] = set()
    for kind in rng.choices(list(kinds), list(kinds.values()), k=count):
        made = question_about(scene, kind, rng)
        if made is not None and made[0] not in asked:
            asked.add(made[0])
            blocks.append(question_block(*made))
            named.append(kind)
    return Pack(prefix, blocks, named, scene)


def captioned_pack(scene: Content, kinds: dict[str, float], count: int, rng: random.Random, captions: float) -> Pack:
    """What is behind a caption instead of an image."""
    return pack_about(scene, f"USER: {describe(scene, rng)}\n", kinds, count, rng, captions)


def note_pack(rng: random.Random) -> Pack:
    """Only the column, or only the row, of each object, and what follows from it.

    Left and right need two places looked up and compared. Behind a note the look-up is that of the word pairs, so
    comparing can be learnt before whole captions are read well.
    """
    scene = crowd(rng, (2, 3, 4))
    across = rng.random() < 0.65
    noted = [(thing, thing.column if across else thing.row) for thing in scene.things]
    style = rng.choice(("the {0} is {1}.", "{0} {1},", "{1}: {0}."))
    prefix = "USER: " + " ".join(style.format(thing.shape, place) for thing, place in noted) + "\n"
    kind = "column" if across else "row"
    made = [(f"In which {kind} is the {thing.shape}?", place, f"note {kind}") for thing, place in noted]
    if across:
        sides = [(thing, place) for thing, place in noted if place != "center"]
        made += [(f"On which side is the {thing.shape}?", place, "note QueryAttr") for thing, place in sides]
    pairs = [(a, b) for a in scene.things for b in scene.things if a is not b]
    asked = (choose_relation(a, b, rng, across) for a, b in pairs)
    made += [(question.text, question.answer, "note ChooseRel") for question in asked if question is not None]
    made = rng.sample(made, min(7, len(made)))
    return Pack(prefix, [question_block(text, answer) for text, answer, _ in made], [name for *_, name in made])


def moving_pack(rng: random.Random) -> Pack:
    """A moving scene in words, often frame by frame (sizes are then neither given nor asked) or as a note."""
    scene = drawn_train(draw_moving, rng)
    source = rng.random()
    if source < 0.45:
        return captioned_pack(scene, MOVING_KINDS, 7, rng, captions=0.3)
    if source < 0.7:
        return _named(pack_about(scene, f"USER: {note_moving(scene, rng)}\n", MOVING_NOTED, 6, rng, 0.0), "note")
    kinds = {kind: weight for kind, weight in MOVING_KINDS.items() if kind not in ("StillSize", "moving size")}
    return _named(pack_about(scene, f"USER: {describe_frames(scene)}\n", kinds, 7, rng, captions=0.0), "frames")


def melody_pack(rng: random.Random) -> Pack:
    """A melody in words, sometimes as a note of the pitches alone."""
    melody = drawn_train(draw_melody, rng)
    if rng.random() < 0.75:
        return captioned_pack(melody, MELODY_KINDS, 7, rng, captions=0.3)
    return _named(pack_about(melody, f"USER: {note_melody(melody, rng)}\n", MELODY_NOTED, 5, rng, 0.0), "note")


def _named(pack: Pack, how: str) -> Pack:
    return replace(pack, kinds=[f"{how} {kind}" for kind in pack.kinds])


# Comparing and joining two facts takes longer to learn than reading one.
_HARD: Final = {"ChooseRel": 3.0, "LogicalObj": 2.0, "QueryAttr": 2.0, "is": 2.0, "column": 2.0}


def mix(lookups: float) -> dict[str, float]:
    """Shares of the kinds of questions: `lookups` in all for the look-ups, the rest for the six types."""
    shares = {}
    for kinds, whole in ((LOOKUPS, lookups), (TYPES, 1 - lookups)):
        total = sum(_HARD.get(kind, 1.0) for kind in kinds)
        shares |= {kind: whole * _HARD.get(kind, 1.0) / total for kind in kinds}
    return shares


# What the recall stage asks. With notes, rows and columns in it as well, the decoder settles for words that stand side
# by side, and what belongs together at a distance is not found.
_FIRST: Final = {kind: (2.0 if kind == "is" else 1.0) / 7 for kind in ("color", "size", "where", "what", "named", "is")}
WORDS: Final = 400
"""Steps of the recall stage that are words only."""


def recall_packs(step: int, rng: random.Random, batch: int) -> list[Pack]:
    """The batch of one step of the first half of the text stage: words, then captions of crowds and look-ups."""
    if step < WORDS:
        return [words_pack(rng, backward=step >= WORDS // 2) for _ in range(batch * 2)]
    packs = []
    for _ in range(batch):
        if rng.random() < 0.2:
            packs.append(words_pack(rng, backward=True))
        else:
            packs.append(captioned_pack(crowd(rng), _FIRST, 6, rng, captions=1.0))
    return packs


# How often a pack of the second half is of each kind: first more to look up and to retell, then as it stays.
_SHARES: Final = (
    {"words": 0.05, "notes": 0.1, "crowd": 0.35, "scene": 0.3, "moving": 0.1, "melody": 0.1},
    {"words": 0.12, "notes": 0.02, "crowd": 0.06, "scene": 0.3, "moving": 0.25, "melody": 0.25},
)


def text_packs(share: float, rng: random.Random, batch: int) -> list[Pack]:
    """The batch `share` (0..1) of the way through the second half: all types of all worlds, in words."""
    late = share >= 0.4
    shares, kinds = _SHARES[late], mix(0.2 if late else 0.55)
    counts, retold = ((2, 3, 3, 4, 4), 0.3) if late else ((2, 2, 2, 3, 3, 4), 0.8)
    packs = []
    for source in rng.choices(list(shares), list(shares.values()), k=batch):
        match source:
            case "words":
                packs.append(words_pack(rng, backward=True))
            case "notes":
                packs.append(note_pack(rng))
            case "crowd":
                packs.append(captioned_pack(crowd(rng), kinds, 9, rng, captions=retold))
            case "scene":
                packs.append(captioned_pack(train_scene(rng, counts), kinds, 9, rng, captions=retold))
            case "moving":
                packs.append(moving_pack(rng))
            case _:
                packs.append(melody_pack(rng))
    return packs
