"""What a scene is: a few coloured shapes on a 3 x 3 grid, drawn from a seed and split by content."""

import hashlib
import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, Literal

from chiasm.core.example import Box

SHAPES: Final = ("circle", "square", "triangle", "star", "cross", "diamond", "heart", "ring")
COLORS: Final = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "black")
SIZES: Final = ("large", "small")
ROWS: Final = ("top", "middle", "bottom")
COLUMNS: Final = ("left", "center", "right")

CELL: Final = 32
SIDE: Final = CELL * 3
# The ranges do not touch, so that "large" and "small" are facts about one object, not about its neighbours.
EXTENTS: Final = {"large": (22, 27), "small": (11, 14)}
MAX_THINGS: Final = 4

SceneSplit = Literal["train", "heldout", "all"]
# One scene in ten is held out.
_HELD_OUT: Final = 10


class Content(ABC):
    """Something drawn, of which the words alone decide the side of the split: jitter and exact sizes do not matter."""

    __slots__ = ()

    @property
    @abstractmethod
    def words(self) -> str:
        """All that a caption can say of it."""

    def split(self) -> Literal["train", "heldout"]:
        """Which side it belongs to, decided by its words alone, never by a question."""
        digest = hashlib.blake2b(self.words.encode(), digest_size=8).digest()
        return "heldout" if int.from_bytes(digest, "big") % _HELD_OUT == 0 else "train"


@dataclass(frozen=True, slots=True)
class Thing:
    """One object: its words, and the square `(x, y, extent, extent)` in pixels that its drawing fills exactly."""

    shape: str
    color: str
    size: str
    row: str
    column: str
    x: int
    y: int
    extent: int

    @property
    def box(self) -> Box:
        return Box(self.shape, self.x, self.y, self.extent, self.extent)

    @property
    def content(self) -> tuple[str, str, str, str, str]:
        """The words of the object: everything a caption can say of it."""
        return (self.shape, self.color, self.size, self.row, self.column)


@dataclass(frozen=True, slots=True)
class Scene(Content):
    """Up to four objects of different shapes in different cells, on a light grey of the given level.

    The order of `things` carries no meaning; it is the order in which captions name them.
    """

    things: tuple[Thing, ...]
    background: int = 235

    @property
    def words(self) -> str:
        return ";".join(sorted("/".join(thing.content) for thing in self.things))

    def find(self, shape: str) -> Thing | None:
        """The object of this shape, if the scene has one."""
        return next((thing for thing in self.things if thing.shape == shape), None)


def draw_scene(rng: random.Random, count: int | None = None) -> Scene:
    """A scene of `count` objects (2 to 4 if not given).

    Colours come from a palette of at most three per scene: shared colours are then as common as different ones,
    which the questions about what two objects have in common need.
    """
    count = rng.choice((2, 3, 3, 4, 4)) if count is None else count
    if not 1 <= count <= MAX_THINGS:
        raise ValueError(f"a scene holds 1 to {MAX_THINGS} objects, {count} were asked for")
    palette = rng.sample(COLORS, 3)
    cells = rng.sample(range(9), count)
    things = []
    for shape, cell in zip(rng.sample(SHAPES, count), cells, strict=True):
        size = rng.choice(SIZES)
        things.append(place(rng, shape, rng.choice(palette), size, ROWS[cell // 3], COLUMNS[cell % 3]))
    return Scene(tuple(things), background=rng.randint(220, 245))


def place(rng: random.Random, shape: str, color: str, size: str, row: str, column: str) -> Thing:
    """The object with these words, its extent and its position inside the cell drawn at random."""
    low, high = EXTENTS[size]
    extent = rng.randint(low, high)
    slack = CELL - extent - 2
    x = COLUMNS.index(column) * CELL + 1 + rng.randint(0, slack)
    y = ROWS.index(row) * CELL + 1 + rng.randint(0, slack)
    return Thing(shape, color, size, row, column, x, y, extent)


def stream(seed: int | str, split: SceneSplit = "heldout", count: int | None = None) -> Scene:
    """The scene that a seed picks on one side of the split: draws until the content falls on that side."""
    rng = random.Random(f"scene/{seed}")
    while True:
        scene = draw_scene(rng, count)
        if split in ("all", scene.split()):
            return scene
