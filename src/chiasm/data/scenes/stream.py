"""The unbounded, balanced stream of examples: one question per scene."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice
from typing import Final

from chiasm.core.example import Example
from chiasm.data.scenes.draw import render
from chiasm.data.scenes.language import captions
from chiasm.data.scenes.questions import TYPES, Question, ask
from chiasm.data.scenes.world import Scene, Split, draw_scene

# A scene that has the wanted question is found within some tens of draws; this many means a broken world.
_DRAWS: Final = 100_000


def scenes(
    seed: int = 0, split: Split = "heldout", limit: int | None = None, start: int = 0, types: tuple[str, ...] = TYPES
) -> Iterator[Example]:
    """Yields examples `start, start + 1, ...` of the stream that `seed` picks; without `limit`, forever.

    The types take turns; within each type the two answers take turns, so any stretch is balanced. `split` is decided
    by a hash of what the scene shows. An example depends on `seed`, `split`, `types` and its number alone.
    Errors: ValueError for an unknown split or type.
    """
    if split not in ("train", "heldout", "all"):
        raise ValueError(f"scenes are split into train and heldout (or all), not {split!r}")
    if not types or (unknown := set(types) - set(TYPES)):
        raise ValueError(f"unknown question types {sorted(unknown) if types else types}; there are {', '.join(TYPES)}")
    numbers = count(start) if limit is None else islice(count(start), limit)
    return (_example(seed, split, number, types) for number in numbers)


def question_of(seed: int, split: Split, number: int, types: tuple[str, ...] = TYPES) -> tuple[Scene, Question]:
    """The scene and the question behind one number of the stream, before anything is drawn."""
    rng = random.Random(f"scenes/{seed}/{split}/{number}")
    kind, wanted = types[number % len(types)], (number // len(types)) % 2 == 0
    for _ in range(_DRAWS):
        scene = draw_scene(rng)
        if split in ("all", scene.split()) and (question := ask(scene, kind, wanted, rng)) is not None:
            return scene, question
    raise RuntimeError(f"no scene with a {kind} question in {_DRAWS} draws")


def _example(seed: int, split: Split, number: int, types: tuple[str, ...]) -> Example:
    scene, question = question_of(seed, split, number, types)
    rng = random.Random(f"captions/{seed}/{split}/{number}")
    return Example(
        id=f"scenes-{split}-{seed}-{number:06d}",
        question=question.text,
        answer=question.answer,
        images=(render(scene),),
        options=question.options,
        type=question.type,
        boxes=tuple(thing.box for thing in question.about),
        captions=captions(scene, rng),
    )
