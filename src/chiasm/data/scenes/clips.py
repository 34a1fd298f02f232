"""Scenes that move: a few frames in which one or two objects go one cell and the others stand still."""

import hashlib
import random
from dataclasses import dataclass, replace
from typing import Final, Literal

from chiasm.data.scenes.world import CELL, COLORS, COLUMNS, HELD_OUT, ROWS, SHAPES, SIZES, Scene, Thing, place

WAYS: Final = ("left", "right", "up", "down")
FRAMES: Final = 4
FPS: Final = 4.0
_STEPS: Final = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}


@dataclass(frozen=True, slots=True)
class Actor:
    """An object as the first frame shows it, and where it goes: one of `WAYS`, or None where it stands still."""

    thing: Thing
    way: str | None = None

    @property
    def shape(self) -> str:
        return self.thing.shape


@dataclass(frozen=True, slots=True)
class MovingScene:
    """Two or three objects of different shapes; the cells that each one passes are its own. Order means nothing."""

    actors: tuple[Actor, ...]
    background: int = 235

    def digest(self) -> bytes:
        """A hash of what is shown in words: order, jitter and background do not matter."""
        content = ";".join(sorted("/".join((*actor.thing.content, actor.way or "still")) for actor in self.actors))
        return hashlib.blake2b(content.encode(), digest_size=8).digest()

    def split(self) -> Literal["train", "heldout"]:
        """Which side it belongs to, decided by its content alone, as for scenes."""
        return "heldout" if int.from_bytes(self.digest(), "big") % HELD_OUT == 0 else "train"

    @property
    def moving(self) -> tuple[Actor, ...]:
        return tuple(actor for actor in self.actors if actor.way is not None)

    @property
    def still(self) -> tuple[Actor, ...]:
        return tuple(actor for actor in self.actors if actor.way is None)

    def frame(self, number: int) -> Scene:
        """The scene in frame `number` of `FRAMES`. Between two cells, an object is in the one that holds its centre."""
        return Scene(tuple(_moved(actor, number) for actor in self.actors), self.background)

    def frames(self) -> tuple[Scene, ...]:
        return tuple(self.frame(number) for number in range(FRAMES))


def _moved(actor: Actor, number: int) -> Thing:
    if actor.way is None:
        return actor.thing
    down, right = _STEPS[actor.way]
    far = round(CELL * number / (FRAMES - 1))
    x, y = actor.thing.x + right * far, actor.thing.y + down * far
    half = actor.thing.extent // 2
    return replace(actor.thing, x=x, y=y, row=ROWS[(y + half) // CELL], column=COLUMNS[(x + half) // CELL])


def draw_moving(rng: random.Random, count: int | None = None) -> MovingScene:
    """A moving scene of `count` objects (2 or 3 if not given), one or two of which move, at least one stands still."""
    count = rng.choice((2, 3)) if count is None else count
    if count not in (2, 3):
        raise ValueError(f"a moving scene holds 2 or 3 objects, {count} were asked for")
    movers = rng.randint(1, count - 1)
    palette = rng.sample(COLORS, 3)
    free = set(range(9))
    actors = []
    for number, shape in enumerate(rng.sample(SHAPES, count)):
        # Movers come first: they need two free cells side by side, and five cells always leave one to stand in.
        cell, way = _route(free, rng) if number < movers else (rng.choice(sorted(free)), None)
        free -= {cell} if way is None else {cell, _next(cell, way)}
        thing = place(rng, shape, rng.choice(palette), rng.choice(SIZES), ROWS[cell // 3], COLUMNS[cell % 3])
        actors.append(Actor(thing, way))
    rng.shuffle(actors)
    return MovingScene(tuple(actors), background=rng.randint(220, 245))


def _next(cell: int, way: str) -> int:
    down, right = _STEPS[way]
    row, column = cell // 3 + down, cell % 3 + right
    return row * 3 + column if 0 <= row < 3 and 0 <= column < 3 else -1


def _route(free: set[int], rng: random.Random) -> tuple[int, str]:
    return rng.choice([(cell, way) for cell in sorted(free) for way in WAYS if _next(cell, way) in free])
