"""What the model is taught about scenes, moving scenes and melodies: their question types, look-ups that prepare them,
and captions.
"""

import random
from typing import Final

from chiasm.data.layouts import DESCRIBE
from chiasm.data.scenes.melodies import (
    AUDIO_TYPES,
    PITCHES,
    TIMBRES,
    Melody,
    ask_melody,
    describe_melody,
    end_pitch,
    tone_length,
    tone_order,
    tone_there,
)
from chiasm.data.scenes.moving import (
    VIDEO_TYPES,
    MovingScene,
    ask_moving,
    describe_moving,
    direction,
    does_move,
    moving_color,
    still_size,
    which_moves,
)
from chiasm.data.scenes.questions import (
    SceneQuestion,
    ask,
    caption,
    choose_color,
    choose_relation,
    choose_shape,
    compare,
    exists,
    query_side,
    relations,
)
from chiasm.data.scenes.world import COLORS, COLUMNS, ROWS, SHAPES, Scene
from chiasm.tiny.tokens import INSTRUCTION

Content = Scene | MovingScene | Melody
QuestionAnswer = tuple[str, str]
LOOKUPS: Final = ("color", "size", "where", "row", "column", "what", "named", "is")
MOVING_LOOKUPS: Final = ("way", "moving color", "moving size", "moves")
MELODY_LOOKUPS: Final = ("pitch", "length", "timbre")
MOVING_KINDS: Final[dict[str, float]] = {**dict.fromkeys(VIDEO_TYPES, 0.16), **dict.fromkeys(MOVING_LOOKUPS, 0.05)}
MELODY_KINDS: Final[dict[str, float]] = {**dict.fromkeys(AUDIO_TYPES, 0.16), **dict.fromkeys(MELODY_LOOKUPS, 0.07)}
MOVING_NOTED: Final[dict[str, float]] = {"Direction": 2.0, "WhichMoves": 2.0, "DoesMove": 2.0, "way": 2.0, "moves": 1.0}
MELODY_NOTED: Final[dict[str, float]] = {"FirstPitch": 1.0, "LastPitch": 1.0, "ToneOrder": 2.0, "pitch": 2.0}


def lookup(scene: Scene, kind: str, rng: random.Random) -> QuestionAnswer | None:
    """A question that one object answers by itself; None where the scene has no such object."""
    thing = rng.choice(scene.things)
    if kind == "color":
        return f"What color is the {thing.shape}?", thing.color
    if kind == "size":
        return f"What size is the {thing.shape}?", thing.size
    if kind == "where":
        return f"Where is the {thing.shape}?", f"{thing.row} {thing.column}"
    if kind in ("row", "column"):
        # The column by itself, not behind the row as "where" says it: left and right are read off this.
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


def unbalanced(scene: Scene, kind: str, rng: random.Random) -> SceneQuestion | None:
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


def describe_frames(scene: MovingScene) -> str:
    """Every frame described by itself, as a video mapping shows them: where things are, not where they go.

    "red circle top left, blue star bottom center." for each frame, in the order of reading; that the circle moves
    right is left to be found by comparing the frames.
    """
    captions = []
    for frame in scene.frames():
        ordered = sorted(frame.things, key=lambda thing: (ROWS.index(thing.row), COLUMNS.index(thing.column)))
        captions.append(", ".join(f"{t.color} {t.shape} {t.row} {t.column}" for t in ordered) + ".")
    return " ".join(captions)


def note_moving(scene: MovingScene, rng: random.Random) -> str:
    """A caption of who goes where alone: "circle moves left, star still,"."""
    actors = rng.sample(scene.actors, len(scene.actors))
    style = rng.choice(("{0} {1},", "the {0} {1}.", "{1}: {0}."))
    return " ".join(style.format(a.shape, f"moves {a.way}" if a.way else "still") for a in actors)


def note_melody(melody: Melody, rng: random.Random) -> str:
    """A caption of the pitches alone: "first: low. second: high. last: low."."""
    orders = (*("first", "second", "third")[: len(melody.tones) - 1], "last")
    style = rng.choice(("{0}: {1}.", "{1},", "the {0} tone is {1}."))
    return " ".join(style.format(order, tone.pitch) for order, tone in zip(orders, melody.tones, strict=True))


