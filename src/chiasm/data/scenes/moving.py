"""Scenes that move: frames in which one or two objects go one cell; their captions, and questions about motion."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from chiasm.data.scenes.questions import ANCHOR_COLOR, ANCHOR_SHAPE, SceneQuestion, pick, shuffled
from chiasm.data.scenes.world import CELL, COLORS, COLUMNS, ROWS, SHAPES, SIZES, Content, Scene, Thing, place

VIDEO_TYPES: Final = ("Direction", "WhichMoves", "MovingColor", "StillSize", "DoesMove")
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
class MovingScene(Content):
    """Two or three objects of different shapes; the cells that each one passes are its own. Order means nothing."""

    actors: tuple[Actor, ...]
    background: int = 235

    @property
    def words(self) -> str:
        return ";".join(sorted("/".join((*actor.thing.content, actor.way or "still")) for actor in self.actors))

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
        free -= {cell} if way is None else {cell, _next_cell(cell, way)}
        thing = place(rng, shape, rng.choice(palette), rng.choice(SIZES), ROWS[cell // 3], COLUMNS[cell % 3])
        actors.append(Actor(thing, way))
    rng.shuffle(actors)
    return MovingScene(tuple(actors), background=rng.randint(220, 245))


def _next_cell(cell: int, way: str) -> int:
    down, right = _STEPS[way]
    row, column = cell // 3 + down, cell % 3 + right
    return row * 3 + column if 0 <= row < 3 and 0 <= column < 3 else -1


def _route(free: set[int], rng: random.Random) -> tuple[int, str]:
    return rng.choice([(cell, way) for cell in sorted(free) for way in WAYS if _next_cell(cell, way) in free])


def _plain(actors: Sequence[Actor]) -> str:
    motions = ((a.thing, f"moves {a.way}" if a.way else "stands still") for a in actors)
    return " ".join(f"a {t.size} {t.color} {t.shape} at the {t.row} {t.column} {does}." for t, does in motions)


def _brief(actors: Sequence[Actor]) -> str:
    motions = ((a.thing, f"moves {a.way}" if a.way else "still") for a in actors)
    return ", ".join(f"{t.size} {t.color} {t.shape} {t.row} {t.column} {does}" for t, does in motions) + "."


def _motions(actors: Sequence[Actor]) -> str:
    motions = ((a.thing, f"moving {a.way}" if a.way else "still") for a in actors)
    return " ".join(f"{does}: {t.size} {t.color} {t.shape} {t.row} {t.column}." for t, does in motions)


def _facts(actors: Sequence[Actor]) -> str:
    motions = ((a.thing, f"moves {a.way}" if a.way else "stands still") for a in actors)
    return " ".join(f"the {t.shape} {does} and is {t.color}, {t.size}, {t.row} {t.column}." for t, does in motions)


# Places are those of the first frame.
STYLES: Final[tuple[Callable[[Sequence[Actor]], str], ...]] = (_plain, _brief, _motions, _facts)


def describe_moving(scene: MovingScene, rng: random.Random, style: int | None = None) -> str:
    """A complete caption: the objects in random order, in one style (random if not given)."""
    actors = list(scene.actors)
    rng.shuffle(actors)
    return STYLES[rng.randrange(len(STYLES)) if style is None else style](actors)


def direction(actor: Actor, rng: random.Random) -> SceneQuestion:
    """Asks "Does the circle move left or right?", or "up or down", of an object that moves along that line."""
    if actor.way is None:
        raise ValueError(f"the {actor.shape} stands still; only of what moves is the direction asked")
    options = shuffled(("left", "right") if actor.way in ("left", "right") else ("up", "down"), rng)
    text = f"Does the {actor.shape} move {options[0]} or {options[1]}?"
    return SceneQuestion("Direction", text, actor.way, options, (actor.thing,))


def which_moves(mover: Actor, still: Actor, rng: random.Random) -> SceneQuestion:
    """Asks "Which object moves, the circle or the star?"."""
    options = shuffled((mover.shape, still.shape), rng)
    text = f"Which object moves, the {options[0]} or the {options[1]}?"
    return SceneQuestion("WhichMoves", text, mover.shape, options, (mover.thing, still.thing))


def moving_color(mover: Actor, other: str, rng: random.Random) -> SceneQuestion:
    """Asks "Is the moving object red or blue?": assumes that nothing else moves; `other` is the wrong colour."""
    options = shuffled((mover.thing.color, other), rng)
    text = f"Is the moving object {options[0]} or {options[1]}?"
    return SceneQuestion("MovingColor", text, mover.thing.color, options, (mover.thing,))


def still_size(still: Actor, rng: random.Random) -> SceneQuestion:
    """Asks "Is the still object large or small?": assumes that everything else moves."""
    options = shuffled(("large", "small"), rng)
    text = f"Is the still object {options[0]} or {options[1]}?"
    return SceneQuestion("StillSize", text, still.thing.size, options, (still.thing,))


def does_move(actor: Actor) -> SceneQuestion:
    """Asks "Does the circle move?"."""
    answer = "no" if actor.way is None else "yes"
    return SceneQuestion("DoesMove", f"Does the {actor.shape} move?", answer, ("yes", "no"), (actor.thing,))


def ask_moving(scene: MovingScene, kind: str, side: bool, rng: random.Random) -> SceneQuestion | None:
    """A question of this type with this side of the balance, or None if the scene has none.

    `side` picks the answer: "left", the anchor, "large", "yes" where true; the alternative where false. As for
    scenes, the question alone gives nothing away.
    """
    return _MAKERS[kind](scene, side, rng)


def _direction(scene: MovingScene, side: bool, rng: random.Random) -> SceneQuestion | None:
    actor = pick([a for a in scene.moving if a.way == ("right", "left")[side]], rng)
    return None if actor is None else direction(actor, rng)


def _which(scene: MovingScene, side: bool, rng: random.Random) -> SceneQuestion | None:
    pairs = [(a, b) for a in scene.moving for b in scene.still if (b, a)[side].shape == ANCHOR_SHAPE]
    pair = pick(pairs, rng)
    return None if pair is None else which_moves(*pair, rng)


def _color(scene: MovingScene, side: bool, rng: random.Random) -> SceneQuestion | None:
    if len(scene.moving) != 1 or (scene.moving[0].thing.color == ANCHOR_COLOR) != side:
        return None
    mover = scene.moving[0]
    # A wrong option that something still shows: naming any colour seen is then no way to the answer.
    near = [a.thing.color for a in scene.still if a.thing.color != mover.thing.color]
    if not side:
        return moving_color(mover, ANCHOR_COLOR, rng) if ANCHOR_COLOR in near or rng.random() < 0.2 else None
    return moving_color(mover, rng.choice(near or [c for c in COLORS if c != ANCHOR_COLOR]), rng)


def _size(scene: MovingScene, side: bool, rng: random.Random) -> SceneQuestion | None:
    if len(scene.still) != 1 or scene.still[0].thing.size != ("small", "large")[side]:
        return None
    return still_size(scene.still[0], rng)


def _does(scene: MovingScene, side: bool, rng: random.Random) -> SceneQuestion | None:
    return does_move(rng.choice(scene.moving if side else scene.still))


_MAKERS: Final[dict[str, Callable[[MovingScene, bool, random.Random], SceneQuestion | None]]] = dict(
    zip(VIDEO_TYPES, (_direction, _which, _color, _size, _does), strict=True)
)
