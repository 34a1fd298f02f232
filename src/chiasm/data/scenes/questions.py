"""Scenes in words: captions in several styles, and GQA's six question types, of which none gives its answer away.

In every type one answer is right half of the time and the other option the other half, in either order. So the most
common answer of a type and the best guess without the image are the same number, one half: "blind equals majority"
needs no footnote. For colours and categories this takes an anchor: one of the two options is always `ANCHOR_COLOR`
or `ANCHOR_SHAPE`.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from chiasm.data.scenes.world import COLORS, COLUMNS, ROWS, SHAPES, Scene, Thing

TYPES: Final = ("ChooseAttr", "ChooseCat", "ChooseRel", "CompareAttr", "LogicalObj", "QueryAttr")
ANCHOR_COLOR: Final = "red"
ANCHOR_SHAPE: Final = "circle"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class SceneQuestion:
    """A question about a scene. `about` are the objects it speaks of that the scene has, the central one first.

    Only a "no" to "is there ...?" speaks of none.
    """

    type: str
    text: str
    answer: str
    options: tuple[str, ...]
    about: tuple[Thing, ...]


def plain(things: Sequence[Thing]) -> str:
    """Each as "a large red circle at the top left."""
    return " ".join(f"a {t.size} {t.color} {t.shape} at the {t.row} {t.column}." for t in things)


def brief(things: Sequence[Thing]) -> str:
    """Each as "large red circle top left"."""
    return ", ".join(f"{t.size} {t.color} {t.shape} {t.row} {t.column}" for t in things) + "."


def places(things: Sequence[Thing]) -> str:
    """Each as "top left: large red circle."""
    return " ".join(f"{t.row} {t.column}: {t.size} {t.color} {t.shape}." for t in things)


def facts(things: Sequence[Thing]) -> str:
    """Each as "the circle is red, large, top left."""
    return " ".join(f"the {t.shape} is {t.color}, {t.size}, {t.row} {t.column}." for t in things)


# Every one of these says all there is to say; relations alone do not.
STYLES: Final[tuple[Callable[[Sequence[Thing]], str], ...]] = (plain, brief, places, facts)


def relation(a: Thing, b: Thing, across: bool) -> str | None:
    """Says "left" | "right" across the columns, "above" | "below" across the rows; None where they are level."""
    names, words = (COLUMNS, ("left", "right")) if across else (ROWS, ("above", "below"))
    here, there = (names.index(t.column if across else t.row) for t in (a, b))
    return None if here == there else words[here > there]


def relations(things: Sequence[Thing], rng: random.Random, limit: int = 4) -> str:
    """Up to `limit` statements such as "the circle is left of the star." in random order; may be empty."""
    found = []
    for a in things:
        for b in things:
            for across in (True, False):
                word = relation(a, b, across) if a is not b else None
                if word is not None:
                    found.append(f"the {a.shape} is {word}{' of' if across else ''} the {b.shape}.")
    return " ".join(rng.sample(found, min(limit, len(found))))


def caption(scene: Scene, rng: random.Random, style: int | None = None) -> str:
    """A complete caption: the objects in random order, in one style (random if not given)."""
    things = list(scene.things)
    rng.shuffle(things)
    return STYLES[rng.randrange(len(STYLES)) if style is None else style](things)


def captions(scene: Scene, rng: random.Random) -> tuple[str, ...]:
    """One caption in each style, then the relations if there are any."""
    written = [caption(scene, rng, style) for style in range(len(STYLES))]
    related = relations(scene.things, rng)
    return (*written, related) if related else tuple(written)


def choose_color(thing: Thing, other: str, rng: random.Random) -> SceneQuestion:
    """Asks "Is the circle red or blue?": `other` is the wrong colour."""
    options = shuffled((thing.color, other), rng)
    text = f"Is the {thing.shape} {options[0]} or {options[1]}?"
    return SceneQuestion("ChooseAttr", text, thing.color, options, (thing,))


def choose_shape(thing: Thing, other: str, rng: random.Random) -> SceneQuestion:
    """Asks "Is the red object a circle or a square?": assumes that the colour is the object's alone."""
    options = shuffled((thing.shape, other), rng)
    text = f"Is the {thing.color} object a {options[0]} or a {options[1]}?"
    return SceneQuestion("ChooseCat", text, thing.shape, options, (thing,))


def choose_relation(a: Thing, b: Thing, rng: random.Random, across: bool = True) -> SceneQuestion | None:
    """Asks "Is the circle to the left or right of the star?", or "above or below"; None where they are level."""
    answer = relation(a, b, across)
    if answer is None:
        return None
    options = shuffled(("left", "right") if across else ("above", "below"), rng)
    asked = f"to the {options[0]} or {options[1]} of" if across else f"{options[0]} or {options[1]}"
    return SceneQuestion("ChooseRel", f"Is the {a.shape} {asked} the {b.shape}?", answer, options, (a, b))


