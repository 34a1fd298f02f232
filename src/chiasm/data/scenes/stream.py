"""The unbounded, balanced streams of examples: one question per scene, moving scene or melody."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar, final

import numpy as np

from chiasm.core.example import Example
from chiasm.core.media import Clip, Sound
from chiasm.data.scenes import melodies, moving, questions
from chiasm.data.scenes.draw import render
from chiasm.data.scenes.melodies import AUDIO_TYPES, Melody
from chiasm.data.scenes.moving import VIDEO_TYPES, MovingScene
from chiasm.data.scenes.questions import TYPES, SceneQuestion
from chiasm.data.scenes.world import Content, Scene, SceneSplit, draw_scene
from chiasm.data.sequences import LazyExamples

# A scene that has the question asked for is found within some tens of draws; this many means a broken world.
_DRAWS: Final = 100_000
_Drawn = TypeVar("_Drawn", bound=Content)


@dataclass(frozen=True, slots=True)
class World(Generic[_Drawn]):
    """A procedural world. `draw` makes its content, `ask` a question of a type with one side of the balance (or None).

    `fields`: boxes and captions of one, from the content, the question and a random generator. `show`: its media.
    """

    name: str
    types: tuple[str, ...]
    draw: Callable[[random.Random], _Drawn]
    ask: Callable[[_Drawn, str, bool, random.Random], SceneQuestion | None]
    fields: Callable[[_Drawn, SceneQuestion, random.Random], dict[str, Any]]
    show: Callable[[_Drawn], dict[str, Any]]

    def examples(
        self,
        seed: int = 0,
        split: SceneSplit = "heldout",
        limit: int | None = None,
        start: int = 0,
        types: tuple[str, ...] | None = None,
    ) -> Iterator[Example]:
        """Yields examples `start, start + 1, ...` of the stream that `seed` picks; without `limit`, forever.

        The types take turns; within each type the two answers take turns, so any stretch is balanced. `split` is
        decided by a hash of what is shown. An example depends on `seed`, `split`, `types` and its number alone.

        **Errors:** `ValueError` for an unknown split or type.
        """
        chosen = self.types if types is None else types
        if split not in ("train", "heldout", "all"):
            raise ValueError(f"scenes are split into train and heldout (or all), not {split!r}")
        if not chosen or (unknown := set(chosen) - set(self.types)):
            known = ", ".join(self.types)
            raise ValueError(f"unknown question types {sorted(unknown) if chosen else chosen}; there are {known}")
        numbers = count(start) if limit is None else islice(count(start), limit)
        return (self._example(seed, split, number, chosen) for number in numbers)

    def sequence(self, seed: int, split: SceneSplit, length: int) -> "DrawnExamples":
        """The first `length` of `examples` as a sequence that draws each of them whenever it is asked for."""
        return DrawnExamples(self, seed, split, length)

    def question(
        self, seed: int, split: SceneSplit, number: int, types: tuple[str, ...] | None = None
    ) -> tuple[_Drawn, SceneQuestion]:
        """The content and the question behind one number of the stream, before anything is rendered."""
        types = self.types if types is None else types
        rng = random.Random(f"{self.name}/{seed}/{split}/{number}")
        kind, side = types[number % len(types)], (number // len(types)) % 2 == 0
        for _ in range(_DRAWS):
            drawn = self.draw(rng)
            if split in ("all", drawn.split()) and (question := self.ask(drawn, kind, side, rng)) is not None:
                return drawn, question
        raise RuntimeError(f"{self.name}: nothing with a {kind} question in {_DRAWS} draws")

    def example(self, seed: int, split: SceneSplit, number: int, shown: bool = True) -> Example:
        """One of `examples` by its number. `shown`: with its media."""
        return self._example(seed, split, number, self.types, shown)

    def _example(
        self, seed: int, split: SceneSplit, number: int, types: tuple[str, ...], shown: bool = True
    ) -> Example:
        drawn, question = self.question(seed, split, number, types)
        rng = random.Random(f"captions/{seed}/{split}/{number}")
        return Example(
            id=f"{self.name}-{split}-{seed}-{number:06d}",
            question=question.text,
            answer=question.answer,
            options=question.options,
            type=question.type,
            **self.fields(drawn, question, rng),
            **(self.show(drawn) if shown else {}),
        )


@final
class DrawnExamples(LazyExamples):
    """The first examples of a world: nothing of them is held but their numbers."""

    def __init__(self, world: World[Any], seed: int, split: SceneSplit, length: int) -> None:
        self._world, self._seed, self._length = world, seed, length
        self._split: SceneSplit = split

    def __len__(self) -> int:
        return self._length

    def at(self, place: int) -> Example:
        return self._world.example(self._seed, self._split, place)

    def without_media(self, place: int) -> Example:
        return self._world.example(self._seed, self._split, place, shown=False)


def _of_scene(scene: Scene, question: SceneQuestion, rng: random.Random) -> dict[str, Any]:
    return {"boxes": tuple(thing.box for thing in question.about), "captions": questions.captions(scene, rng)}


def _show_scene(scene: Scene) -> dict[str, Any]:
    return {"images": (render(scene),)}


def _of_moving(scene: MovingScene, question: SceneQuestion, rng: random.Random) -> dict[str, Any]:
    return {"captions": tuple(moving.describe_moving(scene, rng, style) for style in range(len(moving.STYLES)))}


def _show_moving(scene: MovingScene) -> dict[str, Any]:
    """A clip of four frames of 96 x 96 pixels."""
    frames = np.stack([np.asarray(render(frame)) for frame in scene.frames()])
    return {"videos": (Clip(frames, moving.FPS),)}


def _of_melody(melody: Melody, question: SceneQuestion, rng: random.Random) -> dict[str, Any]:
    return {"captions": tuple(melodies.describe_melody(melody, rng, style) for style in range(len(melodies.STYLES)))}


def _show_melody(melody: Melody) -> dict[str, Any]:
    """A sound of one second at 16 kHz, three or four tones in a row."""
    return {"audios": (Sound(melodies.synthesize(melody), melodies.RATE),)}


SCENES: Final = World("scenes", TYPES, draw_scene, questions.ask, _of_scene, _show_scene)
SCENES_VIDEO: Final = World(
    "scenes-video", VIDEO_TYPES, moving.draw_moving, moving.ask_moving, _of_moving, _show_moving
)
SCENES_AUDIO: Final = World(
    "scenes-audio", AUDIO_TYPES, melodies.draw_melody, melodies.ask_melody, _of_melody, _show_melody
)
WORLDS: Final[Mapping[str, World[Any]]] = MappingProxyType(
    {world.name: world for world in (SCENES, SCENES_VIDEO, SCENES_AUDIO)}
)


def example_of(name: str, scene: Scene, question: SceneQuestion, rng: random.Random) -> Example:
    """An example called `name` that asks `question` about `scene`."""
    return Example(
        id=name,
        question=question.text,
        answer=question.answer,
        options=question.options,
        type=question.type,
        **_of_scene(scene, question, rng),
        **_show_scene(scene),
    )


scenes, scenes_video, scenes_audio = SCENES.examples, SCENES_VIDEO.examples, SCENES_AUDIO.examples
