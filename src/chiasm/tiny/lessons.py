"""What the model is taught about a scene: the six question types, and simple look-ups that prepare them."""

from __future__ import annotations

import random
from typing import Final

from chiasm.data.scenes.language import caption, relations
from chiasm.data.scenes.questions import (
    TYPES,
    Question,
    ask,
    choose_color,
    choose_relation,
    choose_shape,
    compare,
    exists,
    query_side,
)
from chiasm.data.scenes.world import COLORS, SHAPES, Scene
from chiasm.tiny.tokens import DESCRIBE, INSTRUCTION

Lesson = tuple[str, str]
LOOKUPS: Final = ("color", "size", "where", "what", "named", "is")


def lookup(scene: Scene, kind: str, rng: random.Random) -> Lesson | None:
    """A question that one object answers by itself; None where the scene has no such object."""
    thing = rng.choice(scene.things)
    if kind == "color":
        return f"What color is the {thing.shape}?", thing.color
    if kind == "size":
        return f"What size is the {thing.shape}?", thing.size
    if kind == "where":
        return f"Where is the {thing.shape}?", f"{thing.row} {thing.column}"
    if kind == "what":
        return f"What is at the {thing.row} {thing.column}?", thing.shape
    if kind == "is":
        # One half of what LogicalObj asks.
        absent = [shape for shape in SHAPES if scene.find(shape) is None]
        shape, answer = (thing.shape, "yes") if rng.random() < 0.5 else (rng.choice(absent), "no")
        return f"Is there a {shape}?", answer
    alone = sum(other.color == thing.color for other in scene.things) == 1
    return (f"What is the {thing.color} object?", thing.shape) if alone else None


def broad(scene: Scene, kind: str, rng: random.Random) -> Question | None:
    """A question of one of the six types without the balance that `scenes` keeps: any pair of options."""
    things = list(scene.things)
    rng.shuffle(things)
    first, second = things[0], things[1 % len(things)]
    if kind == "ChooseAttr":
        return choose_color(first, rng.choice([c for c in COLORS if c != first.color]), rng)
    if kind == "ChooseCat":
        alone = sum(t.color == first.color for t in things) == 1
        return choose_shape(first, rng.choice([s for s in SHAPES if s != first.shape]), rng) if alone else None
    if kind == "LogicalObj":
        a, b = rng.sample(SHAPES, 2)
        return exists(scene, (a, b))
    if first is second:
        return None
    if kind == "ChooseRel":
        return choose_relation(first, second, rng, across=rng.random() < 0.5)
    if kind == "CompareAttr":
        return compare(first, second, rng)
    return query_side(first)


def lesson(scene: Scene, kind: str, rng: random.Random) -> Lesson | None:
    """A question and its answer of one kind: a look-up or one of the six types."""
    if kind in LOOKUPS:
        return lookup(scene, kind, rng)
    question = ask(scene, kind, rng.random() < 0.5, rng) if rng.random() < 0.6 else broad(scene, kind, rng)
    return None if question is None else (question.text, question.answer)


def lessons(scene: Scene, count: int, weights: dict[str, float], rng: random.Random) -> list[Lesson]:
    """`count` lessons, their kinds drawn by weight."""
    kinds, shares = list(weights), list(weights.values())
    found: list[Lesson] = []
    for _ in range(count * 4):
        if len(found) == count:
            break
        made = lesson(scene, rng.choices(kinds, shares)[0], rng)
        if made is not None and made not in found:
            found.append(made)
    return found


def question_block(text: str, answer: str) -> tuple[str, str]:
    """The turn as every study asks it, from the question on, and what the model is to say."""
    return f"{text}\n{INSTRUCTION} ASSISTANT:", f" {answer.capitalize()}</s>"


def caption_block(scene: Scene, rng: random.Random, spoken: bool = False) -> tuple[str, str]:
    """A request to describe, and a caption in random order and style, or statements of relations."""
    told = relations(scene.things, rng) if spoken else ""
    return f"{DESCRIBE} ASSISTANT:", f" {told or caption(scene, rng)}</s>"


SIX: Final = TYPES