def compare(a: Thing, b: Thing, rng: random.Random) -> SceneQuestion | None:
    """Asks "What do the circle and the star share, color or size?"; None unless they share exactly one of the two."""
    same_color, same_size = a.color == b.color, a.size == b.size
    if same_color == same_size:
        return None
    options = shuffled(("color", "size"), rng)
    text = f"What do the {a.shape} and the {b.shape} share, {options[0]} or {options[1]}?"
    return SceneQuestion("CompareAttr", text, "color" if same_color else "size", options, (a, b))


def exists(scene: Scene, shapes: tuple[str, str]) -> SceneQuestion:
    """Asks "Is there a circle or a star?": yes if either is there. `about` is empty where neither is."""
    about = tuple(thing for shape in shapes if (thing := scene.find(shape)) is not None)
    text = f"Is there a {shapes[0]} or a {shapes[1]}?"
    return SceneQuestion("LogicalObj", text, "yes" if about else "no", ("yes", "no"), about)


def query_side(thing: Thing) -> SceneQuestion | None:
    """Asks "On which side is the circle?"; None for an object in the middle column."""
    if thing.column == "center":
        return None
    return SceneQuestion("QueryAttr", f"On which side is the {thing.shape}?", thing.column, (), (thing,))


def ask(scene: Scene, kind: str, side: bool, rng: random.Random) -> SceneQuestion | None:
    """A question of this type with this side of the balance, or None if the scene has none.

    `side` picks the answer: the anchor, "left", "color", "yes" where true; the alternative where false.
    """
    return _MAKERS[kind](scene, side, rng)


def _color(scene: Scene, side: bool, rng: random.Random) -> SceneQuestion | None:
    thing = pick([t for t in scene.things if (t.color == ANCHOR_COLOR) == side], rng)
    if thing is None:
        return None
    # A wrong option that the scene shows elsewhere: naming any colour seen is then no way to the answer.
    near = [t.color for t in scene.things if t.color != thing.color]
    other = rng.choice(near if near and rng.random() < 0.8 else [c for c in COLORS if c != thing.color])
    if not side and ANCHOR_COLOR not in near and rng.random() < 0.8:
        return None
    return choose_color(thing, other if side else ANCHOR_COLOR, rng)


def _category(scene: Scene, side: bool, rng: random.Random) -> SceneQuestion | None:
    colors = [t.color for t in scene.things]
    alone = [t for t in scene.things if colors.count(t.color) == 1 and (t.shape == ANCHOR_SHAPE) == side]
    thing = pick(alone, rng)
    if thing is None:
        return None
    near = [t.shape for t in scene.things if t is not thing]
    other = rng.choice(near if near and rng.random() < 0.8 else [s for s in SHAPES if s != thing.shape])
    if not side and ANCHOR_SHAPE not in near and rng.random() < 0.8:
        return None
    return choose_shape(thing, other if side else ANCHOR_SHAPE, rng)


def _relation(scene: Scene, side: bool, rng: random.Random) -> SceneQuestion | None:
    pairs = [(a, b) for a in scene.things for b in scene.things if relation(a, b, True) == ("right", "left")[side]]
    pair = pick(pairs, rng)
    return None if pair is None else choose_relation(*pair, rng)


def _compare(scene: Scene, side: bool, rng: random.Random) -> SceneQuestion | None:
    pairs = [(a, b) for a in scene.things for b in scene.things if a is not b]
    asked = [q for a, b in pairs if (q := compare(a, b, rng)) is not None and (q.answer == "color") == side]
    return pick(asked, rng)


def _exists(scene: Scene, side: bool, rng: random.Random) -> SceneQuestion | None:
    present = [thing.shape for thing in scene.things]
    absent = [shape for shape in SHAPES if shape not in present]
    if not side:
        first, other = rng.sample(absent, 2)
        return exists(scene, (first, other))
    first = rng.choice(present)
    # As in GQA, the second object is mostly not there.
    rest = [shape for shape in present if shape != first]
    other = rng.choice(rest) if rest and rng.random() < 0.1 else rng.choice(absent)
    return exists(scene, shuffled((first, other), rng))


def _side(scene: Scene, side: bool, rng: random.Random) -> SceneQuestion | None:
    thing = pick([t for t in scene.things if t.column == ("right", "left")[side]], rng)
    return None if thing is None else query_side(thing)


_MAKERS: Final[dict[str, Callable[[Scene, bool, random.Random], SceneQuestion | None]]] = dict(
    zip(TYPES, (_color, _category, _relation, _compare, _exists, _side), strict=True)
)


def pick(items: list[_T], rng: random.Random) -> _T | None:
    """One of the items, or None where there is none."""
    return rng.choice(items) if items else None


def shuffled(pair: tuple[str, str], rng: random.Random) -> tuple[str, str]:
    """The two options in either order."""
    return pair if rng.random() < 0.5 else (pair[1], pair[0])