def moving_question(scene: MovingScene, kind: str, rng: random.Random) -> QuestionAnswer | None:
    """A question about a moving scene and its answer; None where the scene has none of this kind."""
    actor = rng.choice(scene.actors)
    match kind:
        case "way":
            return (f"Which way does the {actor.shape} move?", actor.way) if actor.way else None
        case "moving color":
            return f"What color is the {actor.shape}?", actor.thing.color
        case "moving size":
            return f"What size is the {actor.shape}?", actor.thing.size
        case "moves":
            alone = len(scene.moving) == 1
            return ("Which object moves?", scene.moving[0].shape) if alone else None
    question = (
        ask_moving(scene, kind, rng.random() < 0.5, rng) if rng.random() < 0.5 else _unbalanced_moving(scene, kind, rng)
    )
    return None if question is None else (question.text, question.answer)


def _unbalanced_moving(scene: MovingScene, kind: str, rng: random.Random) -> SceneQuestion | None:
    """A question of a type without the balance that `scenes-video` keeps: any direction, any pair of options."""
    mover, still = rng.choice(scene.moving), rng.choice(scene.still)
    match kind:
        case "Direction":
            return direction(mover, rng)
        case "WhichMoves":
            return which_moves(mover, still, rng)
        case "MovingColor":
            other = rng.choice([color for color in COLORS if color != mover.thing.color])
            return moving_color(mover, other, rng) if len(scene.moving) == 1 else None
        case "StillSize":
            return still_size(still, rng) if len(scene.still) == 1 else None
    return does_move(rng.choice((mover, still)))


def melody_question(melody: Melody, kind: str, rng: random.Random) -> QuestionAnswer | None:
    """A question about a melody and its answer; None where the melody has none of this kind."""
    if kind in MELODY_LOOKUPS:
        orders = (*("first", "second", "third")[: len(melody.tones) - 1], "last")
        order = rng.choice(orders)
        tone = melody.tones[orders.index(order)]
        answer = dict(zip(("pitch", "length", "timbre"), tone.content, strict=True))[kind]
        if kind == "timbre":
            options = rng.sample(TIMBRES, 2)
            return f"Is the {order} tone {options[0]} or {options[1]}?", answer
        return f"What {kind} is the {order} tone?", answer
    question = (
        ask_melody(melody, kind, rng.random() < 0.5, rng)
        if rng.random() < 0.5
        else _unbalanced_melody(melody, kind, rng)
    )
    return None if question is None else (question.text, question.answer)


def _unbalanced_melody(melody: Melody, kind: str, rng: random.Random) -> SceneQuestion | None:
    """A question of a type without the balance that `scenes-audio` keeps: any pitches."""
    if kind == "ToneThere":
        return tone_there(melody, rng.choice(PITCHES), rng.choice(TIMBRES))
    if kind == "ToneLength":
        return tone_length(melody, rng)
    if kind == "ToneOrder":
        a, b = rng.sample(PITCHES, 2)
        return tone_order(melody, (a, b), rng)
    end = kind.removesuffix("Pitch").lower()
    own = melody.tones[0 if end == "first" else -1].pitch
    return end_pitch(melody, end, rng.choice([pitch for pitch in PITCHES if pitch != own]), rng)


def question_about(content: Content, kind: str, rng: random.Random) -> QuestionAnswer | None:
    """A question and its answer of one kind: a look-up, or one of the types of what is shown."""
    if isinstance(content, MovingScene):
        return moving_question(content, kind, rng)
    if isinstance(content, Melody):
        return melody_question(content, kind, rng)
    if kind in LOOKUPS:
        return lookup(content, kind, rng)
    question = ask(content, kind, rng.random() < 0.5, rng) if rng.random() < 0.6 else unbalanced(content, kind, rng)
    return None if question is None else (question.text, question.answer)


def question_block(text: str, answer: str) -> tuple[str, str]:
    """The turn as every study asks it, from the question on, and the answer that is learned."""
    return f"{text}\n{INSTRUCTION} ASSISTANT:", f" {answer.capitalize()}</s>"


def describe(content: Content, rng: random.Random) -> str:
    """A complete caption in random order and style."""
    if isinstance(content, MovingScene):
        return describe_moving(content, rng)
    return describe_melody(content, rng) if isinstance(content, Melody) else caption(content, rng)


def caption_block(content: Content, rng: random.Random, as_relations: bool = False) -> tuple[str, str]:
    """A request to describe, and a caption in random order and style, or statements of relations of a scene."""
    text = relations(content.things, rng) if as_relations and isinstance(content, Scene) else ""
    kind = {MovingScene: "video", Melody: "audio"}.get(type(content), "image")
    return f"{DESCRIBE[kind]} ASSISTANT:", f" {text or describe(content, rng)}</s>"
