"""The unbounded, balanced streams of examples: one question per scene, moving scene or melody."""

import random
from collections.abc import Callable, Iterator
from itertools import count, islice
from typing import Final, TypeVar

import numpy as np

from chiasm.core.example import Example
from chiasm.core.media import Clip, Sound
from chiasm.data.scenes import hearing, language, motion
from chiasm.data.scenes.clips import FPS, MovingScene, draw_moving
from chiasm.data.scenes.draw import render
from chiasm.data.scenes.hearing import AUDIO_TYPES, ask_melody, tell_melody
from chiasm.data.scenes.motion import VIDEO_TYPES, ask_moving, tell_moving
from chiasm.data.scenes.questions import TYPES, Question, ask
from chiasm.data.scenes.tones import RATE, Melody, draw_melody, synthesize
from chiasm.data.scenes.world import Scene, Split, draw_scene

# A scene that has the wanted question is found within some tens of draws; this many means a broken world.
_DRAWS: Final = 100_000
_Drawn = TypeVar("_Drawn", Scene, MovingScene, Melody)


def scenes(
    seed: int = 0, split: Split = "heldout", limit: int | None = None, start: int = 0, types: tuple[str, ...] = TYPES
) -> Iterator[Example]:
    """Yields examples `start, start + 1, ...` of the stream that `seed` picks; without `limit`, forever.

    The types take turns; within each type the two answers take turns, so any stretch is balanced. `split` is decided
    by a hash of what the scene shows. An example depends on `seed`, `split`, `types` and its number alone.
    Errors: ValueError for an unknown split or type.
    """

    def example(number: int) -> Example:
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
            captions=language.captions(scene, rng),
        )

    return _examples(example, split, limit, start, types, TYPES)


def scenes_video(
    seed: int = 0,
    split: Split = "heldout",
    limit: int | None = None,
    start: int = 0,
    types: tuple[str, ...] = VIDEO_TYPES,
) -> Iterator[Example]:
    """As `scenes`, of scenes that move: each example has a clip of four frames of 96 x 96 pixels."""

    def example(number: int) -> Example:
        scene, question = moving_of(seed, split, number, types)
        rng = random.Random(f"captions/{seed}/{split}/{number}")
        frames = np.stack([np.asarray(render(frame)) for frame in scene.frames()])
        return Example(
            id=f"scenes-video-{split}-{seed}-{number:06d}",
            question=question.text,
            answer=question.answer,
            videos=(Clip(frames, FPS),),
            options=question.options,
            type=question.type,
            captions=tuple(tell_moving(scene, rng, style) for style in range(len(motion.STYLES))),
        )

    return _examples(example, split, limit, start, types, VIDEO_TYPES)


def scenes_audio(
    seed: int = 0,
    split: Split = "heldout",
    limit: int | None = None,
    start: int = 0,
    types: tuple[str, ...] = AUDIO_TYPES,
) -> Iterator[Example]:
    """As `scenes`, of melodies: each example has a sound of one second at 16 kHz, three or four tones in a row."""

    def example(number: int) -> Example:
        melody, question = melody_of(seed, split, number, types)
        rng = random.Random(f"captions/{seed}/{split}/{number}")
        return Example(
            id=f"scenes-audio-{split}-{seed}-{number:06d}",
            question=question.text,
            answer=question.answer,
            audios=(Sound(synthesize(melody), RATE),),
            options=question.options,
            type=question.type,
            captions=tuple(tell_melody(melody, rng, style) for style in range(len(hearing.STYLES))),
        )

    return _examples(example, split, limit, start, types, AUDIO_TYPES)


def question_of(seed: int, split: Split, number: int, types: tuple[str, ...] = TYPES) -> tuple[Scene, Question]:
    """The scene and the question behind one number of the stream `scenes`, before anything is drawn."""
    return _found("scenes", seed, split, number, types, draw_scene, ask)


def moving_of(
    seed: int, split: Split, number: int, types: tuple[str, ...] = VIDEO_TYPES
) -> tuple[MovingScene, Question]:
    """The moving scene and the question behind one number of the stream `scenes-video`."""
    return _found("scenes-video", seed, split, number, types, draw_moving, ask_moving)


def melody_of(seed: int, split: Split, number: int, types: tuple[str, ...] = AUDIO_TYPES) -> tuple[Melody, Question]:
    """The melody and the question behind one number of the stream `scenes-audio`."""
    return _found("scenes-audio", seed, split, number, types, draw_melody, ask_melody)


def _found(
    name: str,
    seed: int,
    split: Split,
    number: int,
    types: tuple[str, ...],
    draw: Callable[[random.Random], _Drawn],
    asked: Callable[[_Drawn, str, bool, random.Random], Question | None],
) -> tuple[_Drawn, Question]:
    rng = random.Random(f"{name}/{seed}/{split}/{number}")
    kind, wanted = types[number % len(types)], (number // len(types)) % 2 == 0
    for _ in range(_DRAWS):
        drawn = draw(rng)
        if split in ("all", drawn.split()) and (question := asked(drawn, kind, wanted, rng)) is not None:
            return drawn, question
    raise RuntimeError(f"{name}: nothing with a {kind} question in {_DRAWS} draws")


def _examples(
    example: Callable[[int], Example],
    split: str,
    limit: int | None,
    start: int,
    types: tuple[str, ...],
    known: tuple[str, ...],
) -> Iterator[Example]:
    if split not in ("train", "heldout", "all"):
        raise ValueError(f"scenes are split into train and heldout (or all), not {split!r}")
    if not types or (unknown := set(types) - set(known)):
        raise ValueError(f"unknown question types {sorted(unknown) if types else types}; there are {', '.join(known)}")
    return map(example, count(start) if limit is None else islice(count(start), limit))
