"""How scenes are put into words: captions in several styles, all lower case."""

import random
from collections.abc import Callable, Sequence
from typing import Final

from chiasm.data.scenes.world import COLUMNS, ROWS, Scene, Thing


def plain(things: Sequence[Thing]) -> str:
    """Tells each as "a large red circle at the top left."""
    return " ".join(f"a {t.size} {t.color} {t.shape} at the {t.row} {t.column}." for t in things)


def brief(things: Sequence[Thing]) -> str:
    """Tells each as "large red circle top left"."""
    return ", ".join(f"{t.size} {t.color} {t.shape} {t.row} {t.column}" for t in things) + "."


def places(things: Sequence[Thing]) -> str:
    """Tells each as "top left: large red circle."""
    return " ".join(f"{t.row} {t.column}: {t.size} {t.color} {t.shape}." for t in things)


def facts(things: Sequence[Thing]) -> str:
    """Tells each as "the circle is red, large, top left."""
    return " ".join(f"the {t.shape} is {t.color}, {t.size}, {t.row} {t.column}." for t in things)


# Every one of these tells all there is to tell; relations alone do not.
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
    told = [caption(scene, rng, style) for style in range(len(STYLES))]
    spoken = relations(scene.things, rng)
    return (*told, spoken) if spoken else tuple(told)
