"""Moving scenes in words: captions that tell all there is to tell, and questions that need the movement."""

import random
from collections.abc import Callable, Sequence
from typing import Final

from chiasm.data.scenes.clips import Actor, MovingScene
from chiasm.data.scenes.questions import ANCHOR_COLOR, ANCHOR_SHAPE, Question, pick, shuffled
from chiasm.data.scenes.world import COLORS

VIDEO_TYPES: Final = ("Direction", "WhichMoves", "MovingColor", "StillSize", "DoesMove")


def _plain(actors: Sequence[Actor]) -> str:
    told = ((a.thing, f"moves {a.way}" if a.way else "stands still") for a in actors)
    return " ".join(f"a {t.size} {t.color} {t.shape} at the {t.row} {t.column} {does}." for t, does in told)


def _brief(actors: Sequence[Actor]) -> str:
    told = ((a.thing, f"moves {a.way}" if a.way else "still") for a in actors)
    return ", ".join(f"{t.size} {t.color} {t.shape} {t.row} {t.column} {does}" for t, does in told) + "."


def _motions(actors: Sequence[Actor]) -> str:
    told = ((a.thing, f"moving {a.way}" if a.way else "still") for a in actors)
    return " ".join(f"{does}: {t.size} {t.color} {t.shape} {t.row} {t.column}." for t, does in told)


def _facts(actors: Sequence[Actor]) -> str:
    told = ((a.thing, f"moves {a.way}" if a.way else "stands still") for a in actors)
    return " ".join(f"the {t.shape} {does} and is {t.color}, {t.size}, {t.row} {t.column}." for t, does in told)


# Places are those of the first frame.
STYLES: Final[tuple[Callable[[Sequence[Actor]], str], ...]] = (_plain, _brief, _motions, _facts)


def tell_moving(scene: MovingScene, rng: random.Random, style: int | None = None) -> str:
    """A complete caption: the objects in random order, in one style (random if not given)."""
    actors = list(scene.actors)
    rng.shuffle(actors)
    return STYLES[rng.randrange(len(STYLES)) if style is None else style](actors)


def direction(actor: Actor, rng: random.Random) -> Question:
    """Asks "Does the circle move left or right?", or "up or down", of an object that moves along that line."""
    if actor.way is None:
        raise ValueError(f"the {actor.shape} stands still; only of what moves is the direction asked")
    options = shuffled(("left", "right") if actor.way in ("left", "right") else ("up", "down"), rng)
    text = f"Does the {actor.shape} move {options[0]} or {options[1]}?"
    return Question("Direction", text, actor.way, options, (actor.thing,))


def which_moves(mover: Actor, still: Actor, rng: random.Random) -> Question:
    """Asks "Which object moves, the circle or the star?"."""
    options = shuffled((mover.shape, still.shape), rng)
    text = f"Which object moves, the {options[0]} or the {options[1]}?"
    return Question("WhichMoves", text, mover.shape, options, (mover.thing, still.thing))


def moving_color(mover: Actor, other: str, rng: random.Random) -> Question:
    """Asks "Is the moving object red or blue?": assumes that nothing else moves; `other` is the wrong colour."""
    options = shuffled((mover.thing.color, other), rng)
    text = f"Is the moving object {options[0]} or {options[1]}?"
    return Question("MovingColor", text, mover.thing.color, options, (mover.thing,))


def still_size(still: Actor, rng: random.Random) -> Question:
    """Asks "Is the still object large or small?": assumes that everything else moves."""
    options = shuffled(("large", "small"), rng)
    text = f"Is the still object {options[0]} or {options[1]}?"
    return Question("StillSize", text, still.thing.size, options, (still.thing,))


def does_move(actor: Actor) -> Question:
    """Asks "Does the circle move?"."""
    answer = "no" if actor.way is None else "yes"
    return Question("DoesMove", f"Does the {actor.shape} move?", answer, ("yes", "no"), (actor.thing,))


def ask_moving(scene: MovingScene, kind: str, wanted: bool, rng: random.Random) -> Question | None:
    """A question of this type with this side of the balance, or None if the scene has none.

    `wanted` picks the answer: "left", the anchor, "large", "yes" where true; the alternative where false. As for
    scenes, the question alone tells nothing.
    """
    return _MAKERS[kind](scene, wanted, rng)


def _direction(scene: MovingScene, wanted: bool, rng: random.Random) -> Question | None:
    actor = pick([a for a in scene.moving if a.way == ("right", "left")[wanted]], rng)
    return None if actor is None else direction(actor, rng)


def _which(scene: MovingScene, wanted: bool, rng: random.Random) -> Question | None:
    pairs = [(a, b) for a in scene.moving for b in scene.still if (b, a)[wanted].shape == ANCHOR_SHAPE]
    pair = pick(pairs, rng)
    return None if pair is None else which_moves(*pair, rng)


def _color(scene: MovingScene, wanted: bool, rng: random.Random) -> Question | None:
    if len(scene.moving) != 1 or (scene.moving[0].thing.color == ANCHOR_COLOR) != wanted:
        return None
    mover = scene.moving[0]
    # A wrong option that something still shows: naming any colour seen is then no way to the answer.
    near = [a.thing.color for a in scene.still if a.thing.color != mover.thing.color]
    if not wanted:
        return moving_color(mover, ANCHOR_COLOR, rng) if ANCHOR_COLOR in near or rng.random() < 0.2 else None
    return moving_color(mover, rng.choice(near or [c for c in COLORS if c != ANCHOR_COLOR]), rng)


def _size(scene: MovingScene, wanted: bool, rng: random.Random) -> Question | None:
    if len(scene.still) != 1 or scene.still[0].thing.size != ("small", "large")[wanted]:
        return None
    return still_size(scene.still[0], rng)


def _does(scene: MovingScene, wanted: bool, rng: random.Random) -> Question | None:
    return does_move(rng.choice(scene.moving if wanted else scene.still))


_MAKERS: Final[dict[str, Callable[[MovingScene, bool, random.Random], Question | None]]] = dict(
    zip(VIDEO_TYPES, (_direction, _which, _color, _size, _does), strict=True)
)
