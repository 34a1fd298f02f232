"""What the model is taught about a scene: the six question types, and simple look-ups that prepare them."""

import random
from typing import Final

from recipes.tiny.lessons_in_time import Lesson, melody_lesson, moving_lesson

from chiasm.data.scenes.clips import MovingScene
from chiasm.data.scenes.hearing import tell_melody
from chiasm.data.scenes.language import caption, relations
from chiasm.data.scenes.motion import tell_moving
from chiasm.data.scenes.questions import (
    Question,
    ask,
    choose_color,
    choose_relation,
    choose_shape,
    compare,
    exists,
    query_side,
)
from chiasm.data.scenes.tones import Melody
from chiasm.data.scenes.world import COLORS, SHAPES, Scene
from chiasm.tiny.tokens import DESCRIBE, DESCRIBE_SOUND, DESCRIBE_VIDEO, INSTRUCTION

Subject = Scene | MovingScene | Melody
LOOKUPS: Final = ("color", "size", "where", "row", "column", "what", "named", "is")


def lookup(scene: Scene, kind: str, rng: random.Random) -> Lesson | None:
    """A question that one object answers by itself; None where the scene has no such object."""
    thing = rng.choice(scene.things)
    if kind == "color":
        return f"What color is the {thing.shape}?", thing.color
    if kind == "size":
        return f"What size is the {thing.shape}?", thing.size
    if kind == "where":
        return f"Where is the {thing.shape}?", f"{thing.row} {thing.column}"
    if kind in ("row", "column"):
        # The column by itself, not behind the row as "where" says it: this is what left and right are told from.
        return f"In which {kind} is the {thing.shape}?", thing.row if kind == "row" else thing.column
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


def lesson(scene: Subject, kind: str, rng: random.Random) -> Lesson | None:
    """A question and its answer of one kind: a look-up, or one of the types of what is shown."""
    if isinstance(scene, MovingScene):
        return moving_lesson(scene, kind, rng)
    if isinstance(scene, Melody):
        return melody_lesson(scene, kind, rng)
    if kind in LOOKUPS:
        return lookup(scene, kind, rng)
    question = ask(scene, kind, rng.random() < 0.5, rng) if rng.random() < 0.6 else broad(scene, kind, rng)
    return None if question is None else (question.text, question.answer)


def question_block(text: str, answer: str) -> tuple[str, str]:
    """The turn as every study asks it, from the question on, and what the model is to say."""
    return f"{text}\n{INSTRUCTION} ASSISTANT:", f" {answer.capitalize()}</s>"


def tell(subject: Subject, rng: random.Random) -> str:
    """A complete caption in random order and style."""
    if isinstance(subject, MovingScene):
        return tell_moving(subject, rng)
    return tell_melody(subject, rng) if isinstance(subject, Melody) else caption(subject, rng)


def caption_block(subject: Subject, rng: random.Random, spoken: bool = False) -> tuple[str, str]:
    """A request to describe, and a caption in random order and style, or statements of relations of a scene."""
    told = relations(subject.things, rng) if spoken and isinstance(subject, Scene) else ""
    request = {MovingScene: DESCRIBE_VIDEO, Melody: DESCRIBE_SOUND}.get(type(subject), DESCRIBE)
    return f"{request} ASSISTANT:", f" {told or tell(subject, rng)}</s>"
